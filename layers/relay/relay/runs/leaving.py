"""Who leaves in a run, and what is counted of it. Pure: runs count by it, and so do plans."""

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from relay.domain.identity import CLOCK_MARGIN, OUT
from relay.reconcile.job import Job
from relay.reconcile.survey import Case, Survey


class Leaving(NamedTuple):
    """Whether a profile leaves a target in a run, and whether it is counted as leaving."""

    leaves: bool
    is_counted: bool


def leaving_of(job: Job, case: Case, survey: Survey, *, is_last: bool = False) -> Leaving:
    """Return whether a profile leaves in the run that the job is for; `is_last` says that this is its last phase."""
    is_settled = _is_settled(job, case)
    # Whose exit is older than the run may go, whatever else of the profile was written since.
    has_exited = case.exited_at is not None and _is_before(job, case.exited_at, case.assigned.assignment.took_over_at)
    leaves = bool(case.unwanted) and job.tells_leaving and (is_settled or has_exited or job.export.stream)
    # In the last phase all that is assigned in vain was counted, whether a record still says so or not.
    is_counted = leaves and is_settled and not case.forgotten and (is_last or not _has_released(job, case, survey))
    return Leaving(leaves, is_counted)


def counts_of(job: Job, case: Case, survey: Survey, leaving: Leaving) -> Counter[str]:
    """Return what the first pass counts of a profile beside the columns of members."""
    return Counter(
        # Nobody need confirm whom somebody has had forgotten.
        forgotten=int(leaving.leaves and bool(case.forgotten)),
        changed=int(leaving.leaves and not _is_settled(job, case) and not case.forgotten),
        left_to_next_run=int(_is_left(job, case, survey, leaving)),
        leaving=int(leaving.is_counted),
        kept_before=int(leaving.is_counted and _was_kept(job, case, survey)),
        assigned=int(was_assigned(job, case)),
    )


def _is_left(job: Job, case: Case, survey: Survey, leaving: Leaving) -> bool:
    """Return whether a profile leaves, and was written so late that this run lets it be."""
    wants_out = bool(case.unwanted) and job.tells_leaving and not case.forgotten
    return wants_out and not leaving.leaves and not _has_released(job, case, survey)


def was_assigned(job: Job, case: Case) -> bool:
    """Return whether a profile was assigned before the run began."""
    since = case.assigned.assignment.since
    return bool(case.adopted) or (since is not None and job.began is not None and since < job.began)


def _is_settled(job: Job, case: Case) -> bool:
    return _is_before(job, case.changed_at, case.assigned.assignment.took_over_at)


def _is_before(job: Job, *moments: datetime | None) -> bool:
    if job.began is None:
        return False
    bound = job.began - CLOCK_MARGIN
    return all(moment is None or moment <= bound for moment in moments)


def _was_kept(job: Job, case: Case, survey: Survey) -> bool:
    """Return whether the destination has refused to let a profile go of all that it has still to leave."""
    records = ((leaver, survey.records[key].record) for key, leaver in case.unwanted.items())
    return all(
        record.refused is not None and record.refused.content is OUT
        for leaver, record in records
        if not job.has_released(case.profile, leaver.pair, record)
    )


def _has_released(job: Job, case: Case, survey: Survey) -> bool:
    """Return whether a profile has nothing left to release of all that it does not want."""
    return all(
        job.has_released(case.profile, leaver.pair, survey.records[key].record) for key, leaver in case.unwanted.items()
    )
