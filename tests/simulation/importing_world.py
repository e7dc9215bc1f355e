"""What the plain world leaves out: files and closed sets of pages replace who is in a segment, between changes.

Files have several parts, are late, older than others, partly broken, cut off, empty, or replaced while they are
imported. The oracle knows which set is the newest, and what was told with a later time.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from relay.domain.changes import Change, MembershipChange
from relay.domain.closed_sets import SetPage
from relay.domain.profiles import Profile
from relay.domain.segment_imports import ENDED, FilePart, ImportState, RowFault, SegmentImport
from relay.files.rows import Row, Unreadable
from relay.queues import Message
from relay.routing.catalogue import Catalogue
from relay.routing.write import Writer
from relay.segment_imports import importer, reading
from relay.segment_imports.applying import Applier
from relay.segment_imports.files import FileSet, Member
from relay.segment_imports.importer import Importer
from relay.stores import closed_sets, profiles, segment_imports
from relay.stores.database import Item, Key, Table
from tests.fakes.simulated_queue import SimQueue
from tests.simulation.database import Changes
from tests.simulation.process import Process
from tests.simulation.promises import promise
from tests.simulation.watch import live
from tests.simulation.world import SOURCE, World

FILED, PAGED = "shop/filed", "shop/paged"

PART = 3
"""Rows of a part."""


@dataclass(eq=False)
class SimSet:
    """A set that was brought: whom it names, and what was known when it came."""

    segment: str
    at: datetime
    named: set[str]
    """Ids."""
    broken: int = 0
    is_cut_off: bool = False
    waiting: set[str] = field(default_factory=set)
    """Batches of changes that were not merged yet when it came."""
    brought: int = 0
    """How many batches of changes there were."""
    roots: Mapping[str, str] = field(default_factory=dict)
    """Which ids were one person by then."""


@dataclass(eq=False)
class SimFile:
    """One object of the bucket. A row is the ids of a person and whether it is a member, or why it is broken."""

    key: str
    etag: str
    rows: Sequence[tuple[tuple[str, ...], bool] | str]
    is_cut_off: bool = False


class SimFiles:
    """The bucket: reading may be the end of whoever reads, at every row."""

    def __init__(self, world: "ImportingWorld") -> None:
        self._world = world
        self.objects: dict[str, SimFile] = {}
        self.found: list[tuple[FileSet, bool]] = []
        self.pages: dict[tuple[str, int], bytes] = {}

    def sets(self, segment: str) -> Sequence[FileSet]:
        self._world.step("before list")
        now = self._world.time
        there = [
            one._replace(due=None if one.due is None or one.due <= now else one.due)
            for one, _ in self.found
            if all(part.key in self.objects and self.objects[part.key].etag == part.etag for part in one.parts)
        ]
        complete = [one for one in there if one.due is None]
        return [*(one for one in there if one.due is not None), *sorted(complete, key=lambda one: one.at)[-1:]]

    def rows(
        self, segment: str, parts: Sequence[FilePart], watch: Callable[[], None] | None = None
    ) -> Iterator[Row | RowFault]:
        for part in parts:
            self._world.step("before part")
            held = self.objects.get(part.key)
            if held is None or held.etag != part.etag:
                raise Unreadable("a file was replaced or deleted meanwhile")
            for line, row in enumerate(held.rows, 1):
                if isinstance(row, str):
                    yield RowFault(part.key, line, row)
                else:
                    yield Row(part.key, line, {"ids": row[0], "is_in": row[1]})
            if held.is_cut_off:
                raise Unreadable("a file ends too early")

    def members(self, segment: str) -> Callable[[Row], Member]:
        def member(row: Row) -> Member:
            return Member(tuple(sorted(row.values["ids"])), {}, {"name": "A"}, row.values["is_in"])

        return member

    def allows_empty(self, segment: str) -> bool:
        return False


class SimPages:
    """Who imports have seen, in the bucket."""

    def __init__(self, world: "ImportingWorld") -> None:
        self._world = world
        self.kept: dict[tuple[str, int], bytes] = {}

    def keep(self, import_id: str, page: int, ids: bytes) -> None:
        self._world.step("before page")
        self.kept[import_id, page] = ids
        self._world.step("after page")

    def read(self, import_id: str) -> Iterator[bytes]:
        self._world.step("before pages")
        yield from [ids for (one, _), ids in sorted(self.kept.items()) if one == import_id]

    def drop(self, import_id: str) -> None:
        for key in [key for key in sorted(self.kept) if key[0] == import_id]:
            self._world.step("before page goes")
            self.kept.pop(key, None)


class ImportingProcess(Process):
    """The relay with an importer that reads few rows at a time."""

    def __init__(self, world: "ImportingWorld") -> None:
        super().__init__(world)
        stack = self.stack
        stack.segment_files = world.segment_files
        writer = Writer(stack.database, Catalogue(stack.database, stack.clock), stack.clock, stack.observe, stack.room)
        parts = world.files, world.pages, Applier(writer, stack.observe), stack.outlines, stack.clock, stack.observe
        stack.importer = Importer(stack.database, *parts, world.new_id, page=4, chunk=2)


class ImportingWorld(World):
    """Plays as the plain world does, over segments that whole sets replace."""

    process = ImportingProcess
    segments = (FILED, PAGED)
    replaced = frozenset(segments)

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.sets: dict[tuple[str, datetime], SimSet] = {}
        """Files by segment and time."""
        self.paged: dict[str, SimSet] = {}
        """Closed sets by our id."""
        self._pages: list[tuple[SetPage, list[Change]]] = []
        super().__init__(seed, tell)
        self.files, self.pages = SimFiles(self), SimPages(self)
        self.segment_files = self._queue("segments", fifo=False)
        self.segment_files.receive_limit = 1000
        self.database.watch = self._see
        self.people = [
            [self.keyed(SOURCE, f"{number}.{device}") for device in range(self.chance.choice([1, 1, 1, 2, 3]))]
            for number in range(self.chance.randint(6, 14))
        ]

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with (
            super().under_way(),
            patch.object(reading, "LONGEST_READING", 5.0),
            patch.object(importer, "LAST_STEP", self.chance.choice([20.0, 94.0])),
        ):
            yield

    # What happens around the relay.

    def _surprise(self) -> None:
        roll = self.chance.random()
        if roll < 0.03:
            self.bring_a_file()
        elif roll < 0.05:
            self.begin_a_closed_set()
        elif roll < 0.08 and self._pages:
            self._bring_a_page()
        elif roll < 0.085:
            self.cancel_an_import()
        else:
            super()._surprise()

    def bring_a_file(self) -> None:
        """Files of a segment come, all at once or one after the other, or replace others."""
        chance, number = self.chance, len(self.sets)
        at = self.time - timedelta(seconds=chance.choice([0, 0, 30, 300, 3000]), microseconds=number + 1)
        rows: list[tuple[tuple[str, ...], bool] | str] = [
            (tuple(chance.sample(person, chance.randint(1, min(2, len(person))))), chance.random() > 0.05)
            for person in self.people
            if chance.random() < 0.8
        ]
        kind = chance.choice(["whole"] * 6 + ["broken", "cut off", "empty"])
        if kind == "broken":
            rows[chance.randrange(len(rows) + 1) :][:1] = ["has too many columns"]
            rows.append("has too few columns")
        elif kind == "empty":
            rows = []
        chance.shuffle(rows)
        is_again = chance.random() < 0.2 and bool(self.files.objects)
        names = sorted(self.files.objects) if is_again else []
        parts: list[FilePart] = []
        for place, start in enumerate(range(0, max(1, len(rows)), PART)):
            key = names[place] if place < len(names) else f"{number}-{place}.csv"
            one = SimFile(key, f"{number}", rows[start : start + PART], kind == "cut off" and start + PART >= len(rows))
            self.files.objects[key] = one
            parts.append(FilePart(key, len(one.rows), one.etag))
        due = self.time + timedelta(minutes=5) if chance.random() < 0.3 else None
        self.files.found.append((FileSet(at, tuple(parts), due), True))
        named = {one for row in rows if not isinstance(row, str) and row[1] for one in row[0]}
        broken = sum(isinstance(row, str) for row in rows)
        self.sets[FILED, at] = self._known(SimSet(FILED, at, named, broken, kind in ("cut off", "empty")))
        self.happened[f"files that came {kind}"] += 1
        self.say(f"a file {kind} of {at} {rows}")
        self.segment_files.send([Message({"segment": FILED, "about": ""})])

    def _known(self, one: SimSet) -> SimSet:
        queued = {json.loads(parcel.body)["id"] for parcel in self.changes.parcels}
        roots = {profile_id: self.watch.root(profile_id) for profile_id in self.watch.profiles}
        return replace(one, waiting=queued, brought=len(self.posted), roots=roots)

    def begin_a_closed_set(self) -> None:
        """A platform begins to send all members of a segment in pages, of which one may never come."""
        chance, name = self.chance, f"set-{len(self.paged)}"
        people = [person for person in self.people if chance.random() < 0.8]
        count = chance.randint(1, 3)
        pages = []
        for number in range(1, count + 1):
            given = [Change((chance.choice(person),), self.time) for person in people[number - 1 :: count]]
            pages.append((SetPage(PAGED, name, number, count), given))
        named = {profile_id for _, given in pages for change in given for profile_id in change.profile_ids}
        self.paged[closed_sets.id_of(pages[0][0])] = SimSet(PAGED, self.time, named)
        chance.shuffle(pages)
        self._pages += pages if chance.random() < 0.85 else pages[1:]

    def _bring_a_page(self) -> None:
        page, given = self._pages.pop(self.chance.randrange(len(self._pages)))
        if self.chance.random() < 0.2:
            # The platform had no answer, and sends it again.
            self._pages.append((page, given))
        # No two sets are of one time.
        now = self.time + timedelta(microseconds=len(self.posted) + 1)
        told = [
            replace(one, received_at=now, memberships=[MembershipChange(PAGED, True, now)], attributes={"name": "B"})
            for one in given
        ]
        if not told:
            told = [Change((), now, rejection="wrong_shape")]
            self.paged[closed_sets.id_of(page)].broken += 1
        self.post_changes(told, page)

    def cancel_an_import(self) -> None:
        """An operator ends an import where it stands."""
        waiting = [one for one in self._imports() if one.state not in ENDED]
        if waiting:
            one = self.chance.choice(waiting)
            self.happened["imports cancelled"] += 1
            self._operate(lambda process: process.stack.importer.cancel(one.id, "operator"))

    def confirm_runs(self) -> None:
        super().confirm_runs()
        for one in self._imports():
            if one.state is ImportState.NEEDS_CONFIRMATION:
                self.happened["imports confirmed"] += 1
                self._confirm(one.id)

    def _confirm(self, import_id: str) -> None:
        self._operate(lambda process: process.stack.importer.confirm(import_id, "operator"))

    def _operate(self, act: Callable[[Process], object]) -> None:
        def work(process: Process) -> list[str]:
            act(process)
            return []

        self.invoke("operator", work, None, [])

    # The relay's function.

    @property
    def plain_queues(self) -> tuple[SimQueue, ...]:
        return *super().plain_queues, self.segment_files

    def work_beside(self) -> bool:
        batch = self.segment_files.receive(1) if self.segment_files.parcels else []
        if batch:
            left = self._seconds_left()
            self.invoke(
                "import",
                lambda process: process.stack.segment_files_worker().consume(batch, left),
                self.segment_files,
                batch,
            )
        return bool(batch)

    def _waiting(self) -> list[Callable[[], object]]:
        return super()._waiting() + [self.work_beside] * 3 * self.segment_files.has_ready()

    def _invocations_beside(self, waiting: Any) -> list[Callable[[], object]]:
        found = super()._invocations_beside(waiting)
        return [*found, self.work_beside, self.work_beside, self.route]

    def _imports(self, segment: str | None = None) -> list[SegmentImport]:
        items = self.database.control("segment-import")
        found = [segment_imports._import(key.pk.partition("#")[2], item) for key, item in items if key.sk == "header"]
        return [one for one in found if segment in (None, one.segment)]

    def unrest(self) -> list[str]:
        return super().unrest() + [f"import {one.id}" for one in self._imports() if one.state not in ENDED]

    # What has to be true.

    def told_by_sets(self) -> list[tuple[set[str], str, datetime, datetime]]:
        # Of everybody: who is not named leaves.
        known = [*self.sets.values(), *self.paged.values()]
        return [(set(self.watch.profiles), held.segment, held.at, held.at) for held in known]

    def _set_of(self, one: SegmentImport) -> SimSet:
        return self.sets[one.segment, one.at] if one.closed_set is None else self.paged[one.closed_set]

    def _see(self, changes: Changes) -> None:
        self.watch(changes)
        for key, old in changes.items():
            if key.table is Table.PROFILES:
                self._check_written(key, old)
            elif key.pk.startswith("segment-import#") and key.sk == "header" and old is None:
                self._begun(key)

    def _begun(self, key: Key) -> None:
        """A closed set is known from the moment at which its import begins."""
        item = self.database.peek(key)
        assert item is not None
        one = segment_imports._import(key.pk.partition("#")[2], item)
        if one.closed_set is not None:
            self.paged[one.closed_set] = self._known(replace(self.paged[one.closed_set], at=one.at))

    def _check_written(self, key: Key, old: Item | None) -> None:
        """Who enters or leaves by an import is, or is not, named by it; and it may do that."""
        new = profiles.of_item(self.database.peek(key))
        before = profiles.of_item(old)
        if not isinstance(new, Profile) or new.trace is None:
            return
        header = self.database.peek(Key(Table.CONTROL, f"segment-import#{new.trace}", "header"))
        if header is None:
            return
        one = segment_imports._import(new.trace, header)
        given, ids = self._set_of(one), {new.id, *new.joined}
        held = new.memberships.get(one.segment)
        was = before.memberships.get(one.segment) if isinstance(before, Profile) else None
        promise(not given.is_cut_off, f"{one.id} cannot be read, and writes {new.id}")
        if held is None or held.at != one.at or (was is not None and was.realized is held.realized):
            return
        if held.realized:
            self.happened["people who entered by a set"] += 1
            promise(ids & given.named, f"{new.id} enters by {one.id}, which does not name it")
            return
        self.happened["people who left by a set"] += 1
        promise(one.state is ImportState.REMOVING, f"{new.id} leaves by {one.id}, which is {one.state}")
        promise(not ids & given.named, f"{new.id} leaves by {one.id}, which names it")
        promise(was is not None and was.at <= one.at, f"{new.id} leaves by {one.id}, which is older than {was}")
        promise(one.confirmed_by or not given.broken, f"{new.id} leaves by {one.id}, in which rows are broken")

    def settle_down(self) -> None:
        super().settle_down()
        self.check_sets()
        # The newest of all, when nothing is in its way.
        self.bring_a_file()
        self.come_to_rest()
        self.check_sets()

    def check_sets(self) -> None:
        """The members of a segment are those whom its newest set names, but for what was told with a later time."""
        for segment in self.segments:
            used = [one for one in self._imports(segment) if not _had_no_effect(one)]
            newest = max(used, key=lambda one: one.order, default=None)
            if newest is None or newest.state is not ImportState.DONE:
                self.happened["newest sets that were stopped"] += newest is not None
                continue
            given = self._set_of(newest)
            for profile in live(self.watch.profiles.values()):
                self._check_member(profile, newest, given)

    def _check_member(self, profile: Profile, newest: SegmentImport, given: SimSet) -> None:
        ids = {one for one in self.watch.profiles if self.watch.root(one) == profile.id}
        held = profile.memberships.get(newest.segment)
        told = [
            (one.at, not one.realized, number >= given.brought or batch.id in given.waiting)
            for number, batch in enumerate(self.posted)
            for change in batch.changes
            if ids & set(change.profile_ids)
            for one in change.memberships
            if one.segment == newest.segment
        ]
        later = [(at, is_exit) for at, is_exit, _ in told if at > newest.at]
        is_unsure = any(at <= newest.at and was_late for at, _, was_late in told)
        # An import that was superseded may have told that ids are one person, and not have made them one.
        was_one = len({given.roots.get(one, one) for one in ids}) == 1 and profile.joined <= ids
        if profile.forgotten is not None or (not later and (is_unsure or not was_one)):
            return
        is_in = held is not None and held.realized
        if later:
            _, is_exit = max(later)
            promise(is_in is not is_exit, f"{profile.id} is {held}, told {later} after {newest.id}")
            self.happened["memberships told after the newest set"] += 1
        else:
            promise(is_in is bool(ids & given.named), f"{profile.id} is {held} after {newest.id} of {newest.at}")
            self.happened["memberships as the newest set has them"] += 1


def _had_no_effect(one: SegmentImport) -> bool:
    return one.state is ImportState.REFUSED and not (one.reason or "").startswith("changed while")
