"""How far a benchmark is, on standard error: kept up to date in a terminal, a line per tenth elsewhere."""

import sys
import time
from typing import TextIO

EVERY_SECONDS = 2.0


def say(text: str) -> None:
    """Tell a person what is being done; figures go to standard output."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Tells how many of so many profiles are done; may be asked to as often as one likes."""

    def __init__(self, what: str, total: int, out: TextIO | None = None) -> None:
        self._what = what
        self._total = max(total, 1)
        self._out = sys.stderr if out is None else out
        self._tenth = -1
        self._next = 0.0

    def show(self, done: int) -> None:
        """Tell, if it is time to."""
        text = f"  {self._what}: {done:,} of {self._total:,} ({100 * done // self._total} %)"
        tenth, now = 10 * done // self._total, time.monotonic()
        if self._out.isatty():
            if now >= self._next or tenth == 10:
                print(f"\r{text}", end="\n" if tenth == 10 and self._tenth < 10 else "", file=self._out, flush=True)
                self._next, self._tenth = now + EVERY_SECONDS, tenth
        elif tenth > self._tenth:
            print(text, file=self._out, flush=True)
            self._tenth = tenth
