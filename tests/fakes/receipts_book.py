"""The promise about changes, kept book of from the outside: what invocations took out of the queue, they counted.

receipts = merged + stale + ignored + rejected + (in a queue or a dead-letter queue)
"""

from collections import Counter
from collections.abc import Container, Sequence

from relay.domain import changes
from relay.domain.changes import ChangeBatch
from relay.queues import Received


class Invocation:
    """One invocation of route: how many changes it must have counted, and how many it can have counted.

    As long as it is under way, and when it died, it may have counted everything, or nothing yet.
    """

    def __init__(self, records: Sequence[Received]) -> None:
        self._batches = [(record.id, batch) for record in records if (batch := _batch_of(record)) is not None]
        self.least = 0
        self.most = sum(len(batch.changes) for _, batch in self._batches)

    def ended(self, failed: Container[str], *, sent_on: Counter[str], count_failed: bool = False) -> None:
        """It answered: it has counted just those changes of the other messages that it did not send on by themselves.

        `sent_on` says how many by the id of their batch. With `count_failed`, an answer to its counting was lost: what
        failed may have been counted, too.
        """
        done = [batch for message, batch in self._batches if message not in failed]
        self.least = sum(len(batch.changes) for batch in done) - sum(sent_on[one] for one in {one.id for one in done})
        if not count_failed:
            self.most = self.least


class ReceiptsBook:
    """All invocations of a world."""

    def __init__(self) -> None:
        self._invocations: list[Invocation] = []

    def begin(self, records: Sequence[Received]) -> Invocation:
        """Enter an invocation that was handed these messages."""
        one = Invocation(records)
        self._invocations.append(one)
        return one

    def check(self, counted: int) -> None:
        """Raise AssertionError where fewer changes are counted than must be, or more than can be."""
        least = sum(one.least for one in self._invocations)
        most = sum(one.most for one in self._invocations)
        assert least <= counted <= most, f"{counted} changes are counted, not {least} to {most}"


def _batch_of(record: Received) -> ChangeBatch | None:
    try:
        return changes.from_json(record.body)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
