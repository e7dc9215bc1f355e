"""Flights that outlive their call: imports that are queued at a destination, and calls that never took off.

A header per flight (pk `flights#connection`, sk the flight's id) says what became of it; the entries of a queued
import (pk `flight#id`) say which claims it will settle. No header means that nothing is known beyond the claim.
"""

import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.domain import moments
from relay.domain.claims import Fate, RunTag
from relay.stores.database import ABSENT, Database, Delete, Item, Key, Put, Table, Update, write_one

FORGOTTEN_AFTER = timedelta(days=2)
"""Longer than any bound of a flight, after which its header says nothing any more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of a call: whose, at which claim, what."""

    profile: str
    claim: str
    target: str
    identity: str
    joins: bool
    digest: str
    at: datetime
    values: Mapping[str, str]
    memo: str | None = None
    """Only for the call itself: an import check has no use for it, so it is not stored with a queued import."""
    run: RunTag | None = None
    """The run whose ledger the end of an import moves."""
    unread: Exception | None = None
    """Why a stored row could not be read: then only its profile, claim and run are known."""


@dataclass(frozen=True, slots=True)
class QueuedImport:
    """An import a destination has queued and not yet been asked about to the end."""

    flight: str
    connection: str
    export: str
    import_id: str
    queued: int | None
    queued_at: datetime
    looked_at: datetime
    """When it was last looked at."""
    looks: int = 0
    """The number of the next look: a message that asks for an earlier one is a double, and ignored."""
    settings: str = ""
    """The settings it was sent under, as `Refusal.settings`."""
    ended: bool = False
    """Whether a look has found that the import has ended: what is left are entries that it did not tell of."""
    note: str | None = None
    """What the destination asked to be told at the next look, once one has found the import ended."""
    again: int = 0
    """How many of its entries, the first ones, are to be sent again once all others were looked at."""
    tries: int = 0
    """How often its steps were sent before, in imports that came to nothing."""


def _header(connection: str, flight: str) -> Key:
    return Key(Table.CONTROL, f"flights#{connection}", flight)


def _entries(flight: str) -> Key:
    return Key(Table.CONTROL, f"flight#{flight}", "entries")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a flight beyond its claims; `until` is when its effect can no longer arrive, where that is."""

    fate: Fate = Fate.UNKNOWN
    until: datetime | None = None


def known(database: Database, connection: str, flights: Collection[str]) -> dict[str, Known]:
    """Return what is known of flights whose end is not recorded in their claims."""
    ids = sorted(flights)
    items = database.get([_header(connection, flight) for flight in ids])
    return {
        flight: Known()
        if item is None
        else Known(Fate(str(item["fate"])), moments.parse(str(item["until"])) if "until" in item else None)
        for flight, item in zip(ids, items, strict=True)
    }


def record_answer(database: Database, connection: str, flight: str, until: datetime, now: datetime) -> None:
    """Note that a call was answered, though not with what it did: its effect can arrive until then, and not longer."""
    item: Item = {
        "fate": Fate.UNKNOWN.value,
        "until": moments.text(until),
        "expires_at": int((now + FORGOTTEN_AFTER).timestamp()),
    }
    write_one(database, Put(_header(connection, flight), item))


def record_failures(database: Database, connection: str, flights: Iterable[str], now: datetime) -> None:
    """Note that calls certainly did nothing, so that another payload need not wait for their bound."""
    item: Item = {"fate": Fate.FAILED.value, "expires_at": int((now + FORGOTTEN_AFTER).timestamp())}
    database.write([[Put(_header(connection, flight), dict(item))] for flight in flights])


def record_import(database: Database, queued: QueuedImport, entries: Sequence[Entry]) -> None:
    """Note that a call was answered with an import id; the import check settles its entries."""
    header: Item = {
        "fate": Fate.QUEUED.value,
        "export": queued.export,
        "import_id": queued.import_id,
        "queued_at": moments.text(queued.queued_at),
        "looked_at": moments.text(queued.looked_at),
        "looks": queued.looks,
        "settings": queued.settings,
        "tries": queued.tries,
        "again": queued.again,
        "ended": queued.ended,
    }
    if queued.queued is not None:
        header["queued"] = queued.queued
    if queued.note is not None:
        header["note"] = queued.note
    packed = zlib.compress(json.dumps([_entry_to_json(entry) for entry in entries]).encode(), level=1)
    write_one(
        database,
        Put(_header(queued.connection, queued.flight), header),
        Put(_entries(queued.flight), {"packed": packed}),
    )


def load_import(database: Database, connection: str, flight: str) -> tuple[QueuedImport, list[Entry]] | None:
    """Return a queued import and its entries, None when it is settled already."""
    header, entries = database.get([_header(connection, flight), _entries(flight)])
    if header is None or entries is None or header["fate"] != Fate.QUEUED.value:
        return None
    packed = entries["packed"]
    rows = json.loads(zlib.decompress(packed if isinstance(packed, bytes) else b""))
    return _queued_import(connection, header), [_read_row(row) for row in rows]


def open_imports(database: Database, connection: str) -> list[QueuedImport]:
    """Return the imports of a connection that no check has settled yet, oldest first."""
    items = database.query(Table.CONTROL, f"flights#{connection}")
    return [_queued_import(connection, item) for item in items if item["fate"] == Fate.QUEUED.value]


def _row_aside(flight: str, claim: str) -> Key:
    return Key(Table.CONTROL, f"flight#{flight}", f"aside#{claim}")


def set_row_aside(flight: str, claim: str, now: datetime) -> Put:
    """Return the write that says, once, that a row of an import was counted though its claim could not be settled."""
    return Put(_row_aside(flight, claim), {"expires_at": int((now + FORGOTTEN_AFTER).timestamp())}, {"pk": ABSENT})


def rows_aside(database: Database, flight: str) -> set[str]:
    """Return the claims of an import's rows that were set aside."""
    prefix = "aside#"
    items = database.query(Table.CONTROL, f"flight#{flight}", prefix=prefix)
    return {str(item["sk"])[len(prefix) :] for item in items}


