"""What is checked at every single write: what may never lie in the tables, not even for a moment."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from relay.domain import moments
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN, OUT, UNKNOWN, Record, Wanted, blank
from relay.domain.keyed_hash import bucket_of
from relay.domain.profiles import Alias, Profile
from relay.reconcile.job import Job
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.survey import Survey
from relay.stores import assignments, identities, outstanding, profiles
from relay.stores.database import Item, Key, Table
from tests.simulation import oracle
from tests.simulation.database import Changes
from tests.simulation.destinations import Place
from tests.simulation.promises import promise
from tests.simulation.settings import options_of

if TYPE_CHECKING:
    from tests.simulation.world import World

COLUMNS = ("delivered", "unchanged", "rejected", "duplicate", "outstanding")
NOBODY = Record()


class Watch:
    """Sees every change of the tables, keeps what is stored in readable form, and raises what breaks a promise."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.profiles: dict[str, Profile | Alias] = {}
        self.assigned: dict[str, dict[str, frozenset[Pair]]] = {}
        """By export and profile."""
        self.records: dict[str, Record] = {}
        self.places: dict[str, tuple[str, Place]] = {}
        """Connection and place of identity records by their keys."""
        self.asked: dict[tuple[str, str], tuple[int, int]] = {}
        """Under which settings, in which version, a profile last claimed or was turned away, by record and profile."""
        self.removals = 0
        self.left_behind: set[tuple[str, Place]] = set()
        """Connections and places that forgotten people may be in still."""

    def __call__(self, changes: Changes) -> None:
        touched = set()
        for key, old in changes.items():
            new = self.world.database.peek(key)
            if key.table is Table.IDENTITIES:
                self._record(key.pk, new)
            elif key.table is Table.ASSIGNMENTS:
                self._assignment(key, new)
            elif key.table is Table.PROFILES and new is not None:
                self.profiles[key.pk] = profiles._decode(new)
            elif key.pk.startswith("run#"):
                touched.add(key.pk)
                if key.sk.startswith("shard#") and old is not None and new is not None:
                    self._page(key, old, new)
        for run in touched:
            self.check_ledger(run)

    def key_of(self, connection: str, place: Place) -> str:
        """Return the key of an identity record."""
        key = self.world.record_key(connection, *place)
        self.places[key] = connection, place
        return key

    # Identity records.

    def _record(self, key: str, item: Item | None) -> None:
        old = self.records.get(key, NOBODY)
        if item is None:
            self.records.pop(key, None)
            return
        new = self.records[key] = identities.decode(str(item["doc"]))
        promise(key in self.places, "a record of an identity that nobody is assigned")
        connection, place = self.places[key]
        if self.world.tell is not None:
            self.world.say(f"{connection} {place}: {short(new)}")
        promise(
            old.sent_at is None or (new.sent_at is not None and new.sent_at >= old.sent_at),
            "a time that is sent falls",
        )
        promise(
            new.authority >= old.authority, f"a decision under older settings replaces one under newer: {old} {new}"
        )
        if is_blank(new) and new.acknowledged is UNKNOWN:
            self._check_left_behind(connection, place, new)
        elif new.evidence != old.evidence and not is_blank(new):
            taken = old.open is not None and new.acknowledged == old.open.content
            promise(taken, f"evidence is lost: {old} {new}")
        for profile in named(new):
            self._check_assigned(connection, place, new, profile)
        if new.open is None and new.acknowledged is not UNKNOWN:
            self._check_held(connection, place, new)
        if new.open is not None and new.open.id is not None and (old.open is None or old.open.id != new.open.id):
            self._check_begun(old, new)
            if new.open.content is OUT:
                self._check_removal(key, connection, place, new)

    def _check_left_behind(self, connection: str, place: Place, record: Record) -> None:
        """Whoever was forgotten stays only where the destination or the export keeps everybody, or the export is gone.

        An export that was made again since may have been gone for a while.
        """
        exports = self.world.console.versions.values()
        was_kept = any(options_of(export).keep for export in exports if export.connection == connection)
        may_stay = was_kept or place[1] in self.world.destinations[connection].refuses
        may_stay = may_stay or f"{connection}/{record.authority.export}" in self.world.was_deleted
        promise(may_stay, f"{connection} is left to hold a forgotten person at {place}: {record}")
        self.left_behind.add((connection, place))

    def check_deletion(self, connection: str, identity: str) -> None:
        """Nobody is deleted at a destination but where a call is open that takes the identity out."""
        for place in self.world.destinations[connection].held:
            record = self.records.get(self.key_of(connection, place), NOBODY)
            is_open = record.open is not None and record.open.content is OUT
            promise(place[1] != identity or is_open, f"{identity} is deleted though {place} holds it: {record}")

    def _check_begun(self, old: Record, new: Record) -> None:
        assert new.open is not None
        if old.open is not None and old.open.content == new.open.content:
            promise(new.open.deadline >= old.open.deadline, "a repeated call forgets the calls before it")

    def _check_assigned(self, connection: str, place: Place, record: Record, profile: str) -> None:
        """Whoever is named is assigned; while an alias hands over to it, the alias may be in its stead."""
        owner = self.world.owner(connection, place[0])
        if owner is None or record.authority.epoch != owner[1]:
            return
        assigned = {
            one
            for export, held in self.assigned.items()
            if export.startswith(f"{connection}/")
            for one, pairs in held.items()
            if place in pairs
        }
        is_assigned = profile in assigned or any(self.root(one) == profile for one in assigned)
        promise(is_assigned, f"a record at {place} names {profile}, which is not assigned")

    def root(self, profile: str) -> str:
        """Return where the aliases lead that begin at a profile."""
        while isinstance(held := self.profiles.get(profile), Alias):
            profile = held.of
        return profile

    def _check_held(self, connection: str, place: Place, record: Record) -> None:
        """What is acknowledged, and no call is open, is what the destination holds."""
        held = self.world.destinations[connection].held.get(place)
        holds = OUT if held is None else self.world.digest(held)
        promise(record.acknowledged == holds, f"{connection} holds {held} at {place}: {record}")

    def _check_removal(self, key: str, connection: str, place: Place, record: Record) -> None:
        """Nobody is taken out while a profile wants the identity that has asked, kept or turned away."""
        self.removals += 1
        owner = self.world.owner(connection, place[0])
        export = None if owner is None else self.world.console.exports.get(f"{connection}/{owner[0]}")
        if export is None or self.world.is_flawed:
            return
        for profile in self.as_they_stand():
            if self._has_asked(key, profile, record, export):
                wants = oracle.wanted_by(self.world.destinations[connection].kind, export, profile)
                promise(place not in wants.places, f"{place} is taken out while {profile.id} wants it: {record}")

    def as_they_stand(self) -> Iterator[Profile]:
        """Yield the profiles; whoever is deleted at the destinations first stands there for nothing else till then."""
        for profile in live(self.profiles.values()):
            yield profile.as_tombstone if self.is_deleted_first(profile) else profile

    def is_deleted_first(self, profile: Profile) -> bool:
        """Return whether somebody came back before the deletion that was asked for has ended."""
        forgotten = profile.forgotten
        if profile.is_tombstone or forgotten is None or not forgotten.at_destinations:
            return False
        at = moments.text(forgotten.at)
        records = (
            self.world.database.peek(Key(Table.CONTROL, f"forgetting#{one}", at))
            for one in (profile.id, *profile.joined)
        )
        return not any(record is not None and "ended_at" in record for record in records)

    def _has_asked(self, key: str, profile: Profile, record: Record, export: Export) -> bool:
        if self.asked.get((key, profile.id)) == (export.version, profile.version):
            return True
        edited = datetime.fromtimestamp(export.version / 1000, tz=self.world.time.tzinfo)
        is_old = profile.changed_at is None or profile.changed_at < edited - 2 * CLOCK_MARGIN
        return record.authority.settings == export.version and is_old

    # Assignments.

    def _assignment(self, key: Key, item: Item | None) -> None:
        export = key.pk.rpartition("#")[0]
        connection = export.partition("/")[0]
        by_profile = self.assigned.setdefault(export, {})
        old = by_profile.get(key.sk, frozenset())
        new = by_profile[key.sk] = assignments.of_item(item).assignment.pairs
        for pair in new - old:
            self.key_of(connection, pair)
        for pair in old - new:
            record = self.records.get(self.key_of(connection, pair))
            if record is not None and record.names(key.sk):
                self._check_assigned(connection, pair, record, key.sk)

    # Runs.

    def _page(self, key: Key, old: Item, new: Item) -> None:
        """A page counts nobody whom it has not passed, and nobody is counted but by a page."""
        selected = int(new.get("count_selected", 0)) - int(old.get("count_selected", 0))
        if selected:
            after, to = str(old["after"]), str(new["after"])
            header = self.world.database.peek(Key(Table.CONTROL, key.pk, "header"))
            assert header is not None
            shards, shard = int(header["shards"]), int(key.sk.rpartition("#")[2])
            passed = [one for one in self.profiles if after < one <= to and bucket_of(one) % shards == shard]
            promise(selected <= len(passed), f"{selected} are counted where {len(passed)} were passed")

    def check_ledger(self, pk: str) -> None:
        """The ledger of a run adds up, and each outstanding profile is named in a record."""
        named_in: dict[tuple[int, int], int] = {}
        shards = []
        for item in self.world.database.partition(Table.CONTROL, pk):
            sk = str(item["sk"])
            if sk.startswith("out#"):
                named = outstanding._record(pk, item)
                place = int(named.phase), named.shard
                named_in[place] = named_in.get(place, 0) + len(named.profiles)
            elif sk.startswith("shard#"):
                shards.append(item)
        leaving = left = 0
        for item in shards:
            _, phase, shard = str(item["sk"]).split("#")
            counts = {name[6:]: int(count) for name, count in item.items() if name.startswith("count_")}
            promise(min(counts.values(), default=0) >= 0, f"{pk}: a count is negative: {counts}")
            selected = sum(counts.get(column, 0) for column in COLUMNS)
            promise(counts.get("selected", 0) == selected, f"{pk}: the ledger does not add up: {counts}")
            waiting = counts.get("outstanding", 0) + counts.get("leaving_outstanding", 0)
            promise(waiting == named_in.get((int(phase), int(shard)), 0), f"{pk}: {counts} and {named_in}")
            leaving += counts.get("leaving", 0)
            left += sum(counts.get(column, 0) for column in ("removed", "kept", "leaving_outstanding"))
        promise(left <= leaving, f"{pk}: {left} left where {leaving} were leaving")


