"""Every minute: the directory, probes, resyncs, waits that are due, runs and imports whose message was lost."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from relay.breaker import failures
from relay.breaker.pace import budget_used, limits
from relay.breaker.prober import Prober
from relay.clock import Clock
from relay.destinations.contract import Destination
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN, NOTHING, next_step
from relay.domain.problems import Unexpected
from relay.domain.runs import RunState
from relay.observability import Count, Observability
from relay.queues import Message, Sender
from relay.reconcile.enqueue import Due, Enqueuer
from relay.reconcile.recorder import due_of
from relay.reconcile.set_aside import SetAside
from relay.runs.ending import Ending
from relay.runs.settlement import Settlement
from relay.runs.starter import Starter
from relay.schedules import Timetable
from relay.settings.doors import UNREADABLE
from relay.settings.settings import Settings
from relay.settings.shapes import Invalid, Listing
from relay.stores import activations, breakers, defects, identities, imports, runs, waits
from relay.stores.breakers import Breaker
from relay.stores.database import Database
from relay.stores.directory import Directory, Entry
from relay.stores.waits import ConfirmWait, ForgetWait, IdentityWait, OutstandingWait, SegmentWait
from relay.workers.attention import Attention, of_breaker, of_imports, of_runs, of_settings, of_sources
from relay.workers.forgetting import Forgetting

STALLED_AFTER: Final = timedelta(minutes=15)
"""A cursor that has not moved, or an import nobody has looked at, for so long has lost its message."""


WaitType = TypeVar("WaitType", IdentityWait, ConfirmWait)


class Ticker:
    """What the clock does for us; each tick is safe to repeat and to run beside another."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        destinations: Callable[[str], Destination],
        starter: Starter,
        ending: Ending,
        settlement: Settlement,
        enqueuer: Enqueuer,
        prober: Prober,
        aside: SetAside,
        forgetting: Forgetting,
        directory: Directory,
        clock: Clock,
        observe: Observability,
        *,
        schedules: Callable[[], Timetable] | None = None,
        more: Sequence[Callable[[Listing], None]] = (),
        segment_files: Callable[[], Sender] | None = None,
    ) -> None:
        """`schedules` says what will start exports; `more` is done at the end of each tick.

        `segment_files` returns the queue of segment files.
        """
        self._database = database
        self._settings = settings
        self._destinations = destinations
        self._starter = starter
        self._ending = ending
        self._settlement = settlement
        self._enqueuer = enqueuer
        self._prober = prober
        self._aside = aside
        self._forgetting = forgetting
        self._directory = directory
        self._clock = clock
        self._observe = observe
        self._schedules = schedules
        self._more = more
        self._segment_files = segment_files

    def tick(self) -> None:
        """Do everything that is due. Trouble with one connection is logged and harms no other.

        Raises Unexpected at the end when a defect was met, so that the function's error metric shows it.
        """
        listing = self._settings.exports()
        by_connection: dict[str, list[Export]] = {}
        for export in listing.valid.values():
            by_connection.setdefault(export.connection, []).append(export)
        parts: list[tuple[str, Callable[[], None]]] = [("", partial(self._waits, listing))]
        parts += [("", partial(self._stack, listing)), *(("", partial(step, listing)) for step in self._more)]
        # Last: a probe of an account that answers nothing takes a minute.
        parts += [
            (connection, partial(self._connection, connection, exports))
            for connection, exports in sorted(by_connection.items())
        ]
        met = 0
        for connection, part in parts:
            try:
                part()
            except Exception as error:  # noqa: BLE001 - a defect met in one part must harm no other, and be seen
                self._observe.problem("tick", error, connection=connection)
                met += failures.row_for(error).do is failures.Do.DEAD_LETTER
        if met:
            raise Unexpected("defect", f"{met} parts of the tick met one")

    def _waits(self, listing: Listing) -> None:
        """Do what waits ask for; each is dropped when it is done. One that meets a defect keeps no other waiting."""
        due = [wait for part in waits.due(self._database, self._clock.now() - CLOCK_MARGIN) for wait in part]
        failed = self._each(self._wake, [wait for wait in due if isinstance(wait, IdentityWait)])
        failed += self._each(self._look_up, [wait for wait in due if isinstance(wait, ConfirmWait)])
        for wait in due:
            if isinstance(wait, OutstandingWait | SegmentWait):
                try:
                    self._go_on(wait, listing)
                except Exception as error:  # noqa: BLE001 - one run's records must hold up no other
                    self._observe.problem("wait", error, subject=wait[1])
                    failed.append(error)
                else:
                    waits.drop(self._database, [wait])
        # Last: a long dead-letter queue is looked through for a while.
        failed += self._go_on_forgetting([wait for wait in due if isinstance(wait, ForgetWait)], listing)
        if failed:
            raise failed[0]

    def _each(self, work: Callable[[Sequence[WaitType]], None], due: Sequence[WaitType]) -> list[Exception]:
        """Do the work for all waits of a kind, and drop those for which it went well; return what the others met."""
        failed = self._aside.by_halves(due, work)
        waits.drop(self._database, [wait for wait in due if wait not in failed])
        for wait, error in failed.items():
            self._observe.problem("wait", error, connection=wait.connection)
        return list(failed.values())

    def _go_on_forgetting(self, due: Sequence[ForgetWait], listing: Listing) -> list[Exception]:
        """Go on with people who are forgotten; return what those met with whom that failed."""
        failed = self._forgetting.due(due, listing)
        waits.drop(self._database, [wait for wait in due if wait not in failed])
        for wait, error in failed.items():
            self._observe.problem("wait", error, subject=wait.source)
        return list(failed.values())

    def _wake(self, due: Sequence[IdentityWait]) -> None:
        """Ask for looks at whoever is responsible for records that waited and are not at rest."""
        found = identities.load(self._database, list(dict.fromkeys(wait.key for wait in due)))
        self._enqueuer.look(
            due_of(wait.connection, record, record.responsible)
            for wait in due
            if (record := found[wait.key].record).responsible is not None and next_step(record) != NOTHING
        )

    def _look_up(self, due: Sequence[ConfirmWait]) -> None:
        """Have destinations asked about what is unconfirmed."""
        found = identities.load(self._database, list(dict.fromkeys(wait.key for wait in due)))
        asked: list[Due] = []
        for wait in due:
            record = found[wait.key].record
            if record.refused is not None and record.responsible is not None:
                asked.append(due_of(wait.connection, record, record.responsible))
        self._enqueuer.confirm(asked)

    def _go_on(self, wait: OutstandingWait | SegmentWait, listing: Listing) -> None:
        if isinstance(wait, SegmentWait):
            if self._segment_files is not None:
                self._segment_files().send([Message({"segment": wait.segment, "about": wait.about})])
        else:
            self._settle(wait, listing.valid)

    def _settle(self, wait: OutstandingWait, exports: Mapping[str, Export]) -> None:
        run = self._settlement.due(wait)
        export = None if run is None else exports.get(run.export)
        if run is not None and export is not None:
            self._ending.go_on_if_over(export, run.id)

    def _stack(self, listing: Listing) -> None:
        """Tell what waits for somebody beside what single connections have."""
        of_segments = of_imports(self._database, self._clock.now())
        for waiting in (*of_settings(listing), *of_sources(self._database, listing.valid.values()), *of_segments):
            self._tell(waiting)
        for invalid in listing.problems:
            self._request_unreadable(invalid)
        if self._schedules is None:
            return
        timetable = self._schedules()
        for export in listing.valid.values():
            if export.active and not export.stream and not timetable.will_start(export.key):
                self._observe.info("no schedule will start it", export=export.key)
                self._observe.count(Count.UNSCHEDULED)

    def _request_unreadable(self, invalid: Invalid) -> None:
        """Have an export whose parameter may not be read run once it can: changes pass it by, and no edit will show."""
        kind, _, key = invalid.subject.partition(" ")
        if kind == "export" and invalid.problem.code == UNREADABLE:
            connection, _, name = key.partition("/")
            if not breakers.load_one(self._database, connection, name).resync:
                breakers.request_resync(self._database, connection, name)

    def _tell(self, waiting: Attention) -> None:
        """Log what waits for somebody as it is now, and count it for the alarm, whose text cannot change."""
        self._observe.problem("needs attention", waiting.problem, subject=waiting.subject)
        self._observe.count(Count.STOPPED)
        self._observe.count(Count.ATTENTION, subject=waiting.subject, outcome=waiting.problem.code)

    def _connection(self, connection: str, exports: Sequence[Export]) -> None:
        destination = self._destinations(exports[0].destination)
        entry = Entry(destination.name, destination.streams, destination.shards)
        if self._directory.read().get(connection) != entry:
            self._directory.keep(connection, entry)
        self._show_budget(connection)
        for export in exports:
            set_aside = defects.of_export(self._database, export.key, defects.MOST_SHOWN)
            self._observe.count(Count.SET_ASIDE, len(set_aside))
        if self._is_stopped(breakers.load_one(self._database, connection, None), exports):
            return
        for export in exports:
            breaker = breakers.load_one(self._database, connection, export.name)
            if self._is_stopped(breaker, [export]):
                continue
            self._export(export, breaker)
            for waiting in of_runs(self._database, export):
                self._tell(waiting)
        self._imports(connection)

    def _is_stopped(self, breaker: Breaker, exports: Sequence[Export]) -> bool:
        """Probe what is stopped, when that is due; say why it is stopped now, if it still is."""
        if breaker.stop is None or self._prober.probe_if_due(breaker, exports):
            return False
        for waiting in of_breaker(breakers.load_one(self._database, breaker.connection, breaker.export)):
            self._tell(waiting)
        return True

    def _show_budget(self, connection: str) -> None:
        """Show what a connection may call, and how much of its daily budget it has used, stopped or not."""
        allowed = limits(self._database, connection, self._clock.now())
        if allowed:
            self._observe.count(Count.CALLS_ALLOWED, allowed[0].a_minute, connection=connection)
        share = budget_used(self._database, connection, self._clock.now())
        if share is not None:
            self._observe.count(Count.BUDGET_PERCENT, round(100 * share), connection=connection)

    def _export(self, export: Export, breaker: Breaker) -> None:
        self._send_lost_pages(export)
        if not export.active:
            return
        is_edited = export.stream and activations.load(self._database, export.key) != export.version
        if not breaker.resync and not is_edited:
            return
        run = self._starter.start(export, "resync" if breaker.resync else "activated", supersede=False)
        if run is None or run.state is not RunState.RUNNING:
            return
        breakers.clear_resync(self._database, breaker)
        if is_edited:
            activations.save(self._database, export.key, export.version)

    def _send_lost_pages(self, export: Export) -> None:
        """Send messages of the active run again whose cursors stand still, and see whether its phase is over."""
        run = runs.active(self._database, export.key)
        if run is None or run.state is not RunState.RUNNING:
            return
        now = self._clock.now()
        shards = runs.shards(self._database, run.id, run.phase)
        if all(shard.done for shard in shards):
            self._ending.go_on_if_over(export, run.id)
        stalled = [shard for shard in shards if not shard.done and _is_stalled(shard.moved_at, now)]
        self._ending.send_pages(export, run, stalled)
        runs.note_sent_again(self._database, run.id, stalled, now)

    def _imports(self, connection: str) -> None:
        now = self._clock.now()
        for opened in imports.all_open(self._database, connection):
            if _is_stalled(opened.looked_at, now):
                imports.note_look(self._database, opened, opened.number, now)
                self._enqueuer.check_import(connection, opened.call, opened.number, timedelta())


def _is_stalled(last: datetime | None, now: datetime) -> bool:
    return last is None or now - last > STALLED_AFTER
