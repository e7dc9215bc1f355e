"""Lambda and SQS around a relay in one process: one invocation at a time, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import requests

from relay.queues import Received
from tests.fakes.simulated_queue import SimQueue
from tests.fakes.virtual_clock import START, Killed, VirtualClock
from tests.fakes.wsgi_session import WsgiAdapter, WsgiApp

TIME_OUT = timedelta(seconds=120)
"""Of every function that works on a queue or ticks, as in the template."""

TICK = timedelta(minutes=1)

Consume = Callable[[Sequence[Received]], Sequence[str]]
"""Takes a batch of messages and returns the ids of those that failed."""


class Wire(WsgiAdapter):
    """The way to a sandbox; an invocation whose time is up when an answer arrives never sees it."""

    def __init__(self, app: WsgiApp, clock: VirtualClock) -> None:
        super().__init__(app, clock.timestamp)
        self._clock = clock

    def send(self, request: requests.PreparedRequest, *more: Any, **named: Any) -> requests.Response:
        self.requests.clear()
        try:
            return super().send(request, *more, **named)
        finally:
            self._clock.live_or_die()


@dataclass(frozen=True, slots=True)
class EventSource:
    """A queue, and the function that works on it."""

    queue: SimQueue
    consume: Consume
    batch_size: int = 10


class Invocations:
    """Hands out messages as SQS would and ticks every minute. Time passes only where somebody sleeps or skips."""

    def __init__(
        self,
        clock: VirtualClock,
        chance: Random,
        sources: Sequence[EventSource],
        tick: Callable[[], None],
        *,
        killed: Callable[[Killed], None] = lambda killed: None,
        over: Callable[[], None] = lambda: None,
        idle: Callable[[], datetime] = lambda: START,
    ) -> None:
        """`killed` is called with what an invocation died of; `over` is called after each that did not.

        `idle` returns when a tick finds something to do next: where nothing else happens, those before are left out.
        """
        self._clock = clock
        self._chance = chance
        self._sources = list(sources)
        self._tick = tick
        self._killed = killed
        self._over = over
        self._idle = idle
        self._ticked = clock.now()

    def invoke(self, work: Callable[[], object]) -> bool:
        """Run one invocation to its end, or to its time-out; return whether it lived."""
        self._clock.deadline = self._clock.now() + TIME_OUT
        try:
            work()
        except Killed as killed:
            self._killed(killed)
            return False
        finally:
            self._clock.deadline = None
        self._over()
        return True

    def work_once(self) -> bool:
        """Hand out one batch of a queue; return whether there was one. What a dead invocation held comes back."""
        sources = list(self._sources)
        self._chance.shuffle(sources)
        return any(self.hand_out(source) for source in sources)

    def hand_out(self, source: EventSource) -> bool:
        """Hand out one batch of this queue; return whether there was one."""
        batch = source.queue.receive(source.batch_size)
        if batch:
            self.invoke(lambda: source.queue.finish(batch, source.consume(batch)))
        return bool(batch)

    def tick_if_due(self) -> bool:
        """Tick when the last tick is a minute ago; return whether it did."""
        is_due = self._clock.now() - self._ticked >= TICK
        if is_due:
            self._ticked = self._clock.now()
            self.invoke(self._tick)
        return is_due

    def run_until(self, moment: datetime) -> None:
        """Let the relay work until a moment has come."""
        while self._clock.now() < moment:
            worked = self.work_once()
            # What a tick asks for is done before time passes.
            if not self.tick_if_due() and not worked:
                self.skip(moment)

    def skip(self, end: datetime) -> None:
        """Go to the next moment at which something happens, at most to `end`."""
        now = self._clock.now()
        parcels = (parcel for source in self._sources for parcel in source.queue.parcels)
        moments = [parcel.visible_at for parcel in parcels if parcel.visible_at > now]
        tick = max(self._ticked + TICK, self._idle())
        self._clock.time = max(min([*moments, tick, end]), now + timedelta(milliseconds=1))
