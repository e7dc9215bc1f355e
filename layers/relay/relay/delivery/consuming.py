"""A batch of a destination queue: merge what belongs together, work, and decide about every message."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from relay.clock import Clock
from relay.delivery.cases import Result, Retry, tally
from relay.delivery.cursors import Cursors
from relay.delivery.engine import Engine
from relay.delivery.messages import Cursor, LookAgain, from_json, shard_of
from relay.delivery.opening import GateClosed, Opened, Opener, Paused
from relay.delivery.stopping import Stopping
from relay.delivery.time_limits import OUT_OF_TIME
from relay.domain.claims import AWAITED, RunTag
from relay.domain.exports import Export
from relay.domain.problems import (
    DEFECT,
    Busy,
    Conflict,
    ConnectionProblem,
    ExportProblem,
    Problem,
    SettingsProblem,
    StaleSettings,
    Transient,
)
from relay.domain.runs import ENDED, Outcome, RunState, warnings_in
from relay.observability import Count, Fields, Observability
from relay.queues import Received
from relay.settings.names import UnknownConnection, UnknownExport
from relay.stores import attempts, gates, runs
from relay.stores.database import Database

LONGEST_BACKOFF = timedelta(minutes=15)
FIRST_BACKOFF = timedelta(seconds=5)

MOST_RECEIVES = 25
"""After so many receives, some hours, passing trouble is left to a run: the queue's limit (30) is for defects."""

ENOUGH_TIME = 30.0
"""Seconds of the function's time-out that a unit of work or one of its calls must have left to begin."""


_METRICS = {
    Outcome.DELIVERED: Count.DELIVERED,
    Outcome.UNCHANGED: Count.UNCHANGED,
    Outcome.REJECTED: Count.PROFILES_REJECTED,
    Outcome.DUPLICATE: Count.DUPLICATE,
}


_CALLED_FOR = (Outcome.DELIVERED, Outcome.REJECTED, Outcome.OUTSTANDING)
"""What calls come to; while all wait, calls only asked how long, which is no failure when it fails."""


class RetryLater(Protocol):
    """Hides a received message for some seconds more."""

    def __call__(self, receipt_handle: str, seconds: float) -> None:
        """As SQS' ChangeMessageVisibility."""
        ...


def backoff(receives: int, at_least: timedelta | None, chance: Callable[[], float] = random.random) -> timedelta:
    """Return a pause with full jitter: up to 5 s after the first receive, doubling to 15 minutes."""
    pause = min(FIRST_BACKOFF * float(2 ** min(receives - 1, 20)), LONGEST_BACKOFF) * chance()
    return min(pause if at_least is None else max(pause, at_least), timedelta(hours=11))


@dataclass(frozen=True, slots=True)
class _Unit:
    """Messages handled as one: all look-agains of an export, or one cursor."""

    export_key: str
    received: Sequence[Received]
    looks: Sequence[LookAgain] = ()
    cursor: Cursor | None = None
    until: datetime | None = None
    """When no new call may begin any more."""

    @property
    def settings(self) -> int:
        versions = [look.settings for look in self.looks]
        return max(versions if self.cursor is None else [*versions, self.cursor.settings])

    @property
    def redelivered(self) -> bool:
        return any(message.receive_count > 1 for message in self.received)

    @property
    def receives(self) -> int:
        return max(message.receive_count for message in self.received)


