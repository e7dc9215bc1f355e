"""Queued imports: calls a destination will answer later, row by row.

A header per import (pk `imports#connection`, sk the call's id) lives while the import is open. Its rows (pk
`import#call`, sk `rows`) hold identities and values in clear; they expire by themselves, since deleting so large an
item costs as much as writing it.
"""

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from relay.domain import moments
from relay.domain.assignment import Pair
from relay.domain.identity import OUT, Content, Digest
from relay.domain.keyed_hash import KeyedHash
from relay.stores.database import Database, Delete, Item, Key, Put, Table, Update
from relay.stores.identities import key_of

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
    is_all: bool = True
    """Whether the profile stands for nothing else; then this row's record alone says where it stands."""
    evidence: str | None = None
    last_refusal: str | None = None
    """This and the evidence are only for the call itself; they are not stored with an import."""


@dataclass(frozen=True, slots=True)
class OpenImport:
    """An import that a destination has queued and not yet reported to the end.

    `queued` is how many contacts were queued, where the destination said so. `number` is that of the next look: a
    message that asks for an earlier one is a double. `run` and `page` are set where the ledger of a run counts its rows
    as outstanding. `under` is as `Refused.under`. `tries` is how often its rows were sent before in imports that came
    to nothing. `note` is what the destination left for its next look; the first `again` rows are to be sent
    again once all others were looked at. `trace` is set where an operator traces the look that it came of.
    """

    call: str
    connection: str
    export: str
    under: str
    import_id: str
    queued: int | None
    queued_at: datetime
    looked_at: datetime
    number: int = 0
    run: str | None = None
    page: str | None = None
    tries: int = 0
    note: str | None = None
    again: int = 0
    trace: str | None = None


def record(database: Database, opened: OpenImport, rows: Sequence[Row]) -> None:
    """Write a new import: the rows first, since the header says that they are there."""
    database.write([Put(_rows(opened.call), _rows_item(opened, rows))])
    database.write([Put(_header(opened.connection, opened.call), _header_item(opened))])


def load(database: Database, connection: str, call: str) -> OpenImport | None:
    """Return an open import, None when it has ended."""
    item = database.get([_header(connection, call)])[0]
    return None if item is None else _opened(connection, item)


def rows(
    database: Database, keyed: KeyedHash, opened: OpenImport, unreadable: dict[str, Exception] | None = None
) -> list[Row]:
    """Return the rows of an import, none when they have expired.

    Why a row cannot be read is added to `unreadable` by its profile, and the others are returned; without that it is
    raised.
    """
    item = database.get([_rows(opened.call)])[0]
    if item is None:
        return []
    packed = item["packed"]
    found = []
    for row in json.loads(zlib.decompress(packed if isinstance(packed, bytes) else b"")):
        try:
            found.append(_row_from_json(row, keyed, opened.connection))
        except Exception as error:  # whatever a stored form of another version holds, the other rows can be read
            if unreadable is None:
                raise
            unreadable[str(row[0])] = error
    return found


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
    here = {"call": opened.call}
    database.write([Update(_header(opened.connection, opened.call), seen, expect=here)])


def leave_open(database: Database, opened: OpenImport, rest: Sequence[Row]) -> None:
    """Keep only the rows that a finished import left open, and what is known of it now.

    The rows come first: `opened.again` counts them. Whoever dies in between asks about some that were asked about
    already, which changes nothing.
    """
    database.write([Put(_rows(opened.call), _rows_item(opened, rest))])
    database.write(
        [Update(_header(opened.connection, opened.call), _header_item(opened), expect={"call": opened.call})]
    )


def end(database: Database, opened: OpenImport) -> None:
    """Note that every row is answered."""
    database.write([Delete(_header(opened.connection, opened.call))])


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _header(connection: str, call: str) -> Key:
    return Key(Table.CONTROL, f"imports#{connection}", call)


def _rows(call: str) -> Key:
    return Key(Table.CONTROL, f"import#{call}", "rows")


def _rows_item(opened: OpenImport, rows: Sequence[Row]) -> Item:
    packed = zlib.compress(_encode([_row_to_json(row) for row in rows]).encode(), level=1)
    expires_at = int((opened.queued_at + ROWS_KEPT).timestamp())
    return {"packed": packed, "expires_at": expires_at, "format": FORMAT}


def _header_item(opened: OpenImport) -> Item:
    return {
        "call": opened.call,
        "export": opened.export,
        "under": opened.under,
        "import_id": opened.import_id,
        "queued": -1 if opened.queued is None else opened.queued,
        "queued_at": moments.text(opened.queued_at),
        "looked_at": moments.text(opened.looked_at),
        "number": opened.number,
        "run": opened.run or "",
        "page": opened.page or "",
        "tries": opened.tries,
        "note": "" if opened.note is None else f"={opened.note}",
        "again": opened.again,
        "format": FORMAT,
        **({} if opened.trace is None else {"trace": opened.trace}),
    }


def _opened(connection: str, item: Item) -> OpenImport:
    queued = int(item["queued"])
    return OpenImport(
        call=str(item["sk"]),
        connection=connection,
        export=str(item["export"]),
        under=str(item["under"]),
        import_id=str(item["import_id"]),
        queued=None if queued < 0 else queued,
        queued_at=moments.parse(str(item["queued_at"])),
        looked_at=moments.parse(str(item["looked_at"])),
        number=int(item["number"]),
        run=str(item["run"]) or None,
        page=str(item["page"]) or None,
        tries=int(item["tries"]),
        note=str(item["note"])[1:] if item["note"] else None,
        again=int(item["again"]),
        trace=None if "trace" not in item else str(item["trace"]),
    )


def _row_to_json(row: Row) -> list[Any]:
    content = "OUT" if row.content is OUT else row.content
    at = moments.microseconds(row.at)
    # The key of its record follows from the pair: random letters cost most of what a row takes.
    return [row.profile, *row.pair, content, at, dict(row.values), int(row.is_all)]


def _row_from_json(given: Sequence[Any], keyed: KeyedHash, connection: str) -> Row:
    profile, target, identity, content, at, values, is_all = given
    moment = moments.from_microseconds(at)
    wanted = OUT if content == "OUT" else Digest(content)
    key = key_of(keyed, connection, target, identity)
    return Row(profile, key, Pair(target, identity), wanted, moment, values, bool(is_all))
