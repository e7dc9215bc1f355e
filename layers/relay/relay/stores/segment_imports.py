"""Imports of segments in DynamoDB: a record and its parts (pk `segment-import#id`), lists, and whose turn it is.

The turn (pk `segment#source/segment`, sk `import`) names the newest set that was let in, and who works on the segment
until when. Nobody else writes for an import of that segment meanwhile; a worker that dies is waited out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from relay.domain import moments
from relay.domain.segment_imports import ENDED, FilePart, ImportState, RowFault, SegmentImport
from relay.stores import notices
from relay.stores.database import ABSENT, Database, Delete, Item, Key, Put, Table, Update, Write
from relay.stores.notices import Notice

FORMAT: Final = 1

KEPT: Final = timedelta(days=90)
"""How long the record of an import can be looked at, from its begin."""

PART_OF_PARTS: Final = 300_000
"""The most characters of an item with parts."""

REFUSED_SHOWN: Final = timedelta(days=1)
"""How long a refused import is one that somebody should look at."""


class Turn(NamedTuple):
    """Whose turn it is at a segment: the order of the newest set, its import, who works on it, and until when."""

    order: str
    id: str
    worker: str
    until: datetime
    version: int

    def is_before(self, one: SegmentImport) -> bool:
        """Whether an import may have the turn: the newest set has it, and of two of one time the first."""
        return self.id == one.id or self.order.partition("#")[0] < one.order.partition("#")[0]


def begin(database: Database, one: SegmentImport, parts: Sequence[FilePart] = ()) -> bool:
    """Record an import that begins, or that is refused at once; False when it is recorded already."""
    rest: Item = {"expires_at": _expiry(one), "format": FORMAT}
    marks = [_mark(one, one.begun_at)] if _is_of_interest(one) else []
    # The mark comes first, and goes last: whoever dies in between leaves one too many.
    text = _text_of(parts)
    items = [text[start : start + PART_OF_PARTS] for start in range(0, len(text), PART_OF_PARTS)]
    named = [Put(_parts(one.id, number), {"parts": item, **rest}) for number, item in enumerate(items)]
    database.write([*named, *marks])
    return database.transact(
        [
            Put(_header(one.id), _item(one, 1), {"pk": ABSENT}),
            Put(Key(Table.CONTROL, "segment-imports", one.id), {"segment": one.segment, **rest}),
            Put(Key(Table.CONTROL, f"segment-imports#{one.segment}", one.id), dict(rest)),
            *([notices.note(Notice(one.begun_at, notices.IMPORT_ENDED, one.id))] if one.state in ENDED else ()),
        ]
    )


def load(database: Database, import_id: str) -> SegmentImport | None:
    """Return an import."""
    item = database.get([_header(import_id)])[0]
    return None if item is None else _import(import_id, item)


def parts(database: Database, import_id: str) -> Sequence[FilePart]:
    """Return the objects of an import's files, in their order."""
    items = database.query(Table.CONTROL, _header(import_id).pk, prefix=_PARTS)
    return _parts_of("".join(str(item["parts"]) for item in items)) if items else []


def objects(
    database: Database, segment: str, count: int = 20
) -> Iterator[tuple[SegmentImport, frozenset[tuple[str, str]]]]:
    """Yield the imports with the newest sets of files, newest first, each with the keys and ETags of its objects."""
    for one in latest(database, segment, count):
        yield one, frozenset((part.key, part.etag) for part in parts(database, one.id))


def latest(database: Database, segment: str | None = None, count: int = 20) -> list[SegmentImport]:
    """Return the imports with the newest sets, of one segment or all, newest first."""
    pk = "segment-imports" if segment is None else f"segment-imports#{segment}"
    ids = [str(item["sk"]) for item in database.query(Table.CONTROL, pk, newest_first=True, limit=count)]
    items = database.get([_header(one) for one in ids])
    return [_import(one, item) for one, item in zip(ids, items, strict=True) if item is not None]


def of_interest(database: Database, now: datetime) -> list[SegmentImport]:
    """Return the imports that are under way, wait for somebody, or were refused a short time ago."""
    ids = [str(item["sk"]) for item in database.query(Table.CONTROL, _OF_INTEREST)]
    items = database.get([_header(one) for one in ids])
    found = [_import(one, item) for one, item in zip(ids, items, strict=True) if item is not None]
    return [one for one in found if _is_of_interest(one) and not _is_past(one, now)]


def save(database: Database, one: SegmentImport, now: datetime) -> SegmentImport | None:
    """Write how far an import has come, over the version that was read; None when somebody else changed it.

    Where it waits for somebody, or has ended, that is announced.
    """
    moved = replace(one, moved_at=now, ended_at=now if one.state in ENDED else None, version=one.version + 1)
    writes: list[Write] = [Update(_header(one.id), _item(moved, moved.version), expect={"version": one.version})]
    what = notices.IMPORT_ENDED if one.state in ENDED else notices.IMPORT_WAITS
    if one.state in ENDED or one.state is ImportState.NEEDS_CONFIRMATION:
        is_written = database.transact([*writes, notices.note(Notice(now, what, one.id))])
    else:
        is_written = database.write(writes)[0]
    if not is_written:
        return None
    if moved.state is ImportState.REFUSED:
        database.write([_mark(moved, now)])
    elif moved.state in ENDED:
        database.write([Delete(_mark(moved, now).key)])
    return moved


