"""Which rows of a call a destination refuses, and when so many are refused that they cannot be the reason."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta

from relay.destinations.contract import Notes
from relay.destinations.error_table import Refused
from relay.destinations.outcomes import part_done
from relay.domain.exports import Export
from relay.domain.problems import ExportProblem, Problem, Rejection

MAX_REFUSALS = 32
"""Refused calls in a row, none ever taken, after which the rows cannot be the reason.

One bad row among 10,000 costs at most 15 refusals before its neighbours are taken.
"""

Attempt = Callable[[Sequence[int]], Mapping[int, Rejection]]
"""Sends these rows in one request; returns who is refused, by place among them: the others were taken.

Raises Refused when none was."""


class Refusals:
    """How many calls in a row were refused, by export and version of its settings. A destination has one.

    It is kept in this process only: losing it costs a few more rejections.
    """

    def __init__(self) -> None:
        self.in_a_row: Counter[tuple[str, int]] = Counter()
        self.proven: dict[str, int] = {}

    def of(self, notes: Notes, export: Export) -> "Tally":
        """Return the tally of one export under its present settings."""
        return Tally(self, notes, export)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts what becomes of an export's calls, and knows whether anything was ever taken under its present settings.

    That something was taken is kept as a note of the connection. Then refused rows are to blame. Without the note a
    call of nobody but refused rows, such as a run's second chance for them, would look like an export that cannot work.
    """

    refusals: Refusals
    notes: Notes
    export: Export

    def taken(self) -> None:
        """Count a call of which something was taken.

        Raises no Problem: the answer to the call counts more. What could not be noted is noted by the next one.
        """
        key, version = self.export.key, self.export.version
        self.answered()
        if self.refusals.proven.get(key) == version:
            return
        with suppress(Problem):
            kept = self.notes.get(self._note)
            if kept != str(version):
                self.notes.keep(self._note, str(version), replaces=kept)
            self.refusals.proven[key] = version

    def answered(self) -> None:
        """Count a call that was not refused, though it shows nothing of whether calls are ever taken."""
        self.refusals.in_a_row[self.export.key, self.export.version] = 0

    def refused(self) -> None:
        """Count a call that was refused whole.

        Raises ExportProblem when so many were refused in a row, and none was ever taken, that no row is the reason.
        """
        key = self.export.key, self.export.version
        self.refusals.in_a_row[key] += 1
        if self.refusals.in_a_row[key] < MAX_REFUSALS:
            return
        self.answered()
        if not self.is_proven():
            raise ExportProblem(
                "all_refused", "the destination refuses every call, whoever is in it: check the export's options"
            )

    def is_proven(self) -> bool:
        """Return whether anything was ever taken under the present settings."""
        version = self.export.version
        return self.refusals.proven.get(self.export.key) == version or self.notes.get(self._note) == str(version)

    @property
    def _note(self) -> str:
        return f"taken of {self.export.name}"


def isolate(
    rows: Sequence[int], attempt: Attempt, alone: Rejection, tally: Tally, lasts: timedelta | None = None
) -> dict[int, Rejection]:
    """Send rows so that the good ones go through, and return the refused ones.

    Rows that a refusal names are dropped, and the rest is sent once more. Otherwise, and when that is refused too, the
    rows are halved. `alone` is the rejection of a row that is refused by itself without a reason. `lasts` is as in
    `part_done`.

    Raises what `attempt` raises; once something was taken, with that known of the call. Raises ExportProblem when
    nothing is accepted, now or ever (`Tally.refused`).
    """
    refused: dict[int, Rejection] = {}
    waiting = [(list(rows), True)]
    is_begun = False
    while waiting:
        part, may_name = waiting.pop()
        try:
            with part_done(lasts) if is_begun else nullcontext():
                by_place = attempt(part)
        except Refused as answer:
            if not is_begun:
                tally.refused()
            if len(part) == 1:
                refused[part[0]] = answer.named.get(0, alone)
            elif answer.named and may_name:
                refused.update({part[place]: why for place, why in answer.named.items()})
                rest = [row for place, row in enumerate(part) if place not in answer.named]
                if rest:
                    waiting.append((rest, False))
            else:
                middle = len(part) // 2
                waiting += [(part[middle:], True), (part[:middle], True)]
        else:
            refused.update({part[place]: why for place, why in by_place.items()})
            if len(by_place) < len(part):
                is_begun = True
                tally.taken()
    return refused