class Consumer:
    """Works on the messages of one destination's queue."""

    def __init__(
        self,
        database: Database,
        opener: Opener,
        engine: Engine,
        cursors: Cursors,
        clock: Clock,
        retry_later: RetryLater,
        observe: Observability,
    ) -> None:
        self._database = database
        self._opener = opener
        self._engine = engine
        self._cursors = cursors
        self._wakeups = cursors.wakeups
        self._clock = clock
        self._stopping = Stopping(database, opener.settings, clock, observe)
        self._retry_later = retry_later
        self._observe = observe

    def consume(self, received: Sequence[Received], seconds_left: Callable[[], float]) -> list[str]:
        """Handle a batch; return the ids of the messages SQS must keep."""
        units, failed = self._units(received)
        # What was put back for want of time goes first, so that it is not put back again and again.
        for unit in sorted(units, key=lambda unit: unit.receives, reverse=True):
            spare = seconds_left() - ENOUGH_TIME
            if spare < 0:
                failed += self._put_back(unit, timedelta())
            else:
                failed += self._handle(replace(unit, until=self._clock.now() + timedelta(seconds=spare)))
        return failed

    def _units(self, received: Sequence[Received]) -> tuple[list[_Unit], list[str]]:
        looks: dict[str, list[tuple[Received, LookAgain]]] = {}
        cursors: list[_Unit] = []
        failed = []
        for message in received:
            try:
                task = from_json(message.body)
                key = f"{task.connection}/{task.export}"
                if isinstance(task, Cursor):
                    cursors.append(_Unit(key, [message], cursor=task))
                elif isinstance(task, LookAgain):
                    looks.setdefault(key, []).append((message, task))
                else:
                    raise ValueError("a message of another queue")
            except (KeyError, ValueError) as error:
                self._observe.problem("unreadable message", error, message_id=message.id)
                attempts.note(self._database, self._observe, [message], error, self._clock.now())
                failed.append(message.id)
        merged = [
            _Unit(key, [message for message, _ in pairs], [look for _, look in pairs]) for key, pairs in looks.items()
        ]
        return merged + cursors, failed

    def _handle(self, unit: _Unit) -> list[str]:
        try:
            return self._try(unit)
        except (Busy, Conflict) as problem:
            return self._try_again(unit, problem)
        except Exception as error:  # noqa: BLE001 - a defect must harm only its own messages, and be seen
            self._observe.problem("defect", error, export=unit.export_key, attempt=unit.receives)
            attempts.note(self._database, self._observe, unit.received, error, self._clock.now())
            return [message.id for message in unit.received]

    def _try(self, unit: _Unit, *, fresh: bool = False, at_least: int = 0) -> list[str]:
        """Open the export, work, and decide: nothing (acknowledge), or the ids of the messages to keep."""
        version = max(unit.settings, at_least)
        try:
            opened = self._opener.open(unit.export_key, at_least=version, thorough=unit.redelivered, fresh=fresh)
        except GateClosed as closed:
            return self._owe(unit, closed)
        except Paused as paused:
            return self._owe_always(unit, paused.export)
        except (UnknownExport, UnknownConnection):
            return []
        except SettingsProblem as problem:
            return self._leave_until_corrected(unit, problem)
        except ExportProblem as problem:
            return self._stop_export(unit, problem)
        except (StaleSettings, Transient) as problem:
            return self._try_again(unit, problem)
        try:
            outcomes = self._work(unit, replace(opened, job=replace(opened.job, until=unit.until)))
            self._tell(unit, opened, outcomes)
        except StaleSettings as problem:
            if at_least >= problem.version:
                return self._try_again(unit, problem)
            return self._try(unit, fresh=fresh, at_least=problem.version)
        except ConnectionProblem as problem:
            if not fresh and self._stopping.secret_changed(opened.job.account.connection):
                return self._try(unit, fresh=True, at_least=at_least)
            return self._stop_connection(unit, opened, problem)
        except Problem as problem:
            return self._after_trouble(unit, opened, problem)
        self._note_success(opened, for_somebody=any(outcomes[outcome] for outcome in _CALLED_FOR))
        return []

    def _note_success(self, opened: Opened, *, for_somebody: bool = True) -> None:
        """Only calls for somebody prove that the destination is well; work that needed none says nothing."""
        if for_somebody and opened.calls():
            gates.note_success(self._database, opened.job.export.connection, opened.connection_gate)

    def _after_trouble(self, unit: _Unit, opened: Opened, problem: Problem) -> list[str]:
        if isinstance(problem, ExportProblem):
            return self._stop_export(unit, problem)
        if problem.code == OUT_OF_TIME and opened.calls():
            return self._send_anew(unit, opened)
        if isinstance(problem, Busy | Conflict):
            return self._try_again(unit, problem)
        if isinstance(problem, Transient):
            return self._note_failure(unit, opened, problem)
        raise problem

    def _work(self, unit: _Unit, opened: Opened) -> Counter[str]:
        """Do a unit's work; return how many profiles came to which outcome, and had which warning."""
        if unit.cursor is not None:
            return self._cursors.advance(opened.job, unit.cursor, redelivered=unit.redelivered, calls=opened.calls)
        looks = [look for look in unit.looks if opened.job.export.stream or look.thorough]
        profiles = {profile for look in looks for profile in look.profiles}
        results: dict[str, Result] = {}
        for run_id in sorted({look.run for look in looks if look.run is not None}):
            results |= self._look_for_run(opened, run_id, looks)
        profiles -= results.keys()
        thorough = unit.redelivered or any(look.thorough for look in looks)
        if profiles:
            tries = max(look.tries for look in looks)
            looked = self._engine.deliver(replace(opened.job, thorough=thorough, tries=tries), sorted(profiles))
            self._owe_held(opened.job.export, looked)
            results |= looked
        return tally(results.values())

    def _tell(self, unit: _Unit, opened: Opened, outcomes: Counter[str]) -> None:
        """Log one line and add to the metrics."""
        export, cursor = opened.job.export, unit.cursor
        line = Fields(
            export=export.key,
            attempt=unit.receives,
            calls=opened.calls(),
            delivered=outcomes[Outcome.DELIVERED],
            unchanged=outcomes[Outcome.UNCHANGED],
            rejected=outcomes[Outcome.REJECTED],
            duplicate=outcomes[Outcome.DUPLICATE],
            outstanding=outcomes[Outcome.OUTSTANDING] + outcomes[Outcome.WAITING] + outcomes[Outcome.HELD],
        )
        if cursor is not None:
            line["run"], line["shard"] = cursor.run, cursor.shard
        self._observe.info("worked", **line)
        for outcome, metric in _METRICS.items():
            self._observe.count(metric, outcomes[outcome], connection=export.connection)
        for code, number in warnings_in(outcomes).items():
            self._observe.count(Count.WARNINGS, number, connection=export.connection, outcome=code)
        self._observe.count(Count.CALLS, opened.calls(), connection=export.connection)

    def _look_for_run(self, opened: Opened, run_id: str, looks: Sequence[LookAgain]) -> dict[str, Result]:
        """Look at profiles a run still waits for; if they are sent now, the flight moves its ledger."""
        run = runs.load(self._database, run_id)
        if run is None or run.state in ENDED:
            return {}
        named = sorted({profile for look in looks if look.run == run_id for profile in look.profiles})
        tries = max((look.tries for look in looks if look.run == run_id), default=0)
        found: dict[str, Result] = {}

        def look(part: Sequence[str]) -> None:
            awaited = runs.still_waiting(self._database, run_id, part)
            for shard in sorted({shard_of(profile, run.shards) for profile in awaited}):
                ids = [profile for profile in awaited if shard_of(profile, run.shards) == shard]
                tag = RunTag(run_id, shard, AWAITED)
                job = replace(opened.job, thorough=True, run=tag, retry=Retry.of(run), tries=tries)
                results = self._engine.deliver(job, ids)
                self._owe_held(opened.job.export, results)
                self._end_waits(run_id, shard, results)
                found.update(results)

        def give_up(profile: str) -> None:
            self._engine.aside.end_wait(opened.job.export, run, profile)
            found[profile] = Result(Outcome.REJECTED, DEFECT)

        self._engine.aside.note(opened.job.export, self._engine.aside.by_parts("await", named, look, give_up))
        if named:
            self._cursors.finish_if_over(opened.job.export, run_id)
        return found

    def _owe_held(self, export: Export, results: Mapping[str, Result]) -> None:
        """Leavers held back until a run has passed the guard are left to one more run."""
        if any(result.outcome is Outcome.HELD for result in results.values()):
            gates.owe_always(self._database, export.connection, export.name)

    def _end_waits(self, run_id: str, shard: int, results: Mapping[str, Result]) -> None:
        """Tell a run what became of profiles it waited for, each once."""
        for profile, result in results.items():
            if result.outcome is not Outcome.WAITING:
                runs.end_wait(self._database, run_id, shard, profile, result.outcome, result.reason)

    def _owe(self, unit: _Unit, closed: GateClosed) -> list[str]:
        """Acknowledge what comes to a closed gate, on the condition that it is still closed."""
        export = closed.export
        if not gates.owe(self._database, export.connection, closed.gate, export.name):
            return self._put_back(unit, timedelta(seconds=1))
        self._end_run(unit, closed.gate.reason)
        return []

    def _owe_always(self, unit: _Unit, export: Export) -> list[str]:
        gates.owe_always(self._database, export.connection, export.name)
        self._end_run(unit, "the export is paused")
        return []

    def _leave_until_corrected(self, unit: _Unit, problem: SettingsProblem) -> list[str]:
        connection, name = unit.export_key.split("/", 1)
        gates.owe_always(self._database, connection, name)
        self._end_run(unit, problem.what)
        self._observe.problem("settings", problem, export=unit.export_key)
        return []

    def _stop_export(self, unit: _Unit, problem: ExportProblem) -> list[str]:
        connection, name = unit.export_key.split("/", 1)
        self._stopping.export(connection, name, problem)
        return self._put_back(unit, timedelta())

    def _stop_connection(self, unit: _Unit, opened: Opened, problem: Problem) -> list[str]:
        self._stopping.connection(opened.job.export.connection, opened.connection_gate, problem)
        return self._put_back(unit, timedelta())

    def _note_failure(self, unit: _Unit, opened: Opened, problem: Transient) -> list[str]:
        if self._stopping.passing(opened.job.export.connection, opened.connection_gate, problem):
            return self._put_back(unit, timedelta())
        return self._try_again(unit, problem)

    def _try_again(self, unit: _Unit, problem: Problem) -> list[str]:
        if unit.receives >= MOST_RECEIVES:
            return self._leave_to_a_run(unit, problem)
        if isinstance(problem, Transient):
            pause = backoff(unit.receives, problem.retry_after)
        else:
            pause = timedelta(seconds=1 + 4 * random.random())  # noqa: S311 - jitter, not a secret
        self._observe.problem(
            "try again", problem, export=unit.export_key, attempt=unit.receives, pause_seconds=pause.total_seconds()
        )
        return self._put_back(unit, pause)

    def _send_anew(self, unit: _Unit, opened: Opened) -> list[str]:
        """Acknowledge work that got on but needs another go, after sending it once more: it is no failed receive.

        Without a call there was no progress, and the messages are put back: their receives are counted.
        """
        export, calls = opened.job.export, opened.calls()
        if unit.cursor is not None:
            self._cursors.send_anew(export, unit.cursor)
        else:
            # What a redelivery looks at more closely would be lost with its receives.
            looks = [replace(look, thorough=look.thorough or unit.redelivered) for look in unit.looks]
            groups = [message.group for message in unit.received]
            wanted = [export.stream or look.thorough for look in unit.looks]
            self._wakeups.send_anew(export, itertools.compress(zip(looks, groups, strict=True), wanted))
        self._note_success(opened)
        self._observe.info("sent anew", export=export.key, attempt=unit.receives, calls=calls)
        self._observe.count(Count.CALLS, calls, connection=export.connection)
        return []

    def _leave_to_a_run(self, unit: _Unit, problem: Problem) -> list[str]:
        """Acknowledge what never got through, after noting that a run is owed."""
        connection, name = unit.export_key.split("/", 1)
        gates.owe_always(self._database, connection, name)
        self._end_run(unit, problem.what)
        self._observe.problem("left to a run", problem, export=unit.export_key, attempt=unit.receives)
        return []

    def _put_back(self, unit: _Unit, pause: timedelta) -> list[str]:
        """Keep a unit's messages, visible again after the pause."""
        for message in unit.received:
            self._retry_later(message.receipt_handle, pause.total_seconds())
        return [message.id for message in unit.received]

    def _end_run(self, unit: _Unit, reason: str) -> None:
        run = None if unit.cursor is None else runs.load(self._database, unit.cursor.run)
        if run is not None and run.state is RunState.RUNNING:
            runs.change_state(self._database, run, RunState.STOPPED, self._clock.now(), reason)
