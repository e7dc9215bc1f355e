"""How far the look for profiles that nobody names has come (pk `retention`)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.domain import moments
from relay.stores.database import Database, Key, Put, Table

FORMAT: Final = 1

_KEY: Final = Key(Table.CONTROL, "retention", "pass")


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass over the table of profiles: when it began, and the last profile it has seen, empty at its two ends."""

    begun_at: datetime
    after: str = ""


def load(database: Database) -> Pass | None:
    """Return the last pass, None before the first."""
    item = database.get([_KEY])[0]
    return None if item is None else Pass(moments.parse(str(item["begun_at"])), str(item["after"]))


def save(database: Database, one: Pass) -> None:
    """Write how far a pass has come."""
    database.write([Put(_KEY, {"begun_at": moments.text(one.begun_at), "after": one.after, "format": FORMAT})])
