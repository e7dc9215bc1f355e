"""Adobe Experience Platform's HTTP API destination: XDM profiles with `segmentMembership` and `identityMap`.

Shape, batching and statuses:
https://experienceleague.adobe.com/en/docs/experience-platform/destinations/catalog/streaming/http-destination
Every message holds all mapped attributes and all identities of a profile, so it is a snapshot of both. It has no time
of its own: a qualification time is not the time of an attribute.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from relay.domain.changes import Json, MembershipChange
from relay.problem_details import MAX_ERRORS, InputError, pointer
from relay.sources.json_body import documents
from relay.sources.reading import Incoming, Misshapen, Place, Reading, moment_of, read_each

DEFAULT_NAMESPACE = "ups"
"""Adobe's own segmentation service; other namespaces hold uploads and other products' audiences."""

STATUSES = {"realized": True, "existing": True, "exited": False, "exiting": False}
"""`existing` was sent until May 2023, `exiting` is found in prose for `exited`.
https://experienceleague.adobe.com/en/docs/experience-platform/xdm/field-groups/profile/segmentation"""

_MEMBERSHIPS = "segmentMembership"
_IDENTITIES = "identityMap"
_PREFIX = "xdm:"


def read(raw: bytes, *, source: str, namespaces: AbstractSet[str]) -> Reading:
    """Read one profile, an array, `{"profiles": [...]}`, or any of these one after the other.

    Adobe documents a single object and up to ten profiles per request, but not how several are framed. In a body of
    several documents an error's pointer begins with the document's index. Adobe never sends again what a 4xx answers,
    so a profile of a wrong shape is only told beside those that can be read. Raises Refusal (400, 413 or 422).
    """

    def read_one(place: Place, value: Any) -> Incoming:
        if not isinstance(value, dict):
            raise Misshapen([InputError("must be a profile (an object)", pointer(place))])
        return _ProfileReader(source, namespaces, place, value).profile()

    return read_each(_framed(documents(raw)), read_one)


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
    """Reads one profile, collecting what is wrong with it instead of stopping at the first error."""

    def __init__(self, source: str, namespaces: AbstractSet[str], place: Place, raw: Mapping[str, Json]) -> None:
        self._ignored = 0
        self._errors: list[InputError] = []
        self._source = source
        self._namespaces = namespaces
        self._place = place
        self._raw = raw
        self._primary: dict[str, set[str]] = {}

    def profile(self) -> Incoming:
        """Return the profile; raises Misshapen."""
        attributes: dict[str, Json] = {}
        memberships: list[MembershipChange] = []
        identities: dict[str, list[str]] = {}
        for key, value in self._raw.items():
            name = key.removeprefix(_PREFIX)
            if name == _MEMBERSHIPS:
                memberships.extend(self._memberships((*self._place, key), value))
            elif name == _IDENTITIES:
                identities.update(self._identities((*self._place, key), value))
            elif value is not None:
                attributes[name] = _without_prefixes(value)
        if self._errors:
            raise Misshapen(self._errors)
        return Incoming(
            raw=self._raw,
            place=self._place,
            snapshot=True,
            identities=identities,
            attributes=attributes,
            memberships=memberships,
            primary=self._primary,
            ignored_memberships=self._ignored,
        )

    def _tell(self, detail: str, place: Place) -> None:
        # No more are kept than are told.
        if len(self._errors) < MAX_ERRORS:
            self._errors.append(InputError(detail, pointer(place)))

    def _memberships(self, place: Place, by_namespace: Any) -> Iterator[MembershipChange]:
        for namespace, by_segment in self._entries(place, by_namespace):
            if namespace not in self._namespaces:
                self._ignored += len(by_segment) if isinstance(by_segment, dict) else 0
                continue
            for segment, told in self._entries((*place, namespace), by_segment):
                change = self._membership((*place, namespace, segment), segment, told)
                if change is not None:
                    yield change

    def _membership(self, place: Place, segment: str, told: Any) -> MembershipChange | None:
        if not isinstance(told, dict):
            self._tell("must be an object with status and lastQualificationTime", place)
            return None
        fields = {key.removeprefix(_PREFIX): value for key, value in told.items()}
        status = fields.get("status")
        if not isinstance(status, str) or status not in STATUSES:
            self._tell(f"must be one of {', '.join(STATUSES)}", (*place, "status"))
            return None
        at = self._qualified_at((*place, "lastQualificationTime"), fields)
        if at is None:
            return None
        if not segment:
            self._tell("must not have an empty segment id", place)
            return None
        name = fields.get("name")
        return MembershipChange(
            segment=f"{self._source}/{segment}",
            realized=STATUSES[status],
            at=at,
            name=name if isinstance(name, str) and name else None,
        )

    def _qualified_at(self, place: Place, fields: Mapping[str, Json]) -> datetime | None:
        try:
            return moment_of(fields.get("lastQualificationTime"), zoned=False)
        except ValueError as error:
            self._tell(str(error), place)
            return None

    def _identities(self, place: Place, by_namespace: Any) -> Iterator[tuple[str, list[str]]]:
        for namespace, entries in self._entries(place, by_namespace):
            if entries is None:
                continue
            if not isinstance(entries, list):
                self._tell("must be a list of objects with an id", (*place, namespace))
                continue
            ids: dict[str, None] = {}
            for index, entry in enumerate(entries):
                identity = self._identity((*place, namespace, index), namespace, entry)
                if identity:
                    ids[identity] = None
            if ids:
                yield namespace, list(ids)

    def _identity(self, place: Place, namespace: str, entry: Any) -> str | None:
        fields = {key.removeprefix(_PREFIX): value for key, value in entry.items()} if isinstance(entry, dict) else {}
        identity = fields.get("id")
        if not isinstance(identity, str):
            self._tell("must be an object whose id is a text", place)
            return None
        if fields.get("primary") is True and identity:
            self._primary.setdefault(namespace, set()).add(identity)
        return identity

    def _entries(self, place: Place, value: Any) -> list[tuple[str, Any]]:
        if value is None:
            return []
        if not isinstance(value, dict):
            self._tell("must be an object", place)
            return []
        return list(value.items())


def _without_prefixes(value: Json) -> Json:
    """Name attributes the same whether or not the platform writes the schema's prefix."""
    if isinstance(value, dict):
        return {key.removeprefix(_PREFIX): _without_prefixes(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_prefixes(inner) for inner in value]
    return value
