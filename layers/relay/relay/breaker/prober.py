"""Probes: whether what is stopped is well again, and what keeps it from that now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.breaker.accounts import Accounts
from relay.breaker.ownership import Ownership
from relay.clock import Clock
from relay.destinations.contract import Destination, Finding, Level
from relay.domain.exports import Export
from relay.domain.problems import (
    Busy,
    ConnectionProblem,
    ExportProblem,
    Problem,
    SettingsProblem,
    Transient,
)
from relay.observability import Observability
from relay.settings.settings import Settings
from relay.stores import breakers
from relay.stores.breakers import Breaker
from relay.stores.database import Database


@dataclass(frozen=True, slots=True)
class Prober:
    """Probes what is stopped. The reason of a stop is what the latest probe found."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    accounts: Accounts
    ownership: Ownership
    clock: Clock
    observe: Observability

    def probe_if_due(self, breaker: Breaker, exports: Sequence[Export]) -> bool:
        """Probe what is stopped when its pause is over; return whether it goes on."""
        if breaker.stop is None or self.clock.now() < breaker.stop.probe_at:
            return False
        return self.probe(breaker, exports)

    def probe(self, breaker: Breaker, exports: Sequence[Export]) -> bool:
        """Probe what is stopped now; let it go on when all is well, else keep the reason that it has now.

        `exports` are those it concerns: the one that is stopped, or all of a connection. A connection is well when its
        account is: an export that is not is stopped by itself.
        """
        if not breakers.begin_probe(self.database, breaker, self.clock.now()):
            return False
        if self.look(breaker, exports).stop is not None:
            return False
        return breakers.restart(self.database, breaker, self.clock.now())

    def look(self, breaker: Breaker, exports: Sequence[Export]) -> Breaker:
        """Return what is stopped as it is now: with the reason found, which is stored, or without a stop, which is not.

        `exports` are as for `probe`.
        """
        problem = self.trouble(breaker, exports)
        if problem is None:
            return breaker._replace(stop=None)
        self.observe.problem("probe", problem, connection=breaker.connection)
        # Our own limits say nothing of the destination.
        return breaker if isinstance(problem, Busy) else breakers.restate(self.database, breaker, problem)

    def trouble(self, breaker: Breaker, exports: Sequence[Export]) -> Problem | None:
        """Return what keeps something stopped now, None when it is well; stores nothing. `exports` as for `probe`."""
        try:
            self._check(breaker.connection, exports if breaker.export is not None else ())
        except (ConnectionProblem, ExportProblem, SettingsProblem, Transient) as problem:
            return problem
        return None

    def _check(self, connection: str, exports: Sequence[Export]) -> None:
        """Raise what is wrong with an account, or with exports of it."""
        settled = self.settings.connection(connection, fresh=True)
        account, _ = self.accounts.open(settled)
        findings = self.destinations(settled.destination).check(account, exports)
        for export in exports:
            for target, owner in self.ownership.taken(export):
                raise ExportProblem("target_taken", f"{target} belongs to export {owner} of this connection")
        for finding in findings:
            if finding.level is Level.ERROR:
                raise _as_problem(finding, ExportProblem if exports else ConnectionProblem)


def _as_problem(finding: Finding, kind: type[Problem]) -> Problem:
    problem = kind(finding.code, finding.message)
    if finding.actor is not None:
        problem.actor = finding.actor
    return problem
