"""Adobe Experience Platform's HTTP API destination: XDM profiles with `segmentMembership` and `identityMap`.

Shape, batching and statuses:
https://experienceleague.adobe.com/en/docs/experience-platform/destinations/catalog/streaming/http-destination
Every message holds all mapped attributes and all identities of a profile, so it is a snapshot of both. It has no time
of its own: a qualification time is not the time of an attribute.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final

from relay.domain.changes import Json, MembershipChange
from relay.problem_details import InputError, pointer
from relay.sources.dialect import Dialect, Source
from relay.sources.json_body import documents
from relay.sources.reading import (
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
from relay.sources.recognising import is_sdk_profile

STATUSES = {"realized": True, "existing": True, "exited": False, "exiting": False}
"""`existing` was sent until May 2023, `exiting` is found in prose for `exited`.
https://experienceleague.adobe.com/en/docs/experience-platform/xdm/field-groups/profile/segmentation"""

_MEMBERSHIPS = "segmentMembership"
_IDENTITIES = "identityMap"
_PREFIX = "xdm:"


def realized_of(status: Any) -> bool | None:
    """Return whether a status says that a profile is in the segment; None when it is no status. Case does not count."""
    return STATUSES.get(status.lower()) if isinstance(status, str) else None


def read(raw: bytes, source: Source, _: datetime) -> Reading:
    """Read one profile, an array, `{"profiles": [...]}`, or any of these one after the other.

    Adobe documents a single object and up to ten profiles per request, but not how several are framed. In a body of
    several documents an error's pointer begins with the document's index. Adobe never sends again what a 4xx answers,
    so a profile of a wrong shape is only reported beside those that can be read. Raises Refusal (400, 413 or 422).
    """

    def read_one(place: Place, value: Any) -> Incoming:
        if not isinstance(value, dict):
            raise Misshapen([InputError("must be a profile (an object)", pointer(place))])
        return _ProfileReader(source.name, source.segment_namespaces, place, value).profile()

    found = documents(raw)
    return read_each(found, _framed(found), read_one, dialect=source.dialect)


def _framed(found: Sequence[Any]) -> Iterator[tuple[Place, Any]]:
    for index, value in enumerate(found):
        place: Place = () if len(found) == 1 else (index,)
        if isinstance(value, dict) and isinstance(value.get("profiles"), list) and not _looks_like_profile(value):
            place, value = (*place, "profiles"), value["profiles"]
        if isinstance(value, list):
            yield from (((*place, position), element) for position, element in enumerate(value))
        else:
            yield place, value


def _looks_like_profile(value: Mapping[str, Any]) -> bool:
    return any(key.removeprefix(_PREFIX) in (_MEMBERSHIPS, _IDENTITIES) for key in value)


class _ProfileReader:
    """Reads one profile part by part."""

    def __init__(self, source: str, namespaces: AbstractSet[str], place: Place, raw: Mapping[str, Json]) -> None:
        self._namespaces = namespaces
        self._raw = raw
        self._parts = Parts(source, place, raw)
        self._ignored = 0

    def profile(self) -> Incoming:
        """Return the profile; raises Misshapen."""
        if is_sdk_profile(self._raw):
            self._parts.refuse("is a profile of Adobe's Destination SDK, which a source of the dialect adobe-sdk takes")
        if not _looks_like_profile(self._raw):
            self._parts.refuse(f"has neither {_IDENTITIES} nor {_MEMBERSHIPS}")
        given: dict[str, Json] = {}
        memberships: list[MembershipChange] = []
        identities: dict[str, list[str]] = {}
        for key, value in self._raw.items():
            name = key.removeprefix(_PREFIX)
            if name == _MEMBERSHIPS:
                memberships.extend(self._memberships(key, value))
            elif name == _IDENTITIES:
                identities.update(self._identities(key, value))
            elif value is not None:
                given[key] = value
        attributes = self._parts.attributes(given)
        return self._parts.incoming(
            identities=identities,
            attributes={key.removeprefix(_PREFIX): _without_prefixes(value) for key, value in attributes.items()},
            memberships=memberships,
            snapshot=True,
            ignored_memberships=self._ignored,
        )

    def _memberships(self, key: str, by_namespace: Any) -> Iterator[MembershipChange]:
        for namespace, by_segment in self._parts.entries(UNFIT_MEMBERSHIP, by_namespace, key):
            if namespace not in self._namespaces:
                self._ignored += len(by_segment) if isinstance(by_segment, dict) else 0
                continue
            for segment, given in self._parts.entries(UNFIT_MEMBERSHIP, by_segment, key, namespace):
                change = self._membership((key, namespace, segment), segment, given)
                if change is not None:
                    yield change

    def _membership(self, place: Place, segment: str, given: Any) -> MembershipChange | None:
        parts = self._parts
        if not isinstance(given, dict):
            parts.leave_out(UNFIT_MEMBERSHIP, "must be an object with status and lastQualificationTime", *place)
            return None
        fields = {key.removeprefix(_PREFIX): value for key, value in given.items()}
        realized = realized_of(fields.get("status"))
        if realized is None:
            parts.leave_out(UNFIT_MEMBERSHIP, f"must be one of {', '.join(STATUSES)}", *place, "status")
            return None
        qualified = "lastQualificationTime"
        at = parts.moment(UNFIT_MEMBERSHIP, fields.get(qualified), *place, qualified, zoned=False)
        reference = None if at is None else parts.segment(segment, *place)
        if at is None or reference is None:
            return None
        return MembershipChange(reference, realized, at, name_of(fields.get("name")))

    def _identities(self, key: str, by_namespace: Any) -> Iterator[tuple[str, list[str]]]:
        for namespace, entries in self._parts.entries(UNFIT_IDENTITY, by_namespace, key):
            if entries is None or not self._parts.namespace(namespace, key):
                continue
            if not isinstance(entries, list):
                detail = "must be a list of objects with an id"
                self._parts.leave_out_value(UNFIT_IDENTITY, detail, key, namespace)
                continue
            ids = self._parts.identities(
                ((key, namespace, index), _id_of(entry)) for index, entry in enumerate(entries)
            )
            if ids:
                yield namespace, ids


def _id_of(entry: Any) -> Any:
    return entry.get("id", entry.get(f"{_PREFIX}id")) if isinstance(entry, dict) else [entry]


def _without_prefixes(value: Json) -> Json:
    """Name attributes the same whether or not the platform writes the schema's prefix."""
    if isinstance(value, dict):
        return {key.removeprefix(_PREFIX): _without_prefixes(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_prefixes(inner) for inner in value]
    return value


DIALECT: Final = Dialect(read)
