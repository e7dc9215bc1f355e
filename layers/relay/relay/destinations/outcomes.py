"""What a problem says of its call: whether the destination acted on the steps, and for how long it still may.

These two context managers are the only places that decide it. Both keep the kind of a problem: our own limits stay our
own, and an account that refuses us in the middle of a call stops at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from relay.domain.problems import Problem


@contextmanager
def nothing_done() -> Iterator[None]:
    """Around what only reads, or prepares: whatever goes wrong here, nothing was done about the steps."""
    try:
        yield
    except Problem as problem:
        raise problem.with_outcome(False) from None


@contextmanager
def part_done(lasts: timedelta | None = None) -> Iterator[None]:
    """Around all that follows a request that was taken: the call as a whole is neither done nor undone.

    `lasts` is how long what was taken may still take effect: no time where an answer means that it is done, None where
    nobody knows.
    """
    try:
        yield
    except Problem as problem:
        # What certainly was not done does nothing later.
        rest = timedelta() if problem.taken is False else problem.effect_within
        known = None if rest is None or lasts is None else max(rest, lasts)
        raise problem.with_outcome(None, known) from None
