"""Starting a run of one export and saying what came of it; runs as JSON objects."""

from enum import StrEnum
from typing import Any, NamedTuple

from relay.domain.exports import Export
from relay.domain.runs import Run
from relay.events import SCHEDULED
from relay.observability import Observability
from relay.runs.pictures import picture
from relay.runs.starter import Starter
from relay.settings.settings import Settings
from relay.stores import breakers, runs
from relay.stores.database import Database


class Planned(NamedTuple):
    """What an operator has agreed to: the version of the settings that was planned with, and how many may leave."""

    settings: int
    leaving: int


class Obstacle(StrEnum):
    """What keeps a run from starting."""

    PAUSED = "paused"
    STOPPED = "stopped"
    EDITED = "edited"
    """The export was edited just now: the run is requested."""
    ACTIVE = "active"
    """Another run of the export is active, or has just ended."""
    REPLAN = "replan"
    """The settings are others than those of the plan."""
    UNREAD = "unread"
    """AWS did not answer: the run is requested."""
    INVALID = "invalid"


class Launcher:
    """Starts runs for schedules and operators."""

    def __init__(self, database: Database, settings: Settings, starter: Starter, observe: Observability) -> None:
        self.database = database
        self.settings = settings
        self.observe = observe
        self._starter = starter

    def launch(
        self,
        key: str,
        cause: str,
        *,
        retry: str | None = None,
        full: bool = False,
        planned: Planned | None = None,
    ) -> dict[str, Any]:
        """Start a run of the export `connection/export`; return it, or `run` None and the reason why none started.

        `retry` and `full` are those of `Run`. None starts where the settings are not those of the plan.
        Raises SettingsProblem when there is no such export or it is invalid, Transient when AWS does not answer.
        """
        # Whoever asks may have planned with what was edited just now.
        export = self.settings.export(key, fresh=cause != SCHEDULED)
        if planned is not None and planned.settings != export.version:
            return not_started(key, Obstacle.REPLAN, "the settings were edited after the plan: plan again")
        leaving = None if planned is None else planned.leaving
        run = self._starter.start(export, cause, retry=retry, full=full, planned_leaving=leaving)
        if run is None:
            return not_started(key, *self._why_not(export, cause))
        self.observe.info("run", export=key, run=run.id, outcome=run.state.value)
        return self.picture(run)

    def _why_not(self, export: Export, cause: str) -> tuple[Obstacle, str]:
        """Return what stands in the way of a run that could not start. A schedule's follows the one that is active."""
        if not export.active:
            return Obstacle.PAUSED, "the export is paused"
        found = breakers.load(self.database, export.connection, export.name)
        for breaker in found:
            if breaker.stop is not None:
                stopped = "connection" if breaker.export is None else "export"
                why = f"{breaker.stop.code}: {breaker.stop.reason}"
                return Obstacle.STOPPED, f"the {stopped} is stopped ({why}); a run is requested and starts by itself"
        run = runs.active(self.database, export.key)
        if run is None:
            if any(breaker.resync for breaker in found):
                return Obstacle.EDITED, "the export was edited just now; the run starts by itself in a minute or two"
            return Obstacle.ACTIVE, "what stood in the way has just ended: ask again"
        if cause != SCHEDULED:
            return Obstacle.ACTIVE, f"run {run.id} is active ({run.state.value})"
        breakers.request_resync(self.database, export.connection, export.name)
        return Obstacle.ACTIVE, f"run {run.id} is active ({run.state.value}); another follows it by itself"

    def picture(self, run: Run) -> dict[str, Any]:
        """Return a run with its ledger as a JSON object."""
        return picture(self.database, run)


def not_started(key: str, obstacle: Obstacle, reason: str) -> dict[str, Any]:
    """Return what is said of an export that no run of started."""
    return {"export": key, "run": None, "obstacle": obstacle.value, "reason": reason}
