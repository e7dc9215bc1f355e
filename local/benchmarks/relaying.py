"""The relay in one process: the functions' handlers and the stack's own wiring, with AWS in another process.

They get events as Lambda hands them over, and call DynamoDB and SQS with their own clients on a socket. The messages
themselves wait in this process. As on AWS every FIFO group is worked on by one worker at a time, the Checks queue by
some; each has parts of its own. Settings are given and not read.
"""

import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from itertools import islice
from typing import Any, cast

from local.benchmarks.aws_apart import Aws, Usage
from local.benchmarks.cpu import BENCHMARK, DESTINATION, OWN, QUEUES, CpuMeter, TimedDatabase
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.prices import DESTINATION_SECONDS, DYNAMODB_SECONDS, QUEUE_SECONDS
from local.benchmarks.pricing import Bill
from local.benchmarks.progress import EVERY_SECONDS, Progress
from local.benchmarks.queues import BATCH, Queues
from relay import aws as clients
from relay.clock import Clock
from relay.destinations import registry
from relay.destinations.contract import Caller
from relay.domain import ledger
from relay.domain.exports import Connection, Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import StaleSettings
from relay.domain.runs import Run, RunState
from relay.messages import group
from relay.observability import Observability
from relay.queues import Queue
from relay.settings.names import UnknownConnection, UnknownExport
from relay.settings.settings import Settings
from relay.stores import runs
from relay.stores.database import Database
from relay.wiring import Stack

FUNCTION_SECONDS = 120
"""The functions' time-out in the template."""

CHECKERS = 5
"""Workers on the Checks queue: the most the template allows."""

BACKLOG = 2 * BATCH
"""Messages kept ready for each worker, so that it always finds a full batch."""

STUCK_SECONDS = 300.0
"""When nothing moves for so long on the wall, nothing will."""


class BenchmarkError(Exception):
    """The benchmark cannot go on; the text says why."""


class OneExport:
    """The settings of one connection and its one export, as far as they are asked for."""

    def __init__(self, connection: Connection, export: Export) -> None:
        self._connection = connection
        self._export = export

    def connection(self, name: str, *, fresh: bool = False) -> Connection:  # noqa: ARG002 - the real one's names
        """Return the connection."""
        if name != self._connection.name:
            raise UnknownConnection("unknown_connection", "there is none", field="connection")
        return self._connection

    def export(self, key: str, *, at_least: int = 0) -> Export:
        """Return the export."""
        if key != self._export.key:
            raise UnknownExport("unknown_export", "there is none", field="export")
        if at_least > self._export.version:
            raise StaleSettings("stale_settings", "not readable yet", version=at_least)
        return self._export


class Log(StringIO):
    """Takes the relay's log lines and metrics, counts their bytes, and keeps those that report trouble."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.troubles = 0
        self.last = ""

    def write(self, text: str) -> int:
        """Take a piece of text."""
        self.bytes += len(text)
        if '"level":"WARNING"' in text or '"level":"ERROR"' in text:
            self.troubles += 1
            self.last = text.strip()
        return len(text)


class _Sqs:
    """A client of SQS that calls it, and then does in this process as it was asked."""

    def __init__(self, client: clients.QueueClient, queues: Queues, cpu: CpuMeter) -> None:
        self._client = client
        self._queues = queues
        self._cpu = cpu

    def send_message_batch(self, **request: Any) -> Mapping[str, Any]:
        """Send, and put the messages where they are received from."""
        answer = self._client.send_message_batch(**request)
        with self._cpu.part(BENCHMARK):
            self._queues.take(request["Entries"])
        return answer

    def change_message_visibility(self, **request: Any) -> Any:
        """Hide a message."""
        answer = self._client.change_message_visibility(**request)
        with self._cpu.part(BENCHMARK):
            self._queues.retry_later(request["ReceiptHandle"], request["VisibilityTimeout"])
        return answer


class _TimedQueue:
    """A queue whose CPU time counts for `QUEUES`."""

    def __init__(self, queue: Queue, cpu: CpuMeter) -> None:
        self.send = cpu.timed(QUEUES, queue.send)
        self.retry_later = cpu.timed(QUEUES, queue.retry_later)


class _Context:
    """What Lambda tells a function about its invocation, as far as it is asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._end = clock.now() + timedelta(seconds=FUNCTION_SECONDS)

    def get_remaining_time_in_millis(self) -> int:
        """Return how long it may still take."""
        return int((self._end - self._clock.now()) / timedelta(milliseconds=1))


