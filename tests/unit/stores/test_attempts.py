"""What is kept of an attempt that met a defect: where it was, never what it said, and no trouble of its own."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from relay.domain.problems import Busy, Conflict
from relay.observability import Observability
from relay.queues import Received
from relay.stores import attempts
from relay.stores.database import Key, Table
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLANTED = "Ada Lovelace"
"""Without an `@`: nothing recognises it as personal."""


def received(*ids: str, count: int = 3) -> list[Received]:
    return [Received(one, {}, count, None, "receipt", NOON, "relay-tool.fifo") for one in ids]


def defect() -> Exception:
    try:
        raise KeyError(PLANTED)
    except KeyError as error:
        return error


def test_an_attempt_is_kept_per_message_by_class_and_place() -> None:
    database = MemoryDatabase()

    attempts.note(database, Observability(io.StringIO()), received("m-1", "m-2"), defect(), NOON)

    first, second = attempts.of_queue(database, "relay-tool.fifo")
    assert (first.message, second.message) == ("m-1", "m-2")
    assert (first.error, first.receive_count, first.at) == ("KeyError", 3, NOON)
    assert first.places[-1].startswith("test_attempts.py:")
    item = database[Key(Table.CONTROL, "attempts#relay-tool.fifo", "m-1")]
    assert item["expires_at"] == int((NOON + timedelta(days=20)).timestamp())
    assert PLANTED not in str(item)
    assert attempts.of_queue(database, "relay-other.fifo") == []


def test_a_later_attempt_replaces_an_earlier_one() -> None:
    database, observe = MemoryDatabase(), Observability(io.StringIO())
    attempts.note(database, observe, received("m-1"), defect(), NOON)
    attempts.note(database, observe, received("m-1", count=4), Conflict("busy_profile", "said"), NOON)

    [attempt] = attempts.of_queue(database, "relay-tool.fifo")
    assert (attempt.error, attempt.receive_count, attempt.places) == ("busy_profile", 4, [])


@pytest.mark.parametrize("trouble", [Busy("throttled", "said"), RuntimeError(PLANTED)])
def test_a_store_that_fails_is_only_logged(trouble: Exception) -> None:
    def fail(_: str) -> None:
        raise trouble

    log = io.StringIO()
    attempts.note(MemoryDatabase(before=fail), Observability(log), received("m-1", "m-2"), defect(), NOON)

    [line] = map(json.loads, log.getvalue().splitlines())
    assert (line["message"], line["message_id"]) == ("attempt was not recorded", "m-1, m-2")
    assert PLANTED not in log.getvalue()
