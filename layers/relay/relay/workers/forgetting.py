"""Forgetting a person: what is left of a profile after its tombstone was written, and until when.

The tombstone comes first (`relay.domain.profiles`): from then on nothing older comes back. Then every export lets the
person leave, each in a look of its own, and nothing stays behind (`relay.reconcile.forgetting`). What is here asks for
those looks, removes what is found beside them, and says what remains.

Every step is safe to repeat. The list of waits brings it again, until nothing is left. After `AT_MOST` what an export
still has assigned is removed here, and the identity is left where it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from relay.clock import Clock
from relay.domain import identity
from relay.domain.assignment import Assignment
from relay.domain.changes import Change, Forget
from relay.domain.exports import Export
from relay.domain.identity import NOBODY, blank, lapse
from relay.domain.keyed_hash import KeyedHash
from relay.domain.merging import merge
from relay.domain.problems import Conflict
from relay.domain.profiles import Forgotten, Profile
from relay.reconcile.enqueue import Due, Enqueuer
from relay.settings.settings import Settings
from relay.settings.shapes import Listing
from relay.stores import (
    assignments,
    breakers,
    defects,
    forgettings,
    identities,
    imports,
    profiles,
    registry,
    segments,
    traces,
    waits,
)
from relay.stores.assignments import Stored
from relay.stores.database import MAX_TRANSACTION, Database, Write
from relay.stores.forgettings import AT_MOST
from relay.stores.profiles import Saved
from relay.stores.waits import ForgetWait
from relay.workers.dead_changes import DeadChanges, Search

QUIET_AFTER: Final = timedelta(hours=1)
"""How long after its settings were deleted nobody works for an export any more."""

TRIES: Final = 6

SOON, LATER, RARELY = timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=6)

LEFT_BEHIND: Final = "left behind"
"""The export is gone or did not work for `AT_MOST`: the identity is left where it is."""

DELETED_EXPORT: Final = "the export was deleted"
INVALID: Final = "the settings of the export are invalid"
PAUSED: Final = "the export is paused"
NEEDS_RUN: Final = "a run has to be let through first"
UNDER_WAY: Final = "it is under way"

SEGMENT_INDEX: Final = "segment index"
DEAD_LETTERS: Final = "dead-letter queue of changes"
"""What is waited for where it is no export."""

NOT_SEEN: Final = "it was not looked through to the end: others look at it, or it is long"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a forgetting has come; `waiting` says by export (its key) why it still has the person assigned."""

    profile: Profile
    forgotten: Forgotten
    waiting: Mapping[str, str] = field(default_factory=dict)
    is_queue_seen: bool = True
    """Whether all of the dead-letter queue of changes was looked at."""
    assigned_before: Sequence[str] = ()
    """The exports (their keys) that have assigned something since before the forgetting."""

    @property
    def is_done(self) -> bool:
        """Return whether nothing is left to be removed."""
        return not self.waiting


