"""EventBridge Scheduler in memory: the schedules of one group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.fakes.secrets import refusal


class FakeScheduler:
    """`schedules` are as `ListSchedules` tells them; `Name` is required. `asked` keeps (operation, group).

    https://docs.aws.amazon.com/scheduler/latest/APIReference/API_ScheduleSummary.html
    """

    def __init__(self, schedules: Sequence[Mapping[str, Any]] = (), page: int = 2) -> None:
        self.schedules = list(schedules)
        self.asked: list[tuple[str, str]] = []
        self._page = page

    def get_paginator(self, operation: str, /) -> FakeScheduler:
        assert operation == "list_schedules"
        return self

    def paginate(self, *, GroupName: str) -> Iterator[Mapping[str, Any]]:  # noqa: N803
        self.asked.append(("list_schedules", GroupName))
        listed = [{"State": "ENABLED", "GroupName": GroupName, **schedule} for schedule in self.schedules]
        for start in range(0, max(len(listed), 1), self._page):
            yield {"Schedules": listed[start : start + self._page]}

    def get_schedule(self, *, GroupName: str, Name: str) -> Mapping[str, Any]:  # noqa: N803
        self.asked.append(("get_schedule", GroupName))
        for schedule in self.schedules:
            if schedule["Name"] == Name:
                return {"State": "ENABLED", "GroupName": GroupName, **schedule}
        raise refusal("ResourceNotFoundException")