def is_blank(record: Record) -> bool:
    """Return whether a record holds nothing of whoever wanted the identity."""
    return record == blank(record)


def named(record: Record) -> Iterable[str]:
    """Return the profiles that a record names."""
    if isinstance(record.desired, Wanted):
        return record.desired.by
    return () if record.desired.leaving is None else (record.desired.leaving,)


def short(record: Record) -> str:
    """Return a record as one line to read."""
    desired, call = record.desired, record.open
    who = (
        f"{'/'.join(one[:4] for one in desired.by)} {str(desired.digest)[:4]} {desired.basis}"
        if isinstance(desired, Wanted)
        else f"{desired.rest.value} {desired.leaving}"
    )
    opened = (
        "" if call is None else f"{call.id} {str(call.content)[:4]} {call.send_by:%H:%M:%S} {call.deadline:%H:%M:%S}"
    )
    held = f"{str(record.acknowledged)[:6]} {record.since and f'{record.since:%d %H:%M:%S}'}"
    return (
        f"epoch {record.authority.epoch} settings {record.authority.settings} {record.authority.export} "
        f"wants [{who}] holds [{held}] open [{opened}] away {record.turned_away_at} refused {record.refused}"
    )


class WatchedReconciler(Reconciler):
    """Tells the watch who has claimed."""

    watch: Watch

    def reconcile(self, job: Job, survey: Survey) -> None:
        super().reconcile(job, survey)
        if job.claims:
            for case in survey.cases:
                for key in case.members:
                    self.watch.asked[key, case.profile] = job.export.version, case.version


def settled_before(moment: datetime) -> datetime:
    """Return before when something must have been written to be older for every clock."""
    return moment - timedelta(seconds=10)


def live(held: Iterable[Profile | Alias]) -> Iterator[Profile]:
    """Yield the profiles, without aliases."""
    return (one for one in held if isinstance(one, Profile))


def digest_text(values: oracle.Values) -> str:
    """Return what the digest of a member's values is made of."""
    return json.dumps(dict(values), sort_keys=True)
