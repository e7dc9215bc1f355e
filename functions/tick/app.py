"""Every minute: probes, owed and activating runs, stalled runs."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from relay.delivery.ticking import Ticker
from relay.wiring import Stack


@cache
def _ticker() -> Ticker:
    return Stack().ticker()


def handler(event: Mapping[str, Any], context: Any, *, ticker: Ticker | None = None) -> None:
    """Do what is due."""
    (ticker or _ticker()).tick()
