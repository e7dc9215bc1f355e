"""Opening an export for work: its settings, its account, its gates, and whether its targets are its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from relay.delivery import first_runs
from relay.delivery.cases import Job
from relay.destinations.contract import Account, Caller, Destination, Quota
from relay.domain.exports import Connection, Export
from relay.domain.problems import ExportProblem, SettingsProblem
from relay.settings.names import UnknownConnection, UnknownExport
from relay.settings.settings import Settings
from relay.stores import gates, segments
from relay.stores.database import Database
from relay.stores.gates import Gate
from relay.stores.notes import ConnectionNotes, owner_note


class GateClosed(Exception):  # noqa: N818 - a state, not an error
    """The connection or the export is stopped: whatever came for it is owed."""

    def __init__(self, gate: Gate, export: Export) -> None:
        super().__init__(gate.code)
        self.gate = gate
        self.export = export


class Paused(Exception):  # noqa: N818 - a state, not an error
    """The administrator paused the export: whatever came for it is owed."""

    def __init__(self, export: Export) -> None:
        super().__init__(export.key)
        self.export = export


@dataclass(frozen=True, slots=True)
class Opened:
    """An export ready for work, its connection's gate, and its own."""

    job: Job
    connection_gate: Gate
    export_gate: Gate
    calls: Callable[[], int]


@dataclass(slots=True)
class Opener:
    """Makes accounts and jobs. `caller` makes the HTTP caller of a connection and tells how many calls it made."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    caller: Callable[[Connection], tuple[Caller, Callable[[], int]]]
    base_urls: Mapping[str, str] = field(default_factory=dict)
    """Sandboxes standing in for destinations, by name; empty outside the local environment."""
    backlog: Callable[[str, Quota], timedelta] = lambda connection, quota: timedelta()  # noqa: ARG005 - says what it takes
    """How far ahead the next free slot of a connection's quota lies."""
    hold: Callable[[str, Quota, timedelta], None] = lambda connection, quota, wait: None  # noqa: ARG005 - says what it takes
    """Keeps everybody from calling under a connection's quota for some time."""
    memo_at: Callable[[str, str, str], str | None] = lambda connection, target, identity: None  # noqa: ARG005
    """What a destination asked to remember of an identity at a target of a connection."""
    _owned: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """Who was seen to own a target: an export in one version of its settings. With others it may have been lost."""

    def account(self, connection: Connection) -> tuple[Account, Callable[[], int]]:
        """Return an account and how many calls were made through it."""
        call, calls = self.caller(connection)
        notes = ConnectionNotes(self.database, connection.name)
        base_url = self.base_urls.get(connection.destination)
        account = Account(
            connection,
            call,
            notes,
            base_url,
            partial(self.backlog, connection.name),
            partial(segments.name_of, self.database),
            partial(self.hold, connection.name),
            partial(self.memo_at, connection.name),
            partial(first_runs.exceeds, self.database),
        )
        return account, calls

    def open(self, export_key: str, *, at_least: int, thorough: bool = False, fresh: bool = False) -> Opened:
        """Open an export in a version of its settings not older than `at_least`.

        Raises SettingsProblem (unknown or invalid), StaleSettings, Paused, GateClosed, or ExportProblem when a
        target belongs to another export.
        """
        export = self.settings.export(export_key, at_least=at_least)
        connection = self.settings.connection(export.connection, fresh=fresh)
        connection_gate, export_gate = gates.load(self.database, export.connection, export.name)
        if not export.active:
            raise Paused(export)
        for gate in (connection_gate, export_gate):
            if gate.closed:
                raise GateClosed(gate, export)
        destination = self.destinations(export.destination)
        self.own_targets(export)
        account, calls = self.account(connection)
        guarded = export_gate.passed == export.version
        job = Job(export, destination, account, thorough=thorough, guarded=guarded)
        return Opened(job, connection_gate, export_gate, calls)

    def own_targets(self, export: Export) -> None:
        """Make sure that the export's targets are its own; ExportProblem when one belongs to another export.

        Two exports to one target of one connection would undo each other: the first to act keeps it.
        """
        destination = self.destinations(export.destination)
        notes = ConnectionNotes(self.database, export.connection)
        for target in sorted(destination.owned(export)):
            place = (export.connection, target)
            if self._owned.get(place) == (export.name, export.version):
                continue
            owner = notes.keep(owner_note(target), export.name)
            if owner != export.name and self._still_has(export.connection, owner, target):
                raise ExportProblem("target_taken", f"{target} belongs to export {owner} of this connection")
            if owner != export.name:
                notes.keep(owner_note(target), export.name, replaces=owner)
            self._owned[place] = (export.name, export.version)

    def taken_targets(self, export: Export) -> list[tuple[str, str]]:
        """Return the export's targets that belong to another export, with its name; claims nothing."""
        notes = ConnectionNotes(self.database, export.connection)
        owned = [
            (target, notes.get(owner_note(target)))
            for target in sorted(self.destinations(export.destination).owned(export))
        ]
        return [
            (target, owner)
            for target, owner in owned
            if owner not in (None, export.name) and self._still_has(export.connection, str(owner), target)
        ]

    def _still_has(self, connection: str, owner: str, target: str) -> bool:
        """Whether the owner is still there and has the target; while its settings are invalid it loses nothing."""
        try:
            export = self.settings.export(f"{connection}/{owner}")
        except (UnknownExport, UnknownConnection):
            return False
        except SettingsProblem:
            return True
        return target in self.destinations(export.destination).owned(export)