def note_look(database: Database, queued: QueuedImport, looks: int, now: datetime) -> None:
    """Note that an import was looked at and is still open, and the number of its next look."""
    seen: Item = {"looked_at": moments.text(now), "looks": looks}
    write_one(database, Update(_header(queued.connection, queued.flight), seen, {}, {"fate": Fate.QUEUED.value}))


def forget(database: Database, connection: str, flight: str) -> None:
    """Delete a settled import."""
    write_one(database, Delete(_header(connection, flight)), Delete(_entries(flight)))


def _queued_import(connection: str, header: Item) -> QueuedImport:
    return QueuedImport(
        flight=str(header["sk"]),
        connection=connection,
        export=str(header["export"]),
        import_id=str(header["import_id"]),
        queued=int(header["queued"]) if "queued" in header else None,
        queued_at=moments.parse(str(header["queued_at"])),
        looked_at=moments.parse(str(header["looked_at"])),
        looks=int(header.get("looks", 0)),
        settings=str(header.get("settings", "")),
        ended=bool(header.get("ended", False)),
        note=str(header["note"]) if "note" in header else None,
        again=int(header.get("again", 0)),
        tries=int(header.get("tries", 0)),
    )


def _entry_to_json(entry: Entry) -> list[Any]:
    return [
        entry.profile,
        entry.claim,
        entry.target,
        entry.identity,
        entry.joins,
        entry.digest,
        moments.text(entry.at),
        dict(entry.values),
        None if entry.run is None else [entry.run.run, entry.run.shard, entry.run.phase],
    ]


def _read_row(row: Sequence[Any]) -> Entry:
    """Read a row; one that cannot be read must not hold up the import of all."""
    try:
        return _entry_from_json(row)
    except Exception as error:  # noqa: BLE001 - a defect concerns the row alone; it is handed on with it
        profile, claim, *_, tag = row
        run = None if tag is None else RunTag(*tag)
        return Entry(profile, claim, "", "", True, "", datetime.min.replace(tzinfo=UTC), {}, run=run, unread=error)


def _entry_from_json(row: Sequence[Any]) -> Entry:
    profile, claim, target, identity, joins, digest, at, values, *tags = row
    run = RunTag(*tags[0]) if tags and tags[0] is not None else None
    return Entry(profile, claim, target, identity, joins, digest, moments.parse(at), values, run=run)
