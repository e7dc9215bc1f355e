"""Blocks of slots: who makes many calls at the same time uses all that is allowed, at little cost, and never more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest

from relay.breaker.pace import Pace, budget_used
from relay.destinations.contract import Quota
from relay.domain.problems import Busy, ConnectionProblem
from relay.stores.database import Item, Key
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.timeline import Timeline
from tests.fakes.vendor import Arrivals, CountingDatabase

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
FAST = Quota("calls", 75, SECOND)
OTHER = Quota("other", 75, SECOND)
TAKES = 0.25
"""Seconds that the vendor takes for a call."""


class Processes:
    """Processes that call one account, each from many threads, for as long as they are told."""

    def __init__(self, processes: int, threads: int, quota: Quota = FAST, takes: float = TAKES) -> None:
        self.timeline, self.tables, self.arrivals = Timeline(), MemoryDatabase(), Arrivals()
        self.quota, self.takes, self.threads = quota, takes, threads
        self.counting = [CountingDatabase(self.tables) for _ in range(processes)]
        self.paces = [Pace(counting, self.timeline) for counting in self.counting]
        self.busy: list[Busy] = []

    def call_for(self, seconds: float) -> None:
        end = self.timeline.now() + timedelta(seconds=seconds)
        threads = [lambda pace=pace: self._call_until(pace, end) for pace in self.paces for _ in range(self.threads)]
        self.timeline.run(*threads)

    def _call_until(self, pace: Pace, end: datetime) -> None:
        while self.timeline.now() < end:
            try:
                pace("acme", self.quota)
            except Busy as busy:
                self.busy.append(busy)
                return
            self.arrivals.at.append(self.timeline.now())
            self.timeline.sleep(self.takes)

    def forget(self) -> None:
        """Count from now on."""
        self.arrivals.at.clear()
        for counting in self.counting:
            counting.calls = 0

    @property
    def cost(self) -> float:
        """Return the calls to the database for each call to the vendor."""
        return sum(counting.calls for counting in self.counting) / len(self.arrivals.at)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_vendor_of_75_calls_a_second_is_used_at_75_and_never_beyond(processes: int) -> None:
    world = Processes(processes, threads=24)
    world.call_for(300)
    assert world.arrivals.per_second() >= 74
    assert world.arrivals.most_within(SECOND) <= 75
    assert world.arrivals.most_within(MINUTE) <= 60 * 75
    assert world.cost <= 0.05
    assert world.busy == []


@pytest.mark.parametrize("threads", [2, 8, 12, 40])
@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("takes", [0.01, 0.25, 2.0])
def test_however_many_call_and_however_long_it_takes_no_limit_is_passed(
    processes: int, threads: int, takes: float
) -> None:
    world = Processes(processes, threads, takes=takes)
    world.call_for(20)
    assert world.arrivals.most_within(SECOND) <= 75
    possible = min(75.0, processes * threads / takes)
    assert world.arrivals.per_second() >= 0.9 * possible, "time is reserved that nobody uses"


def test_a_caller_who_comes_alone_reserves_one_slot() -> None:
    """Given one thread, Then time is taken only for the call that is made: whoever else calls may use the rest."""
    world = Processes(1, threads=1)
    world.call_for(10)
    assert world.cost == 2
    alone = Pace(world.tables, FakeClock(world.timeline.now()))
    assert alone.backlog("acme", FAST) <= SECOND / 75


def test_after_many_have_called_a_caller_alone_soon_reserves_one_slot_again() -> None:
    world = Processes(1, threads=24)
    world.call_for(10)
    clock = FakeClock(world.timeline.now() + MINUTE)
    pace = world.paces[0]
    pace._clock = clock
    for _ in range(8):
        pace("acme", FAST)
        clock.advance(60)
    pace("acme", FAST)
    assert pace.backlog("acme", FAST) <= SECOND / 74


def test_after_a_long_pause_blocks_are_soon_as_long_as_before() -> None:
    world = Processes(1, threads=24)
    world.call_for(10)
    world.timeline.time += timedelta(hours=10)
    made, calls = len(world.arrivals.at), world.counting[0].calls
    world.call_for(60)
    assert (world.counting[0].calls - calls) / (len(world.arrivals.at) - made) <= 0.1


@pytest.mark.parametrize("pause", [0.5, 1, 3, 60, 600])
@pytest.mark.parametrize("processes", [1, 4])
def test_pauses_between_pages_are_not_taken_for_slow_calls(processes: int, pause: float) -> None:
    """Given pages of about 300 calls and a pause after each, Then each is made as fast and as cheaply as without."""
    world = Processes(processes, threads=24)
    for page in range(6):
        if page == 1:  # The first one shows how long a call takes.
            world.forget()
        began, made = world.timeline.now(), len(world.arrivals.at)
        world.call_for(4 * processes)
        assert len(world.arrivals.at) - made >= 0.85 * 75 * (world.timeline.now() - began).total_seconds()
        world.timeline.time += timedelta(seconds=pause)
    assert world.arrivals.most_within(SECOND) <= 75
    assert world.cost <= 0.05


@pytest.mark.parametrize("processes", [1, 3])
def test_a_vendor_who_becomes_slower_is_noticed(processes: int) -> None:
    """Given calls that take 8 times as long from now on, Then time is soon no longer reserved that nobody uses."""
    world = Processes(processes, threads=24)
    world.call_for(10)
    world.takes = 2.0
    world.call_for(20)
    alone, reserved = Pace(world.tables, world.timeline), list[timedelta]()
    end = world.timeline.now() + timedelta(seconds=20)

    def look() -> None:
        while world.timeline.now() < end:
            reserved.append(alone.backlog("acme", FAST))
            world.timeline.sleep(0.05)

    world.timeline.run(
        look, *(lambda pace=pace: world._call_until(pace, end) for pace in world.paces for _ in range(world.threads))
    )
    assert world.arrivals.most_within(SECOND) <= 75
    assert sum(reserved, timedelta()) / len(reserved) <= timedelta(seconds=0.1) * processes


def test_no_block_is_longer_than_a_second() -> None:
    world = Processes(1, threads=40, takes=0.01)
    longest = timedelta()

    def look(step: str) -> None:
        nonlocal longest
        item = world.tables.snapshot()
        free = max((datetime.fromisoformat(str(one["next"])) for one in item.values()), default=world.timeline.now())
        longest = max(longest, free - world.timeline.now())

    world.tables.after = look
    world.call_for(20)
    assert longest <= SECOND + 40 * SECOND / 75


# A rest the destination asks for.


def test_a_rest_stops_this_process_at_once_and_the_others_within_a_second() -> None:
    """Given four processes, of which one is asked for a rest while its calls leave, Then all of them rest."""
    world = Processes(4, threads=24)
    began = world.timeline.now()
    held: list[datetime] = []
    left: dict[bool, list[datetime]] = {True: [], False: []}

    def call(pace: Pace, *, is_ours: bool) -> None:
        while world.timeline.now() < began + timedelta(seconds=25):
            pace("acme", FAST)
            left[is_ours].append(world.timeline.now())
            if is_ours and not held and world.timeline.now() > began + timedelta(seconds=10):
                held.append(world.timeline.now())
                pace.hold_all("acme", timedelta(seconds=8))
            world.timeline.sleep(TAKES)

    world.timeline.run(
        *(
            partial(call, pace, is_ours=place == 0)
            for place, pace in enumerate(world.paces)
            for _ in range(world.threads)
        )
    )
    [asked] = held
    rest_ends = asked + timedelta(seconds=8)
    assert not [at for at in left[True] if asked < at < rest_ends]
    assert not [at for at in left[False] if asked + SECOND < at < rest_ends]
    assert all(any(at >= rest_ends for at in one) for one in left.values())


def test_a_rest_of_one_quota_stops_its_blocks_and_no_others() -> None:
    world = Processes(2, threads=24)
    began = world.timeline.now()
    held, seen = began + timedelta(seconds=5), list[datetime]()
    others = list[datetime]()

    def refuse() -> None:
        world.timeline.sleep(5)
        world.paces[0].hold("acme", FAST, timedelta(seconds=8))

    def call(pace: Pace, quota: Quota, arrived: list[datetime]) -> None:
        while world.timeline.now() < began + timedelta(seconds=16):
            pace("acme", quota)
            arrived.append(world.timeline.now())
            world.timeline.sleep(TAKES)

    world.timeline.run(
        refuse,
        *(lambda pace=pace: call(pace, FAST, seen) for pace in world.paces for _ in range(24)),
        *(lambda pace=pace: call(pace, OTHER, others) for pace in world.paces for _ in range(24)),
    )
    assert not [at for at in seen if held + SECOND < at < held + timedelta(seconds=8)]
    assert any(at >= held + timedelta(seconds=8) for at in seen)
    assert any(held + SECOND < at < held + timedelta(seconds=8) for at in others)


def test_whoever_would_wait_too_long_is_told_so_even_where_its_process_has_a_slot() -> None:
    timeline, waited, busy = Timeline(), list[timedelta](), list[Busy]()
    pace = Pace(MemoryDatabase(), timeline, patience=0.5)

    def call() -> None:
        came = timeline.now()
        try:
            pace("acme", FAST)
        except Busy as problem:
            busy.append(problem)
        waited.append(timeline.now() - came)

    timeline.run(*[call] * 60)
    assert max(waited) <= timedelta(seconds=0.5)
    assert 60 - len(busy) == 38
    assert all(one.taken is False for one in busy)
    assert all(one.retry_after is not None and one.retry_after > timedelta(seconds=0.5) for one in busy)


def test_nobody_waits_longer_than_the_patience_whatever_rests_come_meanwhile() -> None:
    """Given a rest that begins while a caller waits, Then both waits together are no longer than the patience."""
    database = MemoryDatabase()

    class HeldAgain(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            Pace(database, FakeClock(self.now())).hold_all("acme", timedelta(seconds=15))

    clock = HeldAgain()
    began = clock.now()
    pace = Pace(database, clock)
    Pace(database, FakeClock(began)).hold_all("acme", timedelta(seconds=15))
    with pytest.raises(Busy):
        pace("acme", FAST)
    assert clock.now() - began <= timedelta(seconds=20)


# A database that does not answer.


class Stalls(CountingDatabase):
    """From its `after`th read on it answers late, so many times."""

    def __init__(self, timeline: Timeline, *, after: int, times: int, late: float) -> None:
        super().__init__(MemoryDatabase())
        self._timeline, self._prompt, self._stalls, self._takes = timeline, after, times, late

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        self._prompt -= 1
        if self._prompt < 0 < self._stalls:
            self._stalls -= 1
            self._timeline.time += timedelta(seconds=self._takes)
        return super().get(keys)


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("late", [5, 30])
def test_calls_do_not_leave_together_after_the_database_was_silent(after: int, late: float) -> None:
    """Given reads that take so long, Then calls whose slots passed meanwhile take new ones, or are told to wait."""
    timeline, left, busy = Timeline(), list[datetime](), list[Busy]()
    pace = Pace(Stalls(timeline, after=after, times=2, late=late), timeline, patience=20)

    def call() -> None:
        for _ in range(20):
            came = timeline.now()
            try:
                pace("acme", FAST)
            except Busy as problem:
                busy.append(problem)
                return
            left.append(timeline.now())
            assert timeline.now() - came <= timedelta(seconds=20.1)
            timeline.sleep(TAKES)

    timeline.run(*[call] * 24)
    left.sort()
    assert all(later - earlier >= SECOND / 75 for earlier, later in pairwise(left))
    assert all(one.retry_after is not None and one.retry_after >= timedelta() for one in busy)
    assert bool(busy) == (late == 30)


def test_who_has_waited_too_long_does_not_ask_a_silent_database_again() -> None:
    """Given many who wait for their slots when the database falls silent, Then they do not wait for it one by one."""
    timeline, busy = Timeline(), list[Busy]()
    database = Stalls(timeline, after=6, times=100, late=21)
    pace = Pace(database, timeline, patience=20)
    pace.hold_all("acme", timedelta(seconds=5))
    began = timeline.now()

    def call() -> None:
        try:
            pace("acme", FAST)
        except Busy as problem:
            busy.append(problem)

    timeline.run(*[call] * 24)
    assert len(busy) == 24
    assert timeline.now() - began <= timedelta(seconds=30)


def test_nobody_is_told_to_come_back_in_the_past() -> None:
    class Ticking(FakeClock):
        def now(self) -> datetime:
            self.advance(0.001)
            return super().now()

    with pytest.raises(Busy) as caught:
        Pace(MemoryDatabase(), Ticking(), patience=0)("acme", FAST)
    assert caught.value.retry_after == timedelta()


# The daily budget.


BUDGETED = Quota("calls", 75, SECOND, a_day=1_000)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_daily_budget_is_used_up_and_never_passed(processes: int) -> None:
    world = Processes(processes, threads=24, quota=BUDGETED)
    stopped = 0

    def call(pace: Pace) -> None:
        nonlocal stopped
        try:
            world._call_until(pace, world.timeline.now() + MINUTE)
        except ConnectionProblem:
            stopped += 1

    world.timeline.run(*(lambda pace=pace: call(pace) for pace in world.paces for _ in range(24)))
    assert stopped == processes * 24
    assert 1_000 - 75 * (processes - 1) <= len(world.arrivals.at) <= 1_000


def test_what_is_left_of_a_block_goes_back_into_the_budget_with_the_next_one() -> None:
    world = Processes(1, threads=24, quota=BUDGETED)
    world.call_for(3)
    made = len(world.arrivals.at)
    pace, clock = world.paces[0], FakeClock(world.timeline.now() + MINUTE)
    pace._clock = clock
    for _ in range(10):
        pace("acme", BUDGETED)
        clock.advance(60)
    assert budget_used(world.tables, "acme", clock.now()) == pytest.approx((made + 10) / 1_000)


def test_what_is_left_goes_back_even_where_somebody_else_took_slots_meanwhile() -> None:
    world = Processes(1, threads=24, quota=BUDGETED)
    world.call_for(3)
    made = len(world.arrivals.at)
    pace, clock = world.paces[0], FakeClock(world.timeline.now() + MINUTE)
    pace._clock = clock

    def overtake(step: str) -> None:
        if step.startswith("write"):
            world.tables.before = lambda _: None
            Pace(world.tables, FakeClock(clock.now()))("acme", BUDGETED)

    world.tables.before = overtake
    for _ in range(10):
        pace("acme", BUDGETED)
        clock.advance(60)
    assert budget_used(world.tables, "acme", clock.now()) == pytest.approx((made + 11) / 1_000)


def test_what_is_left_is_given_back_once_only_when_the_answer_to_the_write_is_lost() -> None:
    world = Processes(1, threads=24, quota=BUDGETED)
    world.call_for(3)
    made = len(world.arrivals.at)
    pace, clock = world.paces[0], FakeClock(world.timeline.now() + MINUTE)
    pace._clock = clock

    def lose(step: str) -> None:
        if step.startswith("write"):
            world.tables.after = lambda _: None
            raise Busy("throttled", "the answer is lost")

    world.tables.after = lose
    with pytest.raises(Busy):
        pace("acme", BUDGETED)
    for _ in range(10):
        clock.advance(60)
        pace("acme", BUDGETED)
    used = budget_used(world.tables, "acme", clock.now())
    assert used is not None
    assert used * 1_000 >= made + 10


def test_a_block_does_not_reach_into_the_next_day() -> None:
    world = Processes(1, threads=24, quota=BUDGETED)
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    world.timeline.time = midnight - timedelta(seconds=5)
    world.call_for(10)
    before = [at for at in world.arrivals.at if at < midnight]
    used = budget_used(world.tables, "acme", world.timeline.now())
    assert used is not None
    left = round(used * 1_000) - (len(world.arrivals.at) - len(before))
    assert 0 <= left <= 75


# Threads, and others who take the same.


def test_threads_of_one_process_never_leave_together() -> None:
    leaving, own, left = threading.Barrier(16), threading.local(), list[datetime]()

    class Still(FakeClock):
        """Nobody's sleep moves it."""

        def sleep(self, seconds: float) -> None:
            own.wakes = self.now() + timedelta(seconds=seconds)

    clock = Still()
    pace = Pace(MemoryDatabase(), clock, patience=10**6)

    def call() -> None:
        leaving.wait(60)
        for _ in range(50):
            own.wakes = clock.now()
            pace("acme", FAST)
            left.append(own.wakes)

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(left) == 800
    assert len(set(left)) == 800


def test_the_same_block_taken_by_two_is_not_the_same_write() -> None:
    """Where the answer to a write is lost, the database looks whether the item is as the write would leave it."""
    written = []
    for _ in range(2):
        database = MemoryDatabase()
        Pace(database, FakeClock())("acme", FAST)
        written.append(database.snapshot())
    assert written[0] != written[1]
