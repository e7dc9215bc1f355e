"""Open imports as they are stored: round trips, and headers that never come back once an import has ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.assignment import Pair
from relay.domain.identity import OUT, Digest
from relay.domain.keyed_hash import KeyedHash
from relay.stores import imports
from relay.stores.database import MAX_ITEM_BYTES, Table, size_of
from relay.stores.identities import key_of
from relay.stores.imports import ROWS_KEPT, OpenImport, Row
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
OPENED = OpenImport("c1", "letters", "main", "settings", "import-7", 3, NOON, NOON)
KEYED = KeyedHash("key")


def row(place: int) -> Row:
    key = key_of(KEYED, "letters", "list/7", f"{place}@x")
    return Row(f"p{place}", key, Pair("list/7", f"{place}@x"), Digest(f"{place:032x}"), NOON, {"name": "Ann"})


ROWS = [row(place) for place in range(3)]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.text("abc-1", min_size=1, max_size=12)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - of UTC
NUMBERS = st.integers(0, 10_000)
IMPORTS = st.builds(
    OpenImport,
    call=NAMES,
    connection=NAMES,
    export=NAMES,
    under=TEXTS,
    import_id=TEXTS,
    queued=st.none() | NUMBERS,
    queued_at=MOMENTS,
    looked_at=MOMENTS,
    number=NUMBERS,
    run=st.none() | NAMES,
    page=st.none() | NAMES,
    tries=NUMBERS,
    note=st.none() | TEXTS,
    again=NUMBERS,
)
SOME_ROWS = st.lists(
    st.builds(
        Row,
        profile=NAMES,
        key=st.just(""),
        pair=st.builds(Pair, TEXTS, TEXTS),
        content=st.just(OUT) | st.from_regex(r"[0-9a-f]{32}", fullmatch=True).map(Digest),
        at=MOMENTS,
        values=st.dictionaries(TEXTS, TEXTS, max_size=3),
        is_all=st.booleans(),
        evidence=st.none(),
        last_refusal=st.none(),
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(IMPORTS, SOME_ROWS)
def test_every_import_comes_back_as_it_was(opened: OpenImport, rows: list[Row]) -> None:
    database = MemoryDatabase()
    rows = [row._replace(key=key_of(KEYED, opened.connection, *row.pair)) for row in rows]
    imports.record(database, opened, rows)
    assert imports.load(database, opened.connection, opened.call) == opened
    assert imports.all_open(database, opened.connection) == [opened]
    assert imports.rows(database, KEYED, opened) == rows


@settings(max_examples=100)
@given(IMPORTS, SOME_ROWS, st.integers(0, 4))
def test_what_is_left_open_comes_back_as_it_was(opened: OpenImport, rows: list[Row], kept: int) -> None:
    database = MemoryDatabase()
    rows = [row._replace(key=key_of(KEYED, opened.connection, *row.pair)) for row in rows]
    imports.record(database, replace(OPENED, call=opened.call, connection=opened.connection), ROWS)
    imports.leave_open(database, opened, rows[:kept])
    assert imports.load(database, opened.connection, opened.call) == opened
    assert imports.rows(database, KEYED, opened) == rows[:kept]


def test_what_was_left_behind_is_for_the_call_alone() -> None:
    database = MemoryDatabase()
    imports.record(database, OPENED, [ROWS[0]._replace(evidence="ours", last_refusal="excluded")])
    assert imports.rows(database, KEYED, OPENED) == ROWS[:1]


def test_the_rows_are_there_when_the_header_says_so() -> None:
    database = MemoryDatabase()
    seen: list[int] = []
    database.interrupt("write control", lambda: database.interrupt("write control", look))

    def look() -> None:
        assert imports.load(database, "letters", "c1") is None
        seen.append(len(imports.rows(database, KEYED, OPENED)))

    imports.record(database, OPENED, ROWS)
    assert seen == [3]


def test_imports_of_other_connections_are_none_of_its_own() -> None:
    database = MemoryDatabase()
    for connection, call in (("letters", "c1"), ("letters", "c2"), ("others", "c3")):
        imports.record(database, replace(OPENED, connection=connection, call=call), ROWS)
    assert [opened.call for opened in imports.all_open(database, "letters")] == ["c1", "c2"]
    assert imports.still_open(database, "letters", {"c1", "c3", "c9"}) == {"c1"}
    assert imports.still_open(database, "letters", set()) == set()


def test_a_look_is_noted_on_what_is_still_open() -> None:
    database = MemoryDatabase()
    imports.record(database, OPENED, ROWS)
    imports.note_look(database, OPENED, 4, NOON + timedelta(minutes=1))
    assert imports.load(database, "letters", "c1") == replace(OPENED, number=4, looked_at=NOON + timedelta(minutes=1))


def test_nobody_who_is_late_brings_back_an_import_that_has_ended() -> None:
    database = MemoryDatabase()
    imports.record(database, OPENED, ROWS)
    imports.end(database, OPENED)
    imports.note_look(database, OPENED, 1, NOON)
    assert imports.load(database, "letters", "c1") is None
    imports.leave_open(database, replace(OPENED, number=1), ROWS[1:])
    assert imports.load(database, "letters", "c1") is None
    imports.end(database, OPENED)
    assert imports.all_open(database, "letters") == []


def test_rows_expire_by_themselves_and_are_none_then() -> None:
    database = MemoryDatabase()
    imports.record(database, OPENED, ROWS)
    [item] = [item for item in database.items(Table.CONTROL) if item["sk"] == "rows"]
    assert item["expires_at"] == (NOON + ROWS_KEPT).timestamp()
    assert imports.rows(database, KEYED, replace(OPENED, call="another")) == []


def test_there_is_room_for_the_largest_call() -> None:
    chance = Random(7)
    values = [{f"field.{n}": chance.randbytes(30).hex() for n in range(15)} for _ in range(250)]
    rows = [ROWS[0]._replace(profile=chance.randbytes(16).hex(), values=one) for one in values]
    database = MemoryDatabase()
    imports.record(database, OPENED, rows)
    assert max(size_of(item) for item in database.items(Table.CONTROL)) < MAX_ITEM_BYTES
    assert imports.rows(database, KEYED, OPENED) == rows
