"""Assignments in DynamoDB: pk `connection/export#bucket`, sk profile id; identities lie here in clear."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from relay.domain.assignment import Assignment, MappingRejection, Pair
from relay.domain.keyed_hash import bucket_of
from relay.domain.moments import from_microseconds, microseconds
from relay.domain.problems import RejectionKind
from relay.stores.database import ABSENT, Database, Delete, Item, Key, Put, Table, Update, Write

FORMAT: Final = 1
PAGE = 500


class Stored(NamedTuple):
    """An assignment and how often it was written; 0 when it is not stored."""

    assignment: Assignment
    version: int


NONE: Final = Stored(Assignment(), 0)


def key_of(export: str, profile: str) -> Key:
    """Return where the assignment of a profile for an export (`connection/name`) lies."""
    return Key(Table.ASSIGNMENTS, _partition(export, bucket_of(profile)), profile)


def of_item(item: Item | None) -> Stored:
    """Return what an item holds."""
    return NONE if item is None else Stored(decode(item["doc"]), int(item["version"]))


def load(database: Database, export: str, profiles: Sequence[str]) -> dict[str, Stored]:
    """Return the assignments of all the profiles, the default for those not stored."""
    items = database.get([key_of(export, profile) for profile in profiles])
    return {profile: of_item(item) for profile, item in zip(profiles, items, strict=True)}


def listing(database: Database, export: str, bucket: int, after: str) -> Iterator[tuple[str, Item]]:
    """Yield the assignments of one bucket sorted by profile id, those after a given id, reading page by page.

    They are items still, so that one that cannot be read concerns its profile alone (`of_item`).
    """
    while True:
        page = database.query(Table.ASSIGNMENTS, _partition(export, bucket), after=after, limit=PAGE)
        for item in page:
            after = str(item["sk"])
            yield after, item
        if len(page) < PAGE:
            return


def save(export: str, profile: str, assignment: Assignment, version: int) -> Write:
    """Return the write of an assignment over the version that was read; an empty one is deleted."""
    key = key_of(export, profile)
    if version == 0:
        return Put(key, {"doc": encode(assignment), "version": 1, "format": FORMAT}, {"pk": ABSENT})
    if assignment.is_empty:
        return Delete(key, {"version": version})
    return Update(key, {"doc": encode(assignment), "version": version + 1}, expect={"version": version})


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
# Half the time of `json.loads`, which looks for spaces around.
_decode = json.JSONDecoder().raw_decode


PACKED_FROM = 20_000
"""Characters from which an assignment is stored compressed: an item has room for 400 KB."""


def encode(assignment: Assignment) -> str | bytes:
    """Return the stored form: identities by target, settings, since when, a rejection, when it took something over."""
    targets: dict[str, list[str]] = {}
    for pair in sorted(assignment.pairs):
        targets.setdefault(pair.target, []).append(pair.identity)
    rejection = assignment.rejection
    doc: list[Any] = [
        targets,
        assignment.settings,
        _microseconds(assignment.since),
        None if rejection is None else [rejection.kind.value, rejection.code, _microseconds(rejection.at)],
        _microseconds(assignment.took_over_at),
    ]
    while doc[-1] is None:
        doc.pop()
    text = _encode(doc)
    return text if len(text) < PACKED_FROM else zlib.compress(text.encode())


def decode(doc: str | int | bytes) -> Assignment:
    """Read the stored form."""
    given, _ = _decode(zlib.decompress(doc).decode() if isinstance(doc, bytes) else str(doc))
    targets, settings, since, rejection, took_over_at = given + [None] * (5 - len(given))
    return Assignment(
        _pairs(targets),
        settings,
        _moment(since),
        None if rejection is None else _rejection(*rejection),
        _moment(took_over_at),
    )


def _pairs(targets: Mapping[str, Sequence[str]]) -> frozenset[Pair]:
    return frozenset([Pair(target, identity) for target, identities in targets.items() for identity in identities])


def _rejection(kind: str, code: str, at: int) -> MappingRejection:
    return MappingRejection(RejectionKind(kind), code, from_microseconds(at))


def _partition(export: str, bucket: int) -> str:
    return f"{export}#{bucket:02x}"


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _moment(given: int | None) -> datetime | None:
    return None if given is None else from_microseconds(given)
