"""Stopping: when trouble closes the gate of a connection or an export, and saying so."""

from datetime import timedelta

from relay.clock import Clock
from relay.domain.exports import Connection
from relay.domain.problems import ExportProblem, Problem, SettingsProblem, Transient
from relay.observability import Observability
from relay.settings.settings import Settings
from relay.stores import gates
from relay.stores.database import Database
from relay.stores.gates import Gate

PATIENCE = timedelta(minutes=30)
"""After so long with nothing but transient failures a connection stops and owes a run."""


class Stopping:
    """Closes gates, once each, with the reason in the gate and in one log line."""

    def __init__(self, database: Database, settings: Settings, clock: Clock, observe: Observability) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._observe = observe

    def connection(self, connection: str, gate: Gate, problem: Problem) -> None:
        """Stop a connection whose gate was seen open."""
        self._close(connection, gate, problem)
        self._observe.problem("connection stopped", problem, connection=connection)

    def export(self, connection: str, name: str, problem: ExportProblem) -> None:
        """Stop one export, unless it is stopped."""
        _, gate = gates.load(self._database, connection, name)
        if not gate.closed:
            self._close(connection, gate, problem)
            self._observe.problem("export stopped", problem, export=f"{connection}/{name}")

    def _close(self, connection: str, gate: Gate, problem: Problem) -> None:
        gates.close(
            self._database, connection, gate, problem.code, problem.what, self._clock.now(), actor=problem.actor
        )

    def passing(self, connection: str, gate: Gate, problem: Transient) -> bool:
        """Note a transient failure of the destination; True when it was one too many and the connection stopped."""
        now = self._clock.now()
        if now - gates.note_failure(self._database, connection, gate, now) < PATIENCE:
            return False
        self.connection(connection, gate, problem)
        return True

    def secret_changed(self, used: Connection) -> bool:
        """Whether the administrator has put in a new secret that we had not read yet."""
        try:
            return self._settings.connection(used.name, fresh=True) != used
        except (SettingsProblem, Transient):
            return False
