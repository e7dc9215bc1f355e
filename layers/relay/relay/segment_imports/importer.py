"""Works on imports of segments, step by step: each step is safe to repeat, and to die in.

Only who has the turn of a segment writes for its imports. The turn ends with the invocation; a worker that died is
waited out. So a newer set never meets writes of an older one.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Final

from relay.clock import Clock
from relay.domain import moments
from relay.domain.closed_sets import Kind, Present, packed
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.keyed_hash import BUCKETS
from relay.domain.segment_imports import (
    ENDED,
    ImportState,
    RowFault,
    SegmentImport,
    to_confirm,
    with_faults,
)
from relay.files.rows import Replaced, Row, Unreadable
from relay.observability import Count, Observability
from relay.reconcile.pool import pool_of
from relay.routing.router import Outlines
from relay.segment_imports import reading
from relay.segment_imports.applying import Applied, Applier
from relay.segment_imports.files import Files, FileSet, Pages
from relay.segment_imports.known_sets import among_known, digest, newest_first
from relay.segment_imports.leaving import Leavers
from relay.segment_imports.repeated import without_overruled
from relay.stores import breakers, closed_sets, segment_imports, waits
from relay.stores.closed_sets import ClosedSet
from relay.stores.database import Database
from relay.stores.segment_imports import Turn
from relay.stores.waits import SegmentWait

PAGE: Final = 5_000
"""Rows after which the cursor moves."""

CHUNK: Final = 500
"""Rows that are read, merged and written together."""

AT_ONCE: Final = 4
"""Chunks under way at the same time, where the database takes its time."""

BUCKETS_AT_ONCE: Final = 8

LAST_STEP: Final = 60.0
"""Seconds that must be left for another step."""

MOST_ROWS: Final = 10_000_000
"""The most rows of a set: who is present takes 17 bytes a row in memory."""

MOST_PARTS: Final = 10_000
"""The most objects of a set: opening each takes tens of milliseconds, and all are opened within one invocation."""

AGAIN: Final = timedelta(minutes=1)
"""When to look again where another worker has the turn."""

COUNTED: Final = frozenset(
    {
        *("members", "duplicates", "entered", "updated", "unchanged", "rejected"),
        *("members_before", "leaving", "left", "later"),
    }
)
"""What counting finds. Before, `members` are the rows whose members are kept, with repeats."""

_TOO_EARLY: Final = "so it changed nothing: import it with a later time (--at) to use it"
FUTURE: Final = "its time is in the future"
GONE: Final = "who is present is not known any more: import it again with a later time"


class Importer:
    """Takes imports from step to step. `new_id` names the worker of one call."""

    def __init__(
        self,
        database: Database,
        files: Files,
        pages: Pages,
        applier: Applier,
        outlines: Outlines,
        clock: Clock,
        observe: Observability,
        new_id: Callable[[], str],
        *,
        page: int = PAGE,
        chunk: int = CHUNK,
        at_once: int = 1,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._database = database
        self._files = files
        self._pages = pages
        self._applier = applier
        self._outlines = outlines
        self._clock = clock
        self._observe = observe
        self._new_id = new_id
        self._page = page
        self._chunk = chunk
        self._at_once = at_once
        self._most_rows = most_rows

    def look(self, segment: str, about: str, seconds_left: Callable[[], float]) -> None:
        """Go on with an import or a closed set, or see which files lie in the folder of a segment. Raises Transient."""
        if not about:
            self._look_at_files(segment, seconds_left)
            return
        closed = closed_sets.load(self._database, about)
        one = (
            segment_imports.load(self._database, about)
            if closed is None
            else self._begin(closed.segment, FileSet(closed.at, ()), seconds_left, closed)
        )
        if one is not None:
            self._go_on(one, seconds_left)

    def confirm(self, import_id: str, by: str) -> bool:
        """Let an import remove who is missing; False when it does not wait for that."""
        one = segment_imports.load(self._database, import_id)
        if one is None or one.state is not ImportState.NEEDS_CONFIRMATION:
            return False
        moved = replace(one, state=ImportState.REMOVING, cursor=0, reason=None, confirmed_by=by)
        now = self._clock.now()
        waits.put(self._database, [SegmentWait(now, one.id)])
        return segment_imports.save(self._database, moved, now) is not None

    def cancel(self, import_id: str, by: str) -> bool:
        """End an import where it stands; False when it is over."""
        one = segment_imports.load(self._database, import_id)
        if one is None or one.state in ENDED:
            return False
        return self._end(one, ImportState.CANCELLED, f"cancelled by {by}")

    def _look_at_files(self, segment: str, seconds_left: Callable[[], float]) -> None:
        try:
            sets = self._files.sets(segment)
        except Replaced as why:
            self._observe.info("segment files", segment=segment, reason=str(why))
            waits.put(self._database, [SegmentWait(self._clock.now() + AGAIN, "", segment)])
            return
        waits.put(self._database, [SegmentWait(one.due, "", segment) for one in sets if one.due is not None])
        newer: SegmentImport | None = None
        for given in newest_first(sets):
            one = self._begin(segment, given, seconds_left, newer=newer)
            self._go_on(one, seconds_left)
            if newer is None:
                now = segment_imports.load(self._database, one.id)
                if now is not None and now.state is ImportState.CHECKING:
                    # If it turns out to be of no use, an older one is.
                    waits.put(self._database, [SegmentWait(self._clock.now() + AGAIN, "", segment)])
                    return
                newer = None if now is None or now.state is ImportState.REFUSED else now

    def _begin(
        self,
        segment: str,
        given: FileSet,
        seconds_left: Callable[[], float],
        closed: ClosedSet | None = None,
        *,
        newer: SegmentImport | None = None,
    ) -> SegmentImport:
        """Return the import of a set, which begins now unless it is known.

        One that cannot be used is recorded as refused, so that somebody can see what became of it. `newer` is an import
        of a newer set.
        """
        now = self._clock.now()
        closed_set = None if closed is None else closed.id
        import_id = f"{given.at:%Y%m%dT%H%M%S}-{digest(segment, given, closed_set)}"
        first = ImportState.CHECKING if closed_set is None else ImportState.COUNTING
        counts = {} if closed is None else {"broken": closed.broken}
        one = SegmentImport(import_id, segment, given.at, now, first, closed_set, counts=counts, moved_at=now)
        if (known := segment_imports.load(self._database, import_id)) is not None:
            return known
        refused = given.refused
        if refused is None and given.at > now + CLOCK_MARGIN:
            refused = FUTURE
        elif refused is None and len(given.parts) > MOST_PARTS:
            refused = f"it has {len(given.parts):,} parts, and {MOST_PARTS:,} are the most: write fewer, larger ones"
        one, part_of = among_known(self._database, one, given)
        if why := part_of or self._passed(one, newer):
            one = replace(one, state=ImportState.SUPERSEDED, reason=refused or why, ended_at=now)
        elif refused is not None:
            one = replace(one, state=ImportState.REFUSED, reason=refused, ended_at=now)
        else:
            # Whoever dies is followed by another, even if the files are gone by then.
            waits.put(self._database, [SegmentWait(now + timedelta(seconds=seconds_left()), one.id)])
        if segment_imports.begin(self._database, one, given.parts):
            self._show(one)
        found = segment_imports.load(self._database, import_id)
        return one if found is None else found

    def _passed(self, one: SegmentImport, newer: SegmentImport | None) -> str | None:
        """Return why a set is of no use any more, None where it is."""
        turn = segment_imports.turn(self._database, one.segment)
        if turn is not None and not turn.is_before(one):
            return _passed_by(turn, one)
        return None if newer is None else _passed_by(newer, one)

    def _go_on(self, one: SegmentImport, seconds_left: Callable[[], float]) -> None:
        if one.state in ENDED or one.state is ImportState.NEEDS_CONFIRMATION:
            return
        if one.state is ImportState.CHECKING:
            if seconds_left() < reading.LONGEST_READING + LAST_STEP:
                # Whether it can be read in time shows an invocation that has begun with it.
                waits.put(self._database, [SegmentWait(self._clock.now(), one.id)])
                return
            checked = self._check(one, seconds_left)
            if checked is None:
                return
            one = checked
        worker = self._new_id()
        if not self._take_turn(one, worker, seconds_left):
            return
        try:
            self._work(one, worker, seconds_left)
        except Exception:  # whatever it is; who dies keeps the turn until it runs out
            segment_imports.end_turn(self._database, one.segment, worker)
            raise
        segment_imports.end_turn(self._database, one.segment, worker)

    def _check(self, one: SegmentImport, seconds_left: Callable[[], float]) -> SegmentImport | None:
        """Read all parts to their ends; return the import as it goes on, None when it does not.

        This has no cursor: what cannot be read within one invocation is refused, and so is what ended several of them.
        """
        if (begun := self._tried(one)) is None:
            return None
        one = begun
        watch = reading.watch_of(seconds_left)
        try:
            rows = self._files.rows(one.segment, segment_imports.parts(self._database, one.id), watch)
            member_of, allows_empty = self._files.members(one.segment), self._files.allows_empty(one.segment)
            found = reading.checked(rows, member_of, self._most_rows, self._page, watch, allows_empty=allows_empty)
        except Exception as error:
            why = reading.why_unreadable(error, one.id, self._observe)
            one = replace(one, counts={})
            if why is None:
                segment_imports.save(self._database, one, self._clock.now())
                raise
            self._end(one, ImportState.REFUSED, why)
            return None
        one = replace(one, counts=found.counts, faults=with_faults((), found.faults))
        if found.refused is not None:
            self._end(one, ImportState.REFUSED, found.refused)
            return None
        return segment_imports.save(self._database, replace(one, state=ImportState.APPLYING), self._clock.now())

    def _tried(self, one: SegmentImport) -> SegmentImport | None:
        """Note that reading begins; None where it may not, or somebody else has begun with it."""
        tries = one.counts.get("tries", 0) + 1
        if tries > reading.MOST_TRIES:
            self._end(replace(one, counts={}), ImportState.REFUSED, reading.NEVER_READ)
            return None
        return segment_imports.save(self._database, replace(one, counts={"tries": tries}), self._clock.now())

    def _take_turn(self, one: SegmentImport, worker: str, seconds_left: Callable[[], float]) -> bool:
        """Take the turn of the segment; False where that is not possible now. It lasts as long as the invocation."""
        now = self._clock.now()
        known = segment_imports.turn(self._database, one.segment)
        if known is not None and not known.is_before(one):
            self._end(one, ImportState.SUPERSEDED, _passed_by(known, one))
            return False
        if known is not None and known.worker and known.until + CLOCK_MARGIN > now:
            # Whoever works on an older set sees by this that a newer one waits.
            segment_imports.take_turn(self._database, one, known, known.worker, known.until)
            waits.put(self._database, [SegmentWait(now + AGAIN, one.id)])
            return False
        until = now + timedelta(seconds=seconds_left())
        # A worker that dies is followed by another when its turn is over.
        waits.put(self._database, [SegmentWait(until + 2 * CLOCK_MARGIN, one.id)])
        if not segment_imports.take_turn(self._database, one, known, worker, until):
            waits.put(self._database, [SegmentWait(now + AGAIN, one.id)])
            return False
        if known is not None and known.id != one.id:
            before = segment_imports.load(self._database, known.id)
            if before is not None and before.state not in ENDED:
                self._end(before, ImportState.SUPERSEDED, f"a newer set came: import {one.id}")
        return True

    def _work(self, one: SegmentImport, worker: str, seconds_left: Callable[[], float]) -> None:
        steps: Mapping[ImportState, Callable[[SegmentImport], Iterator[SegmentImport | None]]] = {
            ImportState.APPLYING: self._apply,
            ImportState.COUNTING: self._count,
            ImportState.REMOVING: self._remove,
        }
        while one.state in steps:
            for moved in steps[one.state](one):
                if moved is None:
                    return
                one = moved
                turn = segment_imports.turn(self._database, one.segment)
                if turn is None or turn.worker != worker or turn.id != one.id:
                    self._end(one, ImportState.SUPERSEDED, "a newer set came")
                    return
                if seconds_left() < LAST_STEP and one.state not in ENDED:
                    waits.put(self._database, [SegmentWait(self._clock.now(), one.id)])
                    return

    def _apply(self, one: SegmentImport) -> Iterator[SegmentImport | None]:
        """Store the rows page by page, from the cursor on; then counting is next."""
        rows = self._files.rows(one.segment, segment_imports.parts(self._database, one.id))
        try:
            for _ in islice(rows, one.cursor):
                pass
            for page in reading.pages(rows, self._page):
                moved = self._apply_page(one, page)
                yield moved
                if moved is None:
                    return
                one = moved
        except Unreadable as why:
            self._end(one, ImportState.REFUSED, f"changed while it was imported: {why}")
            yield None
            return
        yield self._save(replace(one, state=ImportState.COUNTING, cursor=0))

    def _apply_page(self, one: SegmentImport, page: Sequence[Row | RowFault]) -> SegmentImport | None:
        counts, faults = Counter(one.counts), list(one.faults)
        member_of = self._files.members(one.segment)
        members = [
            (row, member._replace(place=place))
            for place, row in enumerate(page, one.cursor)
            if isinstance(row, Row) and (member := reading.member_in(row, member_of, counts, faults)) is not None
        ]
        kinds: list[tuple[str, Kind]] = []
        said = without_overruled(members)
        chunks = [said[start : start + self._chunk] for start in range(0, len(said), self._chunk)]
        with pool_of(self._at_once) as pool:
            for chunk in chunks:
                pool.begin(lambda chunk=chunk: self._applier.apply(one, chunk))  # type: ignore[misc]
            for _ in chunks:
                done: Applied = pool.ended()
                kinds += done.kinds
                faults += done.faults
                counts["defects"] += len(done.faults)
                counts["revised"] += done.revised
        self._pages.keep(one.id, one.cursor, packed(kinds))
        counts["members"] += len(kinds)
        cursor = one.cursor + len(page)
        return self._save(replace(one, cursor=cursor, counts=counts, faults=with_faults((), faults)))

    def _present(self, one: SegmentImport) -> Present | None:
        """Return who the set names; None, and the import ends, where some of that is gone: nobody may leave then."""
        present = Present()
        closed = None if one.closed_set is None else closed_sets.load(self._database, one.closed_set)
        for page in self._pages.read(one.id) if closed is None else closed_sets.pages(self._database, closed):
            present.add(page)
        kept = one.counts.get("members", 0) + one.counts.get("duplicates", 0)
        if one.closed_set is not None:
            kept = -1 if closed is None else closed.named
        if present.rows == kept:
            return present
        self._end(one, ImportState.REFUSED, GONE)
        return None

    def _count(self, one: SegmentImport) -> Iterator[SegmentImport | None]:
        """Count who is missing, and who has left by it already; then they leave, or somebody has to confirm it."""
        present = self._present(one)
        if present is None:
            yield None
            return
        leavers = Leavers(self._database, one, present)
        counts = Counter({name: count for name, count in one.counts.items() if name not in COUNTED})
        for bucket in range(BUCKETS):
            for _ in leavers.of(bucket, counts):
                pass
            counts += leavers.members(bucket)
        named = sum(counts[name] for name in ("unchanged", "updated", "rejected", "entered"))
        counts["members"] = named
        counts["duplicates"] = present.rows - named
        left = counts.pop("left", 0)
        counts["leaving"] += left
        counts["members_before"] = counts["unchanged"] + counts["updated"] + counts["leaving"] + counts["later"]
        one = replace(one, counts=counts)
        if one.closed_set is None and named == 0 and counts["rows"] > counts["out"]:
            self._end(one, ImportState.REFUSED, reading.why_of_no_use(counts, one.faults))
            yield None
        elif why := to_confirm(counts, left):
            self._ask_for_runs(one)
            yield self._save(replace(one, state=ImportState.NEEDS_CONFIRMATION, reason=why))
        else:
            yield self._save(replace(one, state=ImportState.REMOVING, cursor=0))

    def _remove(self, one: SegmentImport) -> Iterator[SegmentImport | None]:
        """Let leave who is missing, some buckets at a time; then it is done.

        Never more than were counted: where there are more by now, all are counted again.
        """
        if one.counts.get("leaving", 0) > 0:
            present = self._present(one)
            if present is None:
                yield None
                return
            leavers = Leavers(self._database, one, present)
            for start in range(one.cursor, BUCKETS, BUCKETS_AT_ONCE):
                found, left = Counter[str](), one.counts.get("left", 0)
                for bucket in range(start, start + BUCKETS_AT_ONCE):
                    for leaving in leavers.of(bucket, found):
                        if left + found["left"] + len(leaving) > one.counts["leaving"]:
                            yield self._save(replace(one, state=ImportState.COUNTING, cursor=0))
                            return
                        left += self._applier.exit(one, leaving, leavers.has)
                counts = {**one.counts, "left": left + found["left"]}
                moved = self._save(replace(one, cursor=start + BUCKETS_AT_ONCE, counts=counts))
                yield moved
                if moved is None:
                    return
                one = moved
        if self._end(one, ImportState.DONE, None):
            self._forget_pages(one)
        yield None

    def _forget_pages(self, one: SegmentImport) -> None:
        if one.closed_set is None:
            self._pages.drop(one.id)
        else:
            closed_sets.drop(self._database, one.closed_set)

    def _save(self, one: SegmentImport) -> SegmentImport | None:
        saved = segment_imports.save(self._database, one, self._clock.now())
        if saved is None:
            # Somebody ended it meanwhile; what was written since is for the runs, too.
            self._ask_for_runs(replace(one, counts={}))
        return saved

    def _end(self, one: SegmentImport, state: ImportState, reason: str | None) -> bool:
        """End an import; before, the exports that follow the segment get a run of what it has changed."""
        if one.state is not ImportState.CHECKING:
            self._ask_for_runs(one)
        ended = self._save(replace(one, state=state, reason=reason))
        if ended is not None:
            self._show(ended)
        return ended is not None

    def _show(self, one: SegmentImport) -> None:
        """Log that an import has begun or ended, and measure one that has ended."""
        self._observe.info("segment import", import_id=one.id, segment=one.segment, outcome=one.state.value)
        if one.ended_at is None:
            return
        source = one.segment.partition("/")[0]
        self._observe.count(Count.IMPORTS_ENDED, source=source, outcome=one.state.value)
        if one.state is ImportState.DONE:
            seconds = round((one.ended_at - one.begun_at).total_seconds())
            self._observe.count(Count.IMPORT_SECONDS, seconds, source=source)
            for name, count in one.counts.items():
                self._observe.count(Count.IMPORT_COUNTS, count, source=source, outcome=name)

    def _ask_for_runs(self, one: SegmentImport) -> None:
        is_counted = "members_before" in one.counts
        # Whom pages named was looked at as they came.
        changing = ("leaving",) if one.closed_set is not None else ("entered", "updated", "leaving")
        if is_counted and not any(one.counts.get(name, 0) for name in changing):
            return
        # Who has new values may be in other segments of the source, too. Nobody counts for certain before the end.
        is_revised = one.counts.get("revised", 0) > 0 or not is_counted
        source, slash, _ = one.segment.partition("/")
        for outline in self._outlines.export_outlines().values():
            is_of_source = any(segment.startswith(source + slash) for segment in outline.segments)
            if outline.active and (one.segment in outline.segments or (is_revised and is_of_source)):
                breakers.request_resync(self._database, outline.connection, outline.name)


def _passed_by(other: Turn | SegmentImport, one: SegmentImport) -> str:
    if other.order.startswith(moments.text(one.at)):
        return f"of the same time as the set of import {other.id}, {_TOO_EARLY}"
    return f"older than the set of import {other.id}, {_TOO_EARLY}"
