"""What a deleted export or connection leaves behind: assignments, identity records, and small records.

An export is gone when its parameter is, or its connection's secret. Its run ends then. What it left is kept for `KEPT`:
made again by then, it goes on where it was. Afterwards what it left is removed, a bounded number of profiles at a time.
Nobody is taken out of anything at the destination. Every step is safe to repeat: identity records first, then the
assignment that leads to them, the registry's entry last. A wait that is left is looked at in vain.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from relay.clock import Clock
from relay.domain.assignment import Assignment
from relay.domain.identity import Record, forget
from relay.domain.keyed_hash import BUCKETS, KeyedHash
from relay.domain.problems import Conflict, Problem, SettingsProblem
from relay.domain.runs import RunState
from relay.observability import Observability
from relay.settings.names import UnknownConnection, is_name
from relay.settings.settings import Settings
from relay.settings.shapes import Listing
from relay.stores import (
    activations,
    assignments,
    breakers,
    connections,
    defects,
    identities,
    imports,
    owners,
    registry,
    runs,
)
from relay.stores.database import Database, Delete, Item, Write
from relay.stores.directory import Directory
from relay.stores.identities import Stored
from relay.stores.registry import Registered

KEPT: Final = timedelta(days=30)
"""How long what a deleted export left is kept, from when it was first missed."""

PROFILES_AT_A_TIME: Final = 5_000
"""The most assignments removed in one tick, which takes some seconds: a million goes in some three hours."""

PAGE: Final = 250
"""Assignments read and removed together."""

EXPORT_DELETED: Final = "its export was deleted"

Listed = Sequence[tuple[str, Item]]
"""Assignments as they are listed: profile ids with items, which may be unreadable."""


class Leftovers:
    """Keeps the registry of exports, and removes what those leave that are gone for good."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        directory: Directory,
        keyed: KeyedHash,
        clock: Clock,
        observe: Observability,
        *,
        at_a_time: int = PROFILES_AT_A_TIME,
    ) -> None:
        self._database = database
        self._settings = settings
        self._directory = directory
        self._keyed = keyed
        self._clock = clock
        self._observe = observe
        self._at_a_time = at_a_time

    def step(self, listing: Listing) -> None:
        """Note which exports are there and which are missing, and go on with removing what is due."""
        now, known = self._clock.now(), registry.load(self._database)
        there = set(self._there(listing))
        for key in sorted(there):
            if known.get(key) != Registered(key):
                registry.save(self._database, Registered(key))
        room = self._at_a_time
        for key, registered in sorted(known.items()):
            if key in there:
                continue
            if registered.missing_since is None:
                self._end_run(key, now)
                registry.save(self._database, Registered(key, now))
            elif now - registered.missing_since >= KEPT and room > 0 and not self._is_taken_over(key, there):
                room -= self._remove(registered, room, known)

    def _end_run(self, key: str, now: datetime) -> None:
        """End the run that a deleted export leaves: nobody goes on with it. Made again, the export gets one that does.

        Raises Conflict when somebody else changed the run; then the next tick ends it.
        """
        run = runs.active(self._database, key)
        if run is None:
            return
        breakers.request_resync(self._database, *key.split("/", 1))
        if not runs.change_state(self._database, run, RunState.STOPPED, now, EXPORT_DELETED):
            raise Conflict("run", "somebody else changed the run")

    def _there(self, listing: Listing) -> Iterable[str]:
        """Yield the exports that have a parameter and a connection; invalid settings are there all the same."""
        gone = {invalid.subject for invalid in listing.problems if _says_gone(invalid.problem)}
        for key in self._settings.export_keys():
            connection, _, name = key.partition("/")
            if is_name(connection) and is_name(name) and f"connection {connection}" not in gone:
                yield key

    def _is_taken_over(self, key: str, there: Collection[str]) -> bool:
        """Return whether an export that is there has yet to take over what this one had assigned at a target."""
        connection, name = key.split("/", 1)
        return any(
            name in owner.former and f"{connection}/{owner.export}" in there
            for owner in owners.of_connection(self._database, connection)
        )

    def _remove(self, registered: Registered, room: int, known: dict[str, Registered]) -> int:
        """Remove up to `room` assignments of an export, then the rest of it; return how many were removed."""
        key, removed = registered.key, 0
        for bucket in range(registered.bucket, BUCKETS):
            while page := list(islice(assignments.listing(self._database, key, bucket, ""), min(PAGE, room - removed))):
                done = self._remove_page(key, page)
                removed += done
                if removed >= room or done < len(page):
                    registry.save(self._database, replace(registered, bucket=bucket))
                    return room if done < len(page) else removed
        self._remove_records(key, is_last=not any(_is_sibling(key, other) for other in known))
        known.pop(key)
        self._observe.info("deleted export forgotten", export=key)
        return removed

    def _remove_page(self, key: str, page: Listed) -> int:
        """Remove assignments with the identity records that only they name; return how many are gone.

        Where that meets a defect of ours it is done in parts. The one assignment that the defect concerns goes alone.
        """
        try:
            return self._remove_together(key, page)
        except Problem:
            raise
        except Exception as error:  # noqa: BLE001 - a defect concerns one profile alone; the others go
            middle = len(page) // 2
            if middle:
                return self._remove_page(key, page[:middle]) + self._remove_page(key, page[middle:])
            profile = page[0][0]
            self._observe.problem("removed without its identity records", error, export=key, profile=profile)
            return sum(self._database.write([Delete(assignments.key_of(key, profile))]))

    def _remove_together(self, key: str, page: Listed) -> int:
        """Remove assignments as `_remove_page`.

        An assignment stays for the next time when somebody else wrote one of its identity records meanwhile.
        """
        connection, name = key.split("/", 1)
        stored = {profile: assignments.of_item(item) for profile, item in page}
        places = {
            profile: [
                identities.key_of(self._keyed, connection, pair.target, pair.identity) for pair in one.assignment.pairs
            ]
            for profile, one in stored.items()
        }
        leaving: dict[str, set[str]] = {}
        for profile, keys in places.items():
            for place in keys:
                leaving.setdefault(place, set()).add(profile)
        writes = dict(self._writes(name, leaving))
        written = self._database.write(list(writes.values()))
        contended = {place for place, done in zip(writes, written, strict=True) if not done}
        free = [profile for profile, keys in places.items() if not contended.intersection(keys)]
        return sum(
            self._database.write(
                [assignments.save(key, profile, Assignment(), stored[profile].version) for profile in free]
            )
        )

    def _writes(self, export: str, leaving: Mapping[str, set[str]]) -> Iterable[tuple[str, Write]]:
        """Yield the writes that take profiles off identity records, by the records' keys.

        A record that another export has changed since is that one's own, whoever is named there.
        """
        held = identities.load(self._database, sorted(leaving))
        for place, stored in held.items():
            if stored.record.authority.export == export:
                left = _without(stored.record, leaving[place])
                if left != stored.record:
                    yield place, self._write(place, left, stored)

    def _write(self, place: str, left: Record | None, stored: Stored) -> Write:
        if left is None:
            return identities.delete(place, stored.version)
        return identities.save(place, left, stored.version, self._clock.now())

    def _remove_records(self, key: str, *, is_last: bool) -> None:
        """Remove an export's small records, those of its connection with the last export of one that is gone."""
        connection, name = key.split("/", 1)
        for opened in imports.all_open(self._database, connection):
            if opened.export == name:
                imports.end(self._database, opened)
        breakers.forget(self._database, connection, name)
        activations.forget(self._database, key)
        runs.forget_last(self._database, key)
        defects.forget_older(self._database, key, self._clock.now())
        if is_last and self._is_gone(connection):
            connections.forget(self._database, connection)
            # Last, because it says where the queue of what still comes is.
            self._directory.forget(connection)
        registry.forget(self._database, key)

    def _is_gone(self, connection: str) -> bool:
        try:
            self._settings.connection(connection)
        except SettingsProblem as problem:
            return _says_gone(problem)
        return False


def _without(record: Record, profiles: Iterable[str]) -> Record | None:
    """Return a record without profiles, None when nobody is left."""
    left: Record | None = record
    for profile in sorted(profiles):
        left = None if left is None else forget(left, profile)
    return left


def _says_gone(problem: SettingsProblem) -> bool:
    """Whether there is no such connection, or its secret is scheduled for deletion (within 30 days at most)."""
    return isinstance(problem, UnknownConnection) or problem.code == "pending_deletion"


def _is_sibling(key: str, other: str) -> bool:
    return other != key and other.split("/", 1)[0] == key.split("/", 1)[0]
