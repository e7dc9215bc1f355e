"""Imports of an ActiveCampaign account: they end some time after they were queued.

https://developers.activecampaign.com/reference/bulk-import-status-info
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandboxes.activecampaign.rows import ImportRow
from sandboxes.activecampaign.settings import ImportOutcome


@dataclass
class Batch:
    """One queued import; times are scaled seconds, `success` holds contact ids and `failure` addresses."""

    batch_id: str
    rows: list[ImportRow]
    dropped: list[str]
    """Addresses left out when it was queued."""
    exclude_automations: bool
    size: int
    queued: float
    queued_at: datetime
    due: float
    outcome: ImportOutcome
    done: bool = False
    success: list[str] = field(default_factory=list)
    failure: list[str] = field(default_factory=list)

    def status(self, now: float) -> str | bool:
        """Return the status a client is shown; the boolean false of the first second included."""
        if now - self.queued < 1.0:
            return False
        if self.done:
            return self.outcome.status
        share = (now - self.queued) / max(self.due - self.queued, 1e-9)
        return "waiting" if share < 1 / 3 else "claimed" if share < 2 / 3 else "active"


def overview(batches: Iterable[Batch], now: float) -> dict[str, list[dict[str, str]]]:
    """Return the imports of the last 7 days by day, open and completed, counts as texts."""
    days: dict[tuple[bool, str], list[int]] = {}
    for batch in batches:
        if batch.queued_at.timestamp() >= now - 7 * 86_400:
            day = batch.queued_at.astimezone(UTC).date().isoformat()
            days.setdefault((batch.done, day), []).append(batch.size)

    def listing(done: bool) -> list[dict[str, str]]:
        return [
            {"forDate": day, "batches": str(len(sizes)), "contacts": str(sum(sizes))}
            for (is_done, day), sizes in sorted(days.items())
            if is_done is done
        ]

    return {"outstanding": listing(done=False), "recentlyCompleted": listing(done=True)}