class Forgetting:
    """Forgets people. `listing` is read once a tick, or once a question."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        keyed: KeyedHash,
        enqueuer: Enqueuer,
        dead_changes: DeadChanges,
        clock: Clock,
    ) -> None:
        self._database = database
        self._settings = settings
        self._keyed = keyed
        self._enqueuer = enqueuer
        self._dead_changes = dead_changes
        self._clock = clock

    def begin(self, profile_id: str, how: Forget) -> Profile | None:
        """Write the tombstone of whoever an id stands for, and return it; None when nothing is stored.

        Who is forgotten already is not forgotten once more: that would make older news of what came since. Raises
        Conflict when others keep writing.
        """
        for _ in range(TRIES):
            found = profiles.follow(self._database, [profile_id])
            stored = found[profiles.root_of(profile_id, found)]
            if not isinstance(stored, Profile):
                return None
            is_as_asked = how is Forget.HERE or (stored.forgotten is not None and stored.forgotten.at_destinations)
            if stored.is_tombstone and is_as_asked:
                self._see_to(stored)
                return stored
            if (forgotten := self.forget(stored, how)) is not None:
                return forgotten
        raise Conflict("busy_profile", "others keep writing the profile: ask again")

    def forget(self, stored: Profile, how: Forget) -> Profile | None:
        """Write the tombstone of a profile as it was read, and return it; None when somebody else wrote since."""
        # First: whoever dies in between leaves a look in vain, not a tombstone that nobody goes on with.
        self._see_to(stored)
        now = self._clock.now()
        forgotten = merge(stored, Change((stored.id,), now, forget=how)).profile
        return forgotten if profiles.save(self._database, [forgotten], now) == [Saved.WRITTEN] else None

    def _see_to(self, stored: Profile) -> None:
        waits.put(self._database, [ForgetWait(self._clock.now() + SOON, stored.source, stored.id)])

    def due(self, due: Sequence[ForgetWait], listing: Listing) -> dict[ForgetWait, Exception]:
        """Go on with people whose wait is over, and note when to look again; return with whom that failed, and why.

        The caller drops the waits of the others.
        """
        now, again = self._clock.now(), []
        failed: dict[ForgetWait, Exception] = {}
        people: dict[ForgetWait, Profile] = {}
        for wait in due:
            try:
                if (stored := self._forgotten(wait.profile)) is not None:
                    people[wait] = stored
            except Exception as error:  # noqa: BLE001 - one profile must hold up no other
                failed[wait] = error
        search = self._search(list(people.values()))
        for wait, stored in people.items():
            try:
                progress = self._go_on(stored, listing, search)
            except Exception as error:  # noqa: BLE001 - one profile must hold up no other
                failed[wait] = error
            else:
                if not progress.is_done:
                    again.append(ForgetWait(now + _pause(now - progress.forgotten.at), wait.source, wait.profile))
        waits.put(self._database, again)
        return failed

    def step(self, profile_id: str, listing: Listing) -> Progress | None:
        """Do what can be done now for whoever an id stands for; None when the person was not forgotten."""
        stored = self._forgotten(profile_id)
        return None if stored is None else self._go_on(stored, listing, self._search([stored]))

    def _forgotten(self, profile_id: str) -> Profile | None:
        found = profiles.follow(self._database, [profile_id])
        stored = found[profiles.root_of(profile_id, found)]
        return stored if isinstance(stored, Profile) and stored.forgotten is not None else None

    def _search(self, people: Sequence[Profile]) -> Search:
        """Remove from the dead-letter queue what people said until they were forgotten, and count it."""
        search = self._dead_changes.remove(people)
        for one in people:
            if one.forgotten is not None and (removed := search.removed.get(one.id)):
                self._database.write([forgettings.counted(one.id, one.forgotten, {"dead_letters": removed})])
        return search

    def _go_on(self, stored: Profile, listing: Listing, search: Search) -> Progress:
        forgotten = stored.forgotten
        assert forgotten is not None  # noqa: S101 - `_forgotten` has seen to it
        found = profiles.follow(self._database, {stored.id, *stored.joined})
        ids = sorted(one for one in {stored.id, *stored.joined} if profiles.root_of(one, found) == stored.id)
        waiting = {} if self._is_out_of_the_index(stored, forgotten, ids) else {SEGMENT_INDEX: UNDER_WAY}
        if traced := traces.forget(self._database, ids):
            self._database.write([forgettings.counted(stored.id, forgotten, {"traces": traced})])
        keys = sorted({*registry.load(self._database), *listing.valid, *self._settings.export_keys()})
        held = self._assigned(keys, ids)
        if stored.is_tombstone or forgettings.to_be_deleted(self._database, [stored], self._clock.now()):
            self._forget_defects(stored.id, forgotten, keys, ids)
            waiting |= self._from_exports(stored, forgotten, held, listing)
        if not waiting:
            forgettings.end(self._database, stored.id, forgotten, self._clock.now())
            if not stored.is_tombstone:
                self._look_at_newcomer(stored, listing)
        if not search.is_all_seen and not self._is_too_late(forgotten):
            waiting[DEAD_LETTERS] = NOT_SEEN
        before = [
            key
            for key, of_key in held.items()
            if any((one.assignment.since or forgotten.at) <= forgotten.at for one in of_key.values())
        ]
        return Progress(stored, forgotten, waiting, search.is_all_seen, before)

    def _look_at_newcomer(self, stored: Profile, listing: Listing) -> None:
        """Have exports look at whoever came back: what the former person is assigned still, the look compares."""
        self._enqueuer.look(
            Due(export.connection, export.name, export.version, stored.id)
            for export in listing.valid.values()
            if export.active and export.stream
        )

    def _assigned(self, keys: Iterable[str], ids: Sequence[str]) -> dict[str, dict[str, Stored]]:
        """Return what exports have assigned under ids, by export and id; only where there is something."""
        found = {}
        for key in keys:
            held = {one: stored for one, stored in assignments.load(self._database, key, ids).items() if stored.version}
            if held:
                found[key] = held
        return found

    def _is_out_of_the_index(self, profile: Profile, forgotten: Forgotten, ids: Sequence[str]) -> bool:
        """Remove the entries of the segment index; return False when somebody else wrote the profile meanwhile.

        With each removal the profile counts as written: who has read it before, and added an entry for something newer,
        fails to write it, and adds the entry again.
        """
        version = profile.version
        of_source = [one.id for one in segments.catalogue(self._database) if one.id.startswith(f"{profile.source}/")]
        places = [(segment, one) for segment in of_source for one in ids]
        newer = {(segment, profile.id) for segment, one in profile.memberships.items() if one.realized}
        held = [place for place in segments.held(self._database, places) if place not in newer]
        most = MAX_TRANSACTION - 2
        for start in range(0, len(held), most):
            part = held[start : start + most]
            writes: list[Write] = [segments.remove(segment, one) for segment, one in part]
            counted = forgettings.counted(profile.id, forgotten, {"index": len(part)})
            if not self._database.transact([profiles.touch(profile.id, version), counted, *writes]):
                return False
            version += 1
        return True

    def _forget_defects(self, profile: str, forgotten: Forgotten, exports: Iterable[str], ids: Sequence[str]) -> None:
        for export in exports:
            removed = defects.held(self._database, export, ids)
            if removed:
                defects.forget(self._database, export, removed)
                self._database.write([forgettings.counted(profile, forgotten, {"set_aside": len(removed)})])

    def _from_exports(
        self, profile: Profile, forgotten: Forgotten, assigned: Mapping[str, Mapping[str, Stored]], listing: Listing
    ) -> dict[str, str]:
        """Have every export let the person go; return those that have yet to, and why."""
        waiting: dict[str, str] = {}
        due: list[Due] = []
        for key, held in assigned.items():
            if self._is_over(key, forgotten):
                if not self._leave_behind(key, profile, forgotten, held):
                    waiting[key] = UNDER_WAY
                continue
            export = listing.valid.get(key)
            waiting[key] = self._why(key, export)
            if export is not None:
                due += [Due(export.connection, export.name, export.version, one) for one in held]
        self._enqueuer.look(due)
        return waiting

    def _is_over(self, key: str, forgotten: Forgotten) -> bool:
        """Return whether nobody will let the person leave."""
        now = self._clock.now()
        if self._is_too_late(forgotten):
            return True
        registered = registry.load(self._database).get(key)
        since = None if registered is None else registered.missing_since
        return since is not None and now - since >= QUIET_AFTER

    def _is_too_late(self, forgotten: Forgotten) -> bool:
        return self._clock.now() - forgotten.at >= AT_MOST

    def _why(self, key: str, export: Export | None) -> str:
        if export is None:
            return INVALID if key in self._settings.export_keys() else DELETED_EXPORT
        if not export.active:
            return PAUSED
        of_connection, of_export = breakers.load(self._database, export.connection, export.name)
        for breaker, what in ((of_connection, "connection"), (of_export, "export")):
            if breaker.stop is not None:
                return f"the {what} is stopped ({breaker.stop.code})"
        return UNDER_WAY if of_export.passed == export.version else NEEDS_RUN

    def _leave_behind(self, key: str, profile: Profile, forgotten: Forgotten, held: Mapping[str, Stored]) -> bool:
        """Remove what an export has assigned, and leave the identity where it is; nobody works for the export.

        Return False when somebody else wrote, or a call is open whose answer will be written.
        """
        connection, _ = key.split("/", 1)
        for one, stored in held.items():
            pairs = stored.assignment.pairs
            places = [identities.key_of(self._keyed, connection, pair.target, pair.identity) for pair in pairs]
            now = self._clock.now()
            records = identities.load(self._database, places)
            calls = [found.record.open for found in records.values() if found.record.open is not None]
            queued = imports.still_open(self._database, connection, {call.id for call in calls if call.id})
            if any(call.deadline > now or call.id in queued for call in calls):
                return False
            writes = []
            for place, found in records.items():
                left = identity.forget(lapse(found.record, now), one)
                if left is None or left.desired == NOBODY:
                    left = blank(found.record)
                if left != found.record:
                    writes.append(identities.save(place, left, found.version, now))
            if not all(self._database.write(writes)):
                return False
            done = self._database.transact(
                [
                    assignments.save(key, one, Assignment(), stored.version),
                    forgettings.departed(profile.id, forgotten, key, {LEFT_BEHIND: len(pairs)}),
                ]
            )
            if not done:
                return False
        return True


def _pause(age: timedelta) -> timedelta:
    """Return how long after a look in vain the next one comes: the older a forgetting, the longer."""
    return SOON if age < timedelta(hours=1) else LATER if age < timedelta(days=1) else RARELY
