"""For whom the engine works: one export, its account, and the pass of a run if there is one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from relay.destinations.contract import Account, Destination
from relay.domain.exports import Export
from relay.domain.identity import Authority, Basis, Refused
from relay.domain.problems import RejectionKind

RULES: Final = 1
"""The version of the code that makes digests: raised with every change of what a profile comes to."""

SECOND_CHANCE = timedelta(hours=20)
"""What the destination itself refused is tried again by a run at most this often: a day, less the time by which one
day's run may begin earlier than the day before."""


class Pass(NamedTuple):
    """A page of one pass of a run. The first pass delivers members and counts leavers, the second removes leavers."""

    run: str
    began: datetime
    is_second: bool = False
    page: str = ""
    """The id under which the run keeps this page's outstanding profiles."""


@dataclass(frozen=True, slots=True)
class Job:
    """An export and its account.

    `authority` returns in whose name records of a target are changed, None for a target that is another export's.
    `has_passed_guard` says whether a run under these settings was let through; until then only runs remove anybody.
    `under` is a fingerprint of the settings of export and connection: what was refused under others is tried again.
    """

    export: Export
    destination: Destination
    account: Account
    authority: Callable[[str], Authority | None]
    has_passed_guard: bool
    under: str
    until: datetime
    """When no new call may begin any more."""
    run: Pass | None = None

    @property
    def began(self) -> datetime | None:
        """Return when the job's run began."""
        return None if self.run is None else self.run.began

    @property
    def removes(self) -> bool:
        """Return whether this job takes leavers out; the first pass of a run only counts them."""
        return self.has_passed_guard if self.run is None else self.run.is_second

    @property
    def tells_leaving(self) -> bool:
        """Return whether the destination is told of leavers at all."""
        return self.destination.says_goodbye(self.export)

    def basis(self, profile_version: int) -> Basis:
        """Return what a digest is worked out from in this job."""
        return Basis(self.export.version, profile_version, RULES)

    def grants_chance(self, refused: Refused | None, now: datetime) -> bool:
        """Return whether what the destination refused is tried again."""
        if refused is None:
            return False
        if refused.under != self.under:
            return True
        may_have_changed = refused.kind is RejectionKind.DESTINATION
        return self.run is not None and may_have_changed and now - refused.at >= SECOND_CHANCE
