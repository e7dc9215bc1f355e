"""Reading the files of a set: to their ends, before anything is changed, and then page by page."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from relay.breaker import failures
from relay.domain.segment_imports import MOST_FAULTS, RowFault
from relay.files.rows import Row, Unreadable
from relay.observability import Observability
from relay.segment_imports.files import Member

PAGE_SIZE: Final = 32_000_000
"""The characters after which a page has no more rows: they are in memory together."""

LONGEST_READING: Final = 400.0
"""Seconds that reading a set to its end may take: less than half an invocation, since each reads up to its place."""

MOST_TRIES: Final = 3
"""How often reading a file may end its invocation."""

NEVER_READ: Final = f"reading it was begun {MOST_TRIES} times and never ended: it may take more memory than there is"
EMPTY: Final = "it is empty. Where that is meant, set allow_empty of the source to true"
DEFECT: Final = "our code met a defect while it read the file"


class Checked(NamedTuple):
    """What reading a set to its end has found. `refused` is why it changes nothing, None where it is of use."""

    counts: Mapping[str, int]
    faults: Sequence[RowFault]
    refused: str | None


class TooLarge(Unreadable):
    """A set has more rows, or takes more time, than an import may."""


def watch_of(seconds_left: Callable[[], float]) -> Callable[[], None]:
    """Return what raises TooLarge when reading has taken too long, counted from now."""
    end = seconds_left() - LONGEST_READING

    def watch() -> None:
        if seconds_left() < end:
            raise TooLarge(f"reading it takes more than {LONGEST_READING:.0f} seconds: leave columns out")

    return watch


def checked(
    rows: Iterable[Row | RowFault],
    member_of: Callable[[Row], Member],
    most_rows: int,
    every: int,
    watch: Callable[[], None],
    *,
    allows_empty: bool,
) -> Checked:
    """Read rows to their end. `watch` is called after `every` rows, `member_of` until a row names a member.

    Raises TooLarge, and whatever reading raises.
    """
    counts: Counter[str] = Counter()
    without: Counter[str] = Counter()
    faults: list[RowFault] = []
    is_somebody_named = False
    for row in rows:
        counts["rows"] += 1
        if isinstance(row, RowFault):
            counts["broken"] += 1
            faults.append(row)
        elif not is_somebody_named:
            is_somebody_named = member_in(row, member_of, without, faults) is not None
        if len(faults) > MOST_FAULTS:
            faults.pop()
        if counts["rows"] > most_rows:
            raise TooLarge(f"it has more than {most_rows:,} rows")
        if counts["rows"] % every == 0:
            watch()
    if counts["rows"] == 0:
        return Checked(counts, faults, None if allows_empty else EMPTY)
    if is_somebody_named or without["out"] == counts["rows"]:
        return Checked(counts, faults, None)
    counts += without
    return Checked(counts, faults, why_of_no_use(counts, faults))


def member_in(
    row: Row, member_of: Callable[[Row], Member], counts: Counter[str], faults: list[RowFault]
) -> Member | None:
    """Return whom a row puts into the segment; None where it does not, which is counted."""
    try:
        member = member_of(row)
    except ValueError as why:
        counts["broken"] += 1
        faults.append(RowFault(row.part, row.line, str(why)))
        return None
    if member.profile_ids and member.is_in:
        return member
    counts["out" if member.profile_ids else "unidentified"] += 1
    return None


def why_of_no_use(counts: Mapping[str, int], faults: Sequence[RowFault]) -> str:
    """Return why a set without any member is of no use: what most of its rows lack."""
    if faults and counts.get("broken", 0) + counts.get("defects", 0) >= counts.get("unidentified", 0):
        part, line, reason = faults[0]
        return f"no row could be used: line {line} of {part} {reason}"
    return "no row names a member: see the source's profile_key"


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
