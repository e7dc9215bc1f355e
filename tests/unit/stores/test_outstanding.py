"""Records of outstanding profiles: they and the counts they stand for change together, once."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from relay.domain import ledger
from relay.domain.ledger import Column
from relay.domain.runs import Phase, Run, RunState
from relay.stores import outstanding, runs
from relay.stores.database import MAX_ITEM_BYTES, MAX_TRANSACTION, Table, size_of
from relay.stores.outstanding import MOST, Outstanding
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PROFILES = tuple(f"{number:032x}" for number in range(4))
RUN = Run("r1", "letters/main", "test", RunState.RUNNING, Phase.DELIVER, 2, 1, NOON)
RECORD = Outstanding("r1", "000.1..0", 0, Phase.DELIVER, PROFILES)


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
        id=st.from_regex(r"[0-9]{3}\.[12]\.[0-9a-f]{0,32}\.[0-9]", fullmatch=True),
        shard=st.integers(0, 255),
        phase=st.sampled_from(Phase),
        profiles=st.lists(st.from_regex(r"[0-9a-f]{32}", fullmatch=True), max_size=5, unique=True).map(tuple),
        version=st.just(1),
    )
)
def test_every_record_comes_back_as_it_was(record: Outstanding) -> None:
    database = MemoryDatabase()
    assert database.transact([outstanding.add(record, NOON)])
    assert outstanding.load(database, "r1", record.id) == record
    assert outstanding.of_run(database, "r1") == [record]


def test_the_records_of_a_page_are_its_own_alone() -> None:
    ids = ["000.1..0", "000.1..1", "000.1.ab.0", "000.2..0", "001.1..0"]
    database = database_with(*(Outstanding("r1", one, 0, Phase.DELIVER, PROFILES) for one in ids))
    database.transact([outstanding.add(Outstanding("r2", ids[0], 0, Phase.DELIVER, PROFILES), NOON)])
    assert [record.id for record in outstanding.of_page(database, "r1", "000.1.")] == ids[:2]
    assert [record.id for record in outstanding.of_page(database, "r1", "000.1.ab")] == ids[2:3]
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
    many = Outstanding("r1", "000.1..0", 0, Phase.DELIVER, tuple(f"{number:032x}" for number in range(MOST)))
    database = database_with(many)
    [item] = [item for item in database.items(Table.CONTROL) if "outstanding" in str(item["sk"])]
    assert size_of(item) < 5 * 1024 < MAX_ITEM_BYTES
    assert MAX_TRANSACTION * MOST > 15_000
