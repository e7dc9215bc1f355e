"""What operators ask about runs: start them, show them, confirm and cancel them."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from relay.clock import Clock
from relay.domain import ledger
from relay.domain.ledger import LeaverColumn
from relay.domain.problems import QuestionProblem, SettingsProblem
from relay.domain.runs import ENDED, RETRY_ALL, Run, RunState
from relay.runs.pictures import counts_of, details
from relay.runs.starter import Starter
from relay.settings.names import split_key
from relay.settings.settings import Settings
from relay.stores import breakers, runs
from relay.stores.database import Database
from relay.workers.launcher import Launcher, Obstacle, Planned
from relay.workers.operators.codes import CodeKind, meaning, require_rejection
from relay.workers.operators.protocol import Answer, ExportKey, Question
from relay.workers.scheduled_starts import ScheduledStarts

BY_OPERATOR = "an operator"
ON_DEMAND = "on demand"
RETRY = "retry"

_CODE = re.compile("[a-z][a-z0-9_]{0,59}")


def _code(value: str) -> str:
    if _CODE.fullmatch(value) is None:
        raise ValueError("must be one of those that a run counts as rejected:<code>")
    return value


Code = Annotated[str, AfterValidator(_code)]
"""An argument that names a rejection."""


class PlannedRun(Question):
    """A plan that is agreed to: what `plan` has answered as `settings`, and `leave` of all its pages together."""

    settings: int = Field(ge=0)
    leaving: int = Field(ge=0)


class StartRun(Question):
    """Start a run of one export."""

    export: ExportKey
    retry: Code | None = Field(
        None, description=f"At once try again what was rejected with this code, or with any (`{RETRY_ALL}`)."
    )
    full: bool = Field(False, description="Send every profile again, also whom the destination holds as desired.")
    planned: PlannedRun | None = Field(
        None,
        description="Confirms the run beforehand, unless more would leave; none starts under other settings.",
    )


class StartAll(Question):
    """Start every export without a schedule of its own, as the default schedule does."""


class ListRuns(Question):
    """Show the last runs of an export, or of every export, newest first."""

    export: ExportKey | None = None
    limit: int = Field(20, ge=1, le=100, description="The most runs of each export.")


class ShowRun(Question):
    """Show one run."""

    run: str


class ConfirmRun(Question):
    """Let a run that needs confirmation remove its leavers."""

    run: str


class CancelRun(Question):
    """End a run where it stands."""

    run: str


class RunPicture(Answer):
    """A run and its ledger. What the columns of `counts` are is said in docs/runs.md."""

    run: str
    export: str
    cause: str
    state: str
    reason: str | None
    retry: str | None
    full: bool
    planned_leaving: int | None = Field(description="How many may leave without a confirmation.")
    phase: str
    settings: int = Field(description="The version of the settings that the run goes by.")
    started_at: str
    ended_at: str | None
    counts: dict[str, int]
    adds_up: bool = Field(description="Whether the columns have the sum that they must have.")


class Before(Answer):
    """A run before another one of its export."""

    run: str
    state: str
    started_at: str
    ended_at: str | None
    counts: dict[str, int]


class VendorLimit(Answer):
    """What a connection may call at most, as far as it has called under this limit."""

    what: str = Field(description="What the limit is of, as the destination names it.")
    calls: int
    seconds: int
    a_day: int | None
    used_today: int | None


class CodeMeaning(Answer):
    """What a code of a run's counts means."""

    code: str
    means: str
    then: str = Field(description="What happens by itself.")


class RunDetails(RunPicture):
    """A run, how far it got over time, and what it is to be compared with."""

    seconds: int = Field(description="How long it took, or has taken so far.")
    share: float = Field(description="Which part of the present phase is done, from 0 to 1.")
    progress: list[tuple[str, int]] = Field(
        description="Moments, and how many profiles were looked at by then, in both passes together."
    )
    limits: list[VendorLimit]
    previous: list[Before] = Field(description="The last runs of the export that began before, newest first.")
    codes: list[CodeMeaning] = Field(description="What the `rejected:` and `warning:` codes of `counts` mean.")


class NotStarted(Answer):
    """Why no run started. What happens by itself is in the reason."""

    export: str
    run: None = None
    obstacle: Obstacle = Field(description="What kind of thing stands in the way.")
    reason: str


class StartedAll(Answer):
    """What was started, and what was not."""

    started: list[RunPicture]
    not_started: list[NotStarted]


class Runs(Answer):
    """Runs, newest first."""

    runs: list[RunPicture]
    requested: list[str] = Field(description="Exports that a run is requested for: it starts by itself.")


class Done(Answer):
    """Whether it was done, and why not."""

    done: bool
    reason: str | None = None


class Cancelled(Done):
    """Whether a run was cancelled, what it had done of its leavers by then, and what happens next."""

    removed: int = Field(description="Leavers whom it has taken out.")
    left: int = Field(description="Leavers whom it has counted, and not taken out.")
    requested: bool = Field(description="Whether another run starts by itself.")


