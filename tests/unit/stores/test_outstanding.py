"""Records of outstanding profiles: they and the counts they stand for change together, once."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from relay.domain import ledger
from relay.domain.ledger import Column
from relay.domain.runs import Phase, Run, RunState, Shard
from relay.stores import outstanding, runs
from relay.stores.database import MAX_TRANSACTION, Table, size_of
from relay.stores.outstanding import MOST, Outstanding, page_id
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PROFILES = tuple(f"{number:032x}" for number in range(4))
RUN = Run("r1", "letters/main", "test", RunState.RUNNING, Phase.DELIVER, 2, 1, NOON)
RECORD = Outstanding("r1", "0.1..0", PROFILES)


def database_with(*records: Outstanding) -> MemoryDatabase:
    database = MemoryDatabase()
    runs.begin(database, RUN)
    for record in records:
        assert database.transact([outstanding.add(record, NOON)])
    return database


def counts(database: MemoryDatabase) -> dict[str, int]:
    return dict(ledger.total(shard.counts for shard in runs.shards(database, "r1")))


def move(number: int) -> dict[str, int]:
    return dict(ledger.total([ledger.settled(Column.DELIVERED)] * number))


@given(
    st.builds(
        Outstanding,
        run=st.just("r1"),
        id=st.builds(
            lambda index, phase, after, number: f"{page_id(Shard(index, phase, after))}.{number}",
            st.integers(0, 255),
            st.sampled_from(Phase),
            st.from_regex(r"([0-9a-f]{32})?", fullmatch=True),
            st.integers(0, 60),
        ),
        profiles=st.lists(st.from_regex(r"[0-9a-f]{32}", fullmatch=True), max_size=5, unique=True).map(tuple),
        version=st.just(1),
    )
)
def test_every_record_comes_back_as_it_was(record: Outstanding) -> None:
    database = MemoryDatabase()
    assert database.transact([outstanding.add(record, NOON)])
    assert outstanding.load(database, "r1", record.id) == record
    assert outstanding.of_run(database, "r1") == [record]


@given(st.integers(0, 255), st.sampled_from(Phase), st.from_regex(r"([0-9a-f]{32})?", fullmatch=True))
def test_a_record_knows_the_shard_and_the_phase_of_its_page(index: int, phase: Phase, after: str) -> None:
    record = Outstanding("r1", f"{page_id(Shard(index, phase, after))}.0", PROFILES)
    assert (record.shard, record.phase) == (index, phase)


def test_the_records_of_a_page_are_its_own_alone() -> None:
    ids = ["0.1..0", "0.1..1", "0.1.ab.0", "0.2..0", "1.1..0", "10.1..0"]
    database = database_with(*(Outstanding("r1", one, PROFILES) for one in ids))
    database.transact([outstanding.add(Outstanding("r2", ids[0], PROFILES), NOON)])
    assert [record.id for record in outstanding.of_page(database, "r1", "0.1.")] == ids[:2]
    assert [record.id for record in outstanding.of_page(database, "r1", "0.1.ab")] == ids[2:3]
    assert [record.id for record in outstanding.of_page(database, "r1", "1.1.")] == ids[4:5]
    assert [record.id for record in outstanding.of_run(database, "r1")] == ids


def test_profiles_leave_a_record_with_their_counts_until_it_is_gone() -> None:
    database = database_with(RECORD)
    record = outstanding.load(database, "r1", RECORD.id)
    assert record is not None
    assert outstanding.settle(database, record, PROFILES[2:], runs.count("r1", Phase.DELIVER, 0, move(2)))
    rest = outstanding.load(database, "r1", RECORD.id)
    assert rest is not None
    assert rest.profiles == PROFILES[2:]
    assert counts(database) == move(2)
    assert outstanding.settle(database, rest, (), runs.count("r1", Phase.DELIVER, 0, move(2)))
    assert outstanding.load(database, "r1", RECORD.id) is None
    assert counts(database) == move(4)


def test_of_two_who_settle_a_record_one_does() -> None:
    database = database_with(RECORD)
    seen = outstanding.load(database, "r1", RECORD.id)
    assert seen is not None
    settled = [
        outstanding.settle(database, seen, rest, runs.count("r1", Phase.DELIVER, 0, move(4 - len(rest))))
        for rest in (PROFILES[1:], (), PROFILES[2:])
    ]
    assert settled == [True, False, False]
    assert counts(database) == move(1)


def test_a_page_that_comes_twice_leaves_one_record() -> None:
    database = database_with(RECORD)
    assert not database.transact([outstanding.add(RECORD, NOON)])


def test_a_record_is_small_and_one_page_fits_a_transaction() -> None:
    page = page_id(Shard(255, Phase.REMOVE, "f" * 32))
    many = Outstanding(RUN.id, f"{page}.59", tuple(f"{number:032x}" for number in range(MOST)))
    database = database_with(many)
    [item] = [item for item in database.items(Table.CONTROL) if page in str(item["sk"])]
    assert size_of(item) < 4096
    assert MAX_TRANSACTION * MOST > 15_000
