"""A pace for one subject: evenly spread slots by quota, and rests that hold all of them."""

from __future__ import annotations

from datetime import timedelta

from relay.destinations.contract import Quota
from relay.domain.problems import Busy
from tests.contract.subject import PassingTime

PATIENCE = 20.0
"""Seconds that are waited for a slot; a later one is nobody's yet."""


class Pace:
    """Hands out slots as the engine does, and raises Busy where the next one is far."""

    def __init__(self, time: PassingTime) -> None:
        self._time = time
        self._next: dict[str, float] = {}
        self._rest = 0.0

    def __call__(self, quota: Quota) -> None:
        """Wait for the next slot."""
        free = max(self._time(), self._next.get(quota.name, 0.0), self._rest)
        wait = free - self._time()
        if wait > PATIENCE:
            raise Busy("pace", "the next slot is far", retry_after=timedelta(seconds=wait))
        self._next[quota.name] = free + quota.per.total_seconds() / quota.calls
        self._time.pass_(wait)

    def hold(self, quota: Quota, wait: timedelta) -> None:
        """Hand out no slot of a quota for some time."""
        until = self._time() + wait.total_seconds()
        self._next[quota.name] = max(self._next.get(quota.name, 0.0), until)

    def hold_all(self, wait: timedelta) -> None:
        """Hand out no slot for some time."""
        self._rest = max(self._rest, self._time() + wait.total_seconds())
