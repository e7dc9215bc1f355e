"""Dying, meeting others and being throttled everywhere: what is played again and again, each time one step later."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from relay.stores.database import Write
from tests.fakes.bench import Bench, Crash
from tests.fakes.memory_database import Trouble


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


def meet(bench: Bench, step: str, number: int, action: Callable[[], object]) -> None:
    """Do something once, right before the step of this name that comes after so many others of it."""
    if number:
        bench.database.interrupt(step, lambda: meet(bench, step, number - 1, action))
    else:
        bench.database.interrupt(step, action)


def meet_at_every_step(
    prepare: Callable[[], Bench],
    act: Callable[[Bench, int], bool],
    other: Callable[[Bench], object],
    check: Callable[[Bench], None],
    steps: Sequence[str] = ("get ", "write ", "transact "),
) -> int:
    """Play `act` on fresh benches; return how often `other` came into it. `act` gets how often its message came.

    What the other one does lies before the first step of these kinds, then before the second, until it does not come
    any more. Where `act` fails as a message that is put back, it comes once more. Then `check` must hold.
    """
    met = 0
    for step in steps:
        for number in itertools.count():
            bench, came = prepare(), list[bool]()

            def come(bench: Bench = bench, came: list[bool] = came) -> None:
                came.append(True)
                other(bench)

            meet(bench, step, number, come)
            is_done = act(bench, 1)
            bench.database._interruptions.clear()
            if not came:
                break
            if not is_done:
                act(bench, 2)
            check(bench)
            met += 1
    return met


def trouble_at_every_write(
    prepare: Callable[[], Bench], act: Callable[[Bench, int], bool], trouble: Trouble, check: Callable[[Bench], None]
) -> int:
    """Play `act` on fresh benches; return how many writes it made. Each time another single write has the trouble."""
    for at in itertools.count():
        bench, left = prepare(), [at]

        def meet_trouble(write: Write, left: list[int] = left) -> Trouble | None:
            left[0] -= 1
            return trouble if left[0] == -1 else None

        bench.database.trouble = meet_trouble
        is_done = act(bench, 1)
        bench.database.trouble = lambda write: None
        if left[0] >= 0:
            return at
        if not is_done:
            act(bench, 2)
        check(bench)
    raise AssertionError("never")
