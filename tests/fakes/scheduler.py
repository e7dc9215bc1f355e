"""EventBridge Scheduler as far as it is used: schedules of one group in pages of two, and the default schedule."""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

TARGET = "arn:aws:lambda:eu-west-1:111122223333:function:relay-export"
ROLE = "arn:aws:iam::111122223333:role/relay-scheduler"


class FakeScheduler:
    """Answers like boto3's Scheduler client; a schedule is what GetSchedule would tell of it."""

    def __init__(self, *schedules: Mapping[str, Any], group: str = "relay") -> None:
        self.group = group
        self.schedules = {(group, schedule["Name"]): dict(schedule) for schedule in schedules}
        self.calls: list[str] = []
        self.failures: list[Exception] = []
        self.deleted_after_listing = False

    def put(self, schedule: Mapping[str, Any], group: str | None = None) -> None:
        self.schedules[self.group if group is None else group, schedule["Name"]] = dict(schedule)

    def get_paginator(self, operation: Any, /) -> Any:
        assert operation == "list_schedules"
        scheduler = self

        class Paginator:
            def paginate(self, *, GroupName: str) -> Iterator[Mapping[str, Any]]:  # noqa: N803
                scheduler._called("list")
                listed = [_summary(told) for (group, _), told in scheduler.schedules.items() if group == GroupName]
                if scheduler.deleted_after_listing:
                    scheduler.schedules.clear()
                for start in range(0, max(len(listed), 1), 2):
                    yield {"Schedules": listed[start : start + 2]}

        return Paginator()

    def get_schedule(self, *, Name: str, GroupName: str) -> Mapping[str, Any]:  # noqa: N803
        self._called(f"get {Name}")
        if (GroupName, Name) not in self.schedules:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSchedule")
        return self.schedules[GroupName, Name]

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.failures:
            raise self.failures.pop(0)


def schedule(name: str, event: str | None, **changes: Any) -> dict[str, Any]:
    """Return an enabled schedule of every night that sends an event to the export function; None: no input."""
    target = {"Arn": TARGET, "RoleArn": ROLE} | ({} if event is None else {"Input": event})
    return {
        "Name": name,
        "State": "ENABLED",
        "ScheduleExpression": "cron(0 3 * * ? *)",
        "ScheduleExpressionTimezone": "UTC",
        "Target": target,
        **changes,
    }


def _summary(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"Name": told["Name"], "State": told["State"], "Target": {"Arn": told["Target"]["Arn"]}}
