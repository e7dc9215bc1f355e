"""Traces are kept for an hour, apart by profile."""

from datetime import timedelta

from relay.stores import traces
from relay.stores.traces import KEPT, Attempt, Trace
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase


def test_a_trace_is_kept_with_its_attempts_for_an_hour() -> None:
    database, now = MemoryDatabase(), FakeClock().now()
    one = Trace(traces.new_id("aa", "1"), "letters/main", now, shows_values=True)
    other = Trace(traces.new_id("aa", "11"), "letters/main", now, shows_values=False)
    for trace in (one, other):
        traces.begin(database, trace)
    later = now + timedelta(minutes=1)
    traces.add(database, one.id, Attempt(now, "destination", "timeout", [{"a": 1}], 2))
    traces.add(database, one.id, Attempt(later, "destination", "delivered", []))
    assert [traces.load(database, trace.id, later) for trace in (one, other)] == [one, other]
    assert traces.attempts(database, one.id, later) == [
        Attempt(now, "destination", "timeout", [{"a": 1}], 2),
        Attempt(later, "destination", "delivered", []),
    ]
    assert traces.attempts(database, other.id, later) == []
    # DynamoDB may delete it later.
    assert traces.load(database, one.id, now + KEPT) is None
    assert [attempt.outcome for attempt in traces.attempts(database, one.id, now + KEPT)] == ["delivered"]


def test_what_is_no_trace_is_not_found() -> None:
    database, now = MemoryDatabase(), FakeClock().now()
    assert [traces.load(database, trace, now) for trace in ("", "aa", "aa.1")] == [None] * 3
