"""Counts of calls, as the control API shows them."""

from __future__ import annotations

from collections import Counter


class CallTally:
    """Counts of vendor-API calls; the control API's own calls are left out."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.pairs: dict[str, Counter[str]] = {}
        self.injected: Counter[str] = Counter()
        self.write_calls = 0
        self.writes = 0

    def count(self, operation: str, status: str, *, writing: bool, processed: bool) -> None:
        """Count one call; `writing` = it asks for a change, `processed` = it reached the account and succeeded."""
        self.operations[operation] += 1
        self.statuses[status] += 1
        self.pairs.setdefault(operation, Counter())[status] += 1
        self.write_calls += writing
        self.writes += writing and processed

    def report(self) -> dict[str, object]:
        """Return the counts as they appear on the counters page."""
        return {
            "calls": sum(self.operations.values()),
            "operations": dict(self.operations),
            "statuses": dict(self.statuses),
            "operation_statuses": {operation: dict(counts) for operation, counts in self.pairs.items()},
            "write_calls": self.write_calls,
            "writes": self.writes,
            "injected": dict(self.injected),
        }
