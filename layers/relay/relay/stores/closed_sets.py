"""Closed sets that come in pages through a webhook: who they name, until all pages are there and have been worked on.

pk `set#id`. Per part of a page an item with its ids (sk `ids#page#part`) and a small mark (sk `mark#page#part`), so
that nobody reads all ids to see whether all are there. Missing pages remove nobody: what is not complete a day after
its first page is dropped.
"""

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.domain import moments
from relay.domain.closed_sets import Kind, SetPage, packed
from relay.stores import waits
from relay.stores.database import Database, Delete, Item, Key, Put, Table
from relay.stores.waits import SegmentWait

FORMAT: Final = 1

OPEN_FOR: Final = timedelta(hours=24)
"""How long after its first page a set may get its last one."""

KEPT: Final = timedelta(days=14)
"""How long the pages are kept: so long an import of them may wait for a confirmation."""


@dataclass(frozen=True, slots=True)
class ClosedSet:
    """A set of which all pages are there. `at` is when its first page was received: all of it is at least as new."""

    id: str
    segment: str
    at: datetime
    parts: int
    broken: int = 0
    """Entries of its pages that name nobody."""


def id_of(page: SetPage) -> str:
    """Return our id of the set that a page belongs to: of bounded length, whatever the sender's id is."""
    return "set-" + hashlib.sha256(f"{page.segment}\n{page.set_id}".encode(errors="surrogatepass")).hexdigest()[:24]


def add_page(
    database: Database,
    page: SetPage,
    at: datetime,
    profile_ids: Iterable[str],
    entered: Container[str] = frozenset(),
    *,
    broken: int = 0,
) -> bool:
    """Keep who a page names, once they are stored; return whether the set is complete now. Safe to repeat.

    `at` is when the page was received. `profile_ids` are those of all profiles that the message names, each the one
    that aliases lead to; of a profile that could not be written, the ids that the change names. `entered` are those
    that were no members before, `broken` counts entries that name nobody. When the set is complete, its import starts
    by itself. Raises Busy.
    """
    set_id = id_of(page)
    ids = packed((one, Kind.ENTERED if one in entered else Kind.UNCHANGED) for one in dict.fromkeys(profile_ids))
    place = f"{page.page:06d}#{page.part:04d}"
    rest: Item = {"expires_at": int((at + KEPT).timestamp()), "format": FORMAT}
    mark: Item = {
        "segment": page.segment,
        "at": moments.text(at),
        "pages": page.pages,
        "parts": page.parts,
        "broken": broken,
    }
    # The ids come first: a mark says that they are there.
    database.write([Put(_ids(set_id, place), {"ids": ids, **rest})])
    database.write([Put(Key(Table.CONTROL, f"set#{set_id}", f"mark#{place}"), {**mark, **rest})])
    closed = load(database, set_id)
    if closed is None or at - closed.at > OPEN_FOR:
        return False
    waits.put(database, [SegmentWait(at, set_id)])
    return True


def load(database: Database, set_id: str) -> ClosedSet | None:
    """Return a set by our id; None when not all of it is there."""
    marks = database.query(Table.CONTROL, f"set#{set_id}", prefix="mark#")
    if not marks:
        return None
    parts: dict[int, int] = {}
    for mark in marks:
        number = int(str(mark["sk"]).split("#")[1])
        parts[number] = parts.get(number, int(mark["parts"])) - 1
    is_complete = len(parts) == int(marks[0]["pages"]) and not any(parts.values())
    first = min(str(mark["at"]) for mark in marks)
    if not is_complete:
        return None
    broken = sum(int(mark.get("broken", 0)) for mark in marks)
    return ClosedSet(set_id, str(marks[0]["segment"]), moments.parse(first), len(marks), broken)


def pages(database: Database, set_id: str) -> Iterator[bytes]:
    """Yield the ids of a set's pages (see `relay.domain.closed_sets`)."""
    for place in _places(database, set_id):
        item = database.get([_ids(set_id, place)])[0]
        if item is not None and isinstance(item["ids"], bytes):
            yield item["ids"]


def drop(database: Database, set_id: str) -> None:
    """Delete a set that has been worked on. The marks go last: whoever dies in between finds them again."""
    places = _places(database, set_id)
    database.write([Delete(_ids(set_id, place)) for place in places])
    database.write([Delete(Key(Table.CONTROL, f"set#{set_id}", f"mark#{place}")) for place in places])


def _places(database: Database, set_id: str) -> list[str]:
    marks = database.query(Table.CONTROL, f"set#{set_id}", prefix="mark#")
    return [str(mark["sk"]).removeprefix("mark#") for mark in marks]


def _ids(set_id: str, place: str) -> Key:
    return Key(Table.CONTROL, f"set#{set_id}", f"ids#{place}")
