"""Closed sets that come in pages through a webhook: who they name, until all pages are there and have been worked on.

pk `set#id`. Per part of a page an item with its ids (sk `ids#place`) and a small mark (sk `mark#place`), so that nobody
reads all ids to see whether all are there. The place is `page#received at#parts#part`. A request that sends a page
again may cut it elsewhere, so a page is there when all parts of one request are. Whoever is named by any of them is
named. Missing pages remove nobody: what is not complete a day after its first page is dropped.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.domain import moments
from relay.domain.closed_sets import ENTRY_BYTES, Kind, SetPage, packed
from relay.stores import waits
from relay.stores.database import ABSENT, Database, Delete, Item, Key, Put, Table
from relay.stores.waits import SegmentWait

FORMAT: Final = 1

OPEN_FOR: Final = timedelta(hours=24)
"""How long after its first page a set may get its last one."""

KEPT: Final = timedelta(days=14)
"""How long the pages are kept: so long an import of them may wait for a confirmation."""


@dataclass(frozen=True, slots=True)
class ClosedSet:
    """A set of which all pages are there. `at` is when its first page was received: all of it is at least as new.

    `places` are the parts that came, and `named` counts the ids in them.
    """

    id: str
    segment: str
    at: datetime
    places: Sequence[str]
    named: int
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

    `at` is when the request that brings the page was received: the same for all parts that it was cut into.
    `profile_ids` are those of all profiles that the message names, each the one that aliases lead to; of a profile that
    could not be written, the ids that the change names. `entered` are those that were no members before, `broken`
    counts entries that name nobody. Of a part that comes again the first write counts. When the set is complete, its
    import starts by itself. Raises Busy.
    """
    set_id = id_of(page)
    ids = packed((one, Kind.ENTERED if one in entered else Kind.UNCHANGED) for one in dict.fromkeys(profile_ids))
    place = f"{page.page:06d}#{moments.text(at)}#{page.parts:04d}#{page.part:04d}"
    rest: Item = {"expires_at": int((at + KEPT).timestamp()), "format": FORMAT}
    mark: Item = {
        "segment": page.segment,
        "at": moments.text(at),
        "pages": page.pages,
        "named": len(ids) // ENTRY_BYTES,
        "broken": broken,
    }
    # Together, since the mark says how many ids there are.
    database.transact(
        [
            Put(_ids(set_id, place), {"ids": ids, **rest}, {"pk": ABSENT}),
            Put(Key(Table.CONTROL, f"set#{set_id}", f"mark#{place}"), {**mark, **rest}, {"pk": ABSENT}),
        ]
    )
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
    places = [str(mark["sk"]).removeprefix("mark#") for mark in marks]
    came = Counter(place.rpartition("#")[0] for place in places)
    whole = {one.partition("#")[0] for one, count in came.items() if count == int(one.rpartition("#")[2])}
    if len(whole) < max(int(mark["pages"]) for mark in marks):
        return None
    named, broken = (sum(int(mark[name]) for mark in marks) for name in ("named", "broken"))
    first = min(str(mark["at"]) for mark in marks)
    return ClosedSet(set_id, str(marks[0]["segment"]), moments.parse(first), places, named, broken)


def pages(database: Database, one: ClosedSet) -> Iterator[bytes]:
    """Yield the ids of a set's pages (see `relay.domain.closed_sets`), as far as they are there still."""
    for place in one.places:
        item = database.get([_ids(one.id, place)])[0]
        if item is not None and isinstance(item["ids"], bytes):
            yield item["ids"]


def drop(database: Database, set_id: str) -> None:
    """Delete a set that has been worked on. The marks go last: whoever dies in between finds them again."""
    marks = database.query(Table.CONTROL, f"set#{set_id}", prefix="mark#")
    places = [str(mark["sk"]).removeprefix("mark#") for mark in marks]
    database.write([Delete(_ids(set_id, place)) for place in places])
    database.write([Delete(Key(Table.CONTROL, f"set#{set_id}", f"mark#{place}")) for place in places])


def _ids(set_id: str, place: str) -> Key:
    return Key(Table.CONTROL, f"set#{set_id}", f"ids#{place}")
