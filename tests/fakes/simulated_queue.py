"""SQS as a simulation sees it: duplicates, reordering, blocked FIFO groups, receive limits."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from relay.queues import Message, Received


@dataclass(slots=True)
class Parcel:
    id: str
    body: str
    group: str | None
    visible_at: datetime
    receives: int = 0
    out: bool = False
    """Received and neither deleted nor visible again: blocks its FIFO group."""


def _any(parcel: Parcel) -> bool:
    return True


@dataclass
class SimQueue:
    name: str
    fifo: bool
    now: Callable[[], datetime]
    step: Callable[[str], None]
    chance: Random
    visibility: timedelta = timedelta(minutes=12)
    receive_limit: int = 30
    parcels: list[Parcel] = field(default_factory=list)
    dead: list[Parcel] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def send(self, messages: Sequence[Message]) -> None:
        self.step(f"before send {self.name}")
        for message in messages:
            assert (message.group is not None) == self.fifo
            assert not (self.fifo and message.delay)
            parcel = Parcel(
                f"{self.name}-{next(self._ids)}", json.dumps(message.body), message.group, self.now() + message.delay
            )
            self.parcels.append(parcel)
        self.step(f"after send {self.name}")

    def receive(self, most: int = 10, *, wanted: Callable[[Parcel], bool] = _any) -> list[Received]:
        """Hand out a batch; FIFO groups in order, one batch of a group at a time; a standard queue in any order.

        A batch of a FIFO queue is mostly of one group, and now and then of several.

        Only what is `wanted` is handed out: of a FIFO queue, groups as a whole.
        """
        self._surface()
        ready = [parcel for parcel in self._ready() if wanted(parcel)]
        if not ready:
            return []
        if not self.fifo:
            self.chance.shuffle(ready)
        elif self.chance.random() < 0.7:
            ready = [parcel for parcel in ready if parcel.group == ready[0].group]
        batch = ready[: self.chance.randint(1, most)]
        for parcel in batch:
            parcel.receives += 1
            parcel.out = True
            parcel.visible_at = self.now() + self.visibility
        return [Received(p.id, json.loads(p.body), p.receives, p.group, p.id, self.now()) for p in batch]

    def has_ready(self) -> bool:
        """Return whether there is something to receive."""
        self._surface()
        return bool(self.parcels) and bool(self._ready())

    def _surface(self) -> None:
        for parcel in list(self.parcels):
            if parcel.out and parcel.visible_at <= self.now():
                parcel.out = False
                if parcel.receives >= self.receive_limit:
                    self.parcels.remove(parcel)
                    self.dead.append(parcel)

    def _ready(self) -> list[Parcel]:
        if not self.fifo:
            return [parcel for parcel in self.parcels if parcel.visible_at <= self.now()]
        groups = self.free()
        self.chance.shuffle(groups)
        return [parcel for group in groups for parcel in self.parcels if parcel.group == group]

    def blocked(self) -> set[str]:
        """Return the FIFO groups of which nothing is handed out at present."""
        return {parcel.group or "" for parcel in self.parcels if parcel.out or parcel.visible_at > self.now()}

    def free(self) -> list[str]:
        """Return the FIFO groups of which something may be handed out."""
        return sorted({parcel.group or "" for parcel in self.parcels} - self.blocked())

    def finish(self, received: Sequence[Received], failed: Sequence[str]) -> None:
        """Delete what was handled; now and then a standard queue delivers it once more all the same."""
        for message in received:
            if message.id in failed or (not self.fifo and self.chance.random() < 0.05):
                continue
            self.parcels = [parcel for parcel in self.parcels if parcel.id != message.id]

    def rewrite(self, rewritten: Callable[[dict[str, Any]], dict[str, Any] | None], until: datetime) -> bool:
        """Replace what lies in the dead-letter queue, as the queue's own `rewrite`: who dies in between repeats it."""
        for parcel in list(self.dead):
            body = json.loads(parcel.body)
            new = rewritten(body)
            if new == body:
                continue
            self.step(f"before rewrite {self.name}")
            if new is not None:
                again = replace(parcel, id=f"{self.name}-{next(self._ids)}", body=json.dumps(new))
                self.dead.append(again)
                self.step(f"between rewrite {self.name}")
            self.dead.remove(parcel)
        return True

    def retry_later(self, receipt_handle: str, seconds: float) -> None:
        for parcel in self.parcels:
            if parcel.id == receipt_handle:
                parcel.visible_at = self.now() + timedelta(seconds=seconds)

    def next_time(self) -> datetime | None:
        """When the next message becomes visible; None when the queue is empty."""
        return min((parcel.visible_at for parcel in self.parcels), default=None)
