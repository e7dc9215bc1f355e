"""Traces: looks at one profile that an operator asked for, and the attempts made of them.

pk `trace#profile`, so that all of a person's are found together; sk the trace's token, and `token#time` for each
attempt. They are kept for an hour. DynamoDB may delete them later, so who reads leaves out what has expired. Requests
and answers are masked, unless whoever asked for the trace asked for values, too: then they hold personal data.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from relay.domain import moments
from relay.stores.database import Database, Item, Key, Put, Table

FORMAT: Final = 1

KEPT: Final = timedelta(hours=1)


class Trace(NamedTuple):
    """A look that was asked for: at which profile, for which export, when, and whether values are kept."""

    id: str
    export: str
    asked_at: datetime
    shows_values: bool


class Attempt(NamedTuple):
    """One attempt of a traced look: when, by which function, how it ended, and its requests and answers as JSON."""

    at: datetime
    function: str
    outcome: str
    exchanges: Sequence[Any]
    left_out: int = 0


def new_id(profile: str, token: str) -> str:
    """Return the id of a trace; it leads to the profile by itself."""
    return f"{profile}.{token}"


def begin(database: Database, trace: Trace) -> None:
    """Write a trace that begins."""
    item: Item = {"export": trace.export, "asked_at": moments.text(trace.asked_at), "values": trace.shows_values}
    database.write([Put(_key(trace.id), {**item, **_kept(trace.asked_at)})])


def load(database: Database, trace: str, now: datetime) -> Trace | None:
    """Return a trace, None where there is none (any more)."""
    item = database.get([_key(trace)])[0] if "." in trace else None
    if item is None or int(item["expires_at"]) <= now.timestamp():
        return None
    return Trace(trace, str(item["export"]), moments.parse(str(item["asked_at"])), bool(item["values"]))


def add(database: Database, trace: str, attempt: Attempt) -> None:
    """Add an attempt to a trace."""
    doc = json.dumps([attempt.function, attempt.outcome, list(attempt.exchanges), attempt.left_out])
    place = _key(trace)._replace(sk=f"{_key(trace).sk}#{moments.text(attempt.at)}")
    database.write([Put(place, {"doc": doc, **_kept(attempt.at)})])


def attempts(database: Database, trace: str, now: datetime) -> list[Attempt]:
    """Return the attempts of a trace, oldest first."""
    key = _key(trace)
    found = database.query(Table.CONTROL, key.pk, prefix=f"{key.sk}#")
    return [
        Attempt(moments.parse(str(item["sk"]).rpartition("#")[2]), *json.loads(str(item["doc"])))
        for item in found
        if int(item["expires_at"]) > now.timestamp()
    ]


def _key(trace: str) -> Key:
    profile, _, token = trace.partition(".")
    return Key(Table.CONTROL, f"trace#{profile}", token)


def _kept(at: datetime) -> Item:
    return {"format": FORMAT, "expires_at": int((at + KEPT).timestamp())}
