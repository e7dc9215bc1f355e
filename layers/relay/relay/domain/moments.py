"""Points in time: aware UTC inside the program, one sortable text form in stores and messages."""

from datetime import UTC, datetime


def parse(text: str) -> datetime:
    """Read an ISO 8601 time (any offset; a time without one is taken as UTC) as an aware UTC datetime.

    Adobe's samples show `...Z`, `...+0000`, microseconds, and once a blank instead of `T` with no zone:
    https://experienceleague.adobe.com/docs/experience-platform/destinations/catalog/streaming/http-destination.html
    Raises ValueError on anything else, and on a time whose UTC form lies before year 1 or after year 9999.
    """
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time beyond the years 1 to 9999") from None


def text(moment: datetime) -> str:
    """Write an aware time in the one stored form: UTC, four digits of year, microseconds, `Z`; sorts as times do."""
    # Not strftime: its year has as many digits as it needs.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the aware UTC time of a UNIX time in milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
