"""The door to EventBridge Scheduler: which exports its schedules will start, and which schedules will start nothing.

What a schedule starts is said by its input, not by its name. One that is disabled, over, or sends something else than
an event that starts a run counts as none: its export is started by the default schedule, and a check says so.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from botocore.exceptions import BotoCoreError, ClientError

from relay.clock import Clock, SystemClock
from relay.domain import moments
from relay.domain.problems import Busy, EventProblem
from relay.events import export_to_start

ANYWHERE = timedelta(hours=12)
"""How far the clocks of the world lie behind UTC at most: for a time zone that this machine does not know."""

_REFUSALS = ("AccessDeniedException", "ValidationException")
"""What concerns the one schedule that was asked for."""

_ONCE = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_CRON = re.compile(r"cron\((?:\S+\s+){5}(\S+)\)")


class SchedulerReader(Protocol):
    """What is used of boto3's Scheduler client."""

    def get_paginator(self, operation: Any, /) -> Any:
        """https://docs.aws.amazon.com/scheduler/latest/APIReference/API_ListSchedules.html."""
        ...

    def get_schedule(self, *, Name: str, GroupName: str) -> Mapping[str, Any]:  # noqa: N803
        """https://docs.aws.amazon.com/scheduler/latest/APIReference/API_GetSchedule.html."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule. `problem` says why it will start nothing; None when it will.

    `export` is what it starts (or, where it cannot be read from its input, what its name stands for), None for every
    export without a schedule of its own.
    """

    name: str
    export: str | None
    problem: str | None = None
    expression: str = ""
    """When it fires; empty where only the listing was read."""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Timetable:
    """The schedules of the stack's group, and the template's default schedule (None when it is gone)."""

    own: Sequence[Schedule]
    default: Schedule | None

    @property
    def exports(self) -> set[str]:
        """The exports (`connection/export`) that a schedule of their own will start."""
        return {schedule.export for schedule in self._working() if schedule.export is not None}

    @property
    def default_starts(self) -> bool:
        """Whether a schedule will start the exports without one of their own."""
        return any(schedule.export is None for schedule in self._working())

    def of_export(self, export: str) -> Schedule | None:
        """Return the schedule that starts an export: one that works, else its own that does not."""
        own = [schedule for schedule in self.own if schedule.export == export]
        working = [schedule for schedule in own if schedule.problem is None]
        others = [one for one in self._working() if one.export is None]
        return next(iter([*working, *others, *own]), None)

    def will_start(self, export: str) -> bool:
        """Return whether any schedule will ever start an export."""
        return self.default_starts or export in self.exports

    def _working(self) -> Iterator[Schedule]:
        schedules = self.own if self.default is None else [*self.own, self.default]
        return (schedule for schedule in schedules if schedule.problem is None)


class Schedules:
    """Reads schedules: one listing, and one call for each that is enabled. What was read is kept for `kept_for`."""

    def __init__(
        self,
        group: str,
        *,
        default: str | None = None,
        target: str | None = None,
        client: SchedulerReader | None = None,
        clock: Clock | None = None,
        kept_for: timedelta = timedelta(),
    ) -> None:
        """`default` names the default schedule (of Scheduler's group `default`), `target` the export function."""
        self._group = group
        self._default = default
        self._target = target
        self._client = client
        self._clock = SystemClock() if clock is None else clock
        self._kept_for = kept_for
        self._kept: tuple[datetime, Timetable] | None = None

    def __call__(self) -> Timetable:
        """Return what is scheduled now; raises Busy when AWS does not say."""
        now = self._clock.now()
        if self._kept is None or now - self._kept[0] >= self._kept_for:
            self._kept = now, self._read(now)
        return self._kept[1]

    def _read(self, now: datetime) -> Timetable:
        if self._client is None:
            from relay import aws

            self._client = aws.by_boto3("scheduler")
        try:
            pages: Iterable[Mapping[str, Any]] = self._client.get_paginator("list_schedules").paginate(
                GroupName=self._group
            )
            listed = [schedule for page in pages for schedule in page["Schedules"]]
            own = [self._look_at(described, now) for described in listed]
            default = None if self._default is None else self._read_one(self._default, "default", now)
        except ClientError as error:
            raise Busy("schedules_unavailable", f"Scheduler: {_code(error)}") from None
        except BotoCoreError as error:
            raise Busy("schedules_unavailable", f"Scheduler: {type(error).__name__}") from None
        return Timetable([schedule for schedule in own if schedule is not None], default)

    def _look_at(self, described: Mapping[str, Any], now: datetime) -> Schedule | None:
        """Read one; what the listing says already is not asked for. None when it is gone meanwhile."""
        listed = read_schedule(described, target=self._target, now=now, listed=True)
        return listed if listed.problem is not None else self._read_one(listed.name, self._group, now)

    def _read_one(self, name: str, group: str, now: datetime) -> Schedule | None:
        """Read one in full. One that may not be read (it is encrypted with a key of its own) harms no other."""
        assert self._client is not None  # noqa: S101 - made by the only caller
        try:
            detail = self._client.get_schedule(Name=name, GroupName=group)
        except ClientError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            if _code(error) not in _REFUSALS:
                raise
            return Schedule(name, _named(name), f"may not be read by the stack ({_code(error)})")
        return read_schedule(detail, target=self._target, now=now)


