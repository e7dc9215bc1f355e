"""Starts runs when a schedule fires; it does nothing else, so that whoever may write schedules can do nothing else."""

from functools import cache
from typing import Any

from relay.wiring import Stack
from relay.workers.scheduled_starts import ScheduledStarts


@cache
def _starts() -> ScheduledStarts:
    return Stack().scheduled_starts()


def handler(event: Any, context: Any, *, starts: ScheduledStarts | None = None) -> dict[str, Any]:
    """Start what the event names (see `ScheduledStarts.handle`); an event that is refused fails the invocation."""
    return (starts or _starts()).handle(event)
