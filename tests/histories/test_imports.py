"""Runs whose imports leave something open: how long they take, what they count, and what the account holds then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.histories.day import BULK, INFO, Day

EVERYBODY = 80
"""Enough for an import by each of the four shards."""
LOOK_UP = "^/api/3/contacts$"

ODD_ANSWERS: dict[str, Any] = {
    "a page": {"html": True},
    "another object": {"status": 200, "body": {"ok": True}},
    "an array": {"status": 200, "body": []},
    "500": {"status": 500},
    "404": {"status": 404},
}


@pytest.mark.parametrize("do", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_a_look_up_that_is_always_answered_oddly_holds_up_nobody(do: Any) -> None:
    """It ends as unconfirmed, the run as usual, and the connection goes on."""
    day = Day(EVERYBODY, excluded_at="queue", success_lists="created")
    day.full_run()
    day.rename(range(EVERYBODY), "Bea", stream=False)
    day.plant(0, excluded=True)
    # Nothing but looking up contacts tells now who was left out, and that goes wrong for one whole shard.
    day.fault(do, LOOK_UP, times=None)
    run = day.run()
    took = day.wait_for_end(run)
    counts = day.counts(run)
    assert took < timedelta(minutes=20)
    assert counts["delivered"] + counts["rejected"] == EVERYBODY
    assert counts["rejected"] == counts["rejected:unconfirmed"] < EVERYBODY
    assert not day.is_stopped()
    # An hour later they are looked up again, and those that are as wanted need no other call.
    day.side.calm()
    imports = day.calls(f"POST {BULK}")
    day.wait(hours=2)
    assert day.calls(f"POST {BULK}") == imports
    assert day.codes() == {0: "unconfirmed"}
    # They were on the list before. Alone, the one left out goes by single calls, which know no exclusion list.
    assert day.full_run() == {"unchanged": EVERYBODY - 1, "delivered": 1}


ROOM = "/api/3/settings/account"


@pytest.mark.parametrize(
    ("do", "code"), [(None, "excluded"), ({"status": 403}, "import_refused"), ({"status": 429}, "import_refused")]
)
def test_whom_an_import_left_out_is_never_subscribed_by_single_calls(do: Any, code: str) -> None:
    day = Day(EVERYBODY, excluded_at="queue", success_lists="created")
    day.plant(0, excluded=True)
    if do is not None:
        day.fault(do, ROOM, times=None)
    refused = {"rejected": 1, f"rejected:{code}": 1}
    assert day.full_run() == {"delivered": EVERYBODY - 1, **refused}
    for hours in (1, 30, 30):
        day.wait(hours=hours)
        assert day.full_run() == {"unchanged": EVERYBODY - 1, **refused}
    day.rename([0, 1], "Bea")
    day.wait(hours=1)
    assert day.codes() == {0: code}
    assert day.names().keys() == {day.email(number) for number in range(1, EVERYBODY)}
    assert not day.is_stopped()


@pytest.mark.parametrize("do", [ODD_ANSWERS["a page"], ODD_ANSWERS["another object"], {"status": 422}])
def test_an_import_whose_state_is_always_answered_oddly_is_looked_up(do: Any) -> None:
    day = Day(EVERYBODY)
    day.fault(do, INFO, times=None)
    run = day.run()
    took = day.wait_for_end(run)
    assert took < timedelta(minutes=30)
    assert day.counts(run) == {"delivered": EVERYBODY}
    assert not day.is_stopped()


@pytest.mark.parametrize("outcomes", [["failed"] * 4, ["interrupted"] * 4, ["failed"] * 5, ["interrupted", "failed"]])
@pytest.mark.parametrize("success_lists", ["created", "created_or_updated"])
def test_imports_that_came_to_nothing_are_sent_again_within_the_run(outcomes: list[str], success_lists: str) -> None:
    day = Day(EVERYBODY, success_lists=success_lists)
    day.plan_imports(*[{"status": status} for status in outcomes])
    run = day.run()
    took = day.wait_for_end(run)
    assert took < timedelta(minutes=10)
    assert day.counts(run) == {"delivered": EVERYBODY}
    assert len(day.names()) == EVERYBODY


def test_imports_that_always_come_to_nothing_end_the_run_and_are_sent_again_by_the_next() -> None:
    day = Day(EVERYBODY)
    day.plan_imports(*[{"status": "failed"}] * 100)
    run = day.run()
    day.wait_for_end(run)
    day.side.calm()
    assert day.counts(run) == {"rejected": EVERYBODY, "rejected:unconfirmed": EVERYBODY}
    assert day.full_run() == {"delivered": EVERYBODY}


@pytest.mark.parametrize("excluded_at", ["both", "import", "queue"])
@pytest.mark.parametrize("success_lists", ["created", "created_or_updated"])
def test_refused_addresses_are_told_from_the_others_and_slow_down_nobody(excluded_at: str, success_lists: str) -> None:
    people = 600
    day = Day(people, excluded_at=excluded_at, success_lists=success_lists)
    for number in range(0, people, 100):
        day.plant(number + 1, excluded=True)
        day.plant(number + 2, lists={"7": 2})
    day.plant(3, bounced=True)
    refused = {number for number in range(people) if number % 100 in (1, 2)} | {3}
    for name in ("Ann", "Bea"):
        day.rename(range(people), name, stream=False)
        run = day.run()
        took = day.wait_for_end(run)
        counts = day.counts(run)
        assert (counts["delivered"], counts["rejected"]) == (people - len(refused), len(refused))
        assert set(day.codes()) == refused
        assert set(day.names().values()) == {name}
        # Only where nothing tells who was left out each contact has to be looked at.
        is_told = excluded_at != "queue" or (success_lists == "created_or_updated" or name == "Ann")
        assert took < (timedelta(minutes=3) if is_told else timedelta(minutes=30))
        day.wait(hours=25)
