"""Pace: slots evenly spread, shared by everybody who talks to an account."""

from datetime import timedelta
from itertools import pairwise

import pytest

from relay.breaker.pace import Pace, budget_used
from relay.destinations.contract import Quota
from relay.domain.problems import Busy, Conflict
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

IMPORTS = Quota("imports", 20, timedelta(minutes=1))
CALLS = Quota("calls", 5, timedelta(seconds=1))


def take_slots(number: int, database: MemoryDatabase, clock: FakeClock) -> None:
    """Let another process take slots; it waits for them by a clock of its own."""
    other = Pace(database, FakeClock(clock.now()), patience=10**6)
    for _ in range(number):
        other("letters", IMPORTS)


def test_slots_are_evenly_spaced() -> None:
    clock = FakeClock()
    pace = Pace(MemoryDatabase(), clock)
    for _ in range(4):
        pace("letters", IMPORTS)
    assert clock.slept == [3.0, 3.0, 3.0]


def test_an_idle_account_saves_no_slots_up() -> None:
    clock = FakeClock()
    pace = Pace(MemoryDatabase(), clock)
    pace("letters", IMPORTS)
    clock.advance(600)
    pace("letters", IMPORTS)
    pace("letters", IMPORTS)
    assert clock.slept == [3.0]


def test_two_callers_share_the_slots_of_one_account() -> None:
    clock, database = FakeClock(), MemoryDatabase()
    one, other = Pace(database, clock), Pace(database, clock)
    taken = []
    for pace in (one, other, one, other):
        pace("letters", IMPORTS)
        taken.append(clock.now())
    assert [later - earlier for earlier, later in pairwise(taken)] == [timedelta(seconds=3)] * 3


def test_another_account_and_another_quota_have_slots_of_their_own() -> None:
    clock = FakeClock()
    pace = Pace(MemoryDatabase(), clock)
    pace("letters", IMPORTS)
    pace("parcels", IMPORTS)
    pace("letters", CALLS)
    assert clock.slept == []


def test_when_the_next_slot_is_too_far_nothing_is_taken_and_the_caller_is_told_when() -> None:
    clock = FakeClock()
    database = MemoryDatabase()
    impatient = Pace(database, clock, patience=5)
    take_slots(2, database, clock)
    stored = database.snapshot()

    with pytest.raises(Busy) as raised:
        impatient("letters", IMPORTS)

    assert (raised.value.taken, raised.value.retry_after) == (False, timedelta(seconds=6))
    assert database.snapshot() == stored
    clock.advance(6)
    impatient("letters", IMPORTS)


def test_a_minute_passes_faster_with_a_scale() -> None:
    clock = FakeClock()
    pace = Pace(MemoryDatabase(), clock, scale=60)
    pace("letters", IMPORTS)
    pace("letters", IMPORTS)
    assert clock.slept == [pytest.approx(0.05)]


# A rest the destination asked for.


@pytest.mark.parametrize("scale", [1, 60])
def test_a_hold_binds_everybody_and_lasts_as_long_as_the_clock_says(scale: int) -> None:
    clock, database = FakeClock(), MemoryDatabase()
    one, other = Pace(database, clock, scale=scale), Pace(database, clock, scale=scale)
    one("letters", IMPORTS)
    one.hold("letters", IMPORTS, timedelta(seconds=40))

    with pytest.raises(Busy) as raised:
        other("letters", IMPORTS)
    assert raised.value.retry_after == timedelta(seconds=40)
    clock.advance(25)
    other("letters", IMPORTS)
    assert clock.slept == [15.0]


def test_a_quota_nobody_has_used_yet_can_be_held_and_no_other_is() -> None:
    clock = FakeClock()
    pace = Pace(MemoryDatabase(), clock)
    pace.hold("letters", IMPORTS, timedelta(seconds=10))
    pace("letters", CALLS)
    pace("parcels", IMPORTS)
    assert clock.slept == []
    pace("letters", IMPORTS)
    assert clock.slept == [10.0]


def test_a_hold_never_makes_a_slot_earlier() -> None:
    clock = FakeClock()
    pace = Pace(MemoryDatabase(), clock)
    pace.hold("letters", IMPORTS, timedelta(seconds=60))
    for shorter in (timedelta(seconds=20), timedelta(), timedelta(seconds=-5)):
        pace.hold("letters", IMPORTS, shorter)
    assert pace.backlog("letters", IMPORTS) == timedelta(seconds=60)


def test_a_hold_lasts_an_hour_at_most() -> None:
    pace = Pace(MemoryDatabase(), FakeClock())
    pace.hold("letters", IMPORTS, timedelta(days=3))
    assert pace.backlog("letters", IMPORTS) == timedelta(hours=1)


