"""The door to EventBridge Scheduler: which exports have a schedule of their own."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import boto3


class SchedulerReader(Protocol):
    """What is used of boto3's Scheduler client."""

    def get_paginator(self, operation: Any, /) -> Any:
        """https://docs.aws.amazon.com/scheduler/latest/APIReference/API_ListSchedules.html."""
        ...


def own_schedules(group: str, client: SchedulerReader | None = None) -> set[str]:
    """Return the keys (`connection/export`) of exports with a schedule `connection.export` in the stack's group."""
    scheduler = boto3.client("scheduler") if client is None else client
    pages: Iterable[Mapping[str, Any]] = scheduler.get_paginator("list_schedules").paginate(GroupName=group)
    names = (schedule["Name"] for page in pages for schedule in page["Schedules"])
    return {name.replace(".", "/", 1) for name in names if "." in name}
