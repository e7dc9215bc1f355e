"""Attempts that met a defect: why a message is, or soon will be, in its dead-letter queue.

One record per message (pk `attempts#queue`, sk the message's id, which it keeps in the dead-letter queue); a later
attempt replaces an earlier one. No message of an exception is kept: it may repeat personal data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.domain import moments
from relay.domain.problems import Problem
from relay.observability import Observability, places
from relay.queues import Received
from relay.stores.database import Database, Key, Put, Table

FORMAT: Final = 1

KEPT = timedelta(days=20)
"""Longer than a message lives: 4 days in its queue, 14 in the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last attempt at a message that met a defect.

    `error` is the code of a problem of ours, else the exception's class; `places` are where it passed, innermost last.
    """

    message: str
    error: str
    places: Sequence[str]
    receive_count: int
    at: datetime


def note(
    database: Database, observe: Observability, messages: Iterable[Received], error: BaseException, now: datetime
) -> None:
    """Record that messages met a defect. Raises nothing: it is called where something went wrong already."""
    code = error.code if isinstance(error, Problem) else type(error).__name__
    where, expires_at = "\n".join(places(error)), int((now + KEPT).timestamp())
    records = [
        Put(
            Key(Table.CONTROL, _partition(message.queue), message.id),
            {
                "error": code,
                "places": where,
                "receive_count": message.receive_count,
                "at": moments.text(now),
                "expires_at": expires_at,
                "format": FORMAT,
            },
        )
        for message in messages
    ]
    try:
        database.write(records)
    except Exception as trouble:  # noqa: BLE001 - a store that fails must not hide the defect
        observe.problem("attempt was not recorded", trouble, message_id=", ".join(record.key.sk for record in records))


def of_queue(database: Database, queue: str) -> list[Attempt]:
    """Return the recorded attempts at messages of a queue, by its name."""
    return [
        Attempt(
            message=str(item["sk"]),
            error=str(item["error"]),
            places=str(item["places"]).splitlines(),
            receive_count=int(item["receive_count"]),
            at=moments.parse(str(item["at"])),
        )
        for item in database.query(Table.CONTROL, _partition(queue))
    ]


def _partition(queue: str) -> str:
    return f"attempts#{queue}"
