"""Every minute: the directory, probes of what is stopped, runs that are due, what stalled, what is left over."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from relay.clock import Clock
from relay.delivery.attention import Attention, of_gate, of_runs, of_settings, of_sources
from relay.delivery.cursors import Cursors
from relay.delivery.opening import Opener
from relay.delivery.pace import budget_used
from relay.delivery.probing import Prober
from relay.delivery.starting import Starter
from relay.delivery.wakeups import Wakeups
from relay.domain.exports import Export
from relay.domain.problems import Problem, Unexpected
from relay.domain.runs import RunState
from relay.observability import Count, Observability
from relay.schedules import Timetable
from relay.settings.shapes import Listing
from relay.stores import activations, flights, gates, runs
from relay.stores.activations import Activation
from relay.stores.database import Database
from relay.stores.directory import Directory, Entry
from relay.stores.gates import CONNECTION, Gate, scope_of

STALLED_AFTER = timedelta(minutes=15)
"""A cursor that has not moved, or an import nobody has looked at, for so long has lost its message."""

SETTLING = timedelta(seconds=90)
"""When every function is sure to have seen an edit: what streamed past an older copy of the settings is caught then."""


class Ticker:
    """What the clock does for us; each tick is safe to repeat and to run beside another."""

    def __init__(
        self,
        database: Database,
        opener: Opener,
        starter: Starter,
        cursors: Cursors,
        wakeups: Wakeups,
        directory: Directory,
        clock: Clock,
        observe: Observability,
        *,
        schedules: Callable[[], Timetable] | None = None,
        more: Sequence[Callable[[Listing], None]] = (),
    ) -> None:
        """`schedules` tells what will start exports; `more` is done at the end of each tick."""
        self._database = database
        self._opener = opener
        self._starter = starter
        self._cursors = cursors
        self._wakeups = wakeups
        self._directory = directory
        self._clock = clock
        self._observe = observe
        self._prober = Prober(database, opener, clock, observe)
        self._schedules = schedules
        self._more = more

    def tick(self) -> None:
        """Do everything that is due. Trouble with one connection is logged and harms no other.

        Raises Unexpected at the end when a defect was met, so that the function's error metric shows it.
        """
        listing = self._opener.settings.exports()
        by_connection: dict[str, list[Export]] = {}
        for export in listing.valid.values():
            by_connection.setdefault(export.connection, []).append(export)
        parts: list[tuple[str, Callable[[], None]]] = [
            (connection, partial(self._connection, connection, exports))
            for connection, exports in sorted(by_connection.items())
        ]
        parts.append(("", partial(self._stack, listing)))
        parts += [("", partial(step, listing)) for step in self._more]
        defects = 0
        for connection, part in parts:
            try:
                part()
            except Exception as error:  # noqa: BLE001 - a defect met in one part must harm no other, and be seen
                self._observe.problem("tick", error, connection=connection)
                defects += not isinstance(error, Problem)
        if defects:
            raise Unexpected("defect", f"{defects} parts of the tick met one")

    def _stack(self, listing: Listing) -> None:
        """Tell what waits for somebody beside what single connections have."""
        for waiting in (*of_settings(listing), *of_sources(self._database, listing.valid.values())):
            self._tell(waiting)
        if self._schedules is None:
            return
        timetable = self._schedules()
        for export in listing.valid.values():
            if export.active and not export.stream and not timetable.will_start(export.key):
                self._observe.info("no schedule will start it", export=export.key)
                self._observe.count(Count.UNSCHEDULED)

    def _tell(self, waiting: Attention) -> None:
        """Log what waits for somebody as it is now, and count it for the alarm, whose text cannot change."""
        self._observe.problem("needs attention", waiting.problem, subject=waiting.subject)
        self._observe.count(Count.STOPPED)
        self._observe.count(Count.ATTENTION, subject=waiting.subject, outcome=waiting.problem.code)

    def _connection(self, connection: str, exports: Sequence[Export]) -> None:
        destination = self._opener.destinations(exports[0].destination)
        entry = Entry(destination.name, destination.streams, destination.shards)
        if self._directory.read().get(connection) != entry:
            self._directory.keep(connection, entry)
        self._show_budget(connection)
        stored = gates.load_all(self._database, connection)
        if self._is_stopped(connection, stored.get(CONNECTION, Gate(CONNECTION)), exports):
            return
        for export in exports:
            own = stored.get(scope_of(export.name), Gate(scope_of(export.name)))
            if self._is_stopped(connection, own, [export]):
                continue
            self._export(export, own)
            for waiting in of_runs(self._database, export):
                self._tell(waiting)
        self._imports(connection)

    def _is_stopped(self, connection: str, gate: Gate, exports: Sequence[Export]) -> bool:
        """Probe what is stopped, when that is due; tell why it is stopped now, if it still is."""
        if not gate.closed or self._prober.probe_if_due(connection, gate, exports):
            return False
        self._tell(of_gate(connection, gates.load_one(self._database, connection, gate.scope)))
        return True

    def _show_budget(self, connection: str) -> None:
        """Show how much of its daily budget a connection has used, while it works and while it is stopped."""
        share = budget_used(self._database, connection, self._clock.now())
        if share is not None:
            self._observe.count(Count.BUDGET_PERCENT, round(100 * share), connection=connection)

    def _export(self, export: Export, gate: Gate) -> None:
        self._nudge(export)
        if not export.active:
            return
        if gate.owed:
            run = self._starter.start(export, "owed", afresh=False)
            if run is not None and run.state is RunState.RUNNING:
                gates.pay(self._database, export.connection, gate)
        elif export.stream:
            self._activate(export)

    def _activate(self, export: Export) -> None:
        """Give an edited streaming export its run, and one more when every function knows the edit."""
        last, now = activations.load(self._database, export.key), self._clock.now()
        if last is None or last.version != export.version:
            run = self._starter.start(export, "activated")
            if run is not None and run.state is RunState.RUNNING:
                activations.save(self._database, export.key, Activation(export.version, now, settled=False))
        elif not last.settled and now - last.at >= SETTLING:
            run = self._starter.start(export, "settings seen everywhere", afresh=False)
            if run is not None and run.state is RunState.RUNNING:
                activations.save(self._database, export.key, Activation(export.version, last.at, settled=True))

    def _nudge(self, export: Export) -> None:
        """Send lost messages of the active run again, and end it if its end was missed."""
        active = runs.active(self._database, export.key)
        run = None if active is None else runs.load(self._database, active)
        if run is None or run.state is not RunState.RUNNING:
            return
        now = self._clock.now()
        shards = runs.shards(self._database, run.id)
        if all(shard.done for shard in shards):
            self._cursors.finish_if_over(export, run.id)
            stalled = shards if all(_stalled(shard.moved_at, now) for shard in shards) else []
            if stalled:
                self._wakeups.look_again(export, runs.waiting(self._database, run.id), run.id)
        else:
            stalled = [shard for shard in shards if not shard.done and _stalled(shard.moved_at, now)]
            self._cursors.resume(export, run, stalled)
        for shard in stalled:
            runs.note_nudge(self._database, run.id, shard.index, now)

    def _imports(self, connection: str) -> None:
        now = self._clock.now()
        for queued in flights.open_imports(self._database, connection):
            if _stalled(queued.looked_at, now):
                flights.note_look(self._database, queued, queued.looks, now)
                self._wakeups.check_import(connection, queued.export, queued.flight, queued.looks, timedelta())


def _stalled(last: datetime | None, now: datetime) -> bool:
    return last is None or now - last > STALLED_AFTER
