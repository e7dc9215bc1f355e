"""Every minute: probes, resyncs, waits that are due, runs whose message was lost, what deleted exports left."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from relay.wiring import Stack
from relay.workers.tick import Ticker


@cache
def _ticker() -> Ticker:
    return Stack().ticker()


def handler(event: Mapping[str, Any], context: Any, *, ticker: Ticker | None = None) -> None:
    """Do what is due."""
    (ticker or _ticker()).tick()
