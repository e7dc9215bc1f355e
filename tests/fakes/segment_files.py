"""Segment files in memory, around an importer that may die at any step."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat

from relay.domain.changes import Change, MembershipChange
from relay.domain.keyed_hash import BUCKETS
from relay.domain.segment_imports import FilePart, RowFault, SegmentImport
from relay.files.rows import Row, Unreadable
from relay.observability import Observability
from relay.routing import coalesce
from relay.routing.catalogue import Catalogue
from relay.routing.merge import Room
from relay.routing.read import Arrival
from relay.routing.write import Writer
from relay.segment_imports.applying import Applier
from relay.segment_imports.files import FileSet, Member
from relay.segment_imports.importer import Importer
from relay.settings.exports import Outline
from relay.stores import breakers, profiles, segment_imports, segments, waits
from relay.stores.waits import SegmentWait
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

SEGMENT, OTHER = "shop/vip", "shop/lapsed"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OBSERVE = Observability(io.StringIO())


def person(number: int) -> str:
    return f"{number * 37 % 256:02x}{number:030x}"


class MemoryFiles:
    """Sets by segment; a row is a number of a person, a text that is broken, or a number and attributes."""

    def __init__(self) -> None:
        self.found: dict[str, list[FileSet]] = {}
        self.contents: dict[str, list[object]] = {}
        self.unreadable: set[str] = set()
        self.refused: dict[str, str] = {}
        self.empty_allowed = False
        self.empty_lines: Callable[[], None] = lambda: None
        """Is called as a part begins with many lines without anything."""
        self.fails: BaseException | None = None

    def put(self, at: datetime, rows: Sequence[object], segment: str = SEGMENT, *, due: datetime | None = None) -> None:
        key = f"{segment}/{at:%H%M%S}-{len(self.contents)}.csv"
        self.contents[key] = list(rows)
        self.found.setdefault(segment, []).append(FileSet(at, (FilePart(key, len(rows), "e"),), due))

    def sets(self, segment: str) -> Sequence[FileSet]:
        found = self.found.get(segment, [])
        return [one._replace(refused=self.refused.get(one.parts[0].key)) for one in found]

    def rows(
        self, segment: str, parts: Sequence[FilePart], watch: Callable[[], None] | None = None
    ) -> Iterator[Row | RowFault]:
        for part in parts:
            if watch is not None:
                self.empty_lines()
                watch()
            if self.fails is not None:
                raise self.fails
            for line, row in enumerate(self.contents[part.key], 1):
                if isinstance(row, str):
                    yield RowFault(part.key, line, row)
                else:
                    number, attributes = row if isinstance(row, tuple) else (row, {})
                    yield Row(part.key, line, {"number": number, **attributes})
            if part.key in self.unreadable:
                raise Unreadable("the file ends too early")

    def members(self, segment: str) -> Callable[[Row], Member]:
        return self._member

    def _member(self, row: Row) -> Member:
        attributes = dict(row.values)
        number = attributes.pop("number")
        if number == "wrong":
            raise ValueError("has no status")
        ids = () if number is None else (person(abs(number)),)
        return Member(ids, {}, attributes, number is None or number >= 0)

    def allows_empty(self, segment: str) -> bool:
        return self.empty_allowed


class MemoryPages:
    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], bytes] = {}

    def keep(self, import_id: str, page: int, ids: bytes) -> None:
        self.kept[import_id, page] = ids

    def read(self, import_id: str) -> Iterator[bytes]:
        yield from (ids for (one, _), ids in sorted(self.kept.items()) if one == import_id)

    def drop(self, import_id: str) -> None:
        self.kept = {key: ids for key, ids in self.kept.items() if key[0] != import_id}


class Outlines:
    def export_outlines(self) -> Mapping[str, Outline]:
        given = [
            Outline("letters", "main", True, True, (SEGMENT,), 1),
            Outline("letters", "other", True, False, (OTHER,), 1),
            Outline("parcels", "both", True, None, (OTHER, SEGMENT), 1),
            Outline("parcels", "paused", False, True, (SEGMENT,), 1),
        ]
        return {one.key: one for one in given}


@dataclass
class World:
    """One stack's store, files and importer."""

    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    files: MemoryFiles = field(default_factory=MemoryFiles)
    pages: MemoryPages = field(default_factory=MemoryPages)
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON + timedelta(hours=1)))
    seconds: float = 900.0
    seconds_after: float | None = None
    """Seconds that an invocation has left once it has looked at its time; None where they stay."""
    at_once: int = 1
    most_rows: int = 1_000

    def __post_init__(self) -> None:
        self._workers = 0
        self.writer = self._writer()

    def _writer(self) -> Writer:
        return Writer(self.database, Catalogue(self.database, self.clock), self.clock, OBSERVE, Room())

    def importer(self) -> Importer:
        def new_id() -> str:
            self._workers += 1
            return f"worker-{self._workers}"

        applier = Applier(self._writer(), OBSERVE)
        parts = Outlines(), self.clock, OBSERVE, new_id
        return Importer(
            self.database,
            self.files,
            self.pages,
            applier,
            *parts,
            page=4,
            chunk=2,
            at_once=self.at_once,
            most_rows=self.most_rows,
        )

    def look(self, segment: str = SEGMENT, about: str = "") -> None:
        left = chain([self.seconds], repeat(self.seconds if self.seconds_after is None else self.seconds_after))
        self.importer().look(segment, about, lambda: next(left))

    def follow_waits(self) -> None:
        """Let time pass until nothing waits."""
        for _ in range(200):
            due = [one for part in waits.due(self.database, self.clock.now()) for one in part]
            for one in due:
                assert isinstance(one, SegmentWait)
                self.look(one.segment, one.about)
                waits.drop(self.database, [one])
            left = [one for part in waits.due(self.database, self.clock.now() + timedelta(days=2)) for one in part]
            if not left:
                return
            self.clock.advance(60)
        raise AssertionError("it never comes to rest")

    def stream(
        self, number: int, *, realized: bool, at: datetime, segment: str = SEGMENT, **attributes: object
    ) -> None:
        now = self.clock.now()
        change = Change((person(number),), now, memberships=[MembershipChange(segment, realized, at)])
        self.writer.write(coalesce.by_id([Arrival("shop", change, "webhook")]))

    def members(self, segment: str = SEGMENT) -> set[int]:
        listed = [one for bucket in range(BUCKETS) for one in segments.listing(self.database, segment, bucket)]
        held = [one for one in profiles.load(self.database, listed) if one is not None]
        return {int(one.id[2:], 16) for one in held if segment in one.memberships and one.memberships[segment].realized}

    def imports(self, segment: str | None = SEGMENT) -> list[SegmentImport]:
        return segment_imports.latest(self.database, segment)

    def requested(self) -> set[str]:
        """Return the exports that a run is requested for."""
        keys = [one.key.split("/") for one in Outlines().export_outlines().values()]
        return {
            f"{connection}/{name}"
            for connection, name in keys
            if breakers.load_one(self.database, connection, name).resync
        }
