"""What a smoke test saw: lines of a table, shown while it runs, or one JSON object at its end."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TextIO

from relay.domain.problems import Problem

OURS = "relay-smoke-"
"""How everything begins that a smoke test makes: only such addresses are ever shown."""

_WIDTHS = (28, 35, 43, 7)
_HEAD = ("what", "the docs say", "seen", "fits")
_ADDRESS = re.compile(r"[^\s@\"<>(),:;]+@+[^\s@\"<>(),:;]+")
_LEAST_SECRET = 6


class Fits(StrEnum):
    """Whether what was seen fits our reading of the docs; `unclear` when what was seen does not show it."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


class NotThereError(Exception):
    """Something that a part of the smoke test builds on is not there; the text says what."""


def yes_or_no(holds: bool) -> Fits:
    """Return YES or NO."""
    return Fits.YES if holds else Fits.NO


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    what: str
    docs: str
    seen: str
    fits: Fits


class Report:
    """The lines so far. `hidden` are texts that must never be shown, whatever a destination answers."""

    def __init__(self, destination: str, out: TextIO, *, as_json: bool, hidden: Iterable[str] = ()) -> None:
        self._destination = destination
        self._out = out
        self._as_json = as_json
        self._hidden: list[str] = []
        for text in hidden:
            self.hide(text)
        self.lines: list[Line] = []
        self.left_over: list[str] = []

    @property
    def fits(self) -> bool:
        """Whether there are lines and every one of them fits our reading."""
        return bool(self.lines) and all(line.fits is Fits.YES for line in self.lines)

    def hide(self, text: str) -> None:
        """Never show this text from now on; one too short to be known among other words is left."""
        if len(text) >= _LEAST_SECRET:
            self._hidden = sorted({*self._hidden, text}, key=len, reverse=True)

    def say(self, text: str) -> None:
        """Tell what is going on; not part of the JSON."""
        self._print(self._safe(text))

    def head(self) -> None:
        """Begin the table."""
        self._row(_HEAD)
        self._row(tuple("-" * width for width in _WIDTHS))

    def line(self, what: str, docs: str, seen: str, fits: Fits) -> None:
        """Add a line and show it at once."""
        line = Line(what, docs, self._safe(seen), fits)
        self.lines.append(line)
        self._row((line.what, line.docs, line.seen, line.fits.value))

    def section(self, what: str, look: Callable[[], None]) -> None:
        """Look at one part of the account; when that fails, the failure is a line, and the next part can go on."""
        try:
            look()
        except (Problem, NotThereError) as problem:
            self.line(what, "(see the lines of this part)", f"could not go on: {problem}", Fits.NO)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            seen = f"could not go on: an answer in a shape that our code does not read ({type(error).__name__})"
            self.line(what, "(see the lines of this part)", seen, Fits.NO)

    def end(self, problem: str | None = None) -> None:
        """Tell what is left over and how it went; `problem` is why it could not begin, or was broken off."""
        problem = None if problem is None else self._safe(problem)
        if self._as_json:
            content = {
                "destination": self._destination,
                "fits": self.fits and problem is None,
                "problem": problem,
                "lines": [asdict(line) for line in self.lines],
                "left_over": self.left_over,
            }
            print(json.dumps(content, indent=2), file=self._out, flush=True)
            return
        if self.lines or self.left_over:
            self._print("\nLeft over:\n" + "\n".join(f"  - {text}" for text in self.left_over or ["nothing"]))
        others = sum(line.fits is not Fits.YES for line in self.lines)
        if problem is not None:
            self._print(f"\nCould not run: {problem}")
        elif self.fits:
            self._print(f"\nAll {len(self.lines)} lines fit our reading.")
        else:
            self._print(f"\n{others} of {len(self.lines)} lines do not fit our reading, or are unclear.")

    def keeps(self, left_over: str) -> None:
        """Note something that stays in the account."""
        self.left_over.append(self._safe(left_over))

    def _safe(self, text: str) -> str:
        for hidden in self._hidden:
            text = text.replace(hidden, "(hidden)")
        return _ADDRESS.sub(lambda found: found[0] if found[0].lstrip("'").startswith(OURS) else "(an address)", text)

    def _print(self, text: str) -> None:
        if not self._as_json:
            print(text, file=self._out, flush=True)

    def _row(self, cells: tuple[str, ...]) -> None:
        columns = [
            textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
            for cell, width in zip(cells, _WIDTHS, strict=True)
        ]
        for number in range(max(map(len, columns))):
            parts = [column[number] if number < len(column) else "" for column in columns]
            self._print("  ".join(part.ljust(width) for part, width in zip(parts, _WIDTHS, strict=True)).rstrip())
