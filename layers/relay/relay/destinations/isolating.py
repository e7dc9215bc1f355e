"""Finding the rows a destination refuses in a call that it refuses as a whole."""

from collections.abc import Callable, Mapping, Sequence

from relay.domain.problems import ExportProblem, Problem, Rejection, Transient

MAX_REFUSALS = 32
"""Refused calls in a row, none taken, after which the rows cannot be the reason.

One bad row among 10,000 costs at most 15 refusals before its neighbours are taken.
"""

Attempt = Callable[[Sequence[int]], Mapping[int, Rejection] | None]
"""Sends these rows: None when they were taken, else the rows the destination named (none: it did not say which)."""


def isolate(rows: Sequence[int], attempt: Attempt, alone: Rejection) -> dict[int, Rejection]:
    """Send rows so that the good ones go through, and return the refused ones.

    Named rows are dropped and the rest is sent once more; otherwise, and when that is refused too, the rows are halved.
    `alone` is the rejection of a row that was refused by itself without a reason.

    Raises what `attempt` raises. Once something was taken, a Problem becomes a Transient of unknown outcome, since the
    call as a whole is neither done nor undone. Raises ExportProblem when nothing at all is accepted.
    """
    refused: dict[int, Rejection] = {}
    waiting = [(list(rows), True)]
    taken, refusals = False, 0
    while waiting:
        part, may_name = waiting.pop()
        try:
            named = attempt(part)
        except Problem as problem:
            if not taken:
                raise
            pause = problem.retry_after if isinstance(problem, Transient) else None
            raise Transient(
                problem.code, f"part of the call was taken, then: {problem.what}", retry_after=pause
            ) from None
        if named is None:
            taken = True
            continue
        refusals += 1
        if not taken and refusals >= MAX_REFUSALS:
            raise ExportProblem(
                "all_refused", "the destination refuses every call, whatever is in it: check the options"
            )
        if len(part) == 1:
            refused[part[0]] = named.get(part[0], alone)
        elif named and may_name:
            refused.update(named)
            rest = [row for row in part if row not in named]
            if rest:
                waiting.append((rest, False))
        else:
            middle = len(part) // 2
            waiting += [(part[middle:], True), (part[:middle], True)]
    return refused
