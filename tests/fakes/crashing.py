"""Dying everywhere: what is played again and again, each time with a death one step later."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.fakes.bench import Bench, Crash


def die_at_every_step(
    prepare: Callable[[], Bench], act: Callable[[Bench, int], None], check: Callable[[Bench], None]
) -> int:
    """Play `act` on fresh benches; return how many steps it took. `act` gets how often its message was received.

    The first one dies after the first step (a write, a message sent, a call), the next one after the second, until one
    lives.
    Who has died is a new process that gets the message once more. Then `check` must hold.
    """
    for at in itertools.count(1):
        bench = prepare()
        bench.crash_at = bench.steps + at
        try:
            act(bench, 1)
        except Crash:
            bench.crash_at = None
            bench.restart()
            act(bench, 2)
            check(bench)
            continue
        bench.crash_at = None
        check(bench)
        return at - 1
    raise AssertionError("never")
