"""Reading the files of a set: to their ends, before anything is changed, and then page by page."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from relay.breaker import failures
from relay.domain.segment_imports import RowFault
from relay.files.rows import Row, Unreadable
from relay.observability import Observability

PAGE_SIZE: Final = 32_000_000
"""The characters after which a page has no more rows: they are in memory together."""

LONGEST_READING: Final = 400.0
"""Seconds that reading a set to its end may take: less than half an invocation, since each reads up to its place."""

MOST_TRIES: Final = 3
"""How often reading a file may end its invocation."""

NEVER_READ: Final = f"reading it was begun {MOST_TRIES} times and never ended: it may take more memory than there is"
DEFECT: Final = "our code met a defect while it read the file"


class TooLarge(Unreadable):
    """A set has more rows, or takes more time, than an import may."""


def watch_of(seconds_left: Callable[[], float]) -> Callable[[], None]:
    """Return what raises TooLarge when reading has taken too long, counted from now."""
    end = seconds_left() - LONGEST_READING

    def watch() -> None:
        if seconds_left() < end:
            raise TooLarge(f"reading it takes more than {LONGEST_READING:.0f} seconds: leave columns out")

    return watch


def counted(
    rows: Iterable[Row | RowFault], most_rows: int, every: int, watch: Callable[[], None]
) -> tuple[Counter[str], list[RowFault]]:
    """Read rows to their end; return their counts and the first faults. `watch` is called after `every` rows.

    Raises TooLarge, and whatever reading raises.
    """
    counts: Counter[str] = Counter()
    faults: list[RowFault] = []
    for row in rows:
        counts["rows"] += 1
        if isinstance(row, RowFault):
            counts["broken"] += 1
            if len(faults) < 100:
                faults.append(row)
        if counts["rows"] > most_rows:
            raise TooLarge(f"it has more than {most_rows:,} rows")
        if counts["rows"] % every == 0:
            watch()
    return counts, faults


def why_unreadable(error: Exception, import_id: str, observe: Observability) -> str | None:
    """Return why a file is refused after an error; None where it may be read another time."""
    if isinstance(error, TooLarge):
        return error.reason
    if isinstance(error, Unreadable):
        return f"unreadable: {error.reason}"
    if failures.row_for(error).do is not failures.Do.DEAD_LETTER:
        return None
    observe.problem("file not read", error, import_id=import_id)
    return DEFECT


def pages(rows: Iterable[Row | RowFault], most: int, size: int = PAGE_SIZE) -> Iterator[list[Row | RowFault]]:
    """Yield rows in pages of at most so many rows, and of not much more than so many characters.

    The same rows make the same pages, from the beginning of any of them.
    """
    page: list[Row | RowFault] = []
    room = size
    for row in rows:
        page.append(row)
        if isinstance(row, Row):
            room -= row.size
        if len(page) == most or room <= 0:
            yield page
            page, room = [], size
    if page:
        yield page
