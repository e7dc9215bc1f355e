"""The survey: how profiles stand between what is desired and what is stored. It reads and writes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from relay.clock import Clock
from relay.domain.assignment import Pair
from relay.domain.identity import Record, Wanted
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Rejection, StaleSettings
from relay.reconcile.desired import Member, desired_of, left_at
from relay.reconcile.job import Job
from relay.reconcile.verdict import DELIVERED, UNCHANGED, Verdict, agreed_since
from relay.stores import assignments, identities, profiles
from relay.stores.database import Database
from relay.stores.identities import Stored


class Leaver(NamedTuple):
    """One identity that a profile is assigned and wants no more, since when."""

    pair: Pair
    at: datetime


@dataclass(slots=True)
class Case:
    """One profile: what it wants, and what it is assigned and wants no more, by the keys of identity records.

    `verdict` is set where nothing is to be done.
    """

    profile: str
    assigned: assignments.Stored
    version: int
    changed_at: datetime | None
    members: Mapping[str, Member] = field(default_factory=dict)
    unwanted: Mapping[str, Leaver] = field(default_factory=dict)
    rejection: Rejection | None = None
    verdict: Verdict | None = None

    @property
    def is_member(self) -> bool:
        """Return whether the profile belongs in any target, or would if it could be taken."""
        return bool(self.members) or self.rejection is not None or self.verdict is not None


@dataclass(slots=True)
class Survey:
    """Cases in the order of their profiles, and every identity record they concern as it was read."""

    cases: list[Case] = field(default_factory=list)
    records: dict[str, Stored] = field(default_factory=dict)

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


class Surveyor:
    """Compares desired with stored state."""

    def __init__(self, database: Database, keyed: KeyedHash, clock: Clock) -> None:
        self._database = database
        self._keyed = keyed
        self._clock = clock

    def survey(
        self, job: Job, profile_ids: Sequence[str], assigned: Mapping[str, assignments.Stored] | None = None
    ) -> Survey:
        """Survey profiles, given in ascending order; `assigned` are their assignments where they were listed already.

        Raises StaleSettings when somebody acted under newer settings than the job's.
        """
        if assigned is None:
            assigned = assignments.load(self._database, job.export.key, profile_ids)
        keys = {
            profile: {self._key(job, pair): pair for pair in stored.assignment.pairs}
            for profile, stored in assigned.items()
        }
        survey = Survey()
        survey.records = identities.load(self._database, [key for named in keys.values() for key in named])
        stored_profiles = profiles.load(self._database, profile_ids)
        for profile_id, profile in zip(profile_ids, stored_profiles, strict=True):
            stored = assigned.get(profile_id, assignments.NONE)
            if stored.assignment.settings > job.export.version:
                raise StaleSettings("settings", "newer settings were acted on", version=stored.assignment.settings)
            case = Case(
                profile_id,
                stored,
                0 if profile is None else profile.version,
                None if profile is None else profile.changed_at,
            )
            survey.cases.append(case)
            case.verdict = self._verdict_if_unchanged(job, case, keys.get(profile_id, {}), survey.records)
            if case.verdict is None:
                self._compare(job, case, profile, keys.get(profile_id, {}))
        missing = [key for case in survey.cases for key in case.members if key not in survey.records]
        survey.records |= identities.load(self._database, list(dict.fromkeys(missing)))
        return survey

    def _key(self, job: Job, pair: Pair) -> str:
        return identities.key_of(self._keyed, job.export.connection, pair.target, pair.identity)

    def _verdict_if_unchanged(
        self, job: Job, case: Case, keys: Mapping[str, Pair], records: Mapping[str, Stored]
    ) -> Verdict | None:
        """Return the verdict of a profile whose every record was worked out from just what is stored now.

        Then mapping it again would come to the same; the identity records alone say where it stands.
        """
        if not keys or case.version == 0 or case.assigned.assignment.rejection is not None:
            return None
        if case.assigned.assignment.settings != job.export.version:
            return None
        basis, verdict = job.basis(case.version), UNCHANGED
        for key in keys:
            record = records[key].record
            desired = record.desired
            if not isinstance(desired, Wanted) or desired.by[0] != case.profile or desired.basis != basis:
                return None
            if record.open is not None or record.acknowledged != desired.digest:
                return None
            if agreed_since(record, job.began):
                verdict = DELIVERED
        return verdict

    def _compare(self, job: Job, case: Case, profile: profiles.Profile | None, keys: Mapping[str, Pair]) -> None:
        desired = desired_of(job.export, job.destination, profile, self._keyed)
        case.rejection = desired.rejection
        case.members = {self._key(job, member.pair): member for member in desired.members}
        now = self._clock.now()
        case.unwanted = {
            key: Leaver(pair, left_at(job.export, job.destination, profile, pair.target, now))
            for key, pair in keys.items()
            if key not in case.members and job.authority(pair.target) is not None
        }