@dataclass(frozen=True)
class Used:
    """What was used since somebody last asked."""

    cpu: Mapping[str, float]
    """Seconds by part."""
    usage: Usage
    bill: Bill
    troubles: int
    """Warnings and errors in the log."""


class Relay:
    """Works off what is sent to it, until nothing is left."""

    def __init__(self, aws: Aws, connection: Connection, export: Export, base_url: str, clock: FastClock) -> None:
        """`base_url` is the sandbox that stands in for the destination."""
        self.export = export
        self.clock = clock
        self.log = Log()
        self.shards = registry.load(export.destination).shards
        self.queues = Queues(clock, [group(connection.name, shard) for shard in range(self.shards)])
        self._aws = aws
        self._cpu = CpuMeter()
        self._observe = Observability(self.log)
        self._fixed = OneExport(connection, export)
        self._environment = {
            **aws.environment(export.destination),
            "RELAY_SANDBOXES": f"{export.destination}={base_url}",
        }

    def process(self) -> Stack:
        """Return the parts of one more worker."""
        stack = Stack(self._environment)
        stack.clock, stack.observe = self.clock, self._observe
        stack.database = TimedDatabase(stack.database, self._cpu)
        stack.settings = cast("Settings", self._fixed)
        stack.keyed = KeyedHash("benchmark")
        sqs = _Sqs(clients.sqs(self._environment), self.queues, self._cpu)
        queue, checks = (
            _TimedQueue(Queue(self._environment[name], client=sqs, clock=self.clock), self._cpu)
            for name in (f"RELAY_{self.export.destination.upper()}_QUEUE", "RELAY_CHECKS_QUEUE")
        )
        stack.queue_of, stack.checks = lambda _: queue, checks
        usual = stack.caller

        def caller(connection: Connection) -> tuple[Caller, Callable[[], int]]:
            call, calls = usual(connection)
            return cast("Caller", self._cpu.timed(DESTINATION, call)), calls

        stack.caller = caller
        return stack

    def used(self, calls: int) -> Used:
        """Return what was used since this was last asked, with so many calls to the destination."""
        spent, entered = self._cpu.take()
        usage, requests = self._aws.usage(), self.queues.requests()
        slept, self.clock.slept_seconds = self.clock.slept_seconds, 0.0
        log_bytes, self.log.bytes = self.log.bytes, 0
        troubles, self.log.troubles = self.log.troubles, 0
        cpu = {part: seconds for part, seconds in spent.items() if part != BENCHMARK}
        to_queues = usage.calls["SendMessageBatch"] + usage.calls["ChangeMessageVisibility"]
        answers = (
            (usage.calls.total() - to_queues) * DYNAMODB_SECONDS
            + to_queues * QUEUE_SECONDS
            + calls * DESTINATION_SECONDS
        )
        bill = Bill(
            write_units=sum(usage.write_units.values()),
            read_units=sum(usage.read_units.values()),
            fifo_requests=requests["fifo"],
            standard_requests=requests["standard"],
            invocations=entered[OWN],
            cpu_seconds=sum(cpu.values()),
            waited_seconds=slept + answers,
            log_bytes=log_bytes,
        )
        return Used(cpu, usage, bill, troubles)

    def run(self, cause: str, progress: Progress) -> Run:
        """Do a full run and return its record."""
        begun = self.process().starter.start(self.export, cause)
        if begun is None or begun.state is not RunState.RUNNING:
            raise BenchmarkError(f"the run did not start: {begun and begun.reason}")
        self.work_off((), lambda: self._settled(begun), progress)
        ended = cast("Run | None", self._aws.do(runs.load, begun.id))
        if ended is None or ended.state is not RunState.FINISHED or not ledger.adds_up(self.counts(begun)):
            raise BenchmarkError(f"the run did not finish: {ended and ended.state}; {self._last_trouble}")
        return ended

    def _settled(self, run: Run) -> int:
        """Return of how many profiles a run knows what became of them."""
        counts = self.counts(run)
        return counts["selected"] - counts["outstanding"]

    def counts(self, run: Run) -> Counter[str]:
        """Return the ledger of a run."""
        return cast("Counter[str]", self._aws.do(_counts, run.id))

    def work_off(
        self, messages: Iterable[tuple[str, Mapping[str, Any]]], done: Callable[[], int], progress: Progress
    ) -> None:
        """Work off what is queued and these messages (group, body) for the destination, until none is left.

        No more than a few batches of the messages are ever queued: a queue on AWS takes none of our memory.
        """
        feed = iter(messages)
        for name, body in islice(feed, self.shards * BACKLOG):
            self.queues.put(name, body)
        with self._working():
            for name, body in feed:
                self._wait(self._has_room(name), done, progress)
                self.queues.put(name, body)
            self._wait(lambda: self.queues.is_idle, done, progress)
        progress.show(done())
        if self.queues.dead:
            raise BenchmarkError(f"{self.queues.dead} messages failed for good; {self._last_trouble}")

    def _has_room(self, name: str) -> Callable[[], bool]:
        return lambda: self.queues.waiting(name) < BACKLOG

    def _wait(self, holds: Callable[[], bool], done: Callable[[], int], progress: Progress) -> None:
        moved_at, before = time.monotonic(), -1
        while not self.queues.wait_until(holds, EVERY_SECONDS) and not self.queues.closed:
            now = done()
            if now != before:
                moved_at, before = time.monotonic(), now
            elif time.monotonic() - moved_at > STUCK_SECONDS:
                raise BenchmarkError(f"nothing moves any more; {self._last_trouble}")
            progress.show(now)

    @property
    def _last_trouble(self) -> str:
        return f"last trouble: {self.log.last or 'none'}"

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Let the workers work meanwhile; raises what one of them could not bear."""
        self.queues.open()
        workers = [*self.queues.lines, *[Queues.CHECKS] * (CHECKERS - 1)]
        with ThreadPoolExecutor(len(workers)) as pool:
            futures = [pool.submit(self._work, line) for line in workers]
            try:
                # Metrics are printed.
                with redirect_stdout(self.log):
                    yield
            finally:
                self.queues.close()
        for future in futures:
            future.result()

    def _work(self, line: str) -> None:
        handle = self._handler(line)
        try:
            while batch := self.queues.receive(line):
                with self._cpu.part(OWN):
                    answer = handle({"Records": batch}, _Context(self.clock))
                self.queues.finish(batch, [one["itemIdentifier"] for one in answer["batchItemFailures"]])
        finally:
            self.queues.close()

    def _handler(self, line: str) -> Callable[[Mapping[str, Any], _Context], Mapping[str, Any]]:
        """Return the handler of the function that works on a line, with parts of its own."""
        destination, process = self.export.destination, self.process()
        if line == Queues.CHECKS:
            checks, checker = importlib.import_module("functions.import_checks.app"), process.import_checker()
            return lambda event, context: checks.handler(event, context, checker=checker)
        app, consumer = importlib.import_module(f"functions.{destination}.app"), process.consumer(destination)
        return lambda event, context: app.handler(event, context, consumer=consumer)


def _counts(database: Database, run_id: str) -> Counter[str]:
    return ledger.total(shard.counts for shard in runs.shards(database, run_id))
