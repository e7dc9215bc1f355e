"""Assignments as they are stored: round trips, listings, overtaken writers, and room for thousands of pairs."""

from datetime import UTC, datetime
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.assignment import Assignment, MappingRejection, Pair
from relay.domain.problems import RejectionKind
from relay.reconcile.desired import MOST_PAIRS
from relay.stores import assignments
from relay.stores.assignments import NONE, PACKED_FROM, PAGE, Stored, decode, encode
from relay.stores.database import MAX_ITEM_BYTES, Key, Table, size_of
from tests.fakes.memory_database import MemoryDatabase

MAIN = "letters/main"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST, SECOND, THIRD = (f"00{number:030x}" for number in range(3))
IN_ANOTHER_BUCKET = "01" + "0" * 30

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - of UTC
ASSIGNMENTS = st.builds(
    Assignment,
    st.frozensets(st.builds(Pair, TEXTS, TEXTS), max_size=20),
    st.integers(0, 2**53),
    st.none() | MOMENTS,
    st.none() | st.builds(MappingRejection, st.sampled_from(RejectionKind), TEXTS, MOMENTS),
    st.none() | MOMENTS,
)
SOME = Assignment(frozenset({Pair("list/7", "ann@x.example"), Pair("list/8", "ann@x.example")}), 3, NOON)


@settings(max_examples=200)
@given(ASSIGNMENTS)
def test_every_assignment_comes_back_as_it_was(assignment: Assignment) -> None:
    assert decode(encode(assignment)) == assignment


def test_a_large_one_comes_back_too_and_lies_packed() -> None:
    pairs = frozenset(Pair(f"list/{number % 7}", f"{number}@x.example") for number in range(2000))
    assignment = SOME._replace(pairs=pairs)
    doc = encode(assignment)
    assert isinstance(doc, bytes)
    assert len(doc) < PACKED_FROM
    assert decode(doc) == assignment


@given(ASSIGNMENTS.filter(lambda assignment: not assignment.is_empty), st.integers(0, 5))
def test_it_is_written_over_the_version_that_was_read(assignment: Assignment, overtaken: int) -> None:
    database = MemoryDatabase()
    assert assignments.load(database, MAIN, [FIRST]) == {FIRST: NONE}
    for version in range(2):
        assert database.write([assignments.save(MAIN, FIRST, assignment, version)]) == [True]
        assert assignments.load(database, MAIN, [FIRST]) == {FIRST: Stored(assignment, version + 1)}
    assert database.write([assignments.save(MAIN, FIRST, SOME, overtaken)]) == [overtaken == 2]


def test_an_empty_one_is_deleted_unless_somebody_wrote_it_meanwhile() -> None:
    database = MemoryDatabase()
    database.write([assignments.save(MAIN, FIRST, SOME, version) for version in range(2)])
    assert database.write([assignments.save(MAIN, FIRST, Assignment(), 1)]) == [False]
    assert database.write([assignments.save(MAIN, FIRST, Assignment(), 2)]) == [True]
    assert list(database.items(Table.ASSIGNMENTS)) == []


def test_every_export_has_its_own() -> None:
    database = MemoryDatabase()
    database.write([assignments.save("letters/other", FIRST, SOME, 0)])
    assert assignments.load(database, MAIN, [FIRST]) == {FIRST: NONE}
    assert list(assignments.listing(database, MAIN, 0, "")) == []


def test_a_listing_is_of_one_bucket_sorted_and_goes_on_behind_a_profile() -> None:
    database = MemoryDatabase()
    for profile in (THIRD, FIRST, IN_ANOTHER_BUCKET, SECOND):
        database.write([assignments.save(MAIN, profile, SOME, 0)])
    assert [profile for profile, _ in assignments.listing(database, MAIN, 0, "")] == [FIRST, SECOND, THIRD]
    assert [profile for profile, _ in assignments.listing(database, MAIN, 0, FIRST)] == [SECOND, THIRD]
    assert [profile for profile, _ in assignments.listing(database, MAIN, 1, THIRD)] == [IN_ANOTHER_BUCKET]
    [(_, item), *_] = assignments.listing(database, MAIN, 0, "")
    assert assignments.of_item(item) == Stored(SOME, 1)


def test_a_listing_reads_on_page_by_page() -> None:
    database = MemoryDatabase()
    ids = [f"00{number:030x}" for number in range(2 * PAGE)]
    database.write([assignments.save(MAIN, profile, SOME, 0) for profile in ids])
    assert [profile for profile, _ in assignments.listing(database, MAIN, 0, "")] == ids


def test_what_cannot_be_read_concerns_no_listing() -> None:
    database = MemoryDatabase()
    database.write([assignments.save(MAIN, profile, SOME, 0) for profile in (FIRST, SECOND)])
    database._items[Key(Table.ASSIGNMENTS, f"{MAIN}#00", FIRST)]["doc"] = "{"
    assert [profile for profile, _ in assignments.listing(database, MAIN, 0, "")] == [FIRST, SECOND]


def test_there_is_room_for_as_many_pairs_that_leave_as_may_join() -> None:
    chance = Random(7)
    pairs = frozenset(Pair("list/7", f"{chance.randbytes(16).hex()}@x.example") for _ in range(2 * MOST_PAIRS))
    assignment = SOME._replace(pairs=pairs)
    database = MemoryDatabase()
    assert database.write([assignments.save(MAIN, FIRST, assignment, 0)]) == [True]
    [item] = database.items(Table.ASSIGNMENTS)
    assert size_of(item) < MAX_ITEM_BYTES
    assert assignments.load(database, MAIN, [FIRST])[FIRST].assignment == assignment
