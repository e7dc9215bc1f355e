"""Owning: a target belongs to one export of a connection, since two would undo each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.destinations.contract import Destination
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN, Authority
from relay.domain.problems import Conflict, ExportProblem, SettingsProblem
from relay.settings.names import UnknownConnection, UnknownExport
from relay.settings.settings import Settings
from relay.stores import breakers, owners
from relay.stores.database import Database
from relay.stores.owners import Owner

TRIES = 10


@dataclass(slots=True)
class Ownership:
    """Says whose a target is. The first export that acts gets it, and keeps it as long as its settings name it."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    clock: Clock
    settings_age: timedelta = timedelta()
    """How old settings may be that a function works with, and what is remembered of owners."""
    _known: dict[tuple[str, str], tuple[str, int, Owner, datetime]] = field(default_factory=dict)
    """Who was seen to own a target, and when: an export in one version of its settings. Under others it may have lost
    it."""

    def own(self, export: Export) -> dict[str, Owner]:
        """Make sure that all targets of an export are its own, and return their records.

        Where a target passes from another export, a resync is requested first: its run takes over what that one had.
        Raises ExportProblem `target_taken` when a target belongs to another export.
        """
        targets = sorted(self.destinations(export.destination).owned(export))
        known = {target: owner for target in targets if (owner := self._remembered(export, target)) is not None}
        missing = [target for target in targets if target not in known]
        stored = owners.load(self.database, export.connection, missing)
        for target, owner in stored.items():
            self._refuse_if_taken(export, target, owner)
        for target in missing:
            known[target] = self._own(export, target, stored.get(target))
        return known

    def as_owned(self, export: Export) -> dict[str, Owner]:
        """Return the owners' records of an export's targets as `own` would leave them; changes nothing.

        Raises ExportProblem `target_taken` when a target belongs to another export.
        """
        targets = sorted(self.destinations(export.destination).owned(export))
        stored, now = owners.load(self.database, export.connection, targets), self.clock.now()
        for target, owner in stored.items():
            self._refuse_if_taken(export, target, owner)
        return {
            target: stored[target]
            if target in stored and stored[target].export == export.name
            else owners.after(stored.get(target), export.name, now)
            for target in targets
        }

    def taken(self, export: Export) -> list[tuple[str, str]]:
        """Return the targets of an export that belong to another one, with its name; changes nothing."""
        targets = sorted(self.destinations(export.destination).owned(export))
        return [
            (target, owner.export)
            for target, owner in owners.load(self.database, export.connection, targets).items()
            if owner.export != export.name and self._still_has(export.connection, owner.export, target)
        ]

    def quiet_from(self, connection: str, own: Mapping[str, Owner]) -> datetime | None:
        """Return from when on nobody acts for former owners any more, with the settings of before; None without any.

        One that is still there gave its target up with its last edit at the latest, one that is gone when the target
        was taken.
        """
        given_up = [
            moments.from_milliseconds(self._edited(f"{connection}/{former}", owner.epoch))
            for owner in own.values()
            for former in owner.former
        ]
        return max(given_up) + self.settings_age + CLOCK_MARGIN if given_up else None

    def _edited(self, export: str, otherwise: int) -> int:
        try:
            return self.settings.export(export).version
        except SettingsProblem:
            return otherwise

    def authority(self, export: Export, own: Mapping[str, Owner]) -> Callable[[str], Authority | None]:
        """Return what says in whose name an export changes the records of a target: None where that is another's.

        `own` is what `own` returned. An export keeps the authority over a target that its settings name no more, until
        another export takes it: so its members leave it.
        """
        known = {target: _authority(export, owner) for target, owner in own.items()}

        def tell(target: str) -> Authority | None:
            if target not in known:
                owner = owners.load(self.database, export.connection, [target]).get(target)
                known[target] = None if owner is None else _authority(export, owner)
            return known[target]

        return tell

    def _remembered(self, export: Export, target: str) -> Owner | None:
        known = self._known.get((export.connection, target))
        if known is None or known[:2] != (export.name, export.version):
            return None
        return known[2] if self.clock.now() - known[3] <= self.settings_age else None

    def _own(self, export: Export, target: str, seen: Owner | None) -> Owner:
        for _ in range(TRIES):
            if seen is not None:
                self._refuse_if_taken(export, target, seen)
                if seen.export == export.name:
                    return self._remember(export, target, seen)
                breakers.request_resync(self.database, export.connection, export.name)
            taken = owners.take(self.database, export.connection, target, export.name, seen, self.clock.now())
            if taken is not None:
                return self._remember(export, target, taken)
            seen = owners.load(self.database, export.connection, [target]).get(target)
        raise Conflict("contention", "others kept taking a target")

    def _remember(self, export: Export, target: str, owner: Owner) -> Owner:
        if not owner.former:
            # Which former owners are left changes while the settings do not.
            self._known[export.connection, target] = (export.name, export.version, owner, self.clock.now())
        return owner

    def _refuse_if_taken(self, export: Export, target: str, owner: Owner) -> None:
        if owner.export != export.name and self._still_has(export.connection, owner.export, target):
            raise ExportProblem("target_taken", f"{target} belongs to export {owner.export} of this connection")

    def _still_has(self, connection: str, owner: str, target: str) -> bool:
        """Whether the owner is still there and has the target; while its settings are invalid it loses nothing."""
        try:
            export = self.settings.export(f"{connection}/{owner}")
        except (UnknownExport, UnknownConnection):
            return False
        except SettingsProblem:
            return True
        return target in self.destinations(export.destination).owned(export)


def _authority(export: Export, owner: Owner) -> Authority | None:
    return Authority(owner.epoch, export.version, export.name) if owner.export == export.name else None
