"""Pace: one record per (connection, quota) hands out the next free slot to everyone who talks to that account."""

import random
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.destinations.contract import Quota
from relay.domain import moments
from relay.domain.problems import Busy, Conflict
from relay.stores.database import ABSENT, Database, Expectation, Key, Table, Update, write_one

ATTEMPTS = 50


class Pace:
    """Waits in process for a short time; asks for a later try when the next free slot is far."""

    def __init__(self, database: Database, clock: Clock, *, scale: float = 1.0, patience: float = 20.0) -> None:
        """`scale` makes a minute of quota pass faster (only with sandboxes); `patience` is the longest wait, in s."""
        self._database = database
        self._clock = clock
        self._scale = scale
        self._patience = timedelta(seconds=patience)

    def __call__(self, connection: str, quota: Quota) -> None:
        """Take the next slot and wait for it; Busy `pace` (nothing was sent) when it is too far away."""
        slot = self._take(connection, quota)
        wait = (slot - self._clock.now()).total_seconds()
        if wait > 0:
            self._clock.sleep(wait)

    def backlog(self, connection: str, quota: Quota) -> timedelta:
        """Return how far ahead the next free slot lies; zero when it is free now."""
        item = self._database.get([Key(Table.CONTROL, f"pace#{connection}", quota.name)])[0]
        if item is None:
            return timedelta()
        return max(moments.parse(str(item["next"])) - self._clock.now(), timedelta())

    def _take(self, connection: str, quota: Quota) -> datetime:
        key = Key(Table.CONTROL, f"pace#{connection}", quota.name)
        step = quota.per / quota.calls / self._scale
        for _ in range(ATTEMPTS):
            item = self._database.get([key])[0]
            now = self._clock.now()
            free = now if item is None else max(now, moments.parse(str(item["next"])))
            if free - now > self._patience:
                raise Busy("pace", f"the {quota.name} quota is used up", taken=False, retry_after=free - now)
            expect: Expectation = {"pk": ABSENT} if item is None else {"next": str(item["next"])}
            if write_one(self._database, Update(key, {"next": moments.text(free + step)}, {}, expect)):
                return free
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise Conflict("pace", f"no slot of the {quota.name} quota could be taken")
