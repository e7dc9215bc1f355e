"""Works on the Checks queue: what became of asynchronous imports, and of what ended as unconfirmed."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from relay.queues import failures, parse_records
from relay.wiring import Stack
from relay.workers.import_checks import ImportChecker


@cache
def _checker() -> ImportChecker:
    return Stack().import_checker()


def handler(event: Mapping[str, Any], context: Any, *, checker: ImportChecker | None = None) -> dict[str, Any]:
    """Handle a batch of the Checks queue; answer which messages failed."""
    return failures(
        (checker or _checker()).consume(parse_records(event), lambda: context.get_remaining_time_in_millis() / 1000)
    )
