"""For whom the engine works: one export, its account, and the pass of a run if there is one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from relay.destinations.contract import Account, Destination
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.identity import Authority, Basis, Record, Refused, agreed_since, is_released
from relay.domain.problems import UNCONFIRMED
from relay.domain.runs import RETRY_ALL, Phase, Run

RULES: Final = 1
"""The version of the code that makes digests: raised with every change of what a profile comes to."""

SECOND_CHANCE = timedelta(hours=20)
"""What the destination itself refused is tried again by a run at most this often: a day, less the time by which one
day's run may begin earlier than the day before."""


class Pass(NamedTuple):
    """One page of a run. DELIVER brings members and counts leavers, REMOVE takes leavers out.

    `page` is the id under which the run keeps this page's outstanding profiles.
    """

    run: str
    began: datetime
    phase: Phase
    page: str
    retry: str | None = None
    full: bool = False

    @classmethod
    def of(cls, run: Run, page: str) -> "Pass":
        """Return the pass of a run that a page belongs to."""
        return cls(run.id, run.started_at, run.phase, page, run.retry, run.full)


@dataclass(frozen=True, slots=True)
class Job:
    """An export and its account.

    `authority` returns in whose name records of a target are changed, None for a target that is another export's.
    `adopts` are targets that were other exports' until now, with those exports' keys: the first pass of a run takes
    over what they have assigned there. A run that began before `adopts_from` does not: somebody may act for them still.
    `has_passed_guard` says whether a run under these settings was let through; until then only runs remove anybody.
    `under` is a fingerprint of the settings of export and connection: what was refused under others is tried again.
    `until` is when no new call may begin any more.
    `tries` says how often the profiles were sent before in imports that came to nothing. `receives` is how often the
    message was received that asks for this. `trace` is set where an operator traces the look.
    """

    export: Export
    destination: Destination
    account: Account
    authority: Callable[[str], Authority | None]
    has_passed_guard: bool
    under: str
    until: datetime
    adopts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    adopts_from: datetime | None = None
    run: Pass | None = None
    tries: int = 0
    receives: int = 1
    trace: str | None = None

    @property
    def began(self) -> datetime | None:
        """Return when the job's run began."""
        return None if self.run is None else self.run.began

    @property
    def claims(self) -> bool:
        """Return whether members claim; the REMOVE phase of a run is for leavers alone."""
        return self.run is None or self.run.phase is Phase.DELIVER

    @property
    def removes(self) -> bool:
        """Return whether this job takes leavers out; the DELIVER phase of a run only counts them.

        Where leavers are kept nobody is taken out of anything, so there is nothing to count first.
        """
        if not self.tells_leaving:
            return True
        return self.has_passed_guard if self.run is None else self.run.phase is Phase.REMOVE

    @property
    def asked_since(self) -> datetime | None:
        """Return since when every member has had the chance to claim, None while that is open."""
        return self.run.began if self.run is not None and self.run.phase is Phase.REMOVE else None

    @property
    def tells_leaving(self) -> bool:
        """Return whether leavers are taken out at all."""
        return self.destination.tells_leaving(self.export)

    def sends_again(self, record: Record) -> bool:
        """Return whether a member is sent though the destination holds it as desired: once in a run that sends all."""
        return self.run is not None and self.run.full and not agreed_since(record, self.run.began)

    def basis(self, profile_version: int) -> Basis:
        """Return what a digest is worked out from in this job."""
        return Basis(self.export.version, profile_version, RULES)

    def has_released(self, profile: str, pair: Pair, record: Record) -> bool:
        """Return whether a profile that does not want a pair has nothing left to release of its record."""
        authority = self.authority(pair.target)
        return authority is None or is_released(record, authority, profile)

    def grants_chance(self, refused: Refused | None) -> bool:
        """Return whether what the destination refused is tried again.

        It is under other settings; by a run at most daily; at once by one that an operator asked for it; and where
        nobody knows what the destination did, by the next run. What was refused since a run began is left to the next.
        """
        if refused is None:
            return False
        if refused.under != self.under:
            return True
        run = self.run
        if run is None or refused.at >= run.began:
            return False
        if run.retry in (refused.code, RETRY_ALL) or refused.code == UNCONFIRMED:
            return True
        return run.began - refused.at >= SECOND_CHANCE