def turn(database: Database, segment: str) -> Turn | None:
    """Return whose turn it is at a segment."""
    item = database.get([_turn(segment)])[0]
    if item is None:
        return None
    until = moments.parse(str(item["until"]))
    return Turn(str(item["order"]), str(item["import"]), str(item["worker"]), until, int(item["version"]))


def take_turn(database: Database, one: SegmentImport, known: Turn | None, worker: str, until: datetime) -> bool:
    """Write whose turn it is over what was read; False when somebody else was faster."""
    version = 0 if known is None else known.version
    item: Item = {
        "order": one.order,
        "import": one.id,
        "worker": worker,
        "until": moments.text(until),
        "version": version + 1,
        "format": FORMAT,
    }
    write: Write = (
        Put(_turn(one.segment), item, {"pk": ABSENT})
        if known is None
        else Update(_turn(one.segment), item, expect={"version": version})
    )
    return database.write([write])[0]


def end_turn(database: Database, segment: str, worker: str) -> None:
    """Let others have the turn at once; nothing where the worker has it no more. The newest set stays known."""
    for _ in range(3):
        known = turn(database, segment)
        if known is None or known.worker != worker:
            return
        write = Update(_turn(segment), {"worker": "", "version": known.version + 1}, expect={"version": known.version})
        if database.write([write])[0]:
            return


_OF_INTEREST: Final = "segment-imports-of-interest"


def _is_of_interest(one: SegmentImport) -> bool:
    return one.state not in ENDED or one.state is ImportState.REFUSED


def _is_past(one: SegmentImport, now: datetime) -> bool:
    return one.ended_at is not None and one.ended_at + REFUSED_SHOWN <= now


def _mark(one: SegmentImport, now: datetime) -> Put:
    kept = REFUSED_SHOWN if one.state is ImportState.REFUSED else KEPT
    item: Item = {"segment": one.segment, "expires_at": int((now + kept).timestamp()), "format": FORMAT}
    return Put(Key(Table.CONTROL, _OF_INTEREST, one.id), item)


def _header(import_id: str) -> Key:
    return Key(Table.CONTROL, f"segment-import#{import_id}", "header")


_PARTS: Final = "parts#"


def _parts(import_id: str, number: int) -> Key:
    return Key(Table.CONTROL, f"segment-import#{import_id}", f"{_PARTS}{number:04d}")


def _text_of(parts: Sequence[FilePart]) -> str:
    """Write parts as text of ASCII alone; all parts of a set have the same columns."""
    columns = parts[0].columns if parts else None
    return json.dumps([columns, [(part.key, part.size, part.etag) for part in parts]])


def _parts_of(text: str) -> Sequence[FilePart]:
    columns, named = json.loads(text)
    of_all = None if columns is None else tuple(columns)
    return [FilePart(key, size, etag, of_all) for key, size, etag in named]


def _turn(segment: str) -> Key:
    return Key(Table.CONTROL, f"segment#{segment}", "import")


def _expiry(one: SegmentImport) -> int:
    return int((one.begun_at + KEPT).timestamp())


def _item(one: SegmentImport, version: int) -> Item:
    document = {
        "segment": one.segment,
        "at": moments.text(one.at),
        "begun_at": moments.text(one.begun_at),
        "state": one.state.value,
        "closed_set": one.closed_set,
        "cursor": one.cursor,
        "counts": dict(one.counts),
        "faults": [list(fault) for fault in one.faults],
        "reason": one.reason,
        "confirmed_by": one.confirmed_by,
        "moved_at": None if one.moved_at is None else moments.text(one.moved_at),
        "ended_at": None if one.ended_at is None else moments.text(one.ended_at),
    }
    return {"doc": json.dumps(document), "version": version, "expires_at": _expiry(one), "format": FORMAT}


def _import(import_id: str, item: Item) -> SegmentImport:
    given: Mapping[str, Any] = json.loads(str(item["doc"]))

    def moment(name: str) -> datetime | None:
        return None if given[name] is None else moments.parse(given[name])

    return SegmentImport(
        id=import_id,
        segment=given["segment"],
        at=moments.parse(given["at"]),
        begun_at=moments.parse(given["begun_at"]),
        state=ImportState(given["state"]),
        closed_set=given["closed_set"],
        cursor=given["cursor"],
        counts=given["counts"],
        faults=tuple(RowFault(*fault) for fault in given["faults"]),
        reason=given["reason"],
        confirmed_by=given["confirmed_by"],
        moved_at=moment("moved_at"),
        ended_at=moment("ended_at"),
        version=int(item["version"]),
    )
