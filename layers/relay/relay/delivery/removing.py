"""Removing what a deleted export or connection leaves behind: assignments, identity records, and its small records.

An export is gone when its parameter is, or its connection's secret. What it left is kept for `KEPT`: made again by
then, it goes on where it was. Afterwards what it left is removed, a bounded number of profiles at a time. Nobody is
taken out of anything at the destination. Every step is safe to repeat: identity records first, then the assignment that
leads to them, the registry's entry last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice

from relay.clock import Clock
from relay.domain.claims import Claim, claimant_of
from relay.domain.keyed_hash import BUCKETS
from relay.domain.problems import Problem, SettingsProblem
from relay.observability import Observability
from relay.settings.names import UnknownConnection, is_name
from relay.settings.settings import Settings
from relay.settings.shapes import Listing
from relay.stores import activations, claims, defects, deliveries, documents, flights, gates, registry, runs
from relay.stores.database import Database, Delete, Group, Key, Put, Table
from relay.stores.directory import Directory
from relay.stores.notes import ConnectionNotes
from relay.stores.registry import Registered

KEPT = timedelta(days=30)
"""How long what a deleted export left is kept, from when it was first missed."""

PROFILES_AT_A_TIME = 5_000
"""The most assignments removed in one tick, which takes some seconds: a million goes in some three hours."""

PAGE = 250
"""Assignments read and removed together."""


class Remover:
    """Keeps the registry of exports, and removes what those leave that are gone for good."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        directory: Directory,
        clock: Clock,
        observe: Observability,
        *,
        at_a_time: int = PROFILES_AT_A_TIME,
    ) -> None:
        self._database = database
        self._settings = settings
        self._directory = directory
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
                registry.save(self._database, Registered(key, now))
            elif now - registered.missing_since >= KEPT and room > 0:
                room -= self._remove(registered, room, known)

    def _there(self, listing: Listing) -> Iterable[str]:
        """Yield the exports that have a parameter and a connection; invalid settings are there all the same."""
        gone = {invalid.subject for invalid in listing.problems if _says_gone(invalid.problem)}
        for key in self._settings.export_keys():
            connection, _, name = key.partition("/")
            if is_name(connection) and is_name(name) and f"connection {connection}" not in gone:
                yield key

    def _remove(self, registered: Registered, room: int, known: dict[str, Registered]) -> int:
        """Remove up to `room` assignments of an export, then the rest of it; return how many were removed."""
        key, removed = registered.key, 0
        for bucket in range(registered.bucket, BUCKETS):
            while page := list(
                islice(deliveries.profiles_of(self._database, key, bucket, ""), min(PAGE, room - removed))
            ):
                done = self._remove_page(key, page)
                removed += done
                if removed >= room or done < len(page):
                    registry.save(self._database, replace(registered, bucket=bucket))
                    return room if done < len(page) else removed
        self._remove_records(key, is_last=not any(_is_sibling(key, other) for other in known))
        known.pop(key)
        self._observe.info("deleted export forgotten", export=key)
        return removed

    def _remove_page(self, key: str, profiles: Sequence[str]) -> int:
        """Remove assignments with the identity records that only they named; return how many are gone.

        Where that meets a defect of ours it is done in parts. The one assignment that the defect concerns goes alone.
        """
        try:
            return self._remove_together(key, profiles)
        except Problem:
            raise
        except Exception as error:  # noqa: BLE001 - a defect concerns one profile alone; the others go
            middle = len(profiles) // 2
            if middle:
                return self._remove_page(key, profiles[:middle]) + self._remove_page(key, profiles[middle:])
            self._observe.problem("removed without its identity records", error, export=key, profile=profiles[0])
            return sum(self._database.write([[Delete(deliveries.key_of(key, profiles[0]))]]))

    def _remove_together(self, key: str, profiles: Sequence[str]) -> int:
        """Remove assignments as `_remove_page`.

        An assignment stays for the next time when somebody else wrote one of its identity records meanwhile.
        """
        name = key.split("/", 1)[1]
        stored = deliveries.load(self._database, key, profiles)
        leavers: dict[str, set[str]] = {}
        for profile, delivery in stored.items():
            for place in delivery.told:
                leavers.setdefault(place, set()).add(claimant_of(name, profile))
        held = claims.load(self._database, sorted(leavers))
        writes = {
            place: write
            for place, claim in held.items()
            if (write := self._without(place, claim, leavers[place])) is not None
        }
        written = self._database.write([[write] for write in writes.values()])
        contended = {place for place, done in zip(writes, written, strict=True) if not done}
        free = [profile for profile, delivery in stored.items() if not contended & delivery.told.keys()]
        groups: list[Group] = [
            [documents.delete(deliveries.key_of(key, profile), stored[profile].version)] for profile in free
        ]
        return sum(self._database.write(groups)) if groups else 0

    def _without(self, place: str, claim: Claim, leavers: set[str]) -> Put | Delete | None:
        """Return the write that takes claimants off an identity record: it goes with its last one. None for none."""
        left = claim.claimants - leavers
        if claim.version == 0 or (left and left == claim.claimants):
            return None
        if not left:
            return documents.delete(Key(Table.CLAIMS, place), claim.version)
        waiting = frozenset(waiter for waiter in claim.look_again if waiter.claimant not in leavers)
        return claims.save(place, replace(claim, claimants=left, look_again=waiting), self._clock.now())

    def _remove_records(self, key: str, *, is_last: bool) -> None:
        """Remove an export's small records, those of its connection with the last export of one that is gone."""
        connection, name = key.split("/", 1)
        for queued in flights.open_imports(self._database, connection):
            if queued.export == name:
                flights.forget(self._database, connection, queued.flight)
        ConnectionNotes(self._database, connection).forget_owner(name)
        gates.forget(self._database, connection, name)
        activations.forget(self._database, key)
        runs.forget_pointers(self._database, key)
        defects.forget_older(self._database, key, self._clock.now())
        if is_last and self._is_gone(connection):
            self._remove_connection(connection)
        registry.forget(self._database, key)

    def _is_gone(self, connection: str) -> bool:
        try:
            self._settings.connection(connection)
        except SettingsProblem as problem:
            return _says_gone(problem)
        return False

    def _remove_connection(self, connection: str) -> None:
        """Remove what is kept of a connection; its place in route's directory last."""
        for partition in (f"gates#{connection}", f"notes#{connection}", f"pace#{connection}", f"flights#{connection}"):
            keys = [
                Key(Table.CONTROL, partition, str(item["sk"]))
                for item in self._database.query(Table.CONTROL, partition)
            ]
            if keys:
                self._database.write([[Delete(key)] for key in keys])
        self._directory.forget(connection)


def _says_gone(problem: SettingsProblem) -> bool:
    """Whether there is no such connection, or its secret is scheduled for deletion (within 30 days at most)."""
    return isinstance(problem, UnknownConnection) or problem.code == "pending_deletion"


def _is_sibling(key: str, other: str) -> bool:
    return other != key and other.split("/", 1)[0] == key.split("/", 1)[0]
