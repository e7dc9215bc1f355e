"""Changes queue -> profile store -> destination queues.

Environment: RELAY_PREFIX, RELAY_CHANGES_QUEUE, RELAY_SETTINGS_SECONDS (optional).
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from random import randrange
from typing import Any

from relay.queues import failures, parse_records
from relay.routing.router import Router
from relay.stores.receipts import PARTS
from relay.wiring import Stack


def handler(event: Mapping[str, Any], context: Any, *, router: Router | None = None) -> dict[str, Any]:
    """Take messages of the Changes queue; answer with those that failed."""
    return failures((router or _router()).route(parse_records(event)))


@cache
def _router() -> Router:
    # Environments work at the same time, and know nothing of each other.
    return Stack().router(randrange(PARTS))  # noqa: S311 - no secret


def _prepare() -> None:
    # As in ingest: what goes wrong here is met again, and logged, by the first call.
    with suppress(Exception):
        _router()


_prepare()
