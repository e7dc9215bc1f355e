"""Points in time: aware UTC inside the program, one sortable text form in stores and messages.

What is read as a time, in webhooks, in values for date fields and in files alike:

| form | example | read as |
|---|---|---|
| RFC 3339; `t`, a blank and `z` will do | `2026-04-30T09:30:00Z`, `2026-04-30 09:30:00.123+02:00` | that instant |
| without seconds; the zone written otherwise | `2026-04-30T09:30Z`, `...+0200`, `... +02`, `... UTC` | that instant |
| without a zone | `2026-04-30T09:30:00` | in UTC, where a zone is not demanded |
| a date | `2026-04-30` | its beginning in UTC, where a zone is not demanded; for a date field that date |
| UNIX seconds of 9 or 10 digits, as a number or a text | `1777541400` | that instant |
| UNIX milliseconds of 12 or 13 digits, as a number or a text | `1777541400000` | that instant |

Everything else is refused, because it means different things to different people or programs: dates without hyphens
(`20260430`, `20260430120000Z`), dates with a zone (`2026-04-30+01:00`), weeks, days of the year, leap seconds, 24:00,
fractions of UNIX times, and digits that may as well be a date and an hour (`2026043012` as a text, `202604301200`).
Digits beyond microseconds are cut off.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

_WRITTEN = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,30}))?)?"
    r"(?:([Zz]| ?UTC)| ?([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)?)?"
)
_SECONDS = re.compile(r"[1-9][0-9]{8,9}")
_MILLISECONDS = re.compile(r"[1-9][0-9]{11,12}")
_DATE_AND_HOUR = re.compile(
    r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[01][0-9]|2[0-3])(?:[0-5][0-9])?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NONE = "not a time of a form that is read"


def parse(text: str) -> datetime:
    """Read a time of one of the forms above as an aware UTC datetime; without a zone it is UTC.

    Adobe's samples show `...Z`, `...+0000`, microseconds, and once a blank instead of `T` with no zone:
    https://experienceleague.adobe.com/docs/experience-platform/destinations/catalog/streaming/http-destination.html
    Raises ValueError on anything else, and on a time whose UTC form lies before year 1 or after year 9999.
    """
    return in_utc(as_written(text))


def as_written(text: str) -> datetime:
    """Read a time of one of the forms above with its own offset, or naive where it has no zone; a UNIX time is in UTC.

    Raises ValueError on anything else.
    """
    if _is_plain(text):
        return datetime.fromisoformat(text)
    match = _WRITTEN.fullmatch(text)
    if match is None:
        is_unix = _SECONDS.fullmatch(text) is not None or _MILLISECONDS.fullmatch(text) is not None
        if not is_unix or _DATE_AND_HOUR.fullmatch(text) is not None:
            raise ValueError(_NONE)
        return from_unix(int(text))
    year, month, day, hour, minute, second, fraction, utc, sign, hours, minutes = match.groups()
    zone: timezone | None = UTC if utc else None
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        zone = timezone(offset if sign == "+" else -offset)
    microsecond = int(f"{fraction or ''}000000"[:6])
    return datetime(
        year=int(year),
        month=int(month),
        day=int(day),
        hour=int(hour or 0),
        minute=int(minute or 0),
        second=int(second or 0),
        microsecond=microsecond,
        tzinfo=zone,
    )


def from_unix(number: int) -> datetime:
    """Return the aware UTC time of UNIX seconds (9 or 10 digits) or milliseconds (12 or 13); ValueError otherwise."""
    digits = str(number)
    if _SECONDS.fullmatch(digits) is not None:
        return _EPOCH + timedelta(seconds=number)
    if _MILLISECONDS.fullmatch(digits) is None or _DATE_AND_HOUR.fullmatch(digits) is not None:
        raise ValueError(_NONE)
    return _EPOCH + timedelta(milliseconds=number)


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC; a naive one is in UTC already.

    Raises ValueError when its UTC form lies before year 1 or after year 9999.
    """
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time beyond the years 1 to 9999") from None


def text(moment: datetime) -> str:
    """Write an aware time in the one stored form: UTC, four digits of year, microseconds, `Z`; sorts as times do."""
    # Not strftime: its year has as many digits as it needs.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the aware UTC time of a UNIX time in milliseconds, however many digits it has."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def microseconds(moment: datetime) -> int:
    """Return the UNIX time of an aware time in microseconds: all that a time has."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """Return the aware UTC time of a UNIX time in microseconds."""
    return _EPOCH + timedelta(microseconds=number)


def _is_plain(text: str) -> bool:
    """Whether a text has the shape of `2026-04-30T09:30:00Z`, with 0, 3 or 6 digits of a fraction.

    Nearly all times have it, those that `text` writes among them, and of this shape Python's own reader takes only what
    we take, ten times as fast.
    """
    return (
        len(text) in (20, 24, 27)
        and text[-1] == "Z"
        and text[4] == text[7] == "-"
        and text[10] == "T"
        and text[13] == text[16] == ":"
        and text[11:13] < "24"
        and text[19] in "Z."
    )
