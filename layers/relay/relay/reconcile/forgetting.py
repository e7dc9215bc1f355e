"""The end of a forgotten person's assignment: whoever has left is deleted where that was asked, and nothing is kept.

A look lets a forgotten profile leave as it lets anybody leave. What follows goes by the pairs of its assignment, which
are the only way to its identity records. So the assignment goes last, together with the count of what became of it:

1. the contact or user is deleted at the destination, where that was asked and nobody else has the identity. It is a
   call with the content OUT, open in every record of the identity: whoever comes back meanwhile waits for its end
2. identity records lose all that came of the person
3. the assignment is deleted, and the ends are counted

All of that happens once every identity has ended.

Whoever dies in between begins again with the next look.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from relay.clock import Clock
from relay.domain.assignment import Assignment, Pair
from relay.domain.identity import (
    CLOCK_MARGIN,
    OUT,
    NotTaken,
    Record,
    Rejected,
    Rest,
    Taken,
    Unclear,
    Unwanted,
    Wanted,
    begin,
    blank,
    lapse,
)
from relay.domain.identity import Answer as Recorded
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import UNCONFIRMED, Problem, Rejection
from relay.domain.profiles import Forgotten
from relay.reconcile.job import Job
from relay.reconcile.recorder import Recorder
from relay.reconcile.survey import Case, Survey
from relay.reconcile.time_limits import LEAVES_WITHIN, within
from relay.stores import assignments, forgettings, identities, imports, owners
from relay.stores.database import Database

LEFT: Final = "left"
"""The destination has let the identity go."""
DELETED: Final = "deleted"
"""The destination has deleted the contact or user."""
KEPT: Final = "kept"
"""The export keeps leavers: the identity is left where it is."""
SHARED: Final = "shared"
"""Another profile has the same identity: it is left where it is."""
REFUSED: Final = "refused:"
"""The destination does not let the identity go, for the reason that follows: it is left where it is."""

CONFIRMED_WITHIN: Final = timedelta(days=3)
"""How long leaving may stay unconfirmed: it is looked up for half a day, and sent again by the next daily run."""


@dataclass(frozen=True, slots=True)
class Forgetter:
    """Takes care of what forgotten people are assigned, in the FIFO group of their profiles."""

    database: Database
    keyed: KeyedHash
    clock: Clock
    recorder: Recorder
    new_id: Callable[[], str]

    def finish(self, job: Job, case: Case, survey: Survey) -> None:
        """Do what is to be done for one forgotten profile now. What has to wait is left to the next look.

        Raises as `Destination.send`.
        """
        forgotten = case.forgotten
        assigned = case.assigned
        if forgotten is None or not assigned.assignment.pairs:
            return
        if forgotten.at_destinations and not (job.has_passed_guard or job.asked_since):
            # Members who have yet to claim under these settings may have the same identity.
            return
        places = {self._key(job, pair): pair for pair in assigned.assignment.pairs}
        # Of another export's targets a survey reads nothing.
        records = identities.load(self.database, [key for key in places if key not in survey.records])
        records |= {key: survey.records[key] for key in places if key in survey.records}
        ends: dict[str, str] = {}
        for key, pair in places.items():
            end = self._end(job, case.profile, forgotten, pair, records[key].record)
            if end is None:
                return
            ends[key] = end
        if forgotten.at_destinations and job.destination.kept_after_delete is not None:
            for identity in sorted({pair.identity for pair in places.values()}):
                of_one = {key: end for key, end in ends.items() if places[key].identity == identity}
                deleted = self._delete(job, case.profile, identity, of_one)
                if deleted is None:
                    return
                ends |= deleted
        if not self._is_blanked(ends, case.profile):
            return
        # Whoever was overtaken is left to the next look.
        self.database.transact(
            [
                assignments.save(job.export.key, case.profile, Assignment(), assigned.version),
                forgettings.departed(case.profile, forgotten, job.export.key, Counter(ends.values())),
            ]
        )

    def _key(self, job: Job, pair: Pair) -> str:
        return identities.key_of(self.keyed, job.export.connection, pair.target, pair.identity)

    def _end(self, job: Job, profile: str, forgotten: Forgotten, pair: Pair, record: Record) -> str | None:
        """Return how an identity has ended for a profile, None while that is open."""
        now = self.clock.now()
        record = lapse(record, now)
        desired, refused = record.desired, record.refused
        if not record.names(profile):
            if not job.has_released(profile, pair, record):
                return None
            if isinstance(desired, Wanted):
                return SHARED
            if refused is not None and refused.content is OUT:
                return f"{REFUSED}{refused.code}"
            return KEPT if desired.rest is Rest.KEEP else LEFT
        if desired != Unwanted(Rest.OUT, profile) or record.open is not None:
            return None
        if refused is None or refused.content is not OUT:
            return None
        if refused.code == UNCONFIRMED and now - forgotten.at < CONFIRMED_WITHIN:
            return None
        return f"{REFUSED}{refused.code}"

    def _delete(self, job: Job, profile: str, identity: str, ends: Mapping[str, str]) -> dict[str, str] | None:
        """Delete what one identity stands for; return how its records have ended now, None when that has to wait.

        Where another profile has the identity at any target of the account nothing is deleted.
        """
        connection = job.export.connection
        everywhere = {Pair(target, identity) for target in owners.targets(self.database, connection)}
        keys = {*ends, *(self._key(job, pair) for pair in everywhere)}
        held = identities.load(self.database, sorted(keys))
        records = [stored.record for stored in held.values()]
        if any(_is_shared(record, profile) for record in records):
            return {key: SHARED if end in (LEFT, KEPT) else end for key, end in ends.items()}
        if any(isinstance(record.desired, Wanted) or record.desired.rest is Rest.HOLD for record in records):
            # Another export of the account has yet to let the profile go, or a run to ask whom a record cannot name.
            return None
        if self._may_come(connection, records):
            return None
        now, call = self.clock.now(), self.new_id()
        send_by, bound = job.until + LEAVES_WITHIN, job.destination.lost_answer_bound
        opened = {
            key: begin(lapse(stored.record, now), call, send_by=send_by, bound=bound, at=now, content=OUT)
            for key, stored in held.items()
            if stored.version or key in ends
        }
        writes = [identities.save(key, record, held[key].version, now) for key, record in opened.items()]
        if not all(self.database.write(writes)):
            return None
        rejection = self._ask_to_delete(job, call, identity, opened)
        answer = Taken() if rejection is None else Rejected(rejection.code, job.under, rejection.is_certain)
        self.recorder.record(job.export.connection, call, dict.fromkeys(opened, answer))
        return dict.fromkeys(ends, DELETED if rejection is None else f"{REFUSED}{rejection.code}")

    def _may_come(self, connection: str, records: Iterable[Record]) -> bool:
        """Return whether a call that brings a member in may still take effect."""
        now = self.clock.now()
        calls = [one.open for one in records if one.open is not None and one.open.content is not OUT]
        queued = imports.still_open(self.database, connection, {call.id for call in calls if call.id})
        return any(call.deadline > now or call.id in queued for call in calls)

    def _ask_to_delete(self, job: Job, call: str, identity: str, opened: Iterable[str]) -> Rejection | None:
        """Make the call. What certainly did nothing, or can come to nothing any more, is recorded as it fails."""
        account = within(job.account, lambda: self.clock.now() < job.until)
        try:
            return job.destination.delete(account, job.export, identity)
        except Problem as problem:
            ending: Recorded | None = None
            if problem.taken is False:
                ending = NotTaken()
            elif problem.taken is None and problem.effect_within is not None:
                ending = Unclear(self.clock.now() + problem.effect_within + CLOCK_MARGIN)
            if ending is not None:
                self.recorder.record(job.export.connection, call, dict.fromkeys(opened, ending))
            raise

    def _is_blanked(self, keys: Iterable[str], profile: str) -> bool:
        """Take all that came of the person out of records that nobody wants; return False when somebody else wrote."""
        held, now = identities.load(self.database, sorted(keys)), self.clock.now()
        changed = {
            key: record
            for key, stored in held.items()
            if _is_nobodys(stored.record, profile) and (record := blank(stored.record)) != stored.record
        }
        writes = [identities.save(key, record, held[key].version, now) for key, record in changed.items()]
        return all(self.database.write(writes))


def _is_shared(record: Record, profile: str) -> bool:
    """Return whether another profile wants the identity, or did among so many that the record cannot name it."""
    if isinstance(record.desired, Wanted):
        return bool(set(record.desired.by) - {profile})
    return record.desired.rest is Rest.KEEP and record.turned_away_at is not None


def _is_nobodys(record: Record, profile: str) -> bool:
    """Return whether nobody but a profile has to do with a record."""
    return isinstance(record.desired, Unwanted) and record.desired.leaving in (None, profile)
