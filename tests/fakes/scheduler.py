"""EventBridge Scheduler in memory: schedules by group, listed in pages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.fakes.secrets import refusal

FUNCTION = "relay-export"
ROLE = "arn:aws:iam::111122223333:role/relay-scheduler"


def arn_of(function: str = FUNCTION) -> str:
    return f"arn:aws:lambda:eu-west-1:111122223333:function:{function}"


class FakeScheduler:
    """Answers like boto3's Scheduler client. `calls` keeps what was asked for.

    A schedule that says only what `ListSchedules` tells (`Name` is required) is one of every night that starts the
    export it is named after.
    https://docs.aws.amazon.com/scheduler/latest/APIReference/API_ScheduleSummary.html
    https://docs.aws.amazon.com/scheduler/latest/APIReference/API_GetSchedule.html
    """

    def __init__(self, schedules: Sequence[Mapping[str, Any]] = (), *, page: int = 2, function: str = FUNCTION) -> None:
        self.schedules = list(schedules)
        self.others: dict[str, Mapping[str, Any]] = {}
        """Schedules of the group `default`, by name."""
        self.calls: list[str] = []
        self.failures: list[Exception] = []
        self.deleted_after_listing = False
        self.locked: set[str] = set()
        """Names of schedules that may be listed and not read."""
        self._page = page
        self._function = function

    def get_paginator(self, operation: str, /) -> FakeScheduler:
        assert operation == "list_schedules"
        return self

    def paginate(self, *, GroupName: str) -> Iterator[Mapping[str, Any]]:  # noqa: N803
        self._called("list")
        listed = [_summary(self._filled(given, GroupName)) for given in self.schedules]
        if self.deleted_after_listing:
            self.schedules = []
        for start in range(0, max(len(listed), 1), self._page):
            yield {"Schedules": listed[start : start + self._page]}

    def get_schedule(self, *, Name: str, GroupName: str) -> Mapping[str, Any]:  # noqa: N803
        self._called(f"get {Name}")
        if GroupName == "default":
            found = [given for name, given in self.others.items() if name == Name]
        else:
            found = [given for given in self.schedules if given["Name"] == Name]
        if not found:
            raise refusal("ResourceNotFoundException")
        if Name in self.locked:
            raise refusal("AccessDeniedException")
        return self._filled(found[0], GroupName)

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.failures:
            raise self.failures.pop(0)

    def _filled(self, given: Mapping[str, Any], group: str) -> Mapping[str, Any]:
        started = json.dumps({"export": str(given["Name"]).replace(".", "/", 1)})
        target = {"Arn": arn_of(self._function), "RoleArn": ROLE, "Input": started}
        usual = {"State": "ENABLED", "ScheduleExpression": "cron(0 3 * * ? *)", "GroupName": group, "Target": target}
        return {**usual, **given}


def schedule(name: str, event: str | None, **changes: Any) -> dict[str, Any]:
    """Return a schedule that sends an event to the export function; None: without an input."""
    target = {"Arn": arn_of(), "RoleArn": ROLE} | ({} if event is None else {"Input": event})
    return {"Name": name, "Target": target, **changes}


def _summary(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"Name": given["Name"], "State": given["State"], "Target": {"Arn": given["Target"].get("Arn")}}
