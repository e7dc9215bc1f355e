"""Points in time: aware UTC inside the program, one sortable text form in stores and messages."""

from datetime import UTC, datetime


def parse(text: str) -> datetime:
    """Read an ISO 8601 time (any offset; a time without one is taken as UTC) as an aware UTC datetime.

    Adobe's samples show `...Z`, `...+0000`, microseconds, and once a blank instead of `T` with no zone:
    https://experienceleague.adobe.com/docs/experience-platform/destinations/catalog/streaming/http-destination.html
    Raises ValueError on anything else.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def text(moment: datetime) -> str:
    """Write a time in the one stored form: UTC, microseconds, `Z`; sorts as the times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the aware UTC time of a UNIX time in milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
