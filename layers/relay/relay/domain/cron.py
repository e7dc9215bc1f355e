"""When an expression of EventBridge Scheduler fires next. Pure.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import calendar
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from relay.domain.problems import Fault

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_CRON = re.compile(r"cron\((.+)\)")
_RATE = re.compile(r"rate\((?:1 (?:minute|hour|day)|(?!1 |0)[0-9]{1,6} (?:minutes|hours|days))\)")
_CRON_FIELDS: Final = 6
_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_LOOKS_AHEAD: Final = 366 * 4


def next_time(expression: str, timezone: str, now: datetime) -> datetime | None:
    """Return when a schedule fires next.

    None for never, for a rate (which counts from a moment that nobody sees), and for what is not understood here.
    """
    try:
        zone: tzinfo = UTC if timezone in ("", "UTC") else ZoneInfo(timezone)
        if (once := _AT.fullmatch(expression)) is not None:
            moment = datetime.fromisoformat(once[1]).replace(tzinfo=zone).astimezone(UTC)
            return moment if moment > now else None
        if (cron := _CRON.fullmatch(expression)) is not None:
            return _next(cron[1].split(), zone, now)
    except (KeyError, ValueError, OSError):
        pass
    return None


def flaws_of(expression: str, timezone: str, now: datetime) -> Iterator[Fault]:
    """Yield what is wrong with a schedule: a time zone or an expression that there is not, or one that never fires."""
    zone: tzinfo = UTC
    try:
        zone = UTC if timezone in ("", "UTC") else ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        near = next(iter(get_close_matches(timezone, available_timezones(), n=1)), None)
        yield Fault("timezone", f"there is no time zone {timezone}", near)
    if _RATE.fullmatch(expression) is not None:
        return
    if _AT.fullmatch(expression) is not None:
        if next_time(expression, str(zone), now) is None:
            yield Fault("expression", "is for one time, which is over or does not exist")
    elif (cron := _CRON.fullmatch(expression)) is not None:
        flaw = _flaw_of_cron(cron[1].split(), zone, now)
        if flaw is not None:
            yield Fault("expression", flaw)
    else:
        yield Fault("expression", "must be cron(...), rate(...) or at(...), such as cron(0 4 * * ? *) or rate(6 hours)")


def _flaw_of_cron(fields: Sequence[str], zone: tzinfo, now: datetime) -> str | None:
    names = "minute, hour, day of month, month, day of week, year"
    if len(fields) != _CRON_FIELDS:
        return f"has {len(fields)} fields, and needs six: {names}"
    if (fields[2] == "?") is (fields[4] == "?"):
        return "needs ? as either its day of month or its day of week"
    if "W" in fields[2]:
        # The nearest working day: only Scheduler knows it.
        return None
    try:
        return None if _next(fields, zone, now) is not None else "never fires"
    except (KeyError, ValueError):
        return f"has a field that is not one of its values: {names}"


def _next(fields: Sequence[str], zone: tzinfo, now: datetime) -> datetime | None:
    minute, hour, day_of_month, month, day_of_week, year = fields
    minutes, hours = _values(minute, 0, 59), _values(hour, 0, 23)
    months, years = _values(month, 1, 12, _MONTHS), _values(year, 1970, 2199)
    first = now.astimezone(zone).date()
    for ahead in range(_LOOKS_AHEAD):
        day = first + timedelta(days=ahead)
        if day.year not in years or day.month not in months:
            continue
        if not (_is_day(day, day_of_month) and _is_weekday(day, day_of_week)):
            continue
        for local in (datetime(day.year, day.month, day.day, h, m, tzinfo=zone) for h in hours for m in minutes):
            if local.astimezone(UTC) > now:
                return local.astimezone(UTC)
    return None


def _is_day(day: date, field: str) -> bool:
    if field == "L":
        return day.day == calendar.monthrange(day.year, day.month)[1]
    return field == "?" or day.day in _values(field, 1, 31)


def _is_weekday(day: date, field: str) -> bool:
    weekday = day.isoweekday() % 7 + 1
    if "#" in field:
        name, _, which = field.partition("#")
        return weekday == _number(name, _DAYS) and (day.day - 1) // 7 + 1 == int(which)
    if len(field) > 1 and field.endswith("L"):
        last = calendar.monthrange(day.year, day.month)[1]
        return weekday == _number(field[:-1], _DAYS) and day.day + 7 > last
    return (field in ("?", "L") and (field == "?" or weekday == 7)) or weekday in _values(field, 1, 7, _DAYS)


def _values(field: str, least: int, most: int, words: Mapping[str, int] | None = None) -> list[int]:
    """Return the numbers of a field, sorted; ValueError for one that is not understood."""
    if field in ("?", "L"):
        return []
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = least, most
        else:
            begin, _, end = span.partition("-")
            first = _number(begin, words)
            last = _number(end, words) if end else most if step else first
        found.update(range(first, last + 1, int(step) if step else 1))
    if not found or min(found) < least or max(found) > most:
        raise ValueError("not a value of the field")
    return sorted(found)


def _number(text: str, words: Mapping[str, int] | None) -> int:
    return words[text.upper()] if words is not None and text.upper() in words else int(text)
