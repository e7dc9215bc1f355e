"""Pace: one record per (connection, quota) hands out slots to everyone who talks to that account.

It hands them out in blocks. A block is time that is one process's alone: its calls leave in it, one slot after the
other, so that no two calls to an account are closer than its quota says. A caller who comes alone gets a block of one
slot. A process with enough callers to use all that the quota allows gets blocks of nearly a second: many calls take one
read and one write together.

A quota with a daily budget counts its calls of the UTC day in the same record, by the write that takes the block. One
more record per connection says until when the account wants no call at all; both are read at once.
"""

import contextlib
import math
import random
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from relay.clock import Clock
from relay.destinations.contract import Quota
from relay.domain import moments
from relay.domain.problems import Actor, Busy, Conflict, ConnectionProblem, Problem
from relay.stores.database import ABSENT, Database, Expectation, Item, Key, Table, Update

FORMAT: Final = 1

ATTEMPTS = 50

LONGEST_HOLD = timedelta(hours=1)
"""A destination that asks for a longer rest is asked again after this."""

LOOKED_WITHIN = timedelta(seconds=1)
"""No call leaves unless it was looked so lately whether the account wants a rest."""

LONGEST_BLOCK = timedelta(seconds=0.9)
"""So one look is enough for a block, even where its callers leave a little late."""

LATEST_LEAVE = LOOKED_WITHIN - LONGEST_BLOCK
"""Who comes to leave so long after its slot began takes another one: this one may be somebody else's time."""

LONGEST_AWAY = timedelta(minutes=1)
"""As long as a call may take. Who was away for longer had nothing to call."""

