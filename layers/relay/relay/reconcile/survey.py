"""The survey: how profiles stand between what is desired and what is stored. It reads and writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from relay.clock import Clock
from relay.domain.assignment import Pair
from relay.domain.identity import OUT, Record, Unwanted, Wanted, agreed_since
from relay.domain.keyed_hash import KeyedHash
from relay.domain.ledger import Column
from relay.domain.problems import Rejection, StaleSettings
from relay.domain.profiles import Alias, Forgotten, Profile
from relay.reconcile.desired import Role, desired_of, exited_at, left_at
from relay.reconcile.job import Job
from relay.reconcile.verdict import DELIVERED, UNCHANGED, Verdict
from relay.stores import assignments, forgettings, identities, profiles
from relay.stores.database import Database, Item
from relay.stores.identities import Stored

ROOM = 10_000
"""The most pairs that one survey is of, unless the first profile alone has more: what one function has memory for."""


NO_PAIRS: Final[frozenset[Pair]] = frozenset()


class Listed(NamedTuple):
    """A profile as listings name it: its assignment's item, and those of former owners of a target, by export."""

    profile: str
    assignment: Item | None = None
    former: tuple[tuple[str, Item], ...] = ()


@dataclass(slots=True)
class Case:
    """One profile: what it wants, and what it is assigned and wants no more, by the keys of identity records.

    `verdict` is set where nothing is to be done; then nothing was read of the profile but its version. `survivor` is
    set where the profile is an alias by now: what it stands for is handed over to that profile.
    """

    profile: str
    assigned: assignments.Stored
    version: int = 0
    changed_at: datetime | None = None
    exited_at: datetime | None = None
    """When we heard of the last exit, where the profile is in no segment any more of what it leaves."""
    adopted: frozenset[Pair] = frozenset()
    members: Mapping[str, Role] = field(default_factory=dict)
    unwanted: Mapping[str, Role] = field(default_factory=dict)
    rejection: Rejection | None = None
    warnings: tuple[str, ...] = ()
    verdict: Verdict | None = None
    survivor: str | None = None
    forgotten: Forgotten | None = None
    """Set where the person was forgotten, and nothing is known since; or is to be deleted at the destinations first."""
    trace: str | None = None
    """The request that changed the profile last."""

    @property
    def rejected(self) -> Verdict | None:
        """Return where the profile stands when no identity could be made for it."""
        return None if self.rejection is None else Verdict(Column.REJECTED, self.rejection.code)

    @property
    def stands_for(self) -> frozenset[Pair]:
        """Return what the profile is assigned, by the export or by former owners of its targets."""
        assigned = self.assigned.assignment.pairs
        return assigned | self.adopted if self.adopted else assigned

    @property
    def is_member(self) -> bool:
        """Return whether the profile belongs in any target, or would if it could be taken."""
        return bool(self.members) or self.rejection is not None or self.verdict is not None

    @property
    def concerns_us(self) -> bool:
        """Return whether there is anything to do or to count."""
        return (
            self.is_member or self.survivor is not None or bool(self.unwanted) or not self.assigned.assignment.is_empty
        )


@dataclass(slots=True)
class Survey:
    """Cases in the order of their profiles, and every identity record they concern as it was read or written last.

    `answered` is how many calls made for them the destination has answered.
    """

    cases: list[Case] = field(default_factory=list)
    records: dict[str, Stored] = field(default_factory=dict)
    answered: int = 0

    def add(self, case: Case, records: Mapping[str, Stored]) -> None:
        """Add a case of another survey, with the records it concerns."""
        self.cases.append(case)
        for key in (*case.members, *case.unwanted):
            self.records[key] = records[key]

    def of_members(self, case: Case) -> list[Record]:
        """Return the records of what a profile wants."""
        return [self.records[key].record for key in case.members]

    def of_leavers(self, case: Case) -> list[Record]:
        """Return the records of what a profile is assigned and wants no more."""
        return [self.records[key].record for key in case.unwanted]

    def lacks_claimants(self, case: Case) -> bool:
        """Return whether nobody claims an identity that profiles were turned away from: a run has to ask them."""
        return any(
            isinstance(record.desired, Unwanted) and record.turned_away_at is not None
            for record in self.of_leavers(case)
        )


