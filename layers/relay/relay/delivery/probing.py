"""Probes: whether what is stopped is well again, and what keeps it from that now."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relay.clock import Clock
from relay.delivery.opening import Opener
from relay.destinations.contract import Level
from relay.domain.exports import Export
from relay.domain.problems import (
    Actor,
    Busy,
    ConnectionProblem,
    ExportProblem,
    Problem,
    SettingsProblem,
    Transient,
)
from relay.observability import Observability
from relay.stores import gates
from relay.stores.database import Database
from relay.stores.gates import CONNECTION, Gate

PROBE_EVERY = timedelta(minutes=3)
LEAST_PROBED = timedelta(hours=1)
"""What stops again and again though its probes pass is probed less and less often, down to this."""


class Prober:
    """Probes what is stopped. What is told of a stop is what the latest probe found."""

    def __init__(self, database: Database, opener: Opener, clock: Clock, observe: Observability) -> None:
        self._database = database
        self._opener = opener
        self._clock = clock
        self._observe = observe

    def probe_if_due(self, connection: str, gate: Gate, exports: Sequence[Export]) -> bool:
        """Probe what is stopped when its pause is over; return whether it was opened."""
        if self._clock.now() < next_probe(gate):
            return False
        return self.probe(connection, gate, exports)

    def probe(self, connection: str, gate: Gate, exports: Sequence[Export]) -> bool:
        """Probe what is stopped now; open it when all is well, else keep the reason that it has now.

        A connection is well when its account is: an export that is not is stopped by itself.
        """
        if not gates.note_probe(self._database, connection, gate, self._clock.now()):
            return False
        if self.look(connection, gate, exports).closed:
            return False
        return gates.reopen(self._database, connection, gate, self._clock.now())

    def look(self, connection: str, gate: Gate, exports: Sequence[Export]) -> Gate:
        """Return what is stopped as it is now: with the reason found, or open (which is not stored) when well."""
        concerned = exports if gate.scope != CONNECTION else ()
        try:
            self._check(connection, concerned)
        except (ConnectionProblem, ExportProblem, SettingsProblem, Transient) as problem:
            self._observe.problem("probe", problem, connection=connection)
            if isinstance(problem, Busy):
                # Our own limits say nothing of the destination.
                return gate
            return gates.restate(self._database, connection, gate, problem)
        return replace(gate, closed=False)

    def _check(self, connection: str, exports: Sequence[Export]) -> None:
        """Raise what is wrong with an account, or with exports of it."""
        settled = self._opener.settings.connection(connection, fresh=True)
        account, _ = self._opener.account(settled)
        findings = self._opener.destinations(settled.destination).check(account, exports)
        for export in exports:
            self._opener.own_targets(export)
        for finding in findings:
            if finding.level is Level.ERROR:
                raise _as_problem(finding.message, finding.actor, ExportProblem if exports else ConnectionProblem)


def next_probe(gate: Gate) -> datetime:
    """Return when what is stopped is probed next, at the earliest."""
    last = max(
        moment for moment in (gate.probed_at, gate.since, datetime.min.replace(tzinfo=UTC)) if moment is not None
    )
    return last + min(PROBE_EVERY * float(2 ** min(gate.flaps, 20)), LEAST_PROBED)


def _as_problem(message: str, actor: Actor | None, kind: type[Problem]) -> Problem:
    problem = kind("not_ready", message)
    if actor is not None:
        problem.actor = actor
    return problem
