"""Pace: one record per (connection, quota) hands out the next free slot to everyone who talks to that account.

A quota with a daily budget counts its calls of the UTC day in the same record, by the write that takes the slot. One
more record per connection says until when the account wants no call at all; both are read at once.
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

LONG_SLEEP = 1.0
"""Seconds of waiting for a slot after which it is looked whether the account has asked for a rest meanwhile."""

_ACCOUNT = "account"
"""The record of the account itself, beside those of its quotas."""


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
        while True:
            slot = self._take(connection, quota)
            wait = (slot - self._clock.now()).total_seconds()
            if wait > 0:
                self._clock.sleep(wait)
            if wait < LONG_SLEEP or not self._is_held(connection):
                return

    def backlog(self, connection: str, quota: Quota) -> timedelta:
        """Return how far ahead the next free slot lies; zero when it is free now."""
        now = self._clock.now()
        return _free(now, *self._read(connection, quota)) - now

    def hold(self, connection: str, quota: Quota, wait: timedelta) -> None:
        """Hand out no slot of a quota before `wait`, of the clock's time, is over: the destination asked for a rest.

        A later slot is left where it is. Raises no Problem: this is said after a call, whose answer counts more. When
        nothing could be written, each caller meets the destination's refusal by itself.
        """
        self._hold(connection, quota.name, wait)

    def hold_all(self, connection: str, wait: timedelta) -> None:
        """Hand out no slot of any quota of a connection before `wait` is over; otherwise as `hold`."""
        self._hold(connection, _ACCOUNT, wait)

    def _hold(self, connection: str, record: str, wait: timedelta) -> None:
        if wait > timedelta():
            with contextlib.suppress(Problem):
                self._write_hold(Key(Table.CONTROL, _records(connection), record), min(wait, LONGEST_HOLD))

    def _write_hold(self, key: Key, wait: timedelta) -> None:
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
            item, account = self._read(connection, quota)
            now = self._clock.now()
            free = _free(now, item, account)
            spent = _spent(item, quota, free)
            if free - now > self._patience:
                held = free == _free(now, account)
                why = "the account has asked for a rest" if held else f"the {quota.name} quota is used up"
                raise Busy("pace", why, taken=False, retry_after=free - now)
            taken: Item = {"next": moments.text(free + step), **spent}
            if write_one(self._database, Update(key, taken, {}, _as_read(item))):
                return free
            self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret
        raise Conflict("pace", f"no slot of the {quota.name} quota could be taken")

    def _read(self, connection: str, quota: Quota) -> tuple[Item | None, Item | None]:
        """Return the record of a quota and the account's, by one read."""
        names = (quota.name, _ACCOUNT)
        item, account = self._database.get([Key(Table.CONTROL, _records(connection), name) for name in names])
        return item, account

    def _is_held(self, connection: str) -> bool:
        account = self._database.get([Key(Table.CONTROL, _records(connection), _ACCOUNT)])[0]
        now = self._clock.now()
        return _free(now, account) > now


def _free(now: datetime, *records: Item | None) -> datetime:
    """Return the first moment from now on that no record keeps occupied."""
    return max([now, *(moments.parse(str(item["next"])) for item in records if item is not None)])


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
