"""Segment files in the bucket, and closed sets of pages -> profile store. Works on the queue of segment files."""

import gc
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from relay.queues import failures, parse_records
from relay.wiring import Stack
from relay.workers.segment_files import SegmentFiles

COLLECTED_AFTER: Final = 50_000
"""Objects after which Python looks for unused cycles. Rows leave none, and looking takes a sixth of the time."""


@cache
def _worker() -> SegmentFiles:
    worker = Stack().segment_files_worker()
    gc.set_threshold(COLLECTED_AFTER)
    return worker


def handler(event: Mapping[str, Any], context: Any, *, worker: SegmentFiles | None = None) -> dict[str, Any]:
    """Handle a batch of the queue; answer which messages failed."""
    return failures(
        (worker or _worker()).consume(parse_records(event), lambda: context.get_remaining_time_in_millis() / 1000)
    )
