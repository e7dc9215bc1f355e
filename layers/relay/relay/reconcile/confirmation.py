"""Confirmation: what ended as unconfirmed is looked at again; nothing is sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from relay.clock import Clock
from relay.destinations.contract import Step
from relay.domain.identity import OUT, Content, Record, confirmed
from relay.domain.problems import UNCONFIRMED, Busy, Problem
from relay.reconcile.job import Job
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.recorder import next_look_up
from relay.reconcile.survey import Survey
from relay.reconcile.time_limits import within
from relay.stores import identities
from relay.stores.database import Database
from relay.stores.identities import Stored

UNSEEN_PAUSE: Final = timedelta(minutes=1)
"""Before those are looked at who could not be for want of time or calls."""

TROUBLE_PAUSE: Final = timedelta(minutes=15)


class _Open(NamedTuple):
    """One record that is unconfirmed, and what it should hold."""

    key: str
    content: Content
    since: datetime
    step: Step


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Asks destinations what they hold, and records what is found as desired."""

    database: Database
    clock: Clock
    reconciler: Reconciler

    def confirm(self, job: Job, profiles: Sequence[str]) -> int:
        """Ask about profiles that are unconfirmed and unchanged; return how many records were found as desired.

        Whoever was sent again, or changed, meanwhile is somebody else's business. What is not found is asked about
        again later, three times in all. Raises as `Destination.confirm`, after which it is asked about later, too.
        """
        rest, found = sorted(profiles), 0
        while rest:
            survey = self.reconciler.survey(job, rest)
            found += self._confirm(job, survey)
            rest = rest[len(survey.cases) :]
        return found

    def _confirm(self, job: Job, survey: Survey) -> int:
        found = list(self._open(survey))
        if not found:
            return 0
        now = self.clock.now()
        account = within(job.account, lambda: self.clock.now() < job.until)
        try:
            seen = job.destination.confirm(account, job.export, [one.step for one in found])
        except Busy:
            raise
        except Problem:
            self._later(job, now + TROUBLE_PAUSE, found)
            raise
        self._record(survey, [one for index, one in enumerate(found) if seen.get(index)])
        self._later(job, now + UNSEEN_PAUSE, [one for index, one in enumerate(found) if index not in seen])
        for index, one in enumerate(found):
            due = next_look_up(one.since, now)
            if seen.get(index) is False and due is not None:
                self._later(job, due, [one])
        return sum(seen.values())

    def _open(self, survey: Survey) -> Iterator[_Open]:
        for case in survey.cases:
            for key, role in (*case.members.items(), *case.unwanted.items()):
                if (since := _unconfirmed_since(survey.records[key].record, role.content)) is not None:
                    yield _Open(
                        key, role.content, since, Step(*role.pair, role.content is not OUT, role.at, role.values)
                    )

    def _record(self, survey: Survey, found: Sequence[_Open]) -> None:
        """Write down that the destination holds what is desired, unless somebody has written meanwhile."""
        now = self.clock.now()
        writes = []
        for one in found:
            stored: Stored = survey.records[one.key]
            writes.append(identities.save(one.key, confirmed(stored.record, one.content, now), stored.version, now))
        self.database.write(writes)

    def _later(self, job: Job, due: datetime, found: Sequence[_Open]) -> None:
        self.reconciler.recorder.look_up_at(due, job.export.connection, [one.key for one in found])


def _unconfirmed_since(record: Record, content: Content) -> datetime | None:
    refused = record.refused
    if record.open is not None or refused is None or (refused.code, refused.content) != (UNCONFIRMED, content):
        return None
    return refused.at
