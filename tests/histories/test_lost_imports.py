"""A bulk import without a good answer: when the next change of its contacts goes out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.histories.day import BULK, Day

EVERYBODY = range(80)
"""Enough for an import by each of the four shards."""


@pytest.mark.parametrize("do", [{"status": 500}, {"status": 503}, {"status": 503, "headers": {"Retry-After": "2"}}])
def test_after_an_answer_of_its_own_a_change_waits_for_minutes(do: dict[str, Any]) -> None:
    day = Day(len(EVERYBODY))
    day.fault(do, BULK, method="POST", times=4)
    run = day.run()
    day.wait(minutes=2)
    assert day.calls(f"POST {BULK}") == 8
    day.rename(EVERYBODY, "Bea")
    day.wait(minutes=20)
    assert set(day.names().values()) == {"Bea"}
    assert day.state(run).ended_at is not None


@pytest.mark.parametrize("do", [{"status": 502}, {"status": 504}, {"status": 520}, {"drop": "after"}])
def test_without_an_answer_it_waits_until_the_lost_import_cannot_land_after_it(do: dict[str, Any]) -> None:
    day = Day(len(EVERYBODY))
    day.fault(do, BULK, method="POST", times=4)
    day.run()
    day.wait(minutes=2)
    assert day.calls(f"POST {BULK}") == 8
    day.rename(EVERYBODY, "Bea")
    day.wait(minutes=20)
    assert "Ann" in day.names().values()
    day.wait(minutes=60)
    assert set(day.names().values()) == {"Bea"}
