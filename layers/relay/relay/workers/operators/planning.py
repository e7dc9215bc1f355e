"""What operators ask before a run: who would join, change, leave or be rejected."""

from pydantic import Field

from relay.workers.operators.protocol import MORE, Answer, ExportKey, Question
from relay.workers.planner import LEAVE, Kind, Planner


class PlanRun(Question):
    """Say what a run would do if it began now. Nothing is sent and nothing is written.

    A page works for some 15 seconds. Whoever asks adds the counts of all pages up.
    """

    export: ExportKey
    after: str = Field("", pattern="^([0-9a-f]{32})?$", description=MORE)
    first: int = Field(20, ge=0, le=1000, description="How many ids of each kind.")


class FirstIds(Answer):
    """The first profile ids of a page, by what would become of them; rejected ones with the code."""

    join: list[str]
    change: list[str]
    leave: list[str]
    rejected: list[tuple[str, str]]


class Planned(Answer):
    """One page of a plan.

    `counts` has `selected`, which is the sum of `join`, `change`, `unchanged`, `rejected`, `duplicate` and `waiting`;
    `rejected:<code>` and `warning:<code>`; and `leave`, in which a profile whose identity changes counts besides.
    """

    settings: int = Field(description="The version of the settings: none starts with this plan under others.")
    counts: dict[str, int]
    first: FirstIds
    assigned_before: int = Field(description="How many were assigned before: a run compares those who leave with them.")
    passed_guard: bool = Field(
        description="Whether a run under these settings came as far as taking people out before."
    )
    cancelled: str | None = Field(
        description="A run that was cancelled while it took leavers out: a run of which anybody leaves waits."
    )
    obstacles: list[str] = Field(description="What would keep a run from starting now.")
    next: str | None = Field(description="Hand it back as `after` for the next page; null at the end.")


class Planning:
    """Answers what is asked about plans."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def plan(self, question: PlanRun) -> Planned:
        """Return a page of a plan."""
        plan = self._planner.plan(question.export, question.after, first=question.first)
        counts = {str(name): number for name, number in sorted(plan.counts.items()) if number}
        return Planned(
            settings=plan.export.version,
            assigned_before=counts.pop("assigned", 0),
            counts=counts,
            first=FirstIds(
                join=plan.first[Kind.JOIN],
                change=plan.first[Kind.CHANGE],
                leave=plan.first[LEAVE],
                rejected=plan.first_rejected,
            ),
            passed_guard=plan.passed_guard,
            cancelled=plan.cancelled,
            obstacles=list(plan.obstacles),
            next=plan.after,
        )
