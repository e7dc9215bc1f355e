"""One contract for every database: the fake in memory promises exactly what DynamoDB keeps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.problems import Busy
from relay.stores.database import ABSENT, Database, Delete, Key, Put, Table, Update, Write
from relay.stores.dynamodb import DynamoDatabase
from tests.fakes.dynamo_wire import DynamoWire
from tests.fakes.memory_database import MemoryDatabase, Trouble
from tests.unit.stores.database_contract import PROFILE, DatabaseContract, in_control, sks, write_one

NAMES = {table: f"test-{table.value}" for table in Table}
KINDS = ["memory", "dynamodb"]


def make(kind: str) -> Database:
    return MemoryDatabase() if kind == "memory" else DynamoDatabase(DynamoWire(), NAMES)


class TestInMemory(DatabaseContract):
    @pytest.fixture
    def database(self) -> Database:
        return make("memory")


class TestDynamoDb(DatabaseContract):
    @pytest.fixture
    def database(self) -> Database:
        return make("dynamodb")


_names = st.text("ab#", max_size=3)


@settings(max_examples=200)
@given(
    names=st.sets(_names.filter(bool), max_size=12),
    after=_names,
    until=_names,
    prefix=_names,
    limit=st.none() | st.integers(0, 4),
    newest_first=st.booleans(),
)
def test_both_databases_find_the_same(
    names: set[str], after: str, until: str, prefix: str, limit: int | None, newest_first: bool
) -> None:
    expected = [
        name
        for name in sorted(names, reverse=newest_first)
        if name > after and (not until or name <= until) and name.startswith(prefix)
    ][:limit]
    for kind in KINDS:
        database = make(kind)
        database.write([Put(in_control(name), {}) for name in names])
        found = database.query(
            Table.CONTROL, "c", after=after, until=until, prefix=prefix, limit=limit, newest_first=newest_first
        )
        assert sks(found) == expected


_keys = st.sampled_from([PROFILE, in_control("a"), in_control("b"), Key(Table.IDENTITIES, "k")])
_expect = st.dictionaries(st.sampled_from("nm"), st.sampled_from([0, 1, 2, ABSENT]), max_size=2) | st.sampled_from(
    [{"pk": ABSENT}]
)
_write = st.one_of(
    st.builds(
        Put, _keys, st.dictionaries(st.sampled_from("nm"), st.integers(0, 2)), st.sampled_from([{}, {"pk": ABSENT}])
    ),
    st.builds(Update, _keys, st.just({"n": 1}), st.sampled_from([{}, {"m": 1}]), _expect),
    st.builds(Delete, _keys, _expect),
)
_calls = st.lists(
    st.lists(_write, max_size=12) | st.lists(_write, min_size=1, max_size=4, unique_by=lambda write: write.key),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300)
@given(calls=_calls, all_at_once=st.lists(st.booleans(), min_size=4, max_size=4))
def test_both_databases_do_the_same(calls: list[list[Write]], all_at_once: list[bool]) -> None:
    memory, real = MemoryDatabase(), DynamoDatabase(DynamoWire(), NAMES)
    for writes, at_once in zip(calls, all_at_once, strict=False):
        if at_once and writes and len({write.key for write in writes}) == len(writes):
            assert real.transact(writes) == memory.transact(writes)
        else:
            assert real.write(writes) == memory.write(writes)
    keys = [PROFILE, in_control("a"), in_control("b"), Key(Table.IDENTITIES, "k")]
    assert real.get(keys) == memory.get(keys)


@settings(max_examples=100)
@given(calls=_calls, size=st.sampled_from([0, 900, 3000, 9000]))
def test_both_databases_charge_the_same(calls: list[list[Write]], size: int) -> None:
    memory, wire = MemoryDatabase(), DynamoWire()
    databases: list[Database] = [memory, DynamoDatabase(wire, NAMES)]
    keys = [PROFILE, in_control("a"), in_control("b"), Key(Table.IDENTITIES, "k")]
    for database in databases:
        database.write([Put(key, {"blob": "x" * size, "n": 1}) for key in keys[:3]])
        for writes in calls:
            database.write(writes)
            if writes and len({write.key for write in writes}) == len(writes):
                database.transact(writes)
        database.get(keys)
        database.query(Table.CONTROL, "c")
    assert {NAMES[table]: units for table, units in memory.write_units.items()} == dict(wire.write_units)
    assert {NAMES[table]: units for table, units in memory.read_units.items()} == dict(wire.read_units)


def test_the_fake_names_every_step_before_and_after_it() -> None:
    seen: list[str] = []
    database = MemoryDatabase(before=lambda step: seen.append(f"> {step}"), after=lambda step: seen.append(f"< {step}"))
    database.write([Put(PROFILE, {}), Put(in_control("a"), {})])
    database.transact([Delete(PROFILE), Delete(in_control("a"))])
    database.get([PROFILE])
    database.query(Table.CONTROL, "c")
    steps = ["write profiles", "write control", "transact control+profiles", "get profiles", "query control"]
    assert seen == [mark + step for step in steps for mark in ("> ", "< ")]
    assert database.steps == steps
    assert database.steps_on(Table.PROFILES) == 1


def test_the_fake_lets_another_writer_come_between_a_read_and_a_write() -> None:
    database = MemoryDatabase()
    write_one(database, Put(PROFILE, {"version": 1}))
    database.interrupt("write profiles", lambda: database.write([Update(PROFILE, {"version": 2})]))

    assert not write_one(database, Update(PROFILE, {"version": 3}, expect={"version": 1}))
    assert database.lost_races == {Table.PROFILES: 1}
    assert write_one(database, Update(PROFILE, {"version": 3}, expect={"version": 2}))


@pytest.mark.parametrize(("trouble", "is_there"), [(Trouble.THROTTLED, False), (Trouble.LOST, True)])
@pytest.mark.parametrize("way", ["write", "transact"])
def test_the_fake_throttles_and_loses_single_writes(trouble: Trouble, is_there: bool, way: str) -> None:
    meets = in_control("b")
    database = MemoryDatabase(trouble=lambda write: trouble if write.key == meets else None)
    writes: list[Write] = [Put(in_control(name), {}) for name in "abc"]

    with pytest.raises(Busy):
        _ = database.write(writes) if way == "write" else database.transact(writes)

    others = True if way == "write" else is_there
    assert [in_control(name) in database for name in "abc"] == [others, is_there, others]


def test_the_fake_applies_the_writes_of_a_call_in_any_order_but_those_of_a_key() -> None:
    died = iter([False, False, True])

    def die(step: str) -> None:
        if step.startswith("write") and next(died):
            raise KeyboardInterrupt

    database = MemoryDatabase(before=die, order=lambda count: list(reversed(range(count))))
    with pytest.raises(KeyboardInterrupt):
        database.write([Put(in_control("a"), {"n": 1}), Put(in_control("b"), {"n": 1}), Put(in_control("b"), {"n": 2})])
    assert in_control("a") not in database
    assert database[in_control("b")]["n"] == 2
