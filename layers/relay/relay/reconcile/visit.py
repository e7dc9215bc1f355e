"""Visiting an identity record: what those who want or release it make of it, and its next step. Pure."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from relay.domain import identity
from relay.domain.assignment import Pair
from relay.domain.identity import CLOCK_MARGIN, OUT, Authority, Do, Record, Step, lapse, next_step
from relay.domain.problems import StaleSettings
from relay.reconcile.desired import Role
from relay.reconcile.job import Job
from relay.reconcile.survey import Case


class Visitor(NamedTuple):
    """One profile at a record: it wants the identity, or stands for it no more."""

    case: Case
    role: Role


class Visit(NamedTuple):
    """A record as its visitors leave it, and what is to be done then.

    `is_queued` says that its open call is a queued import, whose check will answer it: nothing is sent and nobody need
    wait.
    """

    key: str
    pair: Pair
    visitors: Sequence[Visitor]
    record: Record
    step: Step
    is_queued: bool = False

    @property
    def sender(self) -> Visitor | None:
        """Return the visitor that is to send, None when nothing is to be sent or somebody else has to."""
        if self.step.do is not Do.SEND or self.is_queued:
            return None
        responsible = self.record.responsible
        return next((visitor for visitor in self.visitors if visitor.case.profile == responsible), None)

    @property
    def concerns_visitors(self) -> bool:
        """Return whether a visitor sees to the next step.

        Whoever was turned away has no part in it: those whom the record names have, and whoever leaves it. If the
        turned away asked for looks, two who have turned each other away would ask for each other without end.
        """
        return any(role.content is OUT or self.record.names(case.profile) for case, role in self.visitors)

    @property
    def waits_for_a_call(self) -> bool:
        """Return whether a call has to end first whose end nobody will report."""
        return self.step.do is Do.WAIT and not self.is_queued


def visit(
    job: Job,
    key: str,
    pair: Pair,
    visitors: Sequence[Visitor],
    stored: Record,
    now: datetime,
    queued: Collection[str] = (),
) -> Visit:
    """Return what the visitors, in the order of their profiles, make of a record; `queued` are the ids of open imports.

    Raises StaleSettings when the record was changed under newer settings than the job's.
    """
    authority = job.authority(pair.target)
    is_queued = stored.open is not None and stored.open.id in queued
    # The check of an import answers its calls, whenever that is.
    record = stored if is_queued else lapse(stored, now)
    if authority is None or record.authority > authority:
        # Another export has the target only because newer settings of this one gave it up.
        is_ours = record.authority.export == job.export.name
        version = record.authority.settings if is_ours else job.export.version + 1
        raise StaleSettings("settings", "newer settings were acted on", version=version)
    for case, role in visitors:
        record = _changed(job, record, authority, case, role, now)
    return Visit(key, pair, visitors, record, step_of(job, record), is_queued)


def ended(job: Job, found: Visit, cleared: datetime) -> Visit:
    """Return a visit after calls that were to be sent by `cleared` at the latest are known to be over.

    When a call was to be sent is reckoned back from its deadline. So one that was answered, though nobody knows what it
    did, counts as sent so much earlier as it is over earlier.
    """
    call = found.record.open
    if not found.waits_for_a_call or call is None:
        return found
    if call.deadline - job.destination.lost_answer_bound - CLOCK_MARGIN > cleared:
        return found
    record = lapse(found.record, call.deadline)
    return found._replace(record=record, step=step_of(job, record))


def step_of(job: Job, record: Record) -> Step:
    """Return a record's next step in this job."""
    return next_step(record, chance=job.grants_chance(record.refused))


def _changed(job: Job, record: Record, authority: Authority, case: Case, role: Role, now: datetime) -> Record:
    if role.content is not OUT:
        basis = job.basis(case.version)
        # What an expression did not yield is counted by each run, so such a profile is always worked out.
        basis = basis._replace(rules=0) if case.warnings else basis
        record = identity.claim(record, authority, case.profile, role.content, basis, now)
        return identity.doubt(record, case.profile) if job.sends_again(record) else record
    return identity.release(record, authority, case.profile, keep=not job.tells_leaving, asked_since=job.asked_since)
