"""Changes queue -> profile store -> destination queues.

Environment: RELAY_PREFIX, RELAY_SETTINGS_SECONDS (optional), RELAY_PROFILES_TABLE, RELAY_SEGMENTS_TABLE,
RELAY_CONTROL_TABLE, RELAY_CHANGES_QUEUE, and for each destination its queue, e.g. RELAY_GAINSIGHT_PX_QUEUE.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from relay.clock import SystemClock
from relay.observability import Observability
from relay.queues import Queue, failures, parse_records
from relay.routing.router import Router
from relay.settings.doors import DEFAULT_SECONDS, ParametersDoor
from relay.settings.exports import ExportOutlines
from relay.stores import dynamodb
from relay.stores.directory import Directory


def handler(event: Mapping[str, Any], context: Any, *, router: Router | None = None) -> dict[str, Any]:
    """Take messages of the Changes queue; answer with those that failed."""
    return failures((router or _router()).route(parse_records(event)))


@cache
def _router() -> Router:
    clock = SystemClock()
    seconds = float(os.environ.get("RELAY_SETTINGS_SECONDS", DEFAULT_SECONDS))
    parameters = ParametersDoor(os.environ["RELAY_PREFIX"], None, seconds, clock)
    database = dynamodb.connect(os.environ)
    return Router(
        database,
        ExportOutlines(parameters),
        Directory(database, clock),
        _queue_for,
        Queue(os.environ["RELAY_CHANGES_QUEUE"]),
        clock=clock,
        observability=Observability(),
    )


@cache
def _queue_for(destination: str) -> Queue:
    return Queue(os.environ[f"RELAY_{destination.upper()}_QUEUE"])


def _prepare() -> None:
    # As in ingest: what goes wrong here is met again, and told, by the first call.
    with suppress(Exception):
        _router()


_prepare()