_ACCOUNT = "account"
"""The record of the account itself, beside those of its quotas."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Share:
    """What one process has of a quota: its block, and who of its callers is where.

    Of the block the slots from `free` on, up to `end`, are nobody's yet: `left` of `size`.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a slot is picked, and while a block is taken: the others need it, too."""
    free: datetime = _NEVER
    end: datetime = _NEVER
    size: int = 1
    left: int = 0
    day: str = ""
    """The UTC day in whose budget the block is counted; empty for a quota without one."""
    looked_at: datetime = _NEVER
    """When it was looked last whether the account wants a rest."""
    rests: int = 0
    """How many rests were met. A slot that was given before one counts no more."""
    asking: set[object] = field(default_factory=set)
    """Who has no slot yet."""
    waiting: set[object] = field(default_factory=set)
    """Who waits for the slot that it has."""
    away: deque[datetime] = field(default_factory=deque)
    """When those left who have not come back yet."""
    takes: timedelta = timedelta()
    """How long a caller is away, of the last ones about."""

    def come(self, now: datetime) -> None:
        """Note that a caller is here: those who left first come back first.

        Whoever ends a pause does not say how long a call takes. So where nobody waits for a slot, and the one who comes
        was away for much longer than usual, the pause is left out for all who are away. It counts a little, or one
        who comes alone after many would reserve as much as they did.
        """
        if not self.away:
            return
        was_away = min(now - self.away.popleft(), LONGEST_AWAY)
        if not self.waiting and not self.away:
            return
        if not self.waiting and timedelta() < 2 * self.takes < was_away:
            self.away = deque([now - self.takes] * len(self.away))
            self.takes *= 1.2
        else:
            self.takes += (was_away - self.takes) / (16 if self.takes else 1)

    def slot(self, now: datetime, step: timedelta) -> datetime | None:
        """Return the next slot of the block, None when there is none left. One that has passed is nobody's any more."""
        slot = max(now, self.free)
        return slot if self.left > 0 and slot + step <= self.end else None

    def give(self, slot: datetime, step: timedelta) -> None:
        """Give a slot away."""
        self.free = slot + step
        self.left -= 1

    def rest(self) -> None:
        """Let no slot of this process be used any more."""
        self.rests += 1
        self.end = _NEVER

    def wanted(self, now: datetime, step: timedelta) -> int:
        """Return how many slots the next block shall have.

        A block is time in which nobody else calls. So it has more slots than callers who ask only where they come back
        so soon that they use every slot there is: where all of them leave one after the other, the first is back.
        """
        asking = len(self.asking)
        callers = asking + len(self.waiting) + len(self.away)
        size = self.size
        if callers == 1 or callers * step < self.takes:
            size = 1
        elif self.left == 0 and now < self.end:
            size *= 2
        return max(1, min(max(size, asking), LONGEST_BLOCK // step))


class Pace:
    """Waits in process for a short time; asks for a later try when the next free slot is far. Safe for threads."""

    def __init__(self, database: Database, clock: Clock, *, scale: float = 1.0, patience: float = 20.0) -> None:
        """`scale` makes a minute of quota pass faster (only with sandboxes); `patience` is the longest wait, in s.

        A day of a budget stays a day of the clock, whatever the scale.
        """
        self._database = database
        self._clock = clock
        self._scale = scale
        self._patience = timedelta(seconds=patience)
        self._shares: dict[tuple[str, str], _Share] = {}

    def __call__(self, connection: str, quota: Quota) -> None:
        """Take the next slot and wait for it; Busy `pace` (nothing was sent) when it is too far away.

        Raises ConnectionProblem `daily_budget` when the quota's calls of the day are used up: the connection stops, and
        its probes, which take a slot too, open it again in the next UTC day.
        """
        share = self._shares.setdefault((connection, quota.name), _Share())
        latest = self._clock.now() + self._patience
        caller = object()
        share.asking.add(caller)
        try:
            with share.lock:
                share.come(self._clock.now())
            for _ in range(ATTEMPTS):
                if self._leave(share, caller, connection, quota, latest):
                    return
        finally:
            share.asking.discard(caller)
        raise Conflict("pace", f"no slot of the {quota.name} quota could be taken")

    def backlog(self, connection: str, quota: Quota) -> timedelta:
        """Return how far ahead the next slot lies that nobody has taken; zero when it is free now."""
        now = self._clock.now()
        return _free(now, *self._read(connection, quota)) - now

    def hold(self, connection: str, quota: Quota, wait: timedelta) -> None:
        """Hand out no slot of a quota before `wait`, of the clock's time, is over: the destination asked for a rest.

        Slots that this process has are void at once, those of others within a second. Raises no Problem: this is said
        after a call, whose answer counts more. When nothing could be written, each caller meets the destination's
        refusal by itself.
        """
        self._hold(connection, quota.name, wait)

    def hold_all(self, connection: str, wait: timedelta) -> None:
        """Hand out no slot of any quota of a connection before `wait` is over; otherwise as `hold`."""
        self._hold(connection, _ACCOUNT, wait)

    def _hold(self, connection: str, record: str, wait: timedelta) -> None:
        if wait <= timedelta():
            return
        with contextlib.suppress(Problem):
            self._write_hold(Key(Table.CONTROL, _records(connection), record), min(wait, LONGEST_HOLD))
        for (of, name), share in list(self._shares.items()):
            if of == connection and record in (name, _ACCOUNT):
                with share.lock:
                    share.rest()

    def _write_hold(self, key: Key, wait: timedelta) -> None:
        until = self._clock.now() + wait
        for _ in range(ATTEMPTS):
            item = self._database.get([key])[0]
            if _rest_of(item) >= until:
                return
            hold: Item = {"next": moments.text(_free(until, item)), "rest": moments.text(until), "format": FORMAT}
            if self._database.write([Update(key, hold, expect=_as_read(item))])[0]:
                return
            self._pause()

    def _leave(self, share: _Share, caller: object, connection: str, quota: Quota, latest: datetime) -> bool:
        """Wait for a slot; return whether the call may leave in it, and need not ask for another one."""
        with share.lock:
            slot, rests = self._slot(share, connection, quota, latest), share.rests
            if slot is not None:
                share.asking.discard(caller)
                share.waiting.add(caller)
        if slot is None:
            self._pause()
            return False
        try:
            wait = (slot - self._clock.now()).total_seconds()
            if wait > 0:
                self._clock.sleep(wait)
        finally:
            share.waiting.discard(caller)
        with share.lock:
            # Whoever held the lock may have waited long for the database. So may the look, which a missed slot spares.
            if not self._is_missed(slot):
                self._look(share, connection, quota)
            if share.rests != rests or self._is_missed(slot):
                share.asking.add(caller)
                return False
            share.away.append(self._clock.now())
        return True

    def _is_missed(self, slot: datetime) -> bool:
        return self._clock.now() - slot > LATEST_LEAVE

    def _slot(self, share: _Share, connection: str, quota: Quota, latest: datetime) -> datetime | None:
        """Return a slot of the block, of a new one if need be; None when others took slots meanwhile."""
        step = self._step(quota)
        slot = share.slot(self._clock.now(), step)
        if slot is None:
            if (now := self._clock.now()) > latest:
                raise self._busy("the wait for a slot took too long", now)
            if not self._take(share, connection, quota, latest):
                return None
            slot = share.free
        if slot > latest:
            raise self._busy(f"the {quota.name} quota is used up", slot)
        share.give(slot, step)
        return slot

    def _take(self, share: _Share, connection: str, quota: Quota, latest: datetime) -> bool:
        """Take a block; return whether it could be written."""
        looked_at = self._clock.now()
        item, account = self._read(connection, quota)
        free = _free(self._clock.now(), item, account)
        size, spent = self._budget(share, item, quota, free)
        if free > latest:
            is_rest = free in (_rest_of(item), _rest_of(account))
            why = "the account has asked for a rest" if is_rest else f"the {quota.name} quota is used up"
            raise self._busy(why, free)
        end = free + size * self._step(quota)
        # The id makes each block a write of its own. Where the answer to a write is lost, the database looks what is
        # there: the same block, taken by somebody else, must not pass for ours.
        block_id = f"{random.getrandbits(64):016x}"
        a_minute = round(quota.calls * (timedelta(minutes=1) / quota.per))
        block: Item = {"next": moments.text(end), "block": block_id, "a_minute": a_minute, "format": FORMAT, **spent}
        # What is left of the old block goes back into the budget with this write. Whoever does not know whether it was
        # done must not give it back again.
        left, share.left = share.left, 0
        if not self._database.write([Update(_key(connection, quota), block, expect=_as_read(item))])[0]:
            share.left = left
            return False
        share.free, share.end, share.size, share.left = free, end, size, size
        share.day, share.looked_at = str(spent.get("day", "")), looked_at
        return True

    def _budget(self, share: _Share, item: Item | None, quota: Quota, free: datetime) -> tuple[int, Item]:
        """Return how many slots to take, and what the record then says of the day's budget: nothing without one."""
        step = self._step(quota)
        wanted = share.wanted(self._clock.now(), step)
        if quota.a_day is None:
            return wanted, {}
        used = 0 if item is None else _used(item, free)
        used -= share.left if share.day == _day(free) else 0
        if used >= quota.a_day:
            problem = ConnectionProblem(
                "daily_budget",
                f"today's {quota.a_day} calls ({quota.name}) are used up: it goes on by itself after midnight UTC",
            )
            problem.actor = Actor.WAIT
            raise problem
        midnight = free.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        size = min(wanted, quota.a_day - used, max(1, (midnight - free) // step))
        return size, {"day": _day(free), "used": used + size, "budget": quota.a_day}

    def _look(self, share: _Share, connection: str, quota: Quota) -> None:
        """Look whether the account wants a rest, unless that was done a moment ago."""
        now = self._clock.now()
        if now - share.looked_at < LOOKED_WITHIN:
            return
        item, account = self._read(connection, quota)
        share.looked_at = now
        if max(_rest_of(item), _rest_of(account)) > now:
            share.rest()

    def _read(self, connection: str, quota: Quota) -> tuple[Item | None, Item | None]:
        """Return the record of a quota and the account's, by one read."""
        item, account = self._database.get(
            [_key(connection, quota), Key(Table.CONTROL, _records(connection), _ACCOUNT)]
        )
        return item, account

    def _step(self, quota: Quota) -> timedelta:
        """Return the time between two slots, in whole microseconds: not one too few, or a second holds one too many."""
        exact = quota.per / timedelta(microseconds=1) / quota.calls / self._scale
        return timedelta(microseconds=math.ceil(exact))

    def _busy(self, why: str, slot: datetime) -> Busy:
        return Busy("pace", why, taken=False, retry_after=max(timedelta(), slot - self._clock.now()))

    def _pause(self) -> None:
        self._clock.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter, not a secret


def _free(now: datetime, *records: Item | None) -> datetime:
    """Return the first moment from now on that no record keeps occupied."""
    return max([now, *(moments.parse(str(item["next"])) for item in records if item is not None)])


def _rest_of(item: Item | None) -> datetime:
    """Return until when a record says that the destination wants no call."""
    return _NEVER if item is None or "rest" not in item else moments.parse(str(item["rest"]))


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


class Limit(NamedTuple):
    """What a connection may call under one quota: so many calls a minute, and `a_day` of which `used` are used up."""

    quota: str
    a_minute: int
    a_day: int | None = None
    used: int | None = None


def limits(database: Database, connection: str, now: datetime) -> list[Limit]:
    """Return the limits under which a connection has made calls so far, the widest first."""
    found = [
        Limit(
            str(item["sk"]),
            int(item["a_minute"]),
            int(item["budget"]) if "budget" in item else None,
            _used(item, now) if "budget" in item else None,
        )
        for item in database.query(Table.CONTROL, _records(connection))
        if "a_minute" in item
    ]
    return sorted(found, key=lambda limit: -limit.a_minute)


def _used(item: Item, moment: datetime) -> int:
    return int(item["used"]) if item.get("day") == _day(moment) else 0


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _key(connection: str, quota: Quota) -> Key:
    return Key(Table.CONTROL, _records(connection), quota.name)


def _records(connection: str) -> str:
    return f"pace#{connection}"
