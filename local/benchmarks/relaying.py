"""The relay on this machine: its functions in processes of their own, AWS in another, and its queues in this one.

As on AWS every FIFO group is worked on by one worker at a time, and the Checks queue by some.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any, cast

from local.benchmarks.apart import started
from local.benchmarks.aws_apart import Aws, Usage
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.prices import DESTINATION_SECONDS, DYNAMODB_SECONDS, QUEUE_SECONDS
from local.benchmarks.pricing import Bill
from local.benchmarks.progress import EVERY_SECONDS, Progress
from local.benchmarks.queues import BATCH, Queues
from local.benchmarks.worker import CHECKS, DONE, HIDDEN, SENT, Setting, Used, stack_of, work
from relay import aws as clients
from relay.aws.clients import QueueClient
from relay.destinations import registry
from relay.domain import ledger
from relay.domain.exports import Connection, Export
from relay.domain.runs import Run, RunState
from relay.messages import group
from relay.stores import runs
from relay.stores.database import Database

CHECKERS = 5
"""Workers on the Checks queue: the most the template allows."""

BACKLOG = 2 * BATCH
"""Messages kept ready for each worker, so that it always finds a full batch."""

STUCK_SECONDS = 300.0
"""When nothing moves for so long on the wall, nothing will."""


class BenchmarkError(Exception):
    """The benchmark cannot go on; the text says why."""


@dataclass(frozen=True)
class _Worker:
    line: str
    process: BaseProcess
    pipe: Pipe


class Relay:
    """Works off what is sent to it, until nothing is left."""

    def __init__(
        self,
        aws: Aws,
        connection: Connection,
        export: Export,
        base_url: str,
        clock: FastClock,
        *,
        checkers: int = CHECKERS,
    ) -> None:
        """`base_url` is the sandbox that stands in for the destination."""
        self.export = export
        self.clock = clock
        self.shards = registry.load(export.destination).shards
        self.queues = Queues(clock, [group(connection.name, shard) for shard in range(self.shards)])
        self._aws = aws
        sandboxes = {"RELAY_SANDBOXES": f"{export.destination}={base_url}"}
        self._setting = Setting({**aws.environment(export.destination), **sandboxes}, connection, export, clock)
        lines = [line for line in self.queues.lines if line != Queues.CHECKS]
        self._workers = [self._started(line, export.destination) for line in lines]
        self._workers += [self._started(Queues.CHECKS, CHECKS) for _ in range(checkers)]

    def _started(self, line: str, function: str) -> _Worker:
        return _Worker(line, *started(work, function, self._setting))

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
            worker.process.join()

    def used(self) -> Used:
        """Return what all workers used since this was last asked."""
        total = Used()
        for worker in self._workers:
            worker.pipe.send(None)
        for worker in self._workers:
            total.add(worker.pipe.recv()[1])
        return total

    def bill(self, used: Used, usage: Usage, calls: int) -> Bill:
        """Return what was used of AWS with so many calls to the destination, since this was last asked."""
        requests = self.queues.requests()
        to_queues = usage.calls["SendMessageBatch"] + usage.calls["ChangeMessageVisibility"]
        answers = (
            (usage.calls.total() - to_queues) * DYNAMODB_SECONDS
            + to_queues * QUEUE_SECONDS
            + calls * DESTINATION_SECONDS
        )
        return Bill(
            write_units=sum(usage.write_units.values()),
            read_units=sum(usage.read_units.values()),
            fifo_requests=requests["fifo"],
            standard_requests=requests["standard"],
            invocations=used.invocations,
            cpu_seconds=sum(used.cpu.values()),
            waited_seconds=used.slept_seconds + answers,
            log_bytes=used.log_bytes,
        )

    def run(self, cause: str, progress: Progress) -> Run:
        """Do a full run and return its record."""
        sqs = cast("QueueClient", _Sqs(clients.sqs(self._setting.environment), self.queues))
        begun = stack_of(self._setting, sqs).starter.start(self.export, cause)
        if begun is None or begun.state is not RunState.RUNNING:
            raise BenchmarkError(f"the run did not start: {begun and begun.reason}")
        self.work_off({}, lambda: self._settled(begun), progress)
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
        self,
        messages: Mapping[str, Iterator[Mapping[str, Any]]],
        done: Callable[[], int],
        progress: Progress,
    ) -> None:
        """Work off what is queued and these messages for the destination, by their groups, until none is left.

        No more than a few batches of the messages are ever queued: a queue on AWS takes none of our memory.
        """
        feeds = dict(messages)
        self._fill(feeds)
        with self._working():
            while feeds:
                self._wait(lambda: any(self.queues.waiting(name) < BACKLOG for name in feeds), done, progress)
                self._fill(feeds)
            self._wait(lambda: self.queues.is_idle, done, progress)
        progress.show(done())
        if self.queues.dead:
            raise BenchmarkError(f"{self.queues.dead} messages failed for good; {self._last_trouble}")

    def _fill(self, feeds: dict[str, Iterator[Mapping[str, Any]]]) -> None:
        """Queue what there is room for; a feed that is at its end is taken out."""
        for name in list(feeds):
            while name in feeds and self.queues.waiting(name) < BACKLOG:
                body = next(feeds[name], None)
                if body is None:
                    del feeds[name]
                else:
                    self.queues.put(name, body)

    def _wait(self, holds: Callable[[], bool], done: Callable[[], int], progress: Progress) -> None:
        moved_at, before = time.monotonic(), -1
        while not self.queues.wait_until(holds, EVERY_SECONDS) and not self.queues.closed:
            now = done()
            if now != before:
                moved_at, before = time.monotonic(), now
            elif time.monotonic() - moved_at > STUCK_SECONDS:
                raise BenchmarkError("nothing moves any more")
            progress.show(now)

    @property
    def _last_trouble(self) -> str:
        return f"last trouble: {self.used().last_trouble or 'none'}"

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Let the workers work meanwhile; raises what one of them could not bear."""
        self.queues.open()
        with ThreadPoolExecutor(len(self._workers)) as pool:
            futures = [pool.submit(self._feed, worker) for worker in self._workers]
            try:
                yield
            finally:
                self.queues.close()
        for future in futures:
            future.result()

    def _feed(self, worker: _Worker) -> None:
        """Hand events to a worker, and do what it says."""
        try:
            while batch := self.queues.receive(worker.line):
                worker.pipe.send(batch)
                self.queues.finish(batch, self._answer(worker))
        except EOFError:
            raise BenchmarkError("a worker ended early") from None
        finally:
            self.queues.close()

    def _answer(self, worker: _Worker) -> list[str]:
        while True:
            kind, said = worker.pipe.recv()
            if kind == SENT:
                self.queues.take(said)
            elif kind == HIDDEN:
                self.queues.retry_later(*said)
            elif kind == DONE:
                return cast("list[str]", said)


class _Sqs:
    """A client of SQS for whoever starts runs: it calls it, and puts the messages where they wait."""

    def __init__(self, client: QueueClient, queues: Queues) -> None:
        self._client = client
        self._queues = queues

    def send_message_batch(self, **request: Any) -> Mapping[str, Any]:
        """Send messages."""
        answer = self._client.send_message_batch(**request)
        self._queues.take(request["Entries"])
        return answer


def _counts(database: Database, run_id: str) -> Counter[str]:
    return ledger.total(shard.counts for shard in runs.shards(database, run_id))
