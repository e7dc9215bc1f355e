"""SQS in this process: FIFO groups, visibility and delays as on AWS, on a clock that may run faster.

It hands messages over as Lambda does, and counts the requests that SQS would charge for.
"""

import heapq
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local.benchmarks.fast_clock import FastClock
from local.benchmarks.pricing import requests
from relay.domain import moments

Record = Mapping[str, Any]
"""A message as Lambda hands it over.
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event"""

BATCH = 10
"""The most messages a FIFO queue hands over at once, and what the template asks of the Checks queue."""

VISIBILITY = timedelta(seconds=720)
RECEIVES = 30
"""As in the template."""


@dataclass(slots=True)
class _Parcel:
    number: int
    body: str
    group: str | None
    sent_at: datetime
    visible_at: datetime
    receives: int = 0


class _Line:
    """What one worker works off: a FIFO group, or all of a standard queue. Used under the queues' lock."""

    def __init__(self, *, in_order: bool) -> None:
        self.parcels: dict[int, _Parcel] = {}
        self._in_order = in_order

    def due(self, now: datetime) -> tuple[list[_Parcel], datetime | None]:
        """Return the batch that can be handed over now; if there is none, when to look again."""
        hidden = [parcel for parcel in self.parcels.values() if parcel.visible_at > now]
        if self._in_order:
            # Whatever of a group is being worked on or hidden holds up all of the group.
            if hidden:
                return [], max(parcel.visible_at for parcel in hidden)
            return list(itertools.islice(self.parcels.values(), BATCH)), None
        ready = [parcel for parcel in self.parcels.values() if parcel.visible_at <= now]
        batch = heapq.nsmallest(BATCH, ready, key=lambda parcel: parcel.visible_at)
        return batch, min((parcel.visible_at for parcel in hidden), default=None)


class Queues:
    """A destination's FIFO queue, one line per message group, and the Checks queue.

    Waiting is waiting: on a condition, until something is sent, finished or due.
    """

    CHECKS = "checks"

    def __init__(self, clock: FastClock, groups: Iterable[str]) -> None:
        """`groups` are all message groups there will be."""
        self._clock = clock
        self._changed = threading.Condition()
        self._lines = {group: _Line(in_order=True) for group in groups} | {self.CHECKS: _Line(in_order=False)}
        self._places: dict[int, _Line] = {}
        self._numbers = itertools.count(1)
        self._requests: Counter[str] = Counter()
        self.closed = False
        self.dead = 0
        """Messages received so often that SQS would have moved them to the dead-letter queue."""

    @property
    def lines(self) -> Sequence[str]:
        """The names of the lines: a worker each."""
        return list(self._lines)

    @property
    def is_idle(self) -> bool:
        """Whether there is no message, being worked on or not."""
        return not self._places

    def put(self, group: str, body: Mapping[str, Any]) -> None:
        """Put a message on the destination queue, as somebody else than the functions measured here would."""
        self._put([(group, json.dumps(body, separators=(",", ":")), group, timedelta())])

    def take(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Take the entries of a call of SendMessageBatch; those without a group are for the Checks queue."""
        with self._changed:
            self._count(entries[0].get("MessageGroupId"), sum(len(entry["MessageBody"]) for entry in entries))
        self._put(
            [
                (
                    entry.get("MessageGroupId", self.CHECKS),
                    entry["MessageBody"],
                    entry.get("MessageGroupId"),
                    timedelta(seconds=entry.get("DelaySeconds", 0)),
                )
                for entry in entries
            ]
        )

    def _put(self, messages: Sequence[tuple[str, str, str | None, timedelta]]) -> None:
        with self._changed:
            now = self._clock.now()
            for name, body, group, delay in messages:
                number = next(self._numbers)
                line = self._places[number] = self._lines[name]
                line.parcels[number] = _Parcel(number, body, group, now, now + delay)
            self._changed.notify_all()

    def _count(self, group: str | None, size: int = 0) -> None:
        self._requests["standard" if group is None else "fifo"] += requests(size)

    def requests(self) -> Counter[str]:
        """Return the requests made of `fifo` and of `standard` queues since this was last asked."""
        with self._changed:
            taken, self._requests = self._requests, Counter()
        return taken

    def receive(self, name: str) -> list[Record]:
        """Wait for the next batch of a line and hide it for the visibility timeout; nothing once closed."""
        line = self._lines[name]
        with self._changed:
            while not self.closed:
                now = self._clock.now()
                batch, again = line.due(now)
                living = [parcel for parcel in batch if not self._buried(parcel)]
                if living:
                    self._count(living[0].group, sum(len(parcel.body) for parcel in living))
                    return [self._handed_over(parcel, now) for parcel in living]
                if not batch:
                    wait = None if again is None else self._clock.wall_seconds((again - now).total_seconds())
                    self._changed.wait(wait)
        return []

    def _handed_over(self, parcel: _Parcel, now: datetime) -> Record:
        parcel.receives += 1
        parcel.visible_at = now + VISIBILITY
        attributes = {
            "ApproximateReceiveCount": str(parcel.receives),
            "SentTimestamp": str(moments.microseconds(parcel.sent_at) // 1000),
        }
        if parcel.group is not None:
            attributes["MessageGroupId"] = parcel.group
        handle = str(parcel.number)
        return {"messageId": handle, "receiptHandle": handle, "body": parcel.body, "attributes": attributes}

    def _buried(self, parcel: _Parcel) -> bool:
        if parcel.receives < RECEIVES:
            return False
        self._remove(parcel.number)
        self.dead += 1
        self._changed.notify_all()
        return True

    def finish(self, received: Sequence[Record], failed: Sequence[str]) -> None:
        """Delete what was handled; what failed comes back when it is visible again."""
        handled = [message for message in received if message["messageId"] not in failed]
        with self._changed:
            if handled:
                self._count(received[0]["attributes"].get("MessageGroupId"))
            for message in handled:
                self._remove(int(message["messageId"]))
            self._changed.notify_all()

    def _remove(self, number: int) -> None:
        line = self._places.pop(number)
        del line.parcels[number]

    def retry_later(self, receipt_handle: str, seconds: float) -> None:
        """Hide a received message for some seconds from now."""
        with self._changed:
            number = int(receipt_handle)
            parcel = self._places[number].parcels[number]
            parcel.visible_at = self._clock.now() + timedelta(seconds=int(seconds))
            self._count(parcel.group)
            self._changed.notify_all()

    def waiting(self, name: str) -> int:
        """Return how many messages a line holds."""
        return len(self._lines[name].parcels)

    def wait_until(self, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until something holds (or the queues are closed), at most some seconds on the wall; say whether it does.

        It is looked at whenever a message was sent or finished.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.closed or holds(), seconds)
            return holds()

    def open(self) -> None:
        """Hand messages over (again)."""
        self.closed = False

    def close(self) -> None:
        """Hand nothing over any more: every worker ends when it is through with what it has."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
