"""The first step: messages of the Changes queue become changes, each of which goes its own way from here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch
from relay.domain.keyed_hash import bucket_of
from relay.queues import Received
from relay.stores.receipts import Outcome


@dataclass(slots=True, eq=False)
class Arrival:
    """One change of a message, and what became of it."""

    source: str
    change: Change
    trace: str
    """The id of the request that brought it."""
    outcome: Outcome | None = None
    """What its profile's write did with it, once that is known."""
    is_left_out: bool = False
    """Whether its identities and attributes found no room."""
    paged: str | None = None
    """The segment whose closed set it belongs to."""
    has_entered: bool = False
    """Whether its profile is in that segment, and was not before."""
    is_done: bool = False
    """Whether it is stored, and the looks it needs are asked for."""
    defect: Exception | None = None
    """What our code tripped over when it was tried alone."""

    def becomes(self, outcome: Outcome, *, is_left_out: bool) -> None:
        """Note what a write did. What was merged by an earlier try stays merged: now it is in the store."""
        if self.outcome is not Outcome.MERGED:
            self.outcome = outcome
        self.is_left_out |= is_left_out


@dataclass(slots=True, eq=False)
class Handed:
    """One message that could be read. A message may be handed over twice: each counts for itself."""

    message: Received
    batch: ChangeBatch
    arrivals: list[Arrival] = field(default_factory=list)
    """Its changes, in their order."""

    @property
    def to_merge(self) -> list[Arrival]:
        """Those of its changes that concern a profile."""
        return [arrival for arrival in self.arrivals if _outcome_of_nothing(arrival.change) is None]

    @property
    def defects(self) -> list[tuple[Change, Exception]]:
        """Those of its changes that our code tripped over, and what happened."""
        return [(arrival.change, arrival.defect) for arrival in self.arrivals if arrival.defect is not None]

    @property
    def has_to_come_back(self) -> bool:
        """Whether some of it is not done, for a reason that passes."""
        return any(not arrival.is_done and arrival.defect is None for arrival in self.arrivals)


def handed(records: Sequence[Received], unreadable: Callable[[Received, Exception], None]) -> list[Handed]:
    """Read messages; `unreadable` is called with each that is no batch of changes, and why."""
    found: list[Handed] = []
    for record in records:
        try:
            found.append(_handed(record))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            unreadable(record, error)
    return found


def _handed(record: Received) -> Handed:
    one = Handed(record, changes.from_json(record.body))
    paged = None if one.batch.page is None else one.batch.page.segment
    for change in one.batch.changes:
        for profile_id in change.profile_ids:
            bucket_of(profile_id)
        outcome = _outcome_of_nothing(change)
        is_done = outcome is not None
        one.arrivals.append(Arrival(one.batch.source, change, one.batch.id, outcome, is_done=is_done, paged=paged))
    return one


def _outcome_of_nothing(change: Change) -> Outcome | None:
    """Return the outcome of a change that is not merged."""
    if change.rejection is not None or not change.profile_ids:
        return Outcome.REJECTED
    return Outcome.IGNORED if change.is_empty else None