def test_a_hold_leaves_the_days_budget_as_it_is() -> None:
    clock, database = FakeClock(), MemoryDatabase()
    pace, budgeted = Pace(database, clock), Quota("calls", 5, timedelta(seconds=1), a_day=10)
    pace("letters", budgeted)
    pace.hold("letters", budgeted, timedelta(seconds=10))
    assert budget_used(database, "letters", clock.now()) == 0.1


def test_a_hold_wins_over_somebody_who_takes_a_slot_meanwhile() -> None:
    clock, database = FakeClock(), MemoryDatabase()
    pace = Pace(database, clock)

    def overtake(step: str) -> None:
        if step.startswith("write"):
            database.before = lambda _: None
            take_slots(1, database, clock)

    database.before = overtake
    pace.hold("letters", IMPORTS, timedelta(seconds=10))
    assert pace.backlog("letters", IMPORTS) == timedelta(seconds=10) - timedelta(seconds=sum(clock.slept))


def test_a_hold_of_the_account_binds_every_quota_of_it_used_before_or_not() -> None:
    clock, database = FakeClock(), MemoryDatabase()
    pace = Pace(database, clock)
    pace("letters", IMPORTS)
    pace.hold_all("letters", timedelta(seconds=40))
    for quota in (IMPORTS, CALLS):
        assert pace.backlog("letters", quota) == timedelta(seconds=40)
        with pytest.raises(Busy) as raised:
            Pace(database, clock)("letters", quota)
        assert (raised.value.taken, raised.value.retry_after) == (False, timedelta(seconds=40))
    pace("parcels", CALLS)
    assert clock.slept == []


def test_after_a_hold_of_the_account_its_slots_are_evenly_spaced_again() -> None:
    clock = FakeClock()
    pace = Pace(MemoryDatabase(), clock)
    begun = clock.now()
    pace.hold_all("letters", timedelta(seconds=10))
    taken = []
    for _ in range(3):
        pace("letters", CALLS)
        taken.append((clock.now() - begun).total_seconds())
    assert taken == [10.0, 10.2, 10.4]


def test_who_sleeps_until_a_slot_that_a_hold_then_covers_waits_for_the_end_of_the_hold() -> None:
    database = MemoryDatabase()

    class HeldMeanwhile(FakeClock):
        def sleep(self, seconds: float) -> None:
            if not self.slept:
                Pace(database, self).hold_all("letters", timedelta(seconds=15))
            super().sleep(seconds)

    clock = HeldMeanwhile()
    begun = clock.now()
    pace = Pace(database, clock)
    pace("letters", IMPORTS)
    pace("letters", IMPORTS)
    assert clock.slept[0] == 3.0
    assert clock.now() - begun >= timedelta(seconds=15)


def test_a_hold_of_the_account_lasts_an_hour_at_most_and_never_ends_earlier() -> None:
    pace = Pace(MemoryDatabase(), FakeClock())
    for wait in (timedelta(days=3), timedelta(seconds=1), timedelta(), timedelta(seconds=-5)):
        pace.hold_all("letters", wait)
        assert pace.backlog("letters", CALLS) == timedelta(hours=1)


def test_a_paced_call_takes_one_read_and_one_write() -> None:
    database = MemoryDatabase()
    steps: list[str] = []
    database.before = steps.append
    Pace(database, FakeClock())("letters", CALLS)
    assert [step.partition(" ")[0] for step in steps] == ["get", "write"]


def test_a_hold_that_cannot_be_written_hides_no_answer() -> None:
    database = MemoryDatabase()

    def throttle(step: str) -> None:
        raise Busy("database", "throttled")

    database.before = throttle
    Pace(database, FakeClock()).hold("letters", IMPORTS, timedelta(seconds=10))
    Pace(database, FakeClock()).hold_all("letters", timedelta(seconds=10))


def test_a_slot_is_never_handed_out_twice_when_two_ask_at_once() -> None:
    """Given another caller who takes the slot between our read and our write, Then we take the next."""
    clock, database = FakeClock(), MemoryDatabase()
    pace = Pace(database, clock)

    def overtake(step: str) -> None:
        if step.startswith("write"):
            database.before = lambda _: None
            take_slots(1, database, clock)

    database.before = overtake
    first = clock.now()
    pace("letters", IMPORTS)
    assert clock.now() == first + timedelta(seconds=3)


def test_whoever_keeps_losing_its_slot_to_others_says_so_and_a_hold_gives_up() -> None:
    clock, database = FakeClock(), MemoryDatabase()
    pace = Pace(database, clock, patience=10**6)

    def overtake(step: str) -> None:
        if step.startswith("write"):
            database.before = lambda _: None
            take_slots(1, database, clock)
            database.before = overtake

    database.before = overtake
    with pytest.raises(Conflict):
        pace("letters", IMPORTS)
    before = len(database.steps)
    pace.hold("letters", IMPORTS, timedelta(hours=1))
    assert len(database.steps) > before
