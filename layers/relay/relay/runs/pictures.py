"""Runs as JSON objects: what operators, events and records are shown of them. No personal data."""

from collections import Counter
from typing import Any

from relay.domain import ledger, moments
from relay.domain.runs import Phase, Run, RunState
from relay.stores import runs
from relay.stores.database import Database


def counts_of(database: Database, run: Run) -> Counter[str]:
    """Return a run's ledger; `docs/runs.md` explains the counters."""
    counts = ledger.total(shard.counts for shard in runs.shards(database, run.id))
    if run.phase is Phase.REMOVE and run.state in (RunState.FINISHED, RunState.MANY_REJECTED):
        counts["returned"] = ledger.returned(counts)
    return counts


def picture(database: Database, run: Run) -> dict[str, Any]:
    """Return a run with its ledger."""
    counts = counts_of(database, run)
    return {
        "run": run.id,
        "export": run.export,
        "cause": run.cause,
        "state": run.state.value,
        "reason": run.reason,
        "retry": run.retry,
        "full": run.full,
        "planned_leaving": run.planned_leaving,
        "phase": run.phase.name.lower(),
        "settings": run.settings,
        "started_at": moments.text(run.started_at),
        "ended_at": None if run.ended_at is None else moments.text(run.ended_at),
        "counts": {name: number for name, number in sorted(counts.items()) if number},
        "adds_up": ledger.adds_up(counts),
    }
