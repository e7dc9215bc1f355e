"""The last step: count what became of each change, once an invocation and source, and say so in logs and metrics."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from relay.clock import Clock
from relay.observability import Count, Observability
from relay.routing.merge import Draft
from relay.routing.read import Handed
from relay.stores import receipts
from relay.stores.database import Database
from relay.stores.receipts import Counts

PROFILE_FULL: Final = "profile_full"
"""The code of what is left out of a change, or of a profile, because the profile's item has no more room."""


def by_source(messages: Sequence[Handed]) -> dict[str, list[Handed]]:
    """Return messages by their source."""
    found: dict[str, list[Handed]] = {}
    for one in messages:
        found.setdefault(one.batch.source, []).append(one)
    return found


class Counting:
    """Counts changes, in one part of those of each source."""

    def __init__(self, database: Database, observability: Observability, clock: Clock, part: int) -> None:
        self._part = part
        self._database = database
        self._clock = clock
        self._observability = observability

    def count(self, source: str, messages: Sequence[Handed]) -> None:
        """Count the changes of a source's messages that are about to be acknowledged; raises Busy.

        A change that met a defect is not counted: it went on in a message of its own.
        """
        arrivals = [arrival for one in messages for arrival in one.arrivals if arrival.defect is None]
        counts = Counts.of(Counter(arrival.outcome for arrival in arrivals if arrival.outcome is not None))
        if counts.changes == 0:
            return
        receipts.add(
            self._database,
            source,
            counts,
            nobody=not any(change.profile_ids for one in messages for change in one.batch.changes),
            at=self._clock.now(),
            part=self._part,
            names=sorted({name for change in messages[-1].batch.changes for name in change.identities}),
        )
        self._observability.info(
            "routed",
            source=source,
            merged=counts.merged,
            stale=counts.stale,
            ignored=counts.ignored,
            rejected=counts.rejected,
            traces=list(dict.fromkeys(one.batch.id for one in messages)),
            profiles=list(dict.fromkeys(ids[0] for arrival in arrivals if (ids := arrival.change.profile_ids))),
        )
        count = self._observability.count
        count(Count.MERGED, counts.merged, source=source)
        count(Count.STALE, counts.stale, source=source)
        count(Count.IGNORED, counts.ignored, source=source)
        left_out = sum(arrival.is_left_out for arrival in arrivals)
        count(Count.LEFT_OUT, left_out, source=source, outcome=PROFILE_FULL)

    def observe(self, drafts: Sequence[Draft]) -> None:
        """Say what was noticed of profiles that are written."""
        clamped: Counter[str] = Counter()
        joined: Counter[str] = Counter()
        for one in drafts:
            source = one.customer.source
            clamped[source] += one.clamped
            joined[source] += len(one.customer.given_up)
            if one.is_squeezed or any(left_out for _, left_out in one.outcomes):
                self._observability.info("profile is full", source=source, profile=one.profile.id, code=PROFILE_FULL)
        for source in clamped:
            self._observability.count(Count.FROM_THE_FUTURE, clamped[source], source=source)
            self._observability.count(Count.PROFILES_JOINED, joined[source], source=source)
