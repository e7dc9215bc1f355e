"""Outstanding profiles of a run: who is counted as outstanding, in records of at most `MOST` (pk `run#id`).

A record and the counts it stands for always change in one transaction, so that they agree at every moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.domain.runs import Phase, Shard
from relay.stores.database import ABSENT, Database, Delete, Item, Key, Put, Table, Update, Write

FORMAT: Final = 1

MOST: Final = 250
"""Profiles of one record: 16 bytes each, and one call's worth."""

KEPT = timedelta(days=90)

_AFTER: Final = 12
"""Digits of a profile id by which pages of one shard differ."""

_PREFIX = "out#"


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Profiles of one page of a run whose outcome it waits for: members, or leavers where the phase is REMOVE.

    `id` is the page's id and a number.
    """

    run: str
    id: str
    profiles: tuple[str, ...]
    version: int = 0

    @property
    def shard(self) -> int:
        """Return the shard of its page."""
        return int(self.id.split(".")[0])

    @property
    def phase(self) -> Phase:
        """Return the phase of its page."""
        return Phase(int(self.id.split(".")[1]))


def page_id(shard: Shard) -> str:
    """Return the id of the page that begins at a cursor; short, so that a full record stays within 4 KB."""
    return f"{shard.index}.{shard.phase.value}.{shard.after[:_AFTER]}"


def add(record: Outstanding, now: datetime) -> Write:
    """Return the write of a new record, for the transaction that counts its profiles."""
    item: Item = {
        "ids": b"".join(bytes.fromhex(profile) for profile in record.profiles),
        "version": 1,
        "expires_at": int((now + KEPT).timestamp()),
        "format": FORMAT,
    }
    return Put(_key(record.run, record.id), item, {"pk": ABSENT})


def load(database: Database, run: str, record: str) -> Outstanding | None:
    """Return a record, None when nobody in it is outstanding any more."""
    item = database.get([_key(run, record)])[0]
    return None if item is None else _record(run, item)


def of_run(database: Database, run: str) -> list[Outstanding]:
    """Return all records of a run."""
    return [_record(run, item) for item in database.query(Table.CONTROL, f"run#{run}", prefix=_PREFIX)]


def of_page(database: Database, run: str, page: str) -> list[Outstanding]:
    """Return the records of one page of a run."""
    return [_record(run, item) for item in database.query(Table.CONTROL, f"run#{run}", prefix=f"{_PREFIX}{page}.")]


def settle(database: Database, record: Outstanding, rest: Sequence[str], counts: Update) -> bool:
    """Leave only `rest` in a record and count what became of the others; False when somebody else changed it."""
    expect: Mapping[str, int] = {"version": record.version}
    place = _key(record.run, record.id)
    packed = b"".join(bytes.fromhex(profile) for profile in rest)
    kept = Update(place, {"ids": packed, "version": record.version + 1}, expect=expect)
    return database.transact([kept if rest else Delete(place, expect), counts])


def _key(run: str, record: str) -> Key:
    return Key(Table.CONTROL, f"run#{run}", f"{_PREFIX}{record}")


def _record(run: str, item: Item) -> Outstanding:
    packed = item["ids"]
    text = packed.hex() if isinstance(packed, bytes) else ""
    return Outstanding(
        run=run,
        id=str(item["sk"])[len(_PREFIX) :],
        profiles=tuple(text[start : start + 32] for start in range(0, len(text), 32)),
        version=int(item["version"]),
    )
