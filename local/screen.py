"""What the demo shows: plain text, with a little colour where a person is looking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

_BOLD, _GREEN, _RED, _END = "\033[1m", "\033[32m", "\033[31m", "\033[0m"


class Screen:
    """Shows a story line by line, and remembers which of its statements did not hold."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colours = out.isatty()
        self._began = time.monotonic()
        self.failed: list[str] = []

    @property
    def seconds(self) -> float:
        """How long the story has lasted."""
        return time.monotonic() - self._began

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self._print(f"\n{self._styled(_BOLD, text)}  ({self.seconds:.0f} s)")

    def say(self, text: str) -> None:
        """Tell what is going on."""
        self._print("\n".join(f"  {line}" for line in text.splitlines()))

    def check(self, claim: str, holds: bool, found: str = "") -> None:
        """Show a statement and whether it holds; `found` is shown when it does not."""
        if holds:
            self._print(f"  {self._styled(_GREEN, 'ok')}    {claim}")
            return
        self.failed.append(claim)
        self._print(f"  {self._styled(_RED, 'WRONG')} {claim}{f': {found}' if found else ''}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table, its first column to the left, numbers to the right."""
        widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
        for style, row in [(_BOLD, head), *(("", row) for row in rows)]:
            cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
            self._print("  " + self._styled(style, "  ".join(cells)))

    def end(self) -> bool:
        """Say how it went; return whether all statements held."""
        if self.failed:
            self._print("\n" + self._styled(_RED, f"{len(self.failed)} of the statements above did not hold"))
        else:
            self._print("\n" + self._styled(_GREEN, f"All of it held. {self.seconds:.0f} s in total."))
        return not self.failed

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{_END}" if self._colours and style else text

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)
