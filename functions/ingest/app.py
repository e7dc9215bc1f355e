"""POST /webhooks/{source}: authenticate, read, put on the Changes queue, answer; nothing else. The rest is refused.

Environment: RELAY_PREFIX, RELAY_CHANGES_QUEUE, and RELAY_SETTINGS_SECONDS (how long settings are kept).
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from relay.clock import Clock, SystemClock
from relay.intake.endpoint import Endpoint
from relay.intake.requests import Request
from relay.observability import Observability
from relay.queues import Queue
from relay.settings.doors import DEFAULT_SECONDS
from relay.settings.sources import Sources


def handler(
    event: Mapping[str, Any],
    context: Any,
    *,
    settings: Sources | None = None,
    queue: Queue | None = None,
    clock: Clock | None = None,
    observability: Observability | None = None,
) -> dict[str, Any]:
    """Answer an API Gateway REST proxy event."""
    endpoint = Endpoint(
        _sources() if settings is None else settings,
        _queue if queue is None else lambda: queue,
        SystemClock() if clock is None else clock,
        _observability() if observability is None else observability,
    )
    answer = endpoint.answer(Request.of(event, context))
    return {"statusCode": int(answer.status), "headers": dict(answer.headers), "body": answer.body}


@cache
def _sources() -> Sources:
    seconds = float(os.environ.get("RELAY_SETTINGS_SECONDS", DEFAULT_SECONDS))
    return Sources(os.environ["RELAY_PREFIX"], seconds=seconds)


@cache
def _queue() -> Queue:
    return Queue(os.environ["RELAY_CHANGES_QUEUE"])


@cache
def _observability() -> Observability:
    return Observability()


def _prepare() -> None:
    # A starting function has a whole processor, a request only its share. Trouble here is met again, and logged, by the
    # first request; a start that failed would be tried again and again without telling any sender.
    with suppress(Exception):
        _observability()
        _queue().prepare()
        _sources().identity_key()


_prepare()
