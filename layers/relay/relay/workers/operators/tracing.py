"""Testing an export on one profile: a look like any other, whose requests and answers an operator can see."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from relay.clock import Clock
from relay.destinations.contract import Destination
from relay.destinations.exchanges import masked
from relay.domain.problems import QuestionProblem
from relay.messages import Look, group, shard_of
from relay.reconcile.enqueue import Enqueuer
from relay.settings.settings import Settings
from relay.stores import imports, traces
from relay.stores.database import Database
from relay.stores.traces import Trace
from relay.workers.operators.finding import Finder
from relay.workers.operators.protocol import AboutValues, Answer, ExportKey


class TestExport(AboutValues):
    """Look at one profile for an export, and keep the requests and answers for an hour."""

    __test__ = False

    export: ExportKey
    profile: str = Field(min_length=1, max_length=1_100, description="As in `explain`.")


class Tested(Answer):
    """A look is in the queue of its destination."""

    trace: str = Field(description="Ask `trace` with it.")
    profile: str


class ShowTrace(AboutValues):
    """What became of a look that `test` asked for?"""

    trace: str


class Call(Answer):
    """One HTTP request and its answer. Headers are never kept."""

    method: str
    path: str = Field(description="Without ids.")
    query: Any
    request: Any
    status: int = Field(description="0 where there was no answer.")
    response: Any
    problem: str | None = Field(description="The code of what went wrong where there was no answer.")


class AttemptPart(Answer):
    """One attempt. `outcome` is a column of a run, `not a member`, or the code of a problem."""

    at: datetime
    function: str
    outcome: str
    calls: list[Call]
    left_out: int = Field(description="How many more calls were made than are kept.")


class Traced(Answer):
    """A traced look. There is no attempt as long as it waits in its queue."""

    trace: str
    export: str
    profile: str
    asked_at: datetime
    shows_values: bool
    import_open: bool = Field(
        description="Whether an import that the look has begun is not answered yet: then more attempts follow."
    )
    attempts: list[AttemptPart]


@dataclass(frozen=True, slots=True)
class Tracing:
    """Answers `test` and `trace`."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    finder: Finder
    enqueuer: Enqueuer
    clock: Clock
    new_id: Callable[[int], str]

    def test(self, question: TestExport) -> Tested:
        """Ask for a look; raises QuestionProblem for a profile that is not stored, SettingsProblem for no export."""
        export = self.settings.export(question.export)
        found = self.finder.find(question.profile).profiles
        if not found:
            raise QuestionProblem("unknown_profile", "no profile is stored under this", field="profile")
        profile = found[0].id
        trace = traces.new_id(profile, self.new_id(8))
        traces.begin(self.database, Trace(trace, export.key, self.clock.now(), question.show_values))
        look = Look(export.connection, export.name, export.version, (profile,), trace=trace)
        shard = shard_of(profile, self.destinations(export.destination).shards)
        self.enqueuer.send_again(export.destination, [(look, group(export.connection, shard))])
        return Tested(trace=trace, profile=profile)

    def show(self, question: ShowTrace) -> Traced:
        """Return a trace with its attempts; raises QuestionProblem for one that there is not, or not any more."""
        now = self.clock.now()
        trace = traces.load(self.database, question.trace, now)
        if trace is None:
            raise QuestionProblem("unknown_trace", "there is no such trace; they are kept for an hour", field="trace")
        shows = trace.shows_values and question.show_values
        hide = trace.shows_values and not question.show_values
        return Traced(
            trace=trace.id,
            export=trace.export,
            profile=trace.id.partition(".")[0],
            asked_at=trace.asked_at,
            shows_values=shows,
            import_open=self._import_open(trace),
            attempts=[
                AttemptPart(
                    at=one.at,
                    function=one.function,
                    outcome=one.outcome,
                    calls=[_call(exchange, hide) for exchange in one.exchanges],
                    left_out=one.left_out,
                )
                for one in traces.attempts(self.database, trace.id, now)
            ],
        )

    def _import_open(self, trace: Trace) -> bool:
        connection = trace.export.partition("/")[0]
        return any(one.trace == trace.id for one in imports.all_open(self.database, connection))


def _call(exchange: Any, hide: bool) -> Call:
    if not hide:
        return Call(**exchange)
    return Call(**{**exchange, **{name: masked(exchange[name]) for name in ("query", "request", "response")}})
