"""A live account as a destination package sees it, every exchange remembered; slow enough never to meet a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import requests

from local.live.report import NotThereError
from relay.clock import Clock
from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Account, Caller, Params, Quota, Reply
from relay.destinations.error_table import retry_after
from relay.domain.exports import Connection

_TRIES = 5
_LONGEST_WAIT = timedelta(minutes=2)
_SHORTEST_WAIT = timedelta(seconds=1)


class Pace:
    """One call in `pause` seconds, whatever its quota: others, our own stack included, use the account meanwhile."""

    def __init__(self, clock: Clock, pause: float) -> None:
        self._clock = clock
        self._pause = timedelta(seconds=pause)
        self._next = clock.now()
        self._at_once = 0

    def __call__(self, quota: Quota) -> None:
        """Wait for the next free moment."""
        now = self._clock.now()
        if self._at_once:
            self._at_once -= 1
        elif self._next > now:
            self._clock.sleep((self._next - now).total_seconds())
        self._next = max(self._next, self._clock.now()) + max(self._pause, quota.per / quota.calls)

    @property
    def is_hurrying(self) -> bool:
        """Whether the next call goes without a pause."""
        return self._at_once > 0

    @contextmanager
    def at_once(self, calls: int) -> Iterator[None]:
        """Let the first `calls` calls in here go without a pause between them; one before and a longer one after."""
        wait = (self._next - self._clock.now() + self._pause).total_seconds()
        if wait > 0:
            self._clock.sleep(wait)
        self._at_once = calls
        try:
            yield
        finally:
            self._at_once = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A call that was answered; `hurried` when it went without the usual pause."""

    method: str
    url: str
    reply: Reply
    sent_at: datetime
    answered_at: datetime
    hurried: bool
    headers: Mapping[str, str] = field(repr=False)

    def is_call(self, method: str, path: str) -> bool:
        """Return whether this was a call of a method to a path (its end counts)."""
        return self.method == method and self.url.endswith(path)


class Witness:
    """A `Caller` that remembers what was answered. A 429 is waited out as asked for, and counted."""

    def __init__(self, door: Caller, clock: Clock, pace: Pace) -> None:
        self._door = door
        self._clock = clock
        self._pace = pace
        self.exchanges: list[Exchange] = []
        self.slowed_down = 0
        self._watching: list[list[Exchange]] = [self.exchanges]

    def __call__(
        self,
        method: str,
        url: str,
        *,
        quota: Quota,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make one call, or a few when asked to slow down; see `Caller`."""
        for attempt in range(_TRIES):
            hurried = self._pace.is_hurrying
            self._pace(quota)
            sent_at = self._clock.now()
            reply = self._door(method, url, quota=quota, headers=headers, params=params, json=json, form=form)
            exchange = Exchange(method, url, reply, sent_at, self._clock.now(), hurried, dict(headers or {}))
            for watched in self._watching:
                watched.append(exchange)
            if reply.status != 429 or attempt == _TRIES - 1:
                break
            self.slowed_down += 1
            wait = min(max(retry_after(reply) or _SHORTEST_WAIT, _SHORTEST_WAIT), _LONGEST_WAIT)
            self._clock.sleep(wait.total_seconds())
        return reply

    @contextmanager
    def watch(self) -> Iterator[list[Exchange]]:
        """Yield a list that fills with what is exchanged in the block."""
        watched: list[Exchange] = []
        self._watching.append(watched)
        try:
            yield watched
        finally:
            self._watching = [other for other in self._watching if other is not watched]


def last(exchanges: list[Exchange], method: str, path: str) -> Exchange:
    """Return the last call of a method to a path (its end counts); NotThereError when there was none."""
    for exchange in reversed(exchanges):
        if exchange.is_call(method, path):
            return exchange
    raise NotThereError(f"there was no {method} {path}")


class MemoryNotes:
    """`Notes` of one run."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """Return the note."""
        return self._kept.get(key)

    def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
        """Keep a note unless another one is there."""
        if self._kept.get(key) == replaces:
            self._kept[key] = value
        return self._kept[key]


@dataclass(frozen=True, slots=True)
class LiveAccount:
    """An account, and who watches over the calls to it."""

    account: Account
    witness: Witness
    pace: Pace
    clock: Clock


def open_account(
    connection: Connection, *, base_url: str | None, clock: Clock, pause: float, session: requests.Session | None
) -> LiveAccount:
    """Return an account of this connection; `base_url` only for a sandbox, `session` only for tests."""
    pace = Pace(clock, pause)
    # The pace is kept by the witness, which asks again where the door must not.
    door = HttpCaller(connection.name, pace=lambda _: None, log=lambda *_, **__: None, session=session)
    witness = Witness(door, clock, pace)
    return LiveAccount(Account(connection, witness, MemoryNotes(), base_url), witness, pace, clock)
