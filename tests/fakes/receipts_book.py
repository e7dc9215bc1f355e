"""The promise about changes, kept book of from the outside: what invocations took out of the queue, they counted.

receipts = merged + stale + ignored + rejected + (in a queue or a dead-letter queue)
"""

from collections.abc import Sequence

from relay.domain import changes
from relay.queues import Received


class Invocation:
    """One invocation of route: how many changes it must have counted, and how many it can have counted.

    As long as it is under way, and when it died, it may have counted everything, or nothing yet.
    """

    def __init__(self, records: Sequence[Received]) -> None:
        self._sizes = [(record.id, _changes_in(record)) for record in records]
        self.least = 0
        self.most = sum(size for _, size in self._sizes)

    def ended(self, failed: Sequence[str], *, sent_on: int, count_failed: bool = False) -> None:
        """It answered: it has counted just those changes of the other messages that it did not send on by themselves.

        With `count_failed`, an answer to its counting was lost: what failed may have been counted, too.
        """
        self.least = sum(size for message, size in self._sizes if message not in failed) - sent_on
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


def _changes_in(record: Received) -> int:
    try:
        return len(changes.from_json(record.body).changes)
    except (AttributeError, KeyError, TypeError, ValueError):
        return 0
