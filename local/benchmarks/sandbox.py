"""The sandbox of a benchmark: a process of its own, asked over its control API."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.processes import Processes

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 30.0


@contextmanager
def sandbox(destination: str, folder: Path, time_scale: float, **settings: object) -> Iterator[str]:
    """Serve the sandbox of a destination, with `settings`, meanwhile; yield its address."""
    processes = Processes(folder)
    options = ["--time-scale", str(time_scale), "--settings", json.dumps(settings)]
    command = [sys.executable, "-m", "sandboxes", destination, *options]
    try:
        processes.start("sandbox", command, os.environ, _ROOT)

        def address() -> str | None:
            given = processes.log("sandbox").read_text(encoding="utf-8").partition("listening on ")[2]
            return given.strip() if given.endswith("\n") else None

        yield processes.wait("sandbox", "the sandbox's address", _START_SECONDS, address)
    finally:
        processes.stop_all()


@dataclass(frozen=True)
class Counters:
    """What a sandbox counted between two looks."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]

    def number(self, name: str) -> int:
        """Return a plain count, such as `calls`."""
        return int(self.after[name]) - int(self.before[name])

    def operation(self, *names: str) -> int:
        """Return how often operations were called, such as `GET /api/3/import/info`."""
        return sum(_of(self.after, "operations", name) - _of(self.before, "operations", name) for name in names)

    def status(self, *statuses: str) -> int:
        """Return how many calls were answered so."""
        return sum(_of(self.after, "statuses", name) - _of(self.before, "statuses", name) for name in statuses)

    def most_seen(self, quota: str) -> int:
        """Return the most calls that were ever in one window of a quota."""
        return int(self.after["quotas"][quota]["most_seen"])


def _of(counters: Mapping[str, Any], table: str, name: str) -> int:
    return int(counters[table].get(name, 0))
