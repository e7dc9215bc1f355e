"""Finding the rows a destination refuses in a call that it refuses as a whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay.destinations.contract import Notes
from relay.domain.exports import Export
from relay.domain.problems import Busy, Conflict, ExportProblem, Problem, Rejection, Transient

MAX_REFUSALS = 32
"""Refused calls in a row, none ever taken, after which the rows cannot be the reason.

One bad row among 10,000 costs at most 15 refusals before its neighbours are taken.
"""

Attempt = Callable[[Sequence[int]], Mapping[int, Rejection] | None]
"""Sends these rows: None when they were taken, else the rows the destination named (none: it did not say which)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether anything of an export was ever taken under its present settings: then refused rows are to blame.

    Kept as a note of the connection. Without it a call of nobody but refused rows, such as a run's second chance for
    them, could not be told from an export that cannot work.
    """

    notes: Notes
    export: Export

    def is_there(self) -> bool:
        """Return whether something was taken."""
        return self._kept() == self._now

    def keep(self) -> None:
        """Note that something was taken."""
        kept = self._kept()
        if kept != self._now:
            self.notes.keep(self._key, self._now, replaces=kept)

    @property
    def _key(self) -> str:
        return f"taken of {self.export.name}"

    @property
    def _now(self) -> str:
        return str(self.export.version)

    def _kept(self) -> str | None:
        return self.notes.get(self._key)


def in_the_middle(problem: Problem, done: str, lasts: timedelta | None = None) -> Transient:
    """Return the problem of a call of which a part was taken: as a whole it is neither done nor undone.

    `done` says which part; `lasts` is how long what was answered may still take effect, where that is known. Our own
    limit stays our own (Busy): it says nothing of the destination.
    """
    effect_within = timedelta() if problem.taken is False else problem.effect_within
    if effect_within is not None:
        effect_within = None if lasts is None else max(lasts, effect_within)
    kind = Busy if isinstance(problem, Busy | Conflict) else Transient
    pause = problem.retry_after if isinstance(problem, Transient) else None
    return kind(problem.code, f"{done}, then: {problem.what}", retry_after=pause, effect_within=effect_within)


def isolate(
    rows: Sequence[int], attempt: Attempt, alone: Rejection, proof: Proof, lasts: timedelta | None = None
) -> dict[int, Rejection]:
    """Send rows so that the good ones go through, and return the refused ones.

    Named rows are dropped and the rest is sent once more; otherwise, and when that is refused too, the rows are halved.
    `alone` is the rejection of a row that was refused by itself without a reason, `lasts` how long what was answered
    may still take effect, where that is known.

    Raises what `attempt` raises. Once something was taken, a Problem becomes a Transient of unknown outcome, since the
    call as a whole is neither done nor undone: a Busy where our own side was the reason. Raises ExportProblem when
    nothing is accepted, now or ever (`proof`).
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
            raise in_the_middle(problem, "part of the call was taken", lasts) from None
        if named is None:
            if not taken:
                proof.keep()
            taken = True
            continue
        refusals += 1
        if not taken and refusals == MAX_REFUSALS and not proof.is_there():
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
