"""The relay in one process: the stack's own wiring over the database on disk and the queues in memory.

As on AWS every FIFO group is worked on by one worker at a time, the Checks queue by some; each has parts of its own.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from io import StringIO
from itertools import islice
from typing import cast

from local.benchmarks.disk_database import DiskDatabase
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.progress import EVERY_SECONDS, Progress
from local.benchmarks.queues import BATCH, Queues
from relay.delivery.messages import group
from relay.destinations import registry
from relay.domain.exports import Connection, Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import StaleSettings
from relay.domain.runs import Run, RunState, ledger_adds_up, total
from relay.observability import Observability
from relay.queues import Message, Queue
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
    """The settings of one connection and its one export, as far as delivery asks for them."""

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
    """Takes the relay's log lines, and keeps those that tell of trouble."""

    def __init__(self) -> None:
        super().__init__()
        self.troubles = 0
        self.last = ""

    def write(self, text: str) -> int:
        """Take a piece of text."""
        if '"level":"WARNING"' in text or '"level":"ERROR"' in text:
            self.troubles += 1
            self.last = text.strip()
        return len(text)


@dataclass(frozen=True)
class _Door:
    """One of the queues as `relay.queues.Queue` presents it."""

    send: Callable[[Sequence[Message]], None]
    retry_later: Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class _Process(Stack):
    """The parts of one worker, as one Lambda environment has them: what touches AWS is replaced, nothing else."""

    disk: DiskDatabase
    fixed: OneExport
    queues: Queues

    @cached_property
    def database(self) -> Database:
        """The database on disk."""
        return self.disk

    @cached_property
    def settings(self) -> Settings:
        """The benchmark's settings: of the real ones they have every method that delivery uses."""
        return cast("Settings", self.fixed)

    @cached_property
    def keyed(self) -> KeyedHash:
        """The identity hash."""
        return KeyedHash("benchmark")

    def queue_of(self, destination: str) -> Queue:  # noqa: ARG002 - there is one
        """Return the destination's queue."""
        return cast("Queue", _Door(self.queues.send, self.queues.retry_later))

    @cached_property
    def checks(self) -> Queue:
        """The Checks queue."""
        return cast("Queue", _Door(self.queues.send_checks, self.queues.retry_later))


class Relay:
    """Works off what is sent to it, until nothing is left."""

    def __init__(
        self, disk: DiskDatabase, connection: Connection, export: Export, base_url: str, clock: FastClock
    ) -> None:
        """`base_url` is the sandbox that stands in for the destination."""
        self.disk = disk
        self.export = export
        self.clock = clock
        self.log = Log()
        self.shards = registry.load(export.destination).shards
        self.queues = Queues(clock, [group(connection.name, shard) for shard in range(self.shards)])
        self._observe = Observability(self.log)
        self._fixed = OneExport(connection, export)
        self._sandboxes = f"{export.destination}={base_url}"

    def process(self) -> Stack:
        """Return the parts of one more worker."""
        return _Process(
            environment={"RELAY_SANDBOXES": self._sandboxes},
            clock=self.clock,
            observe=self._observe,
            disk=self.disk,
            fixed=self._fixed,
            queues=self.queues,
        )

    def run(self, cause: str, progress: Progress) -> Run:
        """Do a full run and return its record."""
        begun = self.process().starter.start(self.export, cause)
        if begun is None or begun.state is not RunState.RUNNING:
            raise BenchmarkError(f"the run did not start: {begun and begun.reason}")
        self.work_off((), lambda: self._settled(begun), progress)
        ended = runs.load(self.disk, begun.id)
        if ended is None or ended.state is not RunState.FINISHED or not ledger_adds_up(self.counts(begun)):
            raise BenchmarkError(f"the run did not finish: {ended and ended.state}; {self._last_trouble}")
        return ended

    def _settled(self, run: Run) -> int:
        """Return of how many profiles a run knows what became of them."""
        counts = self.counts(run)
        return counts["selected"] - counts["outstanding"]

    def counts(self, run: Run) -> Counter[str]:
        """Return the ledger of a run."""
        return total(runs.shards(self.disk, run.id))

    def work_off(self, messages: Iterable[Message], done: Callable[[], int], progress: Progress) -> None:
        """Work off what is queued and these messages for the destination, until none is left.

        No more than a few batches of the messages are ever queued: a queue on AWS takes none of our memory.
        """
        feed = iter(messages)
        for message in islice(feed, self.shards * BACKLOG):
            self.queues.send([message])
        with self._working():
            for message in feed:
                self._wait(self._has_room(message.group or ""), done, progress)
                self.queues.send([message])
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
                yield
            finally:
                self.queues.close()
        for future in futures:
            future.result()

    def _work(self, line: str) -> None:
        process, destination = self.process(), self.export.destination
        consume = process.import_checker().consume if line == Queues.CHECKS else process.consumer(destination).consume
        try:
            while batch := self.queues.receive(line):
                self.queues.finish(batch, consume(batch, self._seconds_left()))
        finally:
            self.queues.close()

    def _seconds_left(self) -> Callable[[], float]:
        end = self.clock.now() + timedelta(seconds=FUNCTION_SECONDS)
        return lambda: (end - self.clock.now()).total_seconds()
