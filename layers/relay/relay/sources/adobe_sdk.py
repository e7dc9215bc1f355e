"""Adobe's Destination SDK: what the templates of its documentation render.

https://experienceleague.adobe.com/en/docs/experience-platform/destinations/destination-sdk/functionality/destination-server/message-format

A body is a profile, a list of profiles, or `{"profiles": [...]}`; a group has `audienceId` beside its profiles, and
`segmentStatus` where leavers are told, too: without it everybody in the group is a member. Of a profile is read:

| key | |
|---|---|
| `identities` | `[{"type": "email", "id": "..."}]`, or by namespace; also `identityMap` |
| `AdobeExperiencePlatformSegments`, `segments` | `{"add": [...], "remove": [...]}` |
| `segment_names` | names by id, or in lists beside `add` and `remove`; without ids the names stand for the segments |
| `segmentMembership` | as in Adobe's HTTP API destination |
| `attributes` | `{"value": x}` or the bare value; `{}` and null clear |
| anything else | an attribute; a list of texts is a namespace of identities, too, where no other key names identities |

A profile of nothing but attributes is taken inside `profiles` only: elsewhere it could be anything.

The templates write no times, so a membership counts as of its receipt, but for `segmentMembership`.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from relay.domain.changes import Json, MembershipChange
from relay.problem_details import InputError, pointer
from relay.sources.adobe_http import STATUSES, realized_of
from relay.sources.dialect import Dialect, Source
from relay.sources.json_body import documents
from relay.sources.reading import (
    UNFIT_ATTRIBUTE,
    UNFIT_IDENTITY,
    UNFIT_MEMBERSHIP,
    Incoming,
    Misshapen,
    Parts,
    Place,
    Reading,
    name_of,
    read_each,
)
from relay.sources.recognising import sender_of

_GROUP: Final = ("audienceId", "segmentId", "audience_id", "segment_id", "audienceAlias", "segmentAlias")
_GROUP_STATUS: Final = ("segmentStatus", "audienceStatus", "segment_status", "audience_status", "status", "action")
_GROUP_NAME: Final = ("audienceName", "segmentName", "audience_name", "segment_name")
_STATUSES: Final = {**STATUSES, "add": True, "remove": False}
_SEGMENTS: Final = ("AdobeExperiencePlatformSegments", "segments")
_LISTS: Final = {"add": True, "added": True, "remove": False, "removed": False}
_NAMES: Final = "segment_names"
_IDENTITIES: Final = ("identities", "identityMap")
_OWN: Final = frozenset({*_SEGMENTS, _NAMES, *_IDENTITIES, "segmentMembership", "attributes"})

Group = Mapping[str, Json]
"""What stands beside the profiles of a group; empty where there is none."""


def read(raw: bytes, source: Source, received_at: datetime) -> Reading:
    """Read a body of the shapes above, or several of them one after the other; raises Refusal (400, 413 or 422)."""
    found = documents(raw)

    def read_one(place: Place, given: Any) -> Incoming:
        group, profile = given
        if not isinstance(profile, dict):
            raise Misshapen([InputError("must be a profile (an object)", pointer(place))])
        return _Profile(source, place, profile, group, received_at).incoming()

    places: list[tuple[Place, Any]] = [((), found[0])] if len(found) == 1 else [((n,), v) for n, v in enumerate(found)]
    given = (one for place, value in places for one in _profiles(place, value))
    return read_each(found, given, read_one, dialect=source.dialect)


def _profiles(place: Place, value: Any) -> Iterator[tuple[Place, tuple[Group, Any]]]:
    for inner, one in [((*place, n), v) for n, v in enumerate(value)] if isinstance(value, list) else [(place, value)]:
        profiles = one.get("profiles") if isinstance(one, dict) else None
        if isinstance(profiles, list):
            group = {key: beside for key, beside in one.items() if key != "profiles"}
            for index, profile in enumerate(profiles):
                yield (*inner, "profiles", index), (group, profile)
        else:
            yield inner, ({}, one)


class _Profile:
    """Reads one profile part by part."""

    def __init__(
        self, source: Source, place: Place, raw: Mapping[str, Json], group: Group, received_at: datetime
    ) -> None:
        self._namespaces = source.segment_namespaces
        self._place = place
        self._raw = raw
        self._group = group
        self._parts = Parts(source.name, place, raw)
        self._received_at = received_at
        self._ignored = 0

    def incoming(self) -> Incoming:
        """Return the profile; raises Misshapen."""
        is_rendered = bool(self._raw.keys() & _OWN) or bool(self._lists()) or self._has_bare_attributes()
        if self._is_of_relay_json() or not is_rendered:
            self._parts.refuse("has neither identities nor segments of a template of Adobe's Destination SDK")
        memberships = [*self._grouped(), *self._added_and_removed(), *self._by_namespace()]
        return self._parts.incoming(
            identities=self._identities(),
            attributes=self._attributes(),
            memberships=memberships,
            snapshot=False,
            ignored_memberships=self._ignored,
        )

    def _has_bare_attributes(self) -> bool:
        """The list around them makes it a template's profile: of attributes alone `profile_key` may name one."""
        return "profiles" in self._place and sender_of(self._raw) is None

    def _is_of_relay_json(self) -> bool:
        return isinstance(self._raw.get("memberships"), list) and not self._raw.keys() & {*_SEGMENTS, _NAMES}

    def _lists(self) -> dict[str, list[Any]]:
        return {
            key: value
            for key, value in self._raw.items()
            if key not in _OWN and isinstance(value, list) and value and all(isinstance(one, str) for one in value)
        }

    def _grouped(self) -> Iterator[MembershipChange]:
        group = self._group
        given = next((group[key] for key in _GROUP if group.get(key) is not None), None)
        if given is None:
            return
        status = next((group[key] for key in _GROUP_STATUS if group.get(key) is not None), "realized")
        realized = _STATUSES.get(status.lower()) if isinstance(status, str) else None
        if realized is None:
            self._parts.leave_out(UNFIT_MEMBERSHIP, f"its group's status must be one of {', '.join(_STATUSES)}")
            return
        reference = self._parts.segment(given)
        if reference is not None:
            name = next((group[key] for key in _GROUP_NAME if group.get(key) is not None), None)
            yield MembershipChange(reference, realized, self._received_at, name_of(name))

    def _added_and_removed(self) -> Iterator[MembershipChange]:
        names = self._raw.get(_NAMES)
        key = next((key for key in _SEGMENTS if self._raw.get(key) is not None), None)
        given = None if key is None else self._raw[key]
        if key is None and names is not None:
            # The template writes names alone: they are all that the segments are called.
            key, given, names = _NAMES, {"add": names} if isinstance(names, list) else names, None
        if key is None:
            return
        if not isinstance(given, dict):
            self._parts.leave_out(UNFIT_MEMBERSHIP, "must be an object with add and remove", key)
            return
        for action, realized in _LISTS.items():
            listed = given.get(action)
            if listed is not None and not isinstance(listed, list):
                self._parts.leave_out(UNFIT_MEMBERSHIP, "must be a list", key, action)
                continue
            for index, one in enumerate(listed or ()):
                segment = one.get("id", one.get("segmentId")) if isinstance(one, dict) else one
                reference = self._parts.segment(segment, key, action, index)
                if reference is not None:
                    own = one.get("name") if isinstance(one, dict) else None
                    name = own if own is not None else _name(names, action, index, segment)
                    yield MembershipChange(reference, realized, self._received_at, name_of(name))

    def _by_namespace(self) -> Iterator[MembershipChange]:
        key = "segmentMembership"
        for namespace, segments in self._parts.entries(UNFIT_MEMBERSHIP, self._raw.get(key), key):
            if namespace not in self._namespaces:
                self._ignored += len(segments) if isinstance(segments, dict) else 0
                continue
            for segment, given in self._parts.entries(UNFIT_MEMBERSHIP, segments, key, namespace):
                place = (key, namespace, segment)
                realized = realized_of(given.get("status")) if isinstance(given, dict) else None
                if realized is None:
                    self._parts.leave_out(UNFIT_MEMBERSHIP, f"must be one of {', '.join(STATUSES)}", *place, "status")
                    continue
                qualified = given.get("lastQualificationTime")
                at = (
                    self._received_at
                    if qualified is None
                    else self._parts.moment(UNFIT_MEMBERSHIP, qualified, *place, "lastQualificationTime", zoned=False)
                )
                reference = self._parts.segment(segment, *place)
                if at is not None and reference is not None:
                    yield MembershipChange(reference, realized, at, name_of(given.get("name")))

    def _identities(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        key = next((key for key in _IDENTITIES if self._raw.get(key) is not None), None)
        given: Any = self._lists() if key is None else self._raw[key]
        at: Place = () if key is None else (key,)
        if isinstance(given, list):
            for index, one in enumerate(given):
                kind = one.get("type", one.get("namespace")) if isinstance(one, dict) else None
                if not isinstance(kind, str) or not kind:
                    detail = "must be an object with type and id"
                    self._parts.leave_out_value(UNFIT_IDENTITY, detail, *at, index)
                    continue
                self._parts.add_identity(found, kind, one.get("id"), (*at, index), "id")
            return found
        for namespace, value in self._parts.entries(UNFIT_IDENTITY, given, *map(str, at)):
            if value is None or not self._parts.namespace(namespace, *at):
                continue
            listed = value if isinstance(value, list) else [value]
            ids = self._parts.identities(
                ((*at, namespace, index), one.get("id") if isinstance(one, dict) else one)
                for index, one in enumerate(listed)
            )
            if ids:
                found[namespace] = ids
        return found

    def _attributes(self) -> dict[str, Json]:
        given = {key: value for key, value in self._raw.items() if key not in _OWN}
        given |= dict(self._parts.entries(UNFIT_ATTRIBUTE, self._raw.get("attributes"), "attributes"))
        return self._parts.attributes({key: _bare(value) for key, value in given.items()}, "attributes")


def _bare(value: Json) -> Json:
    """Return an attribute without the object around it that the SDK's freeform attributes have."""
    if value == {}:
        return None
    return value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value


def _name(names: Any, action: str, index: int, segment: Any) -> Any:
    if isinstance(names, dict):
        listed = names.get(action)
        if isinstance(listed, list):
            return listed[index] if index < len(listed) else None
        return names.get(segment) if isinstance(segment, str) else None
    return None


DIALECT: Final = Dialect(read)
