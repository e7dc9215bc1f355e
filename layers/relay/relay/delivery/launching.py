"""Starting a run of one export and saying what came of it; runs as JSON objects."""

from typing import Any

from relay.delivery.events import SCHEDULED
from relay.delivery.starting import Starter
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.runs import ENDED, Run, ledger_adds_up, total
from relay.observability import Observability
from relay.settings.settings import Settings
from relay.stores import gates, runs
from relay.stores.database import Database
from relay.stores.gates import Gate


class Launcher:
    """Starts runs for schedules and operators."""

    def __init__(self, database: Database, settings: Settings, starter: Starter, observe: Observability) -> None:
        self.database = database
        self.settings = settings
        self.observe = observe
        self._starter = starter

    def launch(self, key: str, cause: str) -> dict[str, Any]:
        """Start a run of the export `connection/export`; return it, or `run` None and the reason why none started.

        Raises SettingsProblem when there is no such export or it is invalid, Transient when AWS does not answer.
        """
        export = self.settings.export(key)
        run = self._starter.start(export, cause)
        if run is None:
            return {"export": key, "run": None, "reason": self._why_not(export, cause)}
        self.observe.info("run", export=key, run=run.id, outcome=run.state.value)
        return self.picture(run)

    def _why_not(self, export: Export, cause: str) -> str:
        """Return what stands in the way of a run that could not start. A schedule's follows the one that is active."""
        if not export.active:
            return "the export is paused"
        for gate in gates.load(self.database, export.connection, export.name):
            if gate.closed:
                return f"{told_of(gate)}; a run is owed and starts by itself"
        active = runs.active(self.database, export.key)
        run = None if active is None else runs.load(self.database, active)
        if run is None or run.state in ENDED:
            return "what stood in the way has just ended: ask again"
        if cause != SCHEDULED:
            return f"run {run.id} is active ({run.state.value})"
        gates.owe_always(self.database, export.connection, export.name)
        return f"run {run.id} is active ({run.state.value}); another follows it by itself"

    def picture(self, run: Run) -> dict[str, Any]:
        """Return a run with its ledger as a JSON object."""
        counts = total(runs.shards(self.database, run.id))
        return {
            "run": run.id,
            "export": run.export,
            "cause": run.cause,
            "state": run.state.value,
            "reason": run.reason,
            "pass": run.phase,
            "settings": run.settings,
            "started_at": moments.text(run.started_at),
            "ended_at": None if run.ended_at is None else moments.text(run.ended_at),
            "counts": {name: number for name, number in sorted(counts.items()) if number},
            "adds_up": ledger_adds_up(counts),
        }


def told_of(gate: Gate) -> str:
    """Return one sentence of what is stopped and why."""
    stopped = "connection" if gate.scope == gates.CONNECTION else "export"
    return f"the {stopped} is stopped ({gate.code}: {gate.reason})"