class Surveyor:
    """Compares desired with stored state."""

    def __init__(self, database: Database, keyed: KeyedHash, clock: Clock) -> None:
        self._database = database
        self._keyed = keyed
        self._clock = clock

    def survey(self, job: Job, profile_ids: Sequence[str]) -> Survey:
        """Survey profiles, given in ascending order: the first of them, as many as `ROOM` has room for.

        Raises StaleSettings when somebody acted under newer settings than the job's.
        """
        items = self._database.get([assignments.key_of(job.export.key, profile) for profile in profile_ids])
        return self.survey_listed(job, map(Listed, profile_ids, items))

    def survey_listed(self, job: Job, listed: Iterable[Listed]) -> Survey:
        """Survey profiles whose assignments were read with their listing; as `survey`."""
        cases: list[Case] = []
        keys: dict[str, Mapping[str, Pair]] = {}
        pairs = 0
        for one in listed:
            case = Case(one.profile, assignments.of_item(one.assignment), adopted=_adopted(job, one))
            pairs += len(case.stands_for)
            if pairs > ROOM and cases:
                break
            cases.append(case)
            keys[case.profile] = {self._key(job, pair): pair for pair in case.stands_for}
        survey = Survey(cases)
        survey.records = identities.load(self._database, [key for named in keys.values() for key in named])
        items = profiles.items(self._database, [case.profile for case in cases])
        for case in cases:
            if case.assigned.assignment.settings > job.export.version:
                newer = case.assigned.assignment.settings
                raise StaleSettings("settings", "newer settings were acted on", version=newer)
            case.version = profiles.version_of(items[case.profile])
            case.verdict = _verdict_if_unchanged(job, case, keys[case.profile], survey.records)
        changed = [case for case in cases if case.verdict is None]
        found = self._profiles(changed, items)
        pairs = 0
        for case in changed:
            self._compare(job, case, found, keys[case.profile])
            pairs += len(case.members) + len(case.unwanted)
            if pairs > ROOM and case is not cases[0]:
                del cases[cases.index(case) :]
                break
        missing = [key for case in cases for key in case.members if key not in survey.records]
        survey.records |= identities.load(self._database, list(dict.fromkeys(missing)))
        return survey

    def _profiles(self, cases: Sequence[Case], items: Mapping[str, Item | None]) -> dict[str, profiles.Stored]:
        """Return what lies under the ids; where an alias leads is asked only where there is something to hand over.

        Whoever is deleted at the destinations first is there as a tombstone, whatever came since.
        """
        found = {case.profile: profiles.of_item(items[case.profile]) for case in cases}
        people = {one.id: one for one in found.values() if isinstance(one, Profile)}
        for one in forgettings.to_be_deleted(self._database, list(people.values()), self._clock.now()):
            found[one] = people[one].as_tombstone
        aliases = [case.profile for case in cases if isinstance(found[case.profile], Alias) and case.stands_for]
        return found | profiles.follow(self._database, aliases) if aliases else found

    def _compare(
        self,
        job: Job,
        case: Case,
        found: Mapping[str, profiles.Stored],
        keys: Mapping[str, Pair],
    ) -> None:
        stored = found[case.profile]
        case.changed_at = None if stored is None else stored.changed_at
        if isinstance(stored, Alias):
            case.survivor = profiles.root_of(case.profile, found) if case.stands_for else None
            return
        case.forgotten = stored.forgotten if stored is not None and stored.is_tombstone else None
        case.trace = None if stored is None else stored.trace
        desired = desired_of(job.export, job.destination, stored, self._keyed)
        case.rejection, case.warnings = desired.rejection, desired.warnings
        case.members = {self._key(job, member.pair): member for member in desired.members}
        if desired.stays:
            return
        case.unwanted = self._unwanted(job, case, stored, keys)
        left = {role.pair.target for role in case.unwanted.values()}
        case.exited_at = exited_at(job.export, job.destination, stored, left)

    def _unwanted(self, job: Job, case: Case, profile: Profile | None, keys: Mapping[str, Pair]) -> Mapping[str, Role]:
        now = self._clock.now()
        return {
            key: Role(pair, OUT, left_at(job.export, job.destination, profile, pair.target, now))
            for key, pair in keys.items()
            if key not in case.members and job.authority(pair.target) is not None
        }

    def _key(self, job: Job, pair: Pair) -> str:
        return identities.key_of(self._keyed, job.export.connection, pair.target, pair.identity)


def _adopted(job: Job, listed: Listed) -> frozenset[Pair]:
    """Return what former owners of targets had assigned a profile there."""
    if not listed.former:
        return NO_PAIRS
    return frozenset(
        pair
        for export, item in listed.former
        for pair in assignments.of_item(item).assignment.pairs
        if export in job.adopts.get(pair.target, ())
    )


def _verdict_if_unchanged(
    job: Job, case: Case, keys: Mapping[str, Pair], records: Mapping[str, Stored]
) -> Verdict | None:
    """Return the verdict of a profile whose every record was worked out from just what is stored now.

    Then mapping it again would come to the same; the identity records alone say where it stands.
    """
    assignment = case.assigned.assignment
    if not keys or case.version == 0 or case.adopted or assignment.rejection is not None:
        return None
    if assignment.settings != job.export.version:
        return None
    basis, verdict = job.basis(case.version), UNCHANGED
    for key, pair in keys.items():
        record, authority = records[key].record, job.authority(pair.target)
        if authority is None or record.authority.epoch != authority.epoch:
            return None
        desired = record.desired
        if not isinstance(desired, Wanted) or desired.by[0] != case.profile or desired.basis != basis:
            return None
        if record.open is not None or record.acknowledged != desired.digest or job.sends_again(record):
            return None
        if agreed_since(record, job.began):
            verdict = DELIVERED
    return verdict