class Running:
    """Answers what is asked about runs."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        starter: Starter,
        launcher: Launcher,
        scheduled: ScheduledStarts,
        clock: Clock,
    ) -> None:
        self._database = database
        self._settings = settings
        self._starter = starter
        self._launcher = launcher
        self._scheduled = scheduled
        self._clock = clock

    def run(self, question: StartRun) -> RunPicture | NotStarted:
        """Start a run."""
        retry = question.retry
        if retry not in (None, RETRY_ALL):
            require_rejection(retry, field="retry")
        planned = None if question.planned is None else Planned(question.planned.settings, question.planned.leaving)
        cause = ON_DEMAND if retry is None else RETRY
        given = self._launcher.launch(question.export, cause, retry=retry, full=question.full, planned=planned)
        if given["run"] is None and retry is not None:
            given["reason"] += "; the rejections were not tried again: ask again when that is over"
        if given["run"] is None and question.full:
            given["reason"] += "; what is requested is no full run: ask again when that is over"
        return _started(given)

    def run_all(self, question: StartAll) -> StartedAll:  # noqa: ARG002 - it has no arguments
        """Start what the default schedule starts."""
        given = [_started(one) for one in self._scheduled.start_all()["started"]]
        return StartedAll(
            started=[one for one in given if isinstance(one, RunPicture)],
            not_started=[one for one in given if isinstance(one, NotStarted)],
        )

    def runs(self, question: ListRuns) -> Runs:
        """Show runs."""
        if question.export is None:
            keys = self._settings.export_keys()
            found = [run for key in keys for run in runs.latest(self._database, key, question.limit)]
            pictures = [self.picture(run) for run in sorted(found, key=lambda run: run.id, reverse=True)]
            return Runs(runs=pictures, requested=self._requested(keys))
        found = runs.latest(self._database, question.export, question.limit)
        if not found and question.export not in self._settings.export_keys():
            raise QuestionProblem("unknown_export", "there is no such export", field="export")
        return Runs(runs=[self.picture(run) for run in found], requested=self._requested([question.export]))

    def _requested(self, keys: Sequence[str]) -> list[str]:
        return [key for key in keys if breakers.load_one(self._database, *split_key(key)).resync]

    def show(self, question: ShowRun) -> RunDetails:
        """Show a run."""
        run = self._run(question.run)
        picture = self._launcher.picture(run)
        codes = self._codes(run, picture["counts"])
        return RunDetails(**picture, **details(self._database, run, self._clock.now()), codes=codes)

    def _codes(self, run: Run, counts: Mapping[str, int]) -> list[CodeMeaning]:
        """Return what the codes of a run's counts mean; the words of a destination that is gone are not known."""
        try:
            destination = self._settings.export(run.export).destination
        except SettingsProblem:
            destination = None
        found = [
            meaning(code, kind, destination)
            for kind, codes in (
                (CodeKind.REJECTION, ledger.rejections(counts)),
                (CodeKind.WARNING, ledger.warnings(counts)),
            )
            for code in codes
        ]
        return [CodeMeaning(code=one.code, means=one.means, then=one.then) for one in found if one is not None]

    def confirm(self, question: ConfirmRun) -> Done:
        """Confirm a run, or say why that cannot be."""
        run = self._run(question.run)
        if self._starter.confirm(self._settings.export(run.export, fresh=True), run.id, BY_OPERATOR):
            return Done(done=True)
        if run.state is RunState.NEEDS_CONFIRMATION:
            return Done(done=False, reason="the export was edited since: start another run")
        reason = f"run {run.id} is {run.state.value}: only one that needs confirmation can be confirmed"
        return Done(done=False, reason=reason)

    def cancel(self, question: CancelRun) -> Cancelled:
        """Cancel a run, or say why that cannot be."""
        run = self._run(question.run)
        while run.state not in ENDED:
            if self._starter.cancel(run.id, BY_OPERATOR):
                return self._cancelled(run, done=True)
            # It went on meanwhile, as it can a few times only.
            run = self._run(question.run)
        return self._cancelled(run, done=False, reason=f"run {run.id} is over ({run.state.value})")

    def _cancelled(self, run: Run, *, done: bool, reason: str | None = None) -> Cancelled:
        counts = counts_of(self._database, run)
        removed = counts[LeaverColumn.REMOVED]
        return Cancelled(
            done=done,
            reason=reason,
            removed=removed,
            left=counts["leaving"] - removed,
            requested=bool(self._requested([run.export])),
        )

    def picture(self, run: Run) -> RunPicture:
        """Return a run as it is shown."""
        return RunPicture(**self._launcher.picture(run))

    def _run(self, asked: str) -> Run:
        run = runs.load(self._database, asked) if asked else None
        if run is None:
            raise QuestionProblem("unknown_run", "there is no such run", field="run")
        return run


def _started(given: dict[str, Any]) -> RunPicture | NotStarted:
    if "error" in given:
        return NotStarted(export=given["export"], obstacle=Obstacle.INVALID, reason=given["error"])
    return NotStarted(**given) if given["run"] is None else RunPicture(**given)
