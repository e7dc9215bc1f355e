"""Observability that remembers what a test asks for: unexpected errors, and counted warnings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from relay.domain.problems import Problem
from relay.observability import Count, Observability


class Observed:
    """Has every method of `Observability`. `tell` gets a line of everything that is logged."""

    def __init__(self, tell: Callable[[str], None] = lambda line: None) -> None:
        self._tell = tell
        self.defects: list[BaseException] = []
        self.warnings: Counter[str] = Counter()
        """By code: what was counted as `Count.WARNINGS`."""
        self.stops = 0
        """How often a connection or export was stopped."""

    def info(self, event: str, **fields: Any) -> None:
        if event == "destination call":
            self._tell(f"{fields['method']} {fields['path']} {fields['status']} {fields.get('problem', '')}")
        else:
            # Ids of imports are drawn by the sandbox, not from the seed.
            self._tell(f"{event} { {name: value for name, value in fields.items() if name != 'import_id'} }")

    def problem(self, event: str, error: BaseException, **fields: Any) -> None:
        self._tell(f"{event}: {type(error).__name__} {error} {fields}")
        self.stops += event in ("connection stopped", "export stopped")
        if not isinstance(error, Problem):
            self.defects.append(error)

    def count(self, metric: Count, value: int = 1, **dimensions: Any) -> None:
        if metric is Count.WARNINGS and value:
            self.warnings[str(dimensions["outcome"])] += value

    def as_observability(self) -> Observability:
        """Present it as the real one."""
        return self  # type: ignore[return-value]


def counted(printed: str, metric: str) -> list[dict[str, Any]]:
    """Return what was printed of a metric, each time it was counted: its number as `value`, and its dimensions."""
    lines = [json.loads(line) for line in printed.splitlines() if f'"{metric}"' in line]
    return [{**line, "value": sum(line[metric])} for line in lines if metric in line]
