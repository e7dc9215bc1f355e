"""Pace: slots evenly spread, shared by everybody who talks to an account."""

from datetime import timedelta
from itertools import pairwise

import pytest

from relay.delivery.pace import Pace
from relay.destinations.contract import Quota
from relay.domain.problems import Busy
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

IMPORTS = Quota("imports", 20, timedelta(minutes=1))
CALLS = Quota("calls", 5, timedelta(seconds=1))


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
    for _ in range(2):
        impatient._take("letters", IMPORTS)
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


def test_a_slot_is_never_handed_out_twice_when_two_ask_at_once() -> None:
    """Given another caller who takes the slot between our read and our write, Then we take the next."""
    clock, database = FakeClock(), MemoryDatabase()
    other = Pace(database, clock)
    pace = Pace(database, clock)

    def overtake(step: str) -> None:
        if step.startswith("write"):
            database.before = lambda _: None
            other._take("letters", IMPORTS)

    database.before = overtake
    first = clock.now()
    assert pace._take("letters", IMPORTS) == first + timedelta(seconds=3)
