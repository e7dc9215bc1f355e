"""One function at work in a process of its own, as on AWS: its handler, the stack's own wiring, and its own clients.

It gets events as Lambda hands them over, and calls DynamoDB and SQS on a socket. What it sends to queues it also says
to the process that feeds it, where the messages wait. Settings are given and not read.
"""

import gc
import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final, cast

from local.benchmarks.cpu import BENCHMARK, DESTINATION, OWN, QUEUES, CpuMeter, TimedDatabase
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.memory import peak_memory_mb
from local.benchmarks.traffic import Traffic, metered
from relay import aws, names
from relay.aws.clients import QueueClient
from relay.clock import Clock
from relay.destinations.contract import Caller
from relay.domain.exports import Connection, Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import StaleSettings
from relay.observability import Observability
from relay.queues import Queue
from relay.settings.names import UnknownConnection, UnknownExport
from relay.settings.settings import Settings
from relay.wiring import Stack

FUNCTION_SECONDS: Final = 120
"""The functions' time-out in the template."""

CHECKS: Final = "import_checks"
"""The function that works on the Checks queue; the others are named as their destinations."""

# What a worker says while it works, and at the end.
SENT, HIDDEN, DONE, USED = "sent", "hidden", "done", "used"


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
    """Takes log lines and metrics, counts their bytes, and keeps those that report trouble."""

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


@dataclass(frozen=True)
class Setting:
    """What a worker is made with."""

    environment: Mapping[str, str]
    connection: Connection
    export: Export
    clock: FastClock


@dataclass
class Used:
    """What a worker used, and what it sent."""

    cpu: Counter[str] = field(default_factory=Counter)
    """Seconds by part."""
    invocations: int = 0
    slept_seconds: float = 0.0
    log_bytes: int = 0
    troubles: int = 0
    """Warnings and errors in the log."""
    last_trouble: str = ""
    traffic: Traffic = field(default_factory=Traffic)
    peak_memory_mb: float = 0.0

    def add(self, other: "Used") -> None:
        """Add what another worker used; of memory the larger."""
        self.cpu += other.cpu
        self.invocations += other.invocations
        self.slept_seconds += other.slept_seconds
        self.log_bytes += other.log_bytes
        self.troubles += other.troubles
        self.last_trouble = other.last_trouble or self.last_trouble
        self.traffic.add(other.traffic)
        self.peak_memory_mb = max(self.peak_memory_mb, other.peak_memory_mb)


def stack_of(setting: Setting, sqs: QueueClient) -> Stack:
    """Return the parts of one function."""
    stack = Stack(setting.environment)
    stack.clock, stack.settings = setting.clock, cast("Settings", OneExport(setting.connection, setting.export))
    stack.keyed = KeyedHash("benchmark")
    prefix, place = setting.environment["RELAY_PREFIX"], setting.environment["RELAY_CHANGES_QUEUE"].rpartition("/")[0]
    destination, checks = (
        Queue(f"{place}/{name}", client=sqs, clock=setting.clock)
        for name in (names.destination_queue(prefix, setting.export.destination), names.checks_queue(prefix))
    )
    stack.queue_of, stack.checks = lambda _: destination, checks
    return stack


def work(pipe: Pipe, function: str, setting: Setting) -> None:
    """Handle events, and say what was used, for as long as the pipe is open."""
    log, cpu = Log(), CpuMeter()
    # Metrics are printed.
    with redirect_stdout(log):
        stack = stack_of(setting, cast("QueueClient", _Sqs(aws.sqs(setting.environment), pipe, cpu)))
        stack.observe = Observability(log)
        _time(stack, cpu)
        handle = _handler(function, stack)
        # The first time all objects are looked through, their memory, so far shared with other processes, is copied.
        gc.collect()
        with metered(setting.clock) as traffic:
            while True:
                try:
                    asked = pipe.recv()
                except EOFError:
                    return
                if asked is None:
                    pipe.send((USED, _used(cpu, setting.clock, log, traffic)))
                    traffic.clear()
                    continue
                with cpu.part(OWN):
                    answer = handle({"Records": asked}, _Context(setting.clock))
                pipe.send((DONE, [one["itemIdentifier"] for one in answer["batchItemFailures"]]))


def _time(stack: Stack, cpu: CpuMeter) -> None:
    """Let the CPU time of a function's clients be counted."""
    stack.database = TimedDatabase(stack.database, cpu)
    destination, checks, call = stack.queue_of(""), stack.checks, stack.caller
    timed = _TimedQueue(cast("Queue", destination), cpu), _TimedQueue(cast("Queue", checks), cpu)
    stack.queue_of, stack.checks = lambda _: timed[0], timed[1]

    def caller(connection: Connection) -> tuple[Caller, Callable[[], int]]:
        made, calls = call(connection)
        return cast("Caller", cpu.timed(DESTINATION, made)), calls

    stack.caller = caller


def _handler(function: str, stack: Stack) -> Callable[[Mapping[str, Any], "_Context"], Mapping[str, Any]]:
    """Return a function's handler, with parts of its own."""
    app = importlib.import_module(f"functions.{function if function == CHECKS else 'destination'}.app")
    if function == CHECKS:
        checker = stack.import_checker()
        return lambda event, context: cast("Mapping[str, Any]", app.handler(event, context, checker=checker))
    consumer = stack.consumer(function)
    return lambda event, context: cast("Mapping[str, Any]", app.handler(event, context, consumer=consumer))


def _used(cpu: CpuMeter, clock: FastClock, log: Log, traffic: Traffic) -> Used:
    spent, entered = cpu.take()
    del spent[BENCHMARK]
    used = Used(spent, entered[OWN], clock.slept_seconds, log.bytes, log.troubles, log.last, traffic, peak_memory_mb())
    clock.slept_seconds, log.bytes, log.troubles = 0.0, 0, 0
    return used


class _Sqs:
    """A client of SQS that calls it, and then says what it was asked for."""

    def __init__(self, client: QueueClient, pipe: Pipe, cpu: CpuMeter) -> None:
        self._client = client
        self._pipe = pipe
        self._cpu = cpu

    def send_message_batch(self, **request: Any) -> Mapping[str, Any]:
        """Send messages."""
        answer = self._client.send_message_batch(**request)
        with self._cpu.part(BENCHMARK):
            self._pipe.send((SENT, request["Entries"]))
        return answer

    def change_message_visibility(self, **request: Any) -> Any:
        """Hide a message."""
        answer = self._client.change_message_visibility(**request)
        with self._cpu.part(BENCHMARK):
            self._pipe.send((HIDDEN, (request["ReceiptHandle"], request["VisibilityTimeout"])))
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
