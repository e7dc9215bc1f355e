"""Queued imports: calls a destination will answer later, row by row.

A header per import (pk `imports#connection`, sk the call's id) lives while the import is open. Its rows (pk
`import#call`, sk `rows`) hold identities and values in clear; they expire by themselves, since deleting so large an item
costs as much as writing it.
"""

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from relay.domain import moments
from relay.domain.assignment import Pair
from relay.domain.identity import OUT, Content, Digest
from relay.stores.database import Database, Delete, Item, Key, Put, Table, Update

FORMAT: Final = 1

ROWS_KEPT = timedelta(days=2)
"""Longer than an import may be open."""


class Row(NamedTuple):
    """One step of a call: whose, at which identity record, what."""

    profile: str
    key: str
    pair: Pair
    content: Content
    at: datetime
    values: Mapping[str, str]
    evidence: str | None = None
    """Only for the call itself; it is not stored with an import."""


@dataclass(frozen=True, slots=True)
class OpenImport:
    """An import that a destination has queued and not yet reported to the end."""

    call: str
    connection: str
    export: str
    import_id: str
    queued: int | None
    """How many contacts were queued, where the destination said so."""
    queued_at: datetime
    looked_at: datetime
    number: int = 0
    """The number of the next look: a message that asks for an earlier one is a double."""
    run: str | None = None
    """The run whose ledger counts its rows as outstanding, under the call's id."""


def record(database: Database, opened: OpenImport, rows: Sequence[Row]) -> None:
    """Write a new import: the rows first, since the header says that they are there."""
    packed = zlib.compress(_encode([_row_to_json(row) for row in rows]).encode(), level=1)
    expires_at = int((opened.queued_at + ROWS_KEPT).timestamp())
    database.write([Put(_rows(opened.call), {"packed": packed, "expires_at": expires_at, "format": FORMAT})])
    database.write([Put(_header(opened.connection, opened.call), _header_item(opened))])


def load(database: Database, connection: str, call: str) -> OpenImport | None:
    """Return an open import, None when it has ended."""
    item = database.get([_header(connection, call)])[0]
    return None if item is None else _opened(connection, item)


def rows(database: Database, call: str) -> list[Row]:
    """Return the rows of an import, none when they have expired."""
    item = database.get([_rows(call)])[0]
    if item is None:
        return []
    packed = item["packed"]
    return [_row_from_json(row) for row in json.loads(zlib.decompress(packed if isinstance(packed, bytes) else b""))]


def still_open(database: Database, connection: str, calls: Collection[str]) -> set[str]:
    """Return those of the calls that are open imports."""
    ids = sorted(calls)
    items = database.get([_header(connection, call) for call in ids])
    return {call for call, item in zip(ids, items, strict=True) if item is not None}


def all_open(database: Database, connection: str) -> list[OpenImport]:
    """Return the open imports of a connection."""
    return [_opened(connection, item) for item in database.query(Table.CONTROL, f"imports#{connection}")]


def note_look(database: Database, opened: OpenImport, number: int, now: datetime) -> None:
    """Note that an import was looked at and is still open, and the number of its next look."""
    seen: Item = {"looked_at": moments.text(now), "number": number}
    here = {"import_id": opened.import_id}
    database.write([Update(_header(opened.connection, opened.call), seen, expect=here)])


def leave_open(database: Database, opened: OpenImport, rest: Sequence[Row], number: int, now: datetime) -> None:
    """Keep only the rows that a finished import left open; how many were queued says nothing of them."""
    packed = zlib.compress(_encode([_row_to_json(row) for row in rest]).encode(), level=1)
    database.write([Update(_rows(opened.call), {"packed": packed})])
    seen: Item = {"looked_at": moments.text(now), "number": number, "queued": -1}
    database.write([Update(_header(opened.connection, opened.call), seen, expect={"import_id": opened.import_id})])


def end(database: Database, opened: OpenImport) -> None:
    """Note that every row is answered."""
    database.write([Delete(_header(opened.connection, opened.call))])


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _header(connection: str, call: str) -> Key:
    return Key(Table.CONTROL, f"imports#{connection}", call)


def _rows(call: str) -> Key:
    return Key(Table.CONTROL, f"import#{call}", "rows")


def _header_item(opened: OpenImport) -> Item:
    return {
        "export": opened.export,
        "import_id": opened.import_id,
        "queued": -1 if opened.queued is None else opened.queued,
        "queued_at": moments.text(opened.queued_at),
        "looked_at": moments.text(opened.looked_at),
        "number": opened.number,
        "run": opened.run or "",
    }


def _opened(connection: str, item: Item) -> OpenImport:
    queued = int(item["queued"])
    return OpenImport(
        call=str(item["sk"]),
        connection=connection,
        export=str(item["export"]),
        import_id=str(item["import_id"]),
        queued=None if queued < 0 else queued,
        queued_at=moments.parse(str(item["queued_at"])),
        looked_at=moments.parse(str(item["looked_at"])),
        number=int(item["number"]),
        run=str(item["run"]) or None,
    )


def _row_to_json(row: Row) -> list[Any]:
    content = "OUT" if row.content is OUT else row.content
    at = round(row.at.timestamp() * 1000)
    return [row.profile, row.key, row.pair.target, row.pair.identity, content, at, dict(row.values)]


def _row_from_json(told: Sequence[Any]) -> Row:
    profile, key, target, identity, content, at, values = told
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return Row(profile, key, Pair(target, identity), OUT if content == "OUT" else Digest(content), moment, values)