def read_schedule(described: Mapping[str, Any], *, target: str | None, now: datetime, listed: bool = False) -> Schedule:
    """Return what a schedule, as GetSchedule (or, `listed`, ListSchedules) describes it, will start."""
    name = str(described["Name"])
    named = _named(name)
    arn = described.get("Target", {}).get("Arn")
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: "is disabled" if described.get("State", "ENABLED") != "ENABLED" else None,
        lambda: None if target is None or arn is None or _is_function(arn, target) else "has another target",
        lambda: None if listed else _over(described, now),
    )
    for problem in (check() for check in checks):
        if problem is not None:
            return Schedule(name, named, problem)
    if listed:
        return Schedule(name, named)
    try:
        event = json.loads(described.get("Target", {}).get("Input") or "")
    except ValueError:
        return Schedule(name, named, "has an input that is not JSON, or none")
    expression, timezone = (str(described.get(f"ScheduleExpression{key}") or "") for key in ("", "Timezone"))
    try:
        return Schedule(name, export_to_start(event), None, expression, timezone or "UTC")
    except EventProblem as problem:
        return Schedule(name, named, f"has an input that starts nothing ({problem.what})")


def _named(name: str) -> str | None:
    """Return the export that a schedule's name stands for."""
    return name.replace(".", "/", 1) if "." in name else None


def _is_function(arn: str, name: str) -> bool:
    """Whether an ARN is that of a function, or of a version or alias of it."""
    return arn.partition(":function:")[2].partition(":")[0] == name


def _over(described: Mapping[str, Any], now: datetime) -> str | None:
    """Return why a schedule will never fire again, None when it will (as far as can be known)."""
    ends = described.get("EndDate")
    if ends is not None and (ends if isinstance(ends, datetime) else moments.parse(str(ends))) <= now:
        return "has passed its end date"
    expression = str(described.get("ScheduleExpression", ""))
    if (once := _ONCE.fullmatch(expression)) is not None:
        moment = _moment(once[1], str(described.get("ScheduleExpressionTimezone") or "UTC"))
        if moment is None or moment <= now:
            return "was for one time, which is over"
    elif (cron := _CRON.fullmatch(expression)) is not None and _last_year(cron[1]) < now.year:
        return "names only years that are over"
    return None


def _moment(local: str, timezone: str) -> datetime | None:
    """Return when a local time is, at the latest where the time zone is not known here; None for no time at all."""
    try:
        naive = datetime.fromisoformat(local)
    except ValueError:
        return None
    try:
        return naive.replace(tzinfo=UTC if timezone == "UTC" else ZoneInfo(timezone)).astimezone(UTC)
    except (KeyError, ValueError):
        return naive.replace(tzinfo=UTC) + ANYWHERE


def _last_year(years: str) -> int:
    """Return the last year that a cron expression names; `*` and steps go on for ever."""
    if not re.fullmatch(r"\d{4}([-,]\d{4})*", years):
        return 9999
    return max(int(year) for year in re.split("[-,]", years))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
