"""How the whole stack stands, on one screen; and why messages were given up."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from pydantic import Field

from relay.clock import Clock
from relay.deployed import Deployed, QueueState, seconds
from relay.domain import cron, moments
from relay.domain.exports import Export
from relay.domain.problems import Problem, QuestionProblem, Transient
from relay.domain.runs import Run
from relay.domain.segment_imports import ENDED, SegmentImport
from relay.schedules import Timetable
from relay.settings.inventory import Inventory
from relay.settings.settings import Settings
from relay.settings.shapes import Listing
from relay.stores import attempts, breakers, defects, receipts, runs, segment_imports, waits
from relay.stores.breakers import Breaker
from relay.stores.database import Database
from relay.version import VERSION
from relay.workers.launcher import Launcher
from relay.workers.operators.importing import ImportPicture, picture
from relay.workers.operators.probing import StopPicture, stop_picture
from relay.workers.operators.protocol import Answer, Question
from relay.workers.operators.running import RunPicture


class AskStatus(Question):
    """Show how the whole stack stands."""


class SourceStatus(Answer):
    """A source, and what came from it."""

    name: str
    valid: bool
    problem: str | None
    last_message_at: str | None
    changes: dict[str, int] = Field(
        description="What became of all changes since the first message: merged, stale, ignored or rejected."
    )
    rate_per_minute: float | None = Field(
        description="Changes accepted a minute, of the last five minutes; null where CloudWatch says nothing."
    )


class ScheduleStatus(Answer):
    """What starts an export."""

    name: str
    next_at: str | None = Field(description="Null for a rate, and for an expression that is not understood.")
    problem: str | None


class ExportStatus(Answer):
    """An export."""

    key: str
    state: Literal["active", "paused", "stopped", "invalid"]
    problem: str | None = None
    stream: bool | None = None
    segments: list[str] = []
    last_run: RunPicture | None = None
    stop: StopPicture | None = None
    resync_requested: bool = False
    set_aside: int = 0
    """Profiles that were set aside because of a defect of ours."""
    schedule: ScheduleStatus | None = None


class ConnectionStatus(Answer):
    """A connection and its exports."""

    name: str
    destination: str | None
    display_name: str | None
    state: Literal["well", "stopped", "paused", "invalid"]
    problem: str | None
    stop: StopPicture | None
    exports: list[ExportStatus]


class QueueStatus(Answer):
    """A queue. The numbers are approximate."""

    name: str
    kind: Literal["queue", "dlq"]
    messages: int
    in_flight: int
    delayed: int
    oldest_seconds: int | None = Field(description="Null where CloudWatch says nothing.")


class Status(Answer):
    """How the stack stands."""

    version: str
    at: str
    sources: list[SourceStatus]
    connections: list[ConnectionStatus]
    imports: list[ImportPicture] = Field(description="Imports of segments that are under way or wait for somebody.")
    queues: list[QueueStatus]
    waits: int = Field(description="Looks that are due. A few hundred at most are counted.")
    unread: list[str] = Field(description="What AWS did not answer just now.")


class ListAttempts(Question):
    """Show why messages of a queue were, or soon will be, given up."""

    queue: str = Field(description="The queue's full name, without that of its dead-letter queue.")


class AttemptPicture(Answer):
    """The last attempt at a message. No text of an exception is kept: it may repeat personal data."""

    message: str = Field(description="Its id, in the queue and in the dead-letter queue.")
    error: str
    places: list[str] = Field(description="Where in the code, innermost last.")
    receive_count: int
    at: str


class Attempts(Answer):
    """Attempts, newest first."""

    attempts: list[AttemptPicture]


class Watching:
    """Answers `status` and `attempts`."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        launcher: Launcher,
        schedules: Callable[[], Timetable],
        inventory: Callable[[], Inventory],
        deployed: Deployed,
        clock: Clock,
    ) -> None:
        self._database = database
        self._settings = settings
        self._launcher = launcher
        self._schedules = schedules
        self._inventory = inventory
        self._deployed = deployed
        self._clock = clock

    def status(self, question: AskStatus) -> Status:  # noqa: ARG002 - it has no arguments
        """Look at everything, at nothing twice."""
        unread: list[str] = []
        # What was removed just now is not shown as invalid.
        listing = self._settings.exports(fresh=True)
        inventory, timetable = Inventory(), None
        try:
            inventory = self._inventory()
        except Transient as problem:
            unread.append(f"names: {problem}")
        try:
            timetable = self._schedules()
        except Transient as problem:
            unread.append(f"schedules: {problem}")
        queues = self._deployed.queues()
        unread += [f"queue {name}: AWS did not answer" for name in self._deployed.unread(queues)]
        keys = self._settings.export_keys()
        connections = sorted({key.partition("/")[0] for key in keys} | set(inventory.connections))
        used = {segment.split("/", 1)[0] for export in listing.valid.values() for segment in export.segments}
        return Status(
            version=VERSION,
            at=moments.text(self._clock.now()),
            sources=list(self._sources(sorted(used | set(inventory.sources)))),
            connections=[self._connection(name, listing, keys, timetable) for name in connections],
            imports=[picture(one) for one in self._imports()],
            queues=[_queue(queue) for queue in queues],
            waits=sum(len(found) for found in waits.due(self._database, self._clock.now())),
            unread=unread,
        )

    def attempts(self, question: ListAttempts) -> Attempts:
        """Show the attempts at messages of a queue."""
        names = self._deployed.working_queues()
        if question.queue not in names:
            what = f"must be one of {', '.join(names)}"
            raise QuestionProblem("unknown_queue", what, field="queue")
        found = sorted(attempts.of_queue(self._database, question.queue), key=lambda one: one.at, reverse=True)
        return Attempts(
            attempts=[
                AttemptPicture(
                    message=one.message,
                    error=one.error,
                    places=list(one.places),
                    receive_count=one.receive_count,
                    at=moments.text(one.at),
                )
                for one in found
            ]
        )

    def _imports(self) -> Iterator[SegmentImport]:
        found = segment_imports.of_interest(self._database, self._clock.now())
        return (one for one in found if one.state not in ENDED)

    def _sources(self, names: Sequence[str]) -> Iterator[SourceStatus]:
        counted, rates = receipts.of_sources(self._database, names), self._deployed.rates(names)
        for name in names:
            found = counted.get(name)
            problem = self._trouble(lambda name=name: self._settings.source(name))  # type: ignore[misc]
            yield SourceStatus(
                name=name,
                valid=problem is None,
                problem=problem,
                last_message_at=None if found is None or found.last is None else moments.text(found.last),
                changes={} if found is None else found.counts.by_name(),
                rate_per_minute=rates[name],
            )

    def _connection(
        self, name: str, listing: Listing, keys: Sequence[str], timetable: Timetable | None
    ) -> ConnectionStatus:
        stopped = {breaker.export: breaker for breaker in breakers.load_all(self._database, name)}
        problems = {one.subject: str(one.problem) for one in listing.problems}
        exports = [
            self._export(listing.valid[key], stopped.get(key.partition("/")[2]), timetable)
            if key in listing.valid
            else ExportStatus(key=key, state="invalid", problem=problems.get(f"export {key}"))
            for key in keys
            if key.partition("/")[0] == name
        ]
        stop = stop_picture(stopped[None]) if None in stopped else None
        destination = display_name = None
        problem = self._trouble(lambda: self._settings.connection(name))
        if problem is None:
            settled = self._settings.connection(name)
            destination, display_name = settled.destination, settled.display_name
        is_paused = bool(exports) and all(export.state == "paused" for export in exports)
        state: Literal["well", "stopped", "paused", "invalid"] = (
            "invalid" if problem is not None else "stopped" if stop is not None else "paused" if is_paused else "well"
        )
        return ConnectionStatus(
            name=name,
            destination=destination,
            display_name=display_name,
            state=state,
            problem=problem,
            stop=stop,
            exports=exports,
        )

    def _export(self, export: Export, breaker: Breaker | None, timetable: Timetable | None) -> ExportStatus:
        stop = None if breaker is None else stop_picture(breaker)
        last = runs.newest(self._database, export.key)
        return ExportStatus(
            key=export.key,
            state="paused" if not export.active else "active" if stop is None else "stopped",
            stream=export.stream,
            segments=list(export.segments),
            last_run=None if last is None else self._run(last),
            stop=stop,
            resync_requested=breaker is not None and bool(breaker.resync),
            set_aside=len(defects.of_export(self._database, export.key, defects.MOST_SHOWN)),
            schedule=None if timetable is None else self._schedule(export, timetable),
        )

    def _run(self, run: Run) -> RunPicture:
        return RunPicture(**self._launcher.picture(run))

    def _schedule(self, export: Export, timetable: Timetable) -> ScheduleStatus | None:
        schedule = timetable.of_export(export.key)
        if schedule is None:
            return None
        next_at = None
        if schedule.problem is None:
            next_at = cron.next_time(schedule.expression, schedule.timezone, self._clock.now())
        return ScheduleStatus(
            name=schedule.name if schedule in timetable.own else "default",
            next_at=None if next_at is None else moments.text(next_at),
            problem=schedule.problem,
        )

    def _trouble(self, read: Callable[[], object]) -> str | None:
        try:
            read()
        except Problem as problem:
            return str(problem)
        return None


def _queue(state: QueueState) -> QueueStatus:
    return QueueStatus(
        name=state.name,
        kind="dlq" if state.is_dlq else "queue",
        messages=state.messages,
        in_flight=state.in_flight,
        delayed=state.delayed,
        oldest_seconds=seconds(state.oldest),
    )
