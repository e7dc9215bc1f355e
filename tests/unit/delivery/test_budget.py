"""Daily budgets: calls are counted as they are paced; a connection that used them up rests until the next UTC day."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.delivery.pace import Pace, budget_used
from relay.destinations.contract import Account, Caller, Finding, Quota
from relay.destinations.gainsight_px.client import REST
from relay.domain.exports import Connection, Export
from relay.domain.problems import Actor, Busy, ConnectionProblem
from relay.stores import gates, runs
from tests.fakes.clock import FakeClock
from tests.fakes.delivery_bench import CONNECTION, Bench
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
        impatient._take("px", SMALL)
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


class Rationed(Bench):
    """A bench whose destination has a daily budget, for its probes too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(call_size=1)
        pace = Pace(self.database, self.clock)

        def caller(connection: Connection) -> tuple[Caller, Callable[[], int]]:
            def call(*_: Any, **__: Any) -> Any:
                pace(connection.name, SMALL)
                self.api_calls += 1

            return call, lambda: self.api_calls

        def check(account: Account, exports: list[Export]) -> list[Finding]:
            account.call("GET", "", quota=SMALL)
            return []

        self.opener.caller = caller
        monkeypatch.setattr(self.tool, "check", check)

    def work(self) -> None:
        """Hand over what is queued, again and again as SQS does, until nothing is left."""
        queued = self.queue.take()
        while queued:
            kept = {int(name.removeprefix("m")) for name in self.consume(*queued)}
            queued = [*(message for place, message in enumerate(queued) if place in kept), *self.queue.take()]

    def shown(self, capsys: pytest.CaptureFixture[str]) -> list[int]:
        """Return the percentages shown since the last time."""
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [int(share) for line in lines for share in line.get("DailyBudgetPercent", ())]


def test_a_connection_that_used_its_budget_up_rests_until_midnight_and_catches_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Rationed(monkeypatch)
    bench.clock.time = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    emails = [f"{number}@x.example" for number in range(5)]
    for number, email in enumerate(emails):
        bench.store(number, email=email)
    bench.tick()
    bench.work()

    assert len(bench.tool.holds()) == 3
    connection, export = gates.load(bench.database, CONNECTION, "main")
    assert (connection.closed, connection.code, export.owed > 0) == (True, "daily_budget", True)

    capsys.readouterr()
    for _ in range(29):
        bench.tick(after=timedelta(minutes=1))
    assert bench.api_calls == 3
    assert gates.load(bench.database, CONNECTION, "main")[0].closed
    assert bench.shown(capsys) == [100] * 29

    for _ in range(4):
        bench.tick(after=timedelta(minutes=1))
        bench.work()
    assert set(bench.tool.holds()) == set(emails)
    assert not gates.load(bench.database, CONNECTION, "main")[0].closed
    assert "owed" in {run.cause for run in runs.latest(bench.database, bench.export.key)}
    assert bench.shown(capsys)[-1] == 100
