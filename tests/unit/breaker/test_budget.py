"""Daily budgets: calls are counted as they are paced; a connection that used them up rests until the next UTC day."""

from datetime import UTC, datetime, timedelta

import pytest

from relay.breaker.pace import Pace, budget_used
from relay.destinations.contract import Quota
from relay.destinations.gainsight_px.client import REST
from relay.domain.problems import Actor, Busy, ConnectionProblem
from relay.stores.breakers import PROBE_EVERY
from tests.fakes.breaker_world import CONNECTION, BreakerWorld
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase

SMALL = Quota("rest", 10, timedelta(seconds=1), a_day=3)
OTHER = Quota("other", 10, timedelta(seconds=1), a_day=6)
UNLIMITED = Quota("token", 10, timedelta(seconds=1))
LATE = datetime(2026, 3, 1, 23, 59, 59, 850_000, tzinfo=UTC)


class TestCounting:
    def setup_method(self) -> None:
        self.clock, self.database = FakeClock(), MemoryDatabase()
        self.pace = Pace(self.database, self.clock)

    def used(self) -> float | None:
        return budget_used(self.database, "px", self.clock.now())

    def test_when_it_is_used_up_no_call_is_made_and_the_connection_stops(self) -> None:
        for _ in range(3):
            self.pace("px", SMALL)
        before = self.database.snapshot()
        with pytest.raises(ConnectionProblem, match="daily_budget") as caught:
            self.pace("px", SMALL)
        assert "midnight UTC" in caught.value.what
        assert (caught.value.taken, caught.value.actor) == (False, Actor.WAIT)
        assert self.database.snapshot() == before

    def test_all_who_call_an_account_share_it(self) -> None:
        others = Pace(self.database, self.clock)
        for pace in (self.pace, others, self.pace):
            pace("px", SMALL)
        with pytest.raises(ConnectionProblem):
            others("px", SMALL)
        others("another", SMALL)

    def test_it_is_counted_by_the_write_that_takes_the_slot(self) -> None:
        for quota in (SMALL, UNLIMITED):
            steps = len(self.database.steps)
            self.pace("px", quota)
            assert self.database.steps[steps:] == ["get control", "write control"]

    def test_a_call_between_our_read_and_our_write_is_counted_too(self) -> None:
        other = Pace(self.database, self.clock)

        def overtake(step: str) -> None:
            if step.startswith("write"):
                self.database.before = lambda _: None
                other("px", SMALL)

        self.database.before = overtake
        self.pace("px", SMALL)
        assert self.used() == pytest.approx(2 / 3)

    def test_a_new_day_begins_at_midnight_utc(self) -> None:
        for _ in range(3):
            self.pace("px", SMALL)
        self.clock.time = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
        with pytest.raises(ConnectionProblem):
            self.pace("px", SMALL)
        self.clock.advance(1)
        assert self.used() == 0
        self.pace("px", SMALL)
        assert self.used() == pytest.approx(1 / 3)

    def test_a_slot_counts_for_the_day_it_is_in(self) -> None:
        self.clock.time = LATE
        for _ in range(3):
            self.pace("px", SMALL)
        assert self.clock.now().day == 2
        assert self.used() == pytest.approx(1 / 3)

    def test_being_busy_uses_nothing_up(self) -> None:
        impatient = Pace(self.database, self.clock, patience=0.05)
        impatient("px", SMALL)
        with pytest.raises(Busy):
            impatient("px", SMALL)
        assert self.used() == pytest.approx(1 / 3)

    def test_the_fullest_of_several_is_shown_and_none_where_there_is_none(self) -> None:
        assert self.used() is None
        self.pace("px", UNLIMITED)
        assert self.used() is None
        self.pace("px", SMALL)
        self.pace("px", OTHER)
        assert self.used() == pytest.approx(1 / 3)

    def test_a_quota_that_gets_a_budget_begins_with_all_of_it(self) -> None:
        self.pace("px", Quota("rest", 10, timedelta(seconds=1)))
        self.pace("px", SMALL)
        assert self.used() == pytest.approx(1 / 3)


def test_gainsight_px_leaves_room_for_others_below_a_million_a_day() -> None:
    assert REST.a_day is not None
    assert 0.9 * 1_000_000 <= REST.a_day <= 0.95 * 1_000_000
    assert REST.calls / REST.per.total_seconds() < 200


def test_a_connection_that_used_its_budget_up_is_stopped_until_midnight() -> None:
    """Given a destination whose probes take a slot too, Then they make no call before the next day."""
    world = BreakerWorld()
    world.clock.time = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    pace, calls = Pace(world.database, world.clock), []

    def call(_: object) -> None:
        pace(CONNECTION, SMALL)
        calls.append(world.clock.now())

    world.tool.on_check = call
    for _ in range(3):
        call(None)
    with pytest.raises(ConnectionProblem) as caught:
        call(None)
    world.stops.stop(CONNECTION, None, caught.value)

    for _ in range(9):
        world.clock.advance(PROBE_EVERY.total_seconds())
        assert not world.probe()
        assert len(calls) == 3
    stop = world.breaker().stop
    assert stop is not None
    assert (stop.code, stop.actor) == ("daily_budget", Actor.WAIT)
    assert budget_used(world.database, CONNECTION, world.clock.now()) == 1

    world.clock.advance(PROBE_EVERY.total_seconds())
    assert world.clock.now().day == 2
    assert world.probe()
    assert len(calls) == 4
