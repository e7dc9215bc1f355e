"""Every minute: the directory, probes of what is stopped, owed and activating runs, and runs that stalled."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.delivery.cursors import Cursors
from relay.delivery.opening import Opener
from relay.delivery.pace import budget_used
from relay.delivery.starting import Starter
from relay.delivery.wakeups import Wakeups
from relay.destinations.contract import Level
from relay.domain.exports import Export
from relay.domain.problems import ConnectionProblem, ExportProblem, SettingsProblem, Transient
from relay.domain.runs import RunState
from relay.observability import Count, Observability
from relay.settings import UNREADABLE, Invalid
from relay.stores import activations, defects, flights, gates, runs
from relay.stores.activations import Activation
from relay.stores.database import Database
from relay.stores.directory import Directory, Entry
from relay.stores.gates import CONNECTION, Gate, scope_of

PROBE_EVERY = timedelta(minutes=3)
LEAST_PROBED = timedelta(hours=1)
"""What stops again and again though its probes pass is probed less and less often, down to this."""

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
    ) -> None:
        self._database = database
        self._opener = opener
        self._starter = starter
        self._cursors = cursors
        self._wakeups = wakeups
        self._directory = directory
        self._clock = clock
        self._observe = observe

    def tick(self) -> None:
        """Do everything that is due; trouble with one connection is logged and harms no other."""
        listing = self._opener.settings.exports()
        for invalid in listing.problems:
            self._observe.problem("settings", invalid.problem, subject=invalid.subject)
            self._observe.count(Count.STOPPED)
            self._owe_unreadable(invalid)
        by_connection: dict[str, list[Export]] = {}
        for export in listing.valid.values():
            by_connection.setdefault(export.connection, []).append(export)
        for connection, exports in sorted(by_connection.items()):
            try:
                self._connection(connection, exports)
            except Exception as error:  # noqa: BLE001 - a defect met in one connection must harm no other, and be seen
                self._observe.problem("tick", error, connection=connection)

    def _owe_unreadable(self, invalid: Invalid) -> None:
        """Note that an export whose parameter may not be read owes a run: changes pass it by, and no edit will show."""
        kind, _, key = invalid.subject.partition(" ")
        if kind != "export" or invalid.problem.code != UNREADABLE:
            return
        connection, _, name = key.partition("/")
        try:
            _, gate = gates.load(self._database, connection, name)
            if not gate.owed:
                gates.owe_always(self._database, connection, name)
        except Exception as error:  # noqa: BLE001 - a defect met in one export must harm no other, and be seen
            self._observe.problem("tick", error, export=key)

    def _connection(self, connection: str, exports: Sequence[Export]) -> None:
        destination = self._opener.destinations(exports[0].destination)
        entry = Entry(destination.name, destination.streams, destination.shards)
        if self._directory.read().get(connection) != entry:
            self._directory.keep(connection, entry)
        self._show_budget(connection)
        for export in exports:
            set_aside = defects.of_export(self._database, export.key, defects.MOST_SHOWN)
            self._observe.count(Count.SET_ASIDE, len(set_aside))
        stopped = gates.load_all(self._database, connection)
        gate = stopped.get(CONNECTION, Gate(CONNECTION))
        if gate.closed and not self._probe(connection, gate, exports):
            self._observe.count(Count.STOPPED)
            return
        for export in exports:
            own = stopped.get(scope_of(export.name), Gate(scope_of(export.name)))
            if own.closed and not self._probe(connection, own, [export]):
                self._observe.count(Count.STOPPED)
                continue
            self._export(export, own)
            if self._waits_for_somebody(export):
                self._observe.count(Count.STOPPED)
        self._imports(connection)

    def _show_budget(self, connection: str) -> None:
        """Show how much of its daily budget a connection has used, while it works and while it is stopped."""
        share = budget_used(self._database, connection, self._clock.now())
        if share is not None:
            self._observe.count(Count.BUDGET_PERCENT, round(100 * share), connection=connection)

    def _probe(self, connection: str, gate: Gate, exports: Sequence[Export]) -> bool:
        """Check whether what stopped is well again; if so, open the gate.

        A connection is well when its account is: an export that is not is stopped by itself.
        """
        now = self._clock.now()
        last = max((moment for moment in (gate.probed_at, gate.since) if moment is not None), default=None)
        if last is not None and now - last < _probe_pause(gate):
            return False
        if not gates.note_probe(self._database, connection, gate, now):
            return False
        try:
            settled = self._opener.settings.connection(connection, fresh=True)
            account, _ = self._opener.account(settled)
            concerned = exports if gate.scope != CONNECTION else ()
            findings = self._opener.destinations(settled.destination).check(account, concerned)
            for export in concerned:
                self._opener.own_targets(export)
        except (ConnectionProblem, ExportProblem, SettingsProblem, Transient) as problem:
            self._observe.problem("probe", problem, connection=connection)
            return False
        if any(finding.level is Level.ERROR for finding in findings):
            return False
        return gates.reopen(self._database, connection, gate, self._clock.now())

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

    def _waits_for_somebody(self, export: Export) -> bool:
        """Whether the export's last run was refused or must be confirmed; a paused one rests because it was told to."""
        last = runs.newest(self._database, export.key)
        return export.active and last is not None and last.state in (RunState.NEEDS_CONFIRMATION, RunState.REFUSED)

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
                self._cursors.wake(export, runs.waiting(self._database, run.id), run.id)
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


def _probe_pause(gate: Gate) -> timedelta:
    return min(PROBE_EVERY * float(2 ** min(gate.flaps, 20)), LEAST_PROBED)


def _stalled(last: datetime | None, now: datetime) -> bool:
    return last is None or now - last > STALLED_AFTER
