"""Runs that were cancelled while they took leavers out: before the rest is taken out a person confirms it."""

from relay.domain.runs import CUT_SHORT, Phase, Run, RunState
from relay.stores import runs
from relay.stores.database import Database


def cancelled_before(database: Database, export: str, run: str = "") -> Run | None:
    """Return the last run that took leavers out or found that nobody leaves, if somebody cancelled it.

    With `run` it is the last one before that. Whoever cancels may have seen that somebody leaves who should not. Runs
    that were cut short before they took anybody out have decided nothing.
    """
    for one in runs.before(database, export, run):
        if one.phase is Phase.REMOVE or one.state not in CUT_SHORT:
            return one if one.state is RunState.CANCELLED else None
    return None
