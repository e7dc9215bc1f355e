"""Waits: each comes back when it is due, once, oldest first."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.stores import waits
from relay.stores.database import Table
from relay.stores.waits import PARTITIONS, READ_AT_ONCE, ConfirmWait, IdentityWait, OutstandingWait, Wait
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

NAMES = st.text("abc-.1", min_size=1, max_size=12)
MOMENTS = st.integers(-5 * 60_000, 5 * 60_000).map(lambda number: NOON + timedelta(milliseconds=number))
WAITS = st.one_of(
    st.builds(IdentityWait, MOMENTS, NAMES, NAMES),
    st.builds(ConfirmWait, MOMENTS, NAMES, NAMES),
    st.builds(OutstandingWait, MOMENTS, NAMES, NAMES),
)


def due(database: MemoryDatabase, now: datetime = NOON) -> list[Wait]:
    return [wait for part in waits.due(database, now) for wait in part]


@settings(max_examples=200)
@given(st.lists(WAITS, max_size=20))
def test_whatever_is_due_comes_back_as_it_was_and_nothing_else(found: list[Wait]) -> None:
    database = MemoryDatabase()
    waits.put(database, found)
    # By their texts, since waits of two kinds may be equal as tuples.
    assert sorted(map(repr, due(database))) == sorted({repr(wait) for wait in found if wait.due <= NOON})
    assert sorted(map(repr, due(database, NOON + 6 * MINUTE))) == sorted({repr(wait) for wait in found})


def test_what_is_due_exactly_now_is_due() -> None:
    database = MemoryDatabase()
    waits.put(database, [IdentityWait(NOON, "letters", "k1")])
    assert due(database, NOON - timedelta(microseconds=1)) == []
    assert due(database) == [IdentityWait(NOON, "letters", "k1")]


def test_the_same_wait_is_one_item_and_another_time_another_one() -> None:
    database = MemoryDatabase()
    wait = IdentityWait(NOON, "letters", "k1")
    waits.put(database, [wait, wait])
    waits.put(database, [wait, wait._replace(due=NOON - MINUTE), ConfirmWait(*wait)])
    assert len(list(database.items(Table.CONTROL))) == 3
    assert [one.due for one in due(database) if isinstance(one, IdentityWait)] == [NOON - MINUTE, NOON]


def test_what_is_dropped_is_gone_and_the_others_stay() -> None:
    database = MemoryDatabase()
    first, second = IdentityWait(NOON, "letters", "k1"), OutstandingWait(NOON, "r1", "000.1..0")
    waits.put(database, [first, second])
    waits.drop(database, [first, first, IdentityWait(NOON, "letters", "never")])
    assert due(database) == [second]


def test_very_many_are_spread_and_read_in_portions_the_oldest_first() -> None:
    database = MemoryDatabase()
    many = [IdentityWait(NOON - number * MINUTE, "letters", "k1") for number in range(READ_AT_ONCE + 10)]
    waits.put(database, many)
    first = due(database)
    assert first == sorted(many)[:READ_AT_ONCE]
    waits.drop(database, first)
    assert due(database) == sorted(many)[READ_AT_ONCE:]
    waits.put(database, [IdentityWait(NOON, "letters", f"k{number}") for number in range(400)])
    partitions = {str(item["pk"]) for item in database.items(Table.CONTROL)}
    assert len(partitions) == PARTITIONS
