"""Works on the queue of one destination: look at profiles, or go on with a run.

Environment: that of `relay.wiring`, and RELAY_DESTINATION, the destination's word (see `relay.names`).
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from relay.queues import failures, parse_records
from relay.wiring import Stack
from relay.workers.consumer import Consumer


@cache
def _consumer() -> Consumer:
    return Stack().consumer(os.environ["RELAY_DESTINATION"])


def handler(event: Mapping[str, Any], context: Any, *, consumer: Consumer | None = None) -> dict[str, Any]:
    """Handle a batch of the destination's FIFO queue; answer which messages failed."""
    return failures(
        (consumer or _consumer()).consume(parse_records(event), lambda: context.get_remaining_time_in_millis() / 1000)
    )
