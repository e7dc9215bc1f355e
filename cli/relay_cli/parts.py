"""What commands show, before anybody knows whether it goes to a terminal, into a pipe or is wanted as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any


class Tone(Enum):
    """How a text is meant; a terminal shows it as a colour, a pipe not at all."""

    PLAIN = ""
    GOOD = "green"
    WARN = "yellow"
    BAD = "bold red"
    QUIET = "dim"
    STRONG = "bold"


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with a tone."""

    text: str
    tone: Tone = Tone.PLAIN


Text = str | Cell


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence of its own."""

    text: Text


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values below each other."""

    rows: Sequence[tuple[str, Text]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; `numbers` names the columns that are set to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]
    title: str = ""
    numbers: frozenset[str] = field(default=frozenset())


Part = Line | Facts | Table


def cell(value: Text) -> Cell:
    """Return a text as a cell."""
    return value if isinstance(value, Cell) else Cell(value)


def printable(text: str) -> str:
    """Return a text without what would steer a terminal; a line break becomes a blank."""
    return "".join(" " if letter in "\n\r\t" else letter if letter.isprintable() else "?" for letter in text)


def number(value: Any) -> str:
    """Return a number with separators; a dash where there is none."""
    return "-" if value is None else f"{value:,}"


def several(count: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{count:,} {one if count == 1 else many}"


def share(part: float, whole: float) -> str:
    """Return a part in percent; a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def parse_time(text: str | None) -> datetime | None:
    """Return a time of an answer (ISO 8601) in UTC; None for none, or for what is no time."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)


def at(text: str | None) -> str:
    """Return a time of an answer to the minute, in UTC; a dash for none."""
    moment = parse_time(text)
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def ago(text: str | None, now: datetime) -> str:
    """Return how long ago a time of an answer was, or how long it takes until then; a dash for none."""
    moment = parse_time(text)
    if moment is None:
        return "-"
    seconds = (now - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float | None) -> str:
    """Return a number of seconds in the unit that fits; a dash for none."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def listed(values: Iterable[Any]) -> str:
    """Return values with commas between; a dash for none."""
    return ", ".join(str(value) for value in values) or "-"
