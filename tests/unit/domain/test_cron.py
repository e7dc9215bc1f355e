"""When schedules fire next."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.domain.cron import flaws_of, next_time

NOW = datetime(2026, 11, 27, 2, 30, 15, tzinfo=UTC)
"""A Friday."""


@pytest.mark.parametrize(
    ("expression", "timezone", "expected"),
    [
        ("cron(0 3 * * ? *)", "UTC", "2026-11-27T03:00"),
        ("cron(30 2 * * ? *)", "UTC", "2026-11-28T02:30"),
        ("cron(0 3 * * ? *)", "Europe/Berlin", "2026-11-28T02:00"),
        ("cron(0/15 * * * ? *)", "", "2026-11-27T02:45"),
        ("cron(0 9-11 ? * MON-WED *)", "UTC", "2026-11-30T09:00"),
        ("cron(0 9 ? * 2,4 *)", "UTC", "2026-11-30T09:00"),
        ("cron(0 0 1 1 ? 2028)", "UTC", "2028-01-01T00:00"),
        ("cron(0 0 L * ? *)", "UTC", "2026-11-30T00:00"),
        ("cron(0 0 ? * 6L *)", "UTC", "2026-12-25T00:00"),
        ("cron(0 0 ? * L *)", "UTC", "2026-11-28T00:00"),
        ("cron(0 0 ? * FRI#2 *)", "UTC", "2026-12-11T00:00"),
        ("cron(0 0 ? JAN/6 SUN *)", "UTC", "2027-01-03T00:00"),
        ("at(2026-12-01T10:00:00)", "UTC", "2026-12-01T10:00"),
        ("at(2026-12-01T10:00:00)", "America/New_York", "2026-12-01T15:00"),
    ],
)
def test_the_next_time_is_worked_out(expression: str, timezone: str, expected: str) -> None:
    assert next_time(expression, timezone, NOW) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [
        ("at(2020-12-01T10:00:00)", "UTC"),
        ("cron(0 3 * * ? 2020)", "UTC"),
        ("rate(1 minute)", "UTC"),
        ("cron(0 3 15W * ? *)", "UTC"),
        ("cron(0 99 * * ? *)", "UTC"),
        ("cron(0 3 * * ?)", "UTC"),
        ("cron(0 3 * * ? *)", "Mars/Base"),
        ("at(2026-99-01T10:00:00)", "UTC"),
        ("", "UTC"),
    ],
)
def test_what_never_fires_or_is_not_understood_has_none(expression: str, timezone: str) -> None:
    assert next_time(expression, timezone, NOW) is None


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("cron(0 4 * * *)", "has 5 fields, and needs six"),
        ("cron(0 25 * * ? *)", "not one of its values"),
        ("cron(banana)", "has 1 fields"),
        ("cron(0 4 * * * *)", "needs ? as either"),
        ("cron(0 4 31 2 ? *)", "never fires"),
        ("rate(6 hour)", "must be cron(...)"),
        ("rate(1 hours)", "must be cron(...)"),
        ("rate(0 hours)", "must be cron(...)"),
        ("at(2020-01-31T04:00:00)", "is over"),
        ("at(2027-02-31T04:00:00)", "does not exist"),
        ("every day", "must be cron(...)"),
    ],
)
def test_what_cannot_be_a_schedule_is_told(expression: str, said: str) -> None:
    [flaw] = flaws_of(expression, "UTC", NOW)
    assert (flaw.field, said in flaw.what) == ("expression", True)


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 4 * * ? *)",
        "cron(0 4 15W * ? *)",
        "cron(0 9 ? * MON-FRI *)",
        "rate(1 day)",
        "rate(12 hours)",
        "at(2027-01-31T04:00:00)",
    ],
)
def test_what_can_be_a_schedule_has_no_flaw(expression: str) -> None:
    assert list(flaws_of(expression, "Europe/Berlin", NOW)) == []


def test_a_time_zone_that_there_is_not_is_told_with_the_nearest() -> None:
    [flaw] = flaws_of("rate(1 day)", "Europe/Berln", NOW)
    assert (flaw.field, flaw.near) == ("timezone", "Europe/Berlin")
