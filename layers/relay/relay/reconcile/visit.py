"""Visiting an identity record: what those who want or release it make of it, and its next step. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from relay.domain import identity
from relay.domain.assignment import Pair
from relay.domain.identity import Authority, Record, Step, lapse, next_step
from relay.domain.problems import StaleSettings
from relay.reconcile.desired import Member
from relay.reconcile.job import Job
from relay.reconcile.survey import Case, Leaver
from relay.stores.identities import Stored


class Visitor(NamedTuple):
    """One profile at a record: it wants the identity, or stands for it no more."""

    case: Case
    role: Member | Leaver


class Visit(NamedTuple):
    """A record as its visitors leave it, and what is to be done then.

    `is_queued` says that its open call is a queued import, whose check will answer it.
    """

    key: str
    pair: Pair
    visitors: Sequence[Visitor]
    record: Record
    step: Step
    is_queued: bool = False

    @property
    def sender(self) -> Visitor | None:
        """Return the visitor that is responsible for the record, None when that is somebody else."""
        responsible = self.record.responsible
        return next((visitor for visitor in self.visitors if visitor.case.profile == responsible), None)


def visit(job: Job, key: str, pair: Pair, visitors: Sequence[Visitor], stored: Stored, now: datetime) -> Visit:
    """Return what the visitors, in the order of their profiles, make of a record.

    Raises StaleSettings when the record was changed under newer settings than the job's.
    """
    authority = job.authority(pair.target)
    record = lapse(stored.record, now)
    if authority is None or record.authority > authority:
        raise StaleSettings("settings", "newer settings were acted on", version=record.authority.settings)
    for case, role in visitors:
        record = _changed(job, record, authority, case, role, now)
    return Visit(key, pair, visitors, record, step_of(job, record, now))


def _changed(job: Job, record: Record, authority: Authority, case: Case, role: Member | Leaver, now: datetime) -> Record:
    if isinstance(role, Member):
        return identity.claim(record, authority, case.profile, role.digest, job.basis(case.version), now)
    asked_since = job.run.began if job.run is not None and job.run.is_second else None
    return identity.release(record, authority, case.profile, keep=not job.tells_leaving, asked_since=asked_since)


def step_of(job: Job, record: Record, now: datetime) -> Step:
    """Return a record's next step in this job."""
    return next_step(record, now, chance=job.grants_chance(record.refused, now))
