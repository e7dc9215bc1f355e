"""Accounts: all that a destination needs to talk to one account."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from relay.destinations.contract import Account, Caller, Notes, Quota
from relay.domain.exports import Connection, Export
from relay.stores import segments
from relay.stores.database import Database
from relay.stores.notes import ConnectionNotes


@dataclass(frozen=True, slots=True)
class Accounts:
    """Makes accounts. `caller` makes the HTTP caller of a connection, and counts the calls it made."""

    database: Database
    caller: Callable[[Connection], tuple[Caller, Callable[[], int]]]
    base_urls: Mapping[str, str] = field(default_factory=dict)
    """Sandboxes standing in for destinations, by name; empty outside the local environment."""
    backlog: Callable[[str, Quota], timedelta] = lambda connection, quota: timedelta()  # noqa: ARG005 - says what it takes
    """How far ahead the next free slot of a connection's quota lies."""
    hold: Callable[[str, Quota, timedelta], None] = lambda connection, quota, wait: None  # noqa: ARG005 - says what it takes
    """Keeps everybody from calling under a connection's quota for some time."""
    evidence: Callable[[str, str, str], str | None] = lambda connection, target, identity: None  # noqa: ARG005
    """What the destination gave back with the last call that it took for an identity at a target of a connection."""
    first_run_exceeds: Callable[[Export, int], bool] = lambda export, count: False  # noqa: ARG005 - says what it takes
    """Whether an export has had no run yet, and more than so many profiles are in its segments."""

    notes: Callable[[Database, str], Notes] = ConnectionNotes
    """Keeps the notes of a connection."""

    def open(self, connection: Connection) -> tuple[Account, Callable[[], int]]:
        """Return an account, and what counts the calls made through it."""
        call, calls = self.caller(connection)
        account = Account(
            connection=connection,
            call=call,
            notes=self.notes(self.database, connection.name),
            base_url=self.base_urls.get(connection.destination),
            backlog=partial(self.backlog, connection.name),
            segment_name=partial(segments.name_of, self.database),
            hold=partial(self.hold, connection.name),
            evidence_at=partial(self.evidence, connection.name),
            first_run_exceeds=self.first_run_exceeds,
        )
        return account, calls
