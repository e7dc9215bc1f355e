"""Which exports EventBridge Scheduler will start, and which schedules will start nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from relay.domain.problems import Busy
from relay.schedules import Schedules, Timetable
from tests.examples import example
from tests.fakes.clock import FakeClock
from tests.fakes.scheduler import FUNCTION, ROLE, FakeScheduler, arn_of, schedule

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
MAIN = '{"export": "letters/main"}'
EVERY = '{"exports": "default"}'


def reader(client: FakeScheduler, **options: Any) -> Schedules:
    given: dict[str, Any] = {"default": "relay-default", "target": FUNCTION, "clock": FakeClock(NOW), **options}
    return Schedules("relay", client=client, **given)


def timetable(*schedules: dict[str, Any], default: dict[str, Any] | None = None) -> Timetable:
    client = FakeScheduler(schedules)
    client.others["relay-default"] = schedule("relay-default", EVERY) if default is None else default
    return reader(client)()


def test_every_page_of_schedules_counts() -> None:
    names = ("main", "weekly", "monthly")
    found = timetable(*(schedule(f"letters.{name}", f'{{"export": "letters/{name}"}}') for name in names))
    assert found.exports == {f"letters/{name}" for name in names}
    assert found.default_starts


def test_the_input_tells_what_is_started_not_the_name() -> None:
    found = timetable(schedule("letters.other", MAIN), schedule("at noon", MAIN))
    assert found.exports == {"letters/main"}


def test_an_input_that_names_the_cause_as_older_pages_told_is_taken() -> None:
    assert timetable(schedule("x", '{"export": "letters/main", "cause": "schedule"}')).exports == {"letters/main"}


def test_what_will_start_nothing_counts_as_no_schedule_and_says_why() -> None:
    table: list[tuple[dict[str, Any], str]] = [
        ({"State": "DISABLED"}, "is disabled"),
        ({"ScheduleExpression": "at(2026-05-01T07:59:00)"}, "was for one time"),
        (
            {"ScheduleExpression": "at(2026-05-01T09:00:00)", "ScheduleExpressionTimezone": "Europe/Berlin"},
            "was for one time",
        ),
        ({"ScheduleExpression": "cron(0 3 1 1 ? 2024-2025)"}, "only years that are over"),
        ({"EndDate": NOW - timedelta(days=1)}, "end date"),
        ({"Target": {"Arn": arn_of("relay-other"), "RoleArn": ROLE, "Input": MAIN}}, "another target"),
        ({"Target": {"Arn": arn_of(), "RoleArn": ROLE}}, "not JSON, or none"),
        ({"Target": {"Arn": arn_of(), "RoleArn": ROLE, "Input": "letters/main"}}, "not JSON, or none"),
        ({"Target": {"Arn": arn_of(), "RoleArn": ROLE, "Input": "{}"}}, "starts nothing"),
        ({"Target": {"Arn": arn_of(), "RoleArn": ROLE, "Input": '"letters/main"'}}, "starts nothing"),
        ({"Target": {"Arn": arn_of(), "RoleArn": ROLE, "Input": '{"confirm": "run"}'}}, "starts nothing"),
        ({"Target": {"Arn": arn_of(), "RoleArn": ROLE, "Input": '{"export": "letters.main"}'}}, "slash"),
    ]
    for changes, problem in table:
        with example(changes, problem):
            found = timetable(
                schedule("letters.main", MAIN, **changes), schedule("letters.weekly", '{"export": "letters/w"}')
            )
            assert found.exports == {"letters/w"}
            broken, working = found.own
            assert (broken.export, working.problem) == ("letters/main", None)
            assert problem in (broken.problem or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"ScheduleExpression": "at(2026-05-01T08:01:00)"},
        {"ScheduleExpression": "at(2026-05-01T08:30:00)", "ScheduleExpressionTimezone": "America/New_York"},
        {"ScheduleExpression": "at(2026-05-01T02:00:00)", "ScheduleExpressionTimezone": "Nowhere/Known"},
        {"ScheduleExpression": "cron(0 3 1 1 ? 2025,2027)"},
        {"ScheduleExpression": "rate(1 day)"},
        {"EndDate": NOW + timedelta(days=1)},
        {"Target": {"Arn": f"{arn_of()}:live", "RoleArn": ROLE, "Input": MAIN}},
    ],
)
def test_what_is_still_to_come_counts(changes: dict[str, Any]) -> None:
    assert timetable(schedule("letters.main", MAIN, **changes)).exports == {"letters/main"}


def test_a_default_schedule_that_is_disabled_starts_nothing() -> None:
    found = timetable(schedule("letters.main", MAIN), default=schedule("relay-default", EVERY, State="DISABLED"))
    assert not found.default_starts
    assert (found.will_start("letters/main"), found.will_start("letters/weekly")) == (True, False)


def test_another_schedule_of_the_group_may_start_all_the_others() -> None:
    found = timetable(schedule("mondays", EVERY), default=schedule("relay-default", EVERY, State="DISABLED"))
    assert found.will_start("letters/weekly")
    assert found.exports == set()


def test_a_default_schedule_that_was_deleted_starts_nothing() -> None:
    assert not reader(FakeScheduler())().default_starts


def test_one_that_is_deleted_while_it_is_read_is_none() -> None:
    client = FakeScheduler([schedule("letters.main", MAIN)])
    client.deleted_after_listing = True
    assert reader(client)().exports == set()


def test_one_that_may_not_be_read_harms_no_other() -> None:
    """Given a schedule that is encrypted with a key we have no right to, Then it counts as none and says why."""
    client = FakeScheduler([{"Name": "letters.locked"}, {"Name": "letters.main"}])
    client.locked = {"letters.locked"}
    found = reader(client)()
    assert found.exports == {"letters/main"}
    assert "AccessDeniedException" in (found.own[0].problem or "")


def test_only_what_is_enabled_is_asked_for() -> None:
    client = FakeScheduler([schedule("letters.main", MAIN), schedule("letters.old", MAIN, State="DISABLED")])
    client.locked = {"letters.old"}
    problems = {each.name: each.problem for each in reader(client)().own}
    assert problems == {"letters.main": None, "letters.old": "is disabled"}


def test_what_was_read_is_kept_for_a_while() -> None:
    clock, client = FakeClock(NOW), FakeScheduler([schedule("letters.main", MAIN)])
    schedules = reader(client, clock=clock, kept_for=timedelta(minutes=5))
    schedules()
    clock.advance(299)
    schedules()
    assert client.calls.count("list") == 1
    clock.advance(1)
    schedules()
    assert client.calls.count("list") == 2


def test_a_schedule_without_details_is_what_its_name_says() -> None:
    assert timetable({"Name": "letters.main"}, {"Name": "letters.old", "State": "DISABLED"}).exports == {"letters/main"}


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": "ThrottlingException"}}, "ListSchedules"),
        EndpointConnectionError(endpoint_url="https://scheduler"),
    ],
)
def test_a_scheduler_that_does_not_answer_is_passing_trouble(failure: Exception) -> None:
    client = FakeScheduler([schedule("letters.main", MAIN)])
    client.failures = [failure]
    with pytest.raises(Busy):
        reader(client)()
