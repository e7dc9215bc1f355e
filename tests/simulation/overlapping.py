"""Calls made at the same time: they are played in an order of their own, and their ends are seen in another."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any


class DrawnPool:
    """A pool that plays one task after the other, in an order drawn from the seed.

    Some were played before the end of another one is seen. So whoever dies then dies with several answers, and a call
    that stops the others meets some that were made after it.
    """

    def __init__(self, most: int, chance: Random) -> None:
        self._most = most
        self._chance = chance
        self._begun: list[Callable[[], Any]] = []
        self._ends: list[Any] = []

    def begin(self, task: Callable[[], Any]) -> None:
        self._begun.append(task)
        assert len(self._begun) + len(self._ends) <= self._most, "more are under way than the pool was made for"

    def ended(self) -> Any:
        while self._begun and (not self._ends or self._chance.random() < 0.5):
            self._play()
        return self._ends.pop(self._chance.randrange(len(self._ends)))

    def is_busy(self) -> bool:
        """Return whether calls are under way, or have ended and nobody knows."""
        return bool(self._begun or self._ends)

    def end(self) -> None:
        """Play those that are under way still."""
        while self._begun:
            self._play()

    def _play(self) -> None:
        self._ends.append(self._begun.pop(self._chance.randrange(len(self._begun)))())


@contextmanager
def drawn_pool(most: int, chance: Random, happened: Counter[str]) -> Iterator[DrawnPool]:
    """Make a pool. Whoever fails waits for the calls that are under way; whoever dies does not."""
    pool = DrawnPool(most, chance)
    try:
        yield pool
    except Exception:
        pool.end()
        raise
    except BaseException:
        happened["deaths while other calls were under way"] += pool.is_busy()
        raise
