"""Starting a run of one export and saying what came of it; runs as JSON objects."""

from typing import Any

from relay.domain import ledger, moments
from relay.domain.exports import Export
from relay.domain.runs import Phase, Run, RunState
from relay.events import SCHEDULED
from relay.observability import Observability
from relay.runs.starter import Starter
from relay.settings.settings import Settings
from relay.stores import breakers, runs
from relay.stores.database import Database


class Launcher:
    """Starts runs for schedules and operators."""

    def __init__(self, database: Database, settings: Settings, starter: Starter, observe: Observability) -> None:
        self.database = database
        self.settings = settings
        self.observe = observe
        self._starter = starter

    def launch(self, key: str, cause: str, *, retry: str | None = None) -> dict[str, Any]:
        """Start a run of the export `connection/export`; return it, or `run` None and the reason why none started.

        `retry` asks it to try rejections again, as `Run.retry`.
        Raises SettingsProblem when there is no such export or it is invalid, Transient when AWS does not answer.
        """
        export = self.settings.export(key)
        run = self._starter.start(export, cause, retry=retry)
        if run is None:
            return {"export": key, "run": None, "reason": self._why_not(export, cause)}
        self.observe.info("run", export=key, run=run.id, outcome=run.state.value)
        return self.picture(run)

    def _why_not(self, export: Export, cause: str) -> str:
        """Return what stands in the way of a run that could not start. A schedule's follows the one that is active."""
        if not export.active:
            return "the export is paused"
        found = breakers.load(self.database, export.connection, export.name)
        for breaker in found:
            if breaker.stop is not None:
                stopped = "connection" if breaker.export is None else "export"
                why = f"{breaker.stop.code}: {breaker.stop.reason}"
                return f"the {stopped} is stopped ({why}); a run is requested and starts by itself"
        run = runs.active(self.database, export.key)
        if run is None:
            is_requested = any(breaker.resync for breaker in found)
            return (
                "the export was edited just now; the run starts by itself in a minute or two"
                if is_requested
                else "what stood in the way has just ended: ask again"
            )
        if cause != SCHEDULED:
            return f"run {run.id} is active ({run.state.value})"
        breakers.request_resync(self.database, export.connection, export.name)
        return f"run {run.id} is active ({run.state.value}); another follows it by itself"

    def picture(self, run: Run) -> dict[str, Any]:
        """Return a run with its ledger as a JSON object."""
        counts = ledger.total(shard.counts for shard in runs.shards(self.database, run.id))
        if run.phase is Phase.REMOVE and run.state in (RunState.FINISHED, RunState.MANY_REJECTED):
            counts["returned"] = ledger.returned(counts)
        return {
            "run": run.id,
            "export": run.export,
            "cause": run.cause,
            "state": run.state.value,
            "reason": run.reason,
            "retry": run.retry,
            "phase": run.phase.name.lower(),
            "settings": run.settings,
            "started_at": moments.text(run.started_at),
            "ended_at": None if run.ended_at is None else moments.text(run.ended_at),
            "counts": {name: number for name, number in sorted(counts.items()) if number},
            "adds_up": ledger.adds_up(counts),
        }
