"""Notices: what is to be announced outside, each as an item that is written together with what it announces.

pk `notices`, sk the moment and what it is about. So nothing that happened goes unannounced, and nobody waits for the
outside: the tick reads notices, announces them, and deletes each afterwards. What is announced twice has the same `id`.
"""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from relay.domain import moments
from relay.stores.database import Database, Delete, Key, Put, Table

FORMAT: Final = 1

KEPT: Final = timedelta(days=14)
"""How long a notice waits for an outside that does not take it."""

RUN_STARTED: Final = "Run Started"
RUN_WAITS: Final = "Run Needs Confirmation"
RUN_ENDED: Final = "Run Ended"
IMPORT_WAITS: Final = "Segment Import Needs Confirmation"
IMPORT_ENDED: Final = "Segment Import Ended"
STOPPED: Final = "Stopped"
RECOVERED: Final = "Recovered"

RECORD: Final = "record"
"""The record of a run that has ended is to be written to the bucket; all others are events by their names."""


class Notice(NamedTuple):
    """One thing to announce. `about` is the id of a run or import, or a breaker's subject with its epoch."""

    at: datetime
    what: str
    about: str
    details: tuple[tuple[str, str | None], ...] = ()

    @property
    def id(self) -> str:
        """What is the same however often it is announced."""
        return f"{self.what.lower()}:{self.about}".replace(" ", "-")


def note(notice: Notice) -> Put:
    """Return the write of a notice, for the transaction with what it announces."""
    return Put(
        _place(notice),
        {
            "details": json.dumps(notice.details),
            "expires_at": int((notice.at + KEPT).timestamp()),
            "format": FORMAT,
        },
    )


def waiting(database: Database) -> list[Notice]:
    """Return the notices that were not announced yet, oldest first."""
    found = []
    for item in database.query(Table.CONTROL, _PARTITION):
        at, what, about = str(item["sk"]).split("#", 2)
        details = tuple((str(name), value) for name, value in json.loads(str(item["details"])))
        found.append(Notice(moments.parse(at), what, about, details))
    return found


def drop(database: Database, notices: Iterable[Notice]) -> None:
    """Delete notices that were announced."""
    database.write([Delete(_place(notice)) for notice in notices])


_PARTITION: Final = "notices"


def _place(notice: Notice) -> Key:
    return Key(Table.CONTROL, _PARTITION, f"{moments.text(notice.at)}#{notice.what}#{notice.about}")
