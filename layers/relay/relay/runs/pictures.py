"""Runs as JSON objects: what operators, events and records are shown of them. No personal data."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from relay.breaker.pace import limits
from relay.domain import ledger, moments
from relay.domain.runs import MOST_MARKS, Phase, Progress, Run, RunState, together
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


PREVIOUS = 10
"""The most runs before that one is shown beside."""


def details(database: Database, run: Run, now: datetime) -> dict[str, Any]:
    """Return what is shown of one run besides: how far it got over time, limits, the runs before.

    `progress` are moments with the number of profiles looked at by then, in both passes together. `share` is which
    part of the present phase is done; a run that was refused has none. `limits` are the vendor's, as far as the
    connection was held to them.
    """
    shards = runs.shards(database, run.id)
    phase = [shard.share for shard in shards if shard.phase is run.phase]
    progress = together(shard.progress for shard in shards)
    connection, _, _ = run.export.partition("/")
    before = [one for one in runs.latest(database, run.export, PREVIOUS + 1) if one.started_at < run.started_at]
    return {
        "seconds": round(((run.ended_at or now) - run.started_at).total_seconds()),
        "share": round(sum(phase) / len(phase), 4) if phase else 0.0,
        "progress": [
            (moments.text(run.started_at + timedelta(seconds=seconds)), done) for seconds, done in thinned(progress)
        ],
        "limits": [
            {
                "what": limit.quota,
                "calls": limit.a_minute,
                "seconds": 60,
                "a_day": limit.a_day,
                "used_today": limit.used,
            }
            for limit in limits(database, connection, now)
        ],
        "previous": [
            {
                "run": one.id,
                "state": one.state.value,
                "started_at": moments.text(one.started_at),
                "ended_at": None if one.ended_at is None else moments.text(one.ended_at),
                "counts": {name: number for name, number in sorted(counts_of(database, one).items()) if number},
            }
            for one in before[:PREVIOUS]
        ],
    }


MOST_POINTS = 4 * MOST_MARKS


def thinned(progress: Progress) -> Progress:
    """Return at most `MOST_POINTS` marks of a series, the last one among them."""
    step = -(-len(progress) // MOST_POINTS)
    return progress[::-1][::step][::-1] if step > 1 else progress
