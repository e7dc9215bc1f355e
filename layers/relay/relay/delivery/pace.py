"""Pace: one record per (connection, quota) hands out the next free slot to everyone who talks to that account.

A quota with a daily budget counts its calls of the UTC day in the same record, by the write that takes the slot.
"""

import contextlib
import random
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.destinations.contract import Quota
from relay.domain import moments
from relay.domain.problems import Actor, Busy, Conflict, ConnectionProblem, Problem
from relay.stores.database import ABSENT, Database, Expectation, Item, Key, Table, Update, write_one

ATTEMPTS = 50

LONGEST_HOLD = timedelta(hours=1)
"""A destination that asks for a longer rest is asked again after this."""


class Pace:
    """Waits in process for a short time; asks for a later try when the next free slot is far."""

    def __init__(self, database: Database, clock: Clock, *, scale: float = 1.0, patience: float = 20.0) -> None:
        """`scale` makes a minute of quota pass faster (only with sandboxes); `patience` is the longest wait, in s.

        A day of a budget stays a day of the clock, whatever the scale.
        """
        self._database = database
        self._clock = clock
        self._scale = scale
        self._patience = timedelta(seconds=patience)

    def __call__(self, connection: str, quota: Quota) -> None:
        """Take the next slot and wait for it; Busy `pace` (nothing was sent) when it is too far away.

        Raises ConnectionProblem `daily_budget` when the quota's calls of the day are used up: the connection stops, and
        its probes, which take a slot too, open it again in the next UTC day.
        """
        slot = self._take(connection, quota)
        wait = (slot - self._clock.now()).total_seconds()
        if wait > 0:
            self._clock.sleep(wait)

    def backlog(self, connection: str, quota: Quota) -> timedelta:
        """Return how far ahead the next free slot lies; zero when it is free now."""
        item = self._database.get([Key(Table.CONTROL, _records(connection), quota.name)])[0]
        if item is None:
            return timedelta()
        return max(moments.parse(str(item["next"])) - self._clock.now(), timedelta())

    def hold(self, connection: str, quota: Quota, wait: timedelta) -> None:
        """Hand out no slot of a quota before `wait`, of the clock's time, is over: the destination asked for a rest.

        A later slot is left where it is. Raises no Problem: this is said after a call, whose answer counts more. When
        nothing could be written, each caller meets the destination's refusal by itself.
        """
        if wait <= timedelta():
            return
        with contextlib.suppress(Problem):
            self._hold(connection, quota, min(wait, LONGEST_HOLD))

    def _hold(self, connection: str, quota: Quota, wait: timedelta) -> None:
        key = Key(Table.CONTROL, _records(connection), quota.name)
        until = self._clock.now() + wait
        for _ in range(ATTEMPTS):
            item = self._database.get([key])[0]
            if item is not None and moments.parse(str(item["next"])) >= until:
                return
            if write_one(self._database, Update(key, {"next": moments.text(until)}, {}, _as_read(item))):
                return
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret

    def _take(self, connection: str, quota: Quota) -> datetime:
        key = Key(Table.CONTROL, _records(connection), quota.name)
        step = quota.per / quota.calls / self._scale
        for _ in range(ATTEMPTS):
            item = self._database.get([key])[0]
            now = self._clock.now()
            free = now if item is None else max(now, moments.parse(str(item["next"])))
            spent = _spent(item, quota, free)
            if free - now > self._patience:
                raise Busy("pace", f"the {quota.name} quota is used up", taken=False, retry_after=free - now)
            taken: Item = {"next": moments.text(free + step), **spent}
            if write_one(self._database, Update(key, taken, {}, _as_read(item))):
                return free
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise Conflict("pace", f"no slot of the {quota.name} quota could be taken")


def _as_read(item: Item | None) -> Expectation:
    return {"pk": ABSENT} if item is None else {"next": str(item["next"])}


def budget_used(database: Database, connection: str, now: datetime) -> float | None:
    """Return the share (0 to 1) of its daily budget that a connection has used today, the largest of several.

    None when none of its calls so far had a budget.
    """
    shares = [
        _used(item, now) / int(item["budget"])
        for item in database.query(Table.CONTROL, _records(connection))
        if "budget" in item
    ]
    return max(shares, default=None)


def _spent(item: Item | None, quota: Quota, slot: datetime) -> Item:
    """Return what a record says of its budget once a slot is taken; nothing for a quota without one."""
    if quota.a_day is None:
        return {}
    used = 0 if item is None else _used(item, slot)
    if used >= quota.a_day:
        problem = ConnectionProblem(
            "daily_budget",
            f"today's {quota.a_day} calls ({quota.name}) are used up: it goes on by itself after midnight UTC",
        )
        problem.actor = Actor.WAIT
        raise problem
    return {"day": _day(slot), "used": used + 1, "budget": quota.a_day}


def _used(item: Item, moment: datetime) -> int:
    return int(item["used"]) if item.get("day") == _day(moment) else 0


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _records(connection: str) -> str:
    return f"pace#{connection}"
