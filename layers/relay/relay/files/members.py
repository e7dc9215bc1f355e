"""From rows to changes: which columns identify a person, which are attributes, and which says who is still a member.

The name of a column says what it is. An object in NDJSON or Parquet is read as if its entries were columns of their
own, named with a dot between:

| column | is |
|---|---|
| one that `file_identities` names | an identity of that namespace |
| `identities.crm`, `identityMap.crm`, `identityMap.crm.id` | an identity of the namespace `crm` |
| the one that `file_status` names, `segmentMembership.status`, `segmentMembership.ups.<id>.status` | the status |
| `segmentMembership...` | nothing |
| `attributes.city` | the attribute `city` |
| `person.name.firstName` | `firstName` in the attribute `person`, as webhooks bring it |
| `city` | the attribute `city` |

`xdm:` in front of a name is left out. A column without a value clears what was stored by that name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final, NamedTuple

from relay.domain.changes import Json, MembershipChange
from relay.domain.expressions import compiled
from relay.domain.values import id_of, text_of
from relay.files.rows import BrokenRow, Row, Unreadable
from relay.sources.reading import MAX_IDENTITY, Incoming

STATUSES: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("active", "realized", "existing", "entered", "true", "1"), True),
    **dict.fromkeys(("expired", "exited", "exiting", "inactive", "false", "0"), False),
}
"""What a status may be, in any letter case, and whether it says that the person is a member. Files of Adobe's say
`Active` and `Expired`:
https://experienceleague.adobe.com/en/docs/experience-platform/destinations/ui/activate/activate-batch-profile-destinations
"""

IDENTITIES, ATTRIBUTES, IDENTITY_MAP, MEMBERSHIPS = "identities", "attributes", "identityMap", "segmentMembership"
_PREFIX = "xdm:"
_MAX_NAMES = 10_000
"""The most names of columns whose places are remembered: NDJSON may have others in every row."""
_NAMESPACE = re.compile(rf"(?:{IDENTITIES}|{IDENTITY_MAP})\.(.+?)(?:\[0\])?(?:\.id)?")
_STATUS = re.compile(rf"{MEMBERSHIPS}\.(?:[^.]+\.(.+)\.)?status")
_CONTAINERS = frozenset({IDENTITIES, ATTRIBUTES, IDENTITY_MAP, MEMBERSHIPS})

_OTHERWISE = "file_identities of the source names columns that are called otherwise"
_LONG_IDENTITY = f"has an identity of more than {MAX_IDENTITY:,} characters"
_UNKNOWN_STATUS = "has a status that is not known"
_NO_STATUS = "has no status"
_SEVERAL_STATUSES = "has several statuses; file_status names the one that counts"


class _Kind(Enum):
    ATTRIBUTE = "attribute"
    IDENTITY = "identity"
    STATUS = "status"
    OWN_STATUS = "own status"
    CONTAINER = "container"
    NOTHING = "nothing"


class _Place(NamedTuple):
    kind: _Kind
    path: tuple[str, ...] = ()


class Members:
    """Reads the rows of one set. `segment` is the reference `source/segment`, `at` the time of the set.

    `identities` are those of `identity_columns`; None takes the namespaces that `profile_key` looks up, from columns
    of the same names. `status` is the column with the status, where it has a name of its own.
    """

    def __init__(
        self,
        *,
        segment: str,
        at: datetime,
        profile_key: str,
        identities: Mapping[str, str] | None = None,
        status: str | None = None,
    ) -> None:
        paths = compiled(profile_key).paths
        # Without those that lead on to another.
        self._paths = [one for one in paths if not any(one == other[: len(one)] != other for other in paths)]
        self._announced = [*(identities or ()), *([] if status is None else [status])]
        looked_up = {path[1]: path[1] for path in self._paths if path[0] in (IDENTITIES, IDENTITY_MAP) and path[1:]}
        self._namespaces: Mapping[str, str] = looked_up if identities is None else identities
        self._status = status
        self._segment_id = segment.partition("/")[2]
        self._wants_more = any(path[0] not in (IDENTITIES, ATTRIBUTES) for path in self._paths)
        self._places: dict[str, _Place] = {}
        self._memberships = {realized: (MembershipChange(segment, realized, at),) for realized in (True, False)}

    def require(self, part: str, columns: Sequence[str]) -> None:
        """Raise Unreadable for a header without the columns that options name, or without any that identifies."""
        if lacking := [column for column in self._announced if column not in columns]:
            raise Unreadable(f"{part} has no column {lacking[0]}, which the source's settings name")
        places = [(column, self._place(column)) for column in columns]
        if not any(self._serves(path, column, place) for path in self._paths for column, place in places):
            wanted = " or ".join(".".join(path) for path in self._paths)
            raise Unreadable(
                f"{part} has no column that identifies a person: profile_key looks for {wanted}. {_OTHERWISE}"
            )

    def change_of(self, row: Row) -> Incoming | BrokenRow:
        """Return what a row says of one person: the membership is realized or, by its status, exited.

        Whether somebody is identified by it is for `profile_key` to say.
        """
        read = _Read()
        try:
            self._take(row.values.items(), read)
            realized = read.realized()
        except _Broken as broken:
            return BrokenRow(row.part, row.line, str(broken))
        raw = (
            row.values if not self._wants_more else {**row.values, **read.attributes, IDENTITY_MAP: read.identity_map()}
        )
        return Incoming(
            raw=raw,
            place=(row.line,),
            snapshot=False,
            identities=read.identities,
            attributes=read.attributes,
            memberships=self._memberships[realized],
        )

    def _take(self, entries: Iterable[tuple[str, Json]], read: "_Read") -> None:
        places = self._places
        for name, value in entries:
            kind, path = places.get(name) or self._place(name)
            if kind is _Kind.ATTRIBUTE:
                if len(path) == 1:
                    read.attributes[path[0]] = value
                else:
                    read.nest(name, path, value)
            elif kind is _Kind.IDENTITY:
                read.identify(path[0], value)
            elif kind is _Kind.OWN_STATUS:
                read.own_status = value
            elif isinstance(value, dict) and kind is not _Kind.STATUS:
                self._take(((f"{name}.{inner}", one) for inner, one in value.items()), read)
            elif kind is _Kind.STATUS:
                read.statuses.append(value)

    def _place(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None:
            place = self._worked_out(name)
            if len(self._places) < _MAX_NAMES:
                self._places[name] = place
        return place

    def _worked_out(self, name: str) -> _Place:
        if name == self._status:
            return _Place(_Kind.OWN_STATUS)
        if name in self._namespaces:
            return _Place(_Kind.IDENTITY, (self._namespaces[name],))
        path = tuple(step.removeprefix(_PREFIX) for step in name.split("."))
        plain = ".".join(path)
        if plain in _CONTAINERS:
            return _Place(_Kind.CONTAINER)
        if path[0] == MEMBERSHIPS:
            status = _STATUS.fullmatch(plain)
            if status is None or self._status is not None:
                return _Place(_Kind.NOTHING)
            return _Place(_Kind.OWN_STATUS if status[1] in (None, self._segment_id) else _Kind.STATUS)
        if namespace := _NAMESPACE.fullmatch(plain):
            return _Place(_Kind.IDENTITY, (namespace[1],))
        return _Place(_Kind.ATTRIBUTE, path[1:] if path[0] == ATTRIBUTES else path)

    def _serves(self, path: tuple[str, ...], column: str, place: _Place) -> bool:
        """Whether a column may hold what an expression looks up."""
        if place.kind is _Kind.CONTAINER:
            return path[0] == ATTRIBUTES if column == ATTRIBUTES else path[0] in (IDENTITIES, IDENTITY_MAP)
        if place.kind is _Kind.IDENTITY:
            by_namespace = path[0] in (IDENTITIES, IDENTITY_MAP) and path[1:2] in ((), place.path)
            return by_namespace or path == (column,)
        inner = path[1:] if path[0] == ATTRIBUTES else path
        length = min(len(inner), len(place.path))
        return place.kind is _Kind.ATTRIBUTE and inner[:length] == place.path[:length]


class _Broken(Exception):  # noqa: N818 - the outcome of a row
    pass


_UNSET: Final = object()


class _Read:
    """What has been read of one row."""

    __slots__ = ("attributes", "identities", "own_status", "statuses")

    def __init__(self) -> None:
        self.identities: dict[str, list[str] | None] = {}
        self.attributes: dict[str, Json] = {}
        self.statuses: list[Any] = []
        self.own_status: Any = _UNSET

    def nest(self, name: str, path: tuple[str, ...], value: Json) -> None:
        """Put a value into the objects that its path names. Where one is something else, the name stays whole."""
        place = self.attributes
        if value is None:
            place.setdefault(path[0], None)
            return
        for step in path[:-1]:
            inner = place.get(step)
            if inner is None:
                inner = place[step] = {}
            if not isinstance(inner, dict):
                self.attributes[name] = value
                return
            place = inner
        place[path[-1]] = value

    def identify(self, namespace: str, value: Json) -> None:
        """Add the ids of a value: one, a list, or entries of an identityMap."""
        ids = self.identities.get(namespace) or []
        for one in value if isinstance(value, list) else (value,):
            text = id_of(one.get("id") if isinstance(one, dict) else one)
            if text is None or text in ids:
                continue
            if len(text) > MAX_IDENTITY:
                raise _Broken(_LONG_IDENTITY)
            ids.append(text)
        self.identities[namespace] = ids or None

    def realized(self) -> bool:
        """Return whether the row is that of a member; every row is where nothing tells."""
        status = self.own_status
        if status is _UNSET:
            if len(self.statuses) > 1:
                raise _Broken(_SEVERAL_STATUSES)
            if not self.statuses:
                return True
            status = self.statuses[0]
        text = text_of(status)
        if text is None:
            raise _Broken(_NO_STATUS)
        if text.lower() not in STATUSES:
            raise _Broken(_UNKNOWN_STATUS)
        return STATUSES[text.lower()]

    def identity_map(self) -> dict[str, Json]:
        """Return the identities as Adobe writes them; what a file has of them is what it is keyed by."""
        named: Iterator[tuple[str, list[str]]] = ((name, ids) for name, ids in self.identities.items() if ids)
        return {name: [{"id": one, "primary": True} for one in ids] for name, ids in named}
