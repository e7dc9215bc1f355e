"""Works on the queue of segment files: what S3 says of new objects, and what the tick sends when a wait is over."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from relay.clock import Clock
from relay.domain.problems import Conflict, SettingsProblem, Transient
from relay.observability import Observability
from relay.queues import Received
from relay.segment_imports.importer import AGAIN, Importer
from relay.segment_imports.s3 import segment_of
from relay.stores import waits
from relay.stores.database import Database
from relay.stores.waits import SegmentWait

MAX_FOLDER: Final = 900
"""The most bytes of `source/segment` in a folder's name: it stands in the key of a wait."""

WHEN_SETTINGS_ARE_WRONG: Final = timedelta(minutes=15)


class SegmentFiles:
    """Takes messages, each of which names a folder or an import to look at."""

    def __init__(self, database: Database, importer: Importer, clock: Clock, observe: Observability) -> None:
        self._database = database
        self._importer = importer
        self._clock = clock
        self._observe = observe

    def consume(self, records: Sequence[Received], seconds_left: Callable[[], float]) -> list[str]:
        """Work on messages; return the ids of those that failed. What passes by waiting is looked at again later."""
        return [one.id for one in records if not self._is_done(one, seconds_left)]

    def _is_done(self, record: Received, seconds_left: Callable[[], float]) -> bool:
        try:
            segment, about = _asked(record.body)
        except (AttributeError, KeyError, TypeError) as error:
            self._observe.problem("message is about no segment", error, message_id=record.id)
            return False
        if not about and (not segment or len(segment.encode()) > MAX_FOLDER):
            self._observe.info("no folder of a segment", message_id=record.id)
            return True
        try:
            self._importer.look(segment, about, seconds_left)
        except (Transient, Conflict, SettingsProblem) as problem:
            self._observe.problem("segment import", problem, segment=segment, import_id=about)
            pause = WHEN_SETTINGS_ARE_WRONG if isinstance(problem, SettingsProblem) else AGAIN
            waits.put(self._database, [SegmentWait(self._clock.now() + pause, about, segment)])
        except Exception as error:  # noqa: BLE001 - a defect met with one segment must hold up no other
            self._observe.problem("segment import", error, segment=segment, import_id=about)
            return False
        return True


def _asked(body: Mapping[str, Any]) -> tuple[str, str]:
    if "detail" in body:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
        return segment_of(body["detail"]["object"]["key"]) or "", ""
    return body["segment"], body["about"]
