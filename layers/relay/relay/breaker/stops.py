"""Stops: a connection or an export is switched off, once, with the reason in its breaker and in one log line."""

from dataclasses import dataclass

from relay.clock import Clock
from relay.domain.exports import Connection
from relay.domain.problems import Problem, SettingsProblem, Transient
from relay.observability import Observability
from relay.settings.settings import Settings
from relay.stores import breakers
from relay.stores.database import Database


@dataclass(frozen=True, slots=True)
class Stops:
    """Stops connections and exports. When is said in `relay.breaker.failures`."""

    database: Database
    settings: Settings
    clock: Clock
    observe: Observability

    def stop(self, connection: str, export: str | None, problem: Problem) -> None:
        """Stop a connection (`export` None) or one of its exports, unless it is stopped.

        Whoever met the problem requests a resync besides, for what it does not do now.
        """
        breaker = breakers.load_one(self.database, connection, export)
        if not breakers.stop(self.database, breaker, problem, self.clock.now()):
            return
        if export is None:
            self.observe.problem("connection stopped", problem, connection=connection)
        else:
            self.observe.problem("export stopped", problem, export=f"{connection}/{export}")

    def has_new_secret(self, used: Connection) -> bool:
        """Return whether the administrator has put in a new secret that we had not read yet."""
        try:
            return self.settings.connection(used.name, fresh=True) != used
        except (SettingsProblem, Transient):
            return False
