"""DynamoDB in trouble: what it throttles comes again, and what nobody knows is looked at before it is reported."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.problems import Busy
from relay.stores import dynamodb
from relay.stores.database import ABSENT, Delete, Item, Key, Put, Table, Update, Write
from relay.stores.dynamodb import LONGEST_PAUSE, TRIES, TRIES_WITHOUT_ANSWER, DynamoDatabase, connect
from tests.examples import example
from tests.fakes.dynamo_wire import NOT_HELD, DynamoWire
from tests.fakes.memory_database import MemoryDatabase

NAMES = {table: f"test-{table.value}" for table in Table}
NO_ANSWER = ReadTimeoutError(endpoint_url="https://dynamodb.example.com")


def key(name: str) -> Key:
    return Key(Table.IDENTITIES, name)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said"}}, "Op")


class World:
    """A database on a wire that meets planned trouble: what is in `before` or `after` befalls the next calls."""

    def __init__(self) -> None:
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []
        self.pauses: list[float] = []
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        self.wire = DynamoWire(before=self._before, after=lambda operation, request: self._meet(self.after))
        self.database = DynamoDatabase(self.wire, NAMES, sleep=self.pauses.append)

    def _before(self, operation: str, request: Mapping[str, Any]) -> None:
        self.requests.append((operation, request))
        self._meet(self.before)

    def _meet(self, trouble: list[Exception | None]) -> None:
        met = trouble.pop(0) if trouble else None
        if met is not None:
            raise met

    def put(self, **attributes: Item) -> None:
        self.database.write([Put(key(name), dict(item)) for name, item in attributes.items()])
        self.requests.clear()

    @property
    def operations(self) -> Counter[str]:
        return Counter(operation for operation, _ in self.requests)

    def stored(self, name: str) -> Item | None:
        found = self.database.get([key(name)])[0]
        return None if found is None else {attribute: value for attribute, value in found.items() if attribute != "pk"}


def to(version: int, name: str = "a") -> Write:
    """Return a write from the version before to this one."""
    if version == 1:
        return Put(key(name), {"version": 1}, {"pk": ABSENT})
    return Update(key(name), {"version": version}, expect={"version": version - 1})


# How writes travel.


def test_conditional_writes_of_single_items_travel_25_at_a_time_at_the_plain_price() -> None:
    world = World()
    assert world.database.write([to(1, f"{number:03}") for number in range(60)]) == [True] * 60
    assert world.operations == {"BatchExecuteStatement": 3}
    assert world.wire.write_units == {"test-identities": 60}


def test_writes_of_one_key_never_travel_together() -> None:
    world = World()
    assert world.database.write([to(1), to(2), to(1, "b"), to(3)]) == [True] * 4
    assert [len(request["Statements"]) for _, request in world.requests] == [1, 2, 1]


def test_each_way_of_writing_is_the_cheapest_that_does_what_is_asked() -> None:
    world = World()
    world.put(c={"n": 1}, d={"n": 1})
    world.database.write(
        [
            Put(key("a"), {"n": 1}),
            Delete(key("b")),
            Update(key("c"), {"n": 2}, expect={"n": 1}),
            Delete(key("d"), {"n": 1}),
            Update(key("e"), {"n": 1}, expect={"n": ABSENT}),
            Delete(key("f"), {"n": ABSENT}),
            Update(key("g"), add={"n": 1}),
        ]
    )
    assert [operation for operation, _ in world.requests] == [
        "BatchWriteItem",
        "BatchExecuteStatement",
        "UpdateItem",
        "DeleteItem",
        "TransactWriteItems",
    ]


def test_reads_travel_100_at_a_time_and_are_consistent() -> None:
    world = World()
    world.database.get([key(str(number)) for number in range(130)])
    assert [len(request["RequestItems"]["test-identities"]["Keys"]) for _, request in world.requests] == [100, 30]
    assert all(request["RequestItems"]["test-identities"]["ConsistentRead"] for _, request in world.requests)
    world.database.query(Table.CONTROL, "x")
    assert world.requests[-1][1]["ConsistentRead"] is True


def test_a_bounded_query_takes_one_call() -> None:
    world = World()
    world.database.write([Put(Key(Table.CONTROL, "x", f"a{number}"), {}) for number in range(5)])
    world.requests.clear()
    found = world.database.query(Table.CONTROL, "x", after="a1", prefix="a", limit=2)
    assert [item["sk"] for item in found] == ["a2", "a3"]
    assert len(world.requests) == 1


# Trouble that passes.


@pytest.mark.parametrize(
    "code", ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "TransactionConflict"]
)
def test_only_the_statements_that_were_throttled_are_sent_again(code: str) -> None:
    world = World()
    world.wire.refusals = {"01": [code], "03": [code, code]}
    assert world.database.write([to(1, f"{number:02}") for number in range(5)]) == [True] * 5
    sent = [[one["Parameters"][0]["S"] for one in request["Statements"]] for _, request in world.requests]
    assert sent == [["00", "01", "02", "03", "04"], ["01", "03"], ["03"]]
    assert len(world.pauses) == 2


def test_a_statement_that_is_refused_among_throttled_ones_stays_refused() -> None:
    world = World()
    world.put(b={"version": 7})
    world.wire.refusals = {"a": ["ThrottlingError"]}
    assert world.database.write([to(1), to(2, "b"), to(1, "c")]) == [True, False, True]
    assert world.stored("b") == {"version": 7}


def test_keys_and_writes_that_are_left_come_again() -> None:
    world = World()
    left = iter([3, 1, 0, 2, 0])
    world.wire.leaves = lambda entries: next(left)
    assert world.database.write([Put(key(str(number)), {"n": number}) for number in range(5)]) == [True] * 5
    found = world.database.get([key(str(number)) for number in range(5)])
    assert [item and item["n"] for item in found] == [0, 1, 2, 3, 4]
    assert world.operations == {"BatchWriteItem": 3, "BatchGetItem": 2}
    assert len(world.pauses) == 3


@pytest.mark.parametrize("write", [to(1), Put(key("a"), {"version": 1}), Update(key("a"), {"version": 1})], ids=str)
@pytest.mark.parametrize("code", ["ThrottlingException", "ProvisionedThroughputExceededException"])
def test_a_call_that_is_throttled_is_sent_again(write: Write, code: str) -> None:
    world = World()
    world.before = [refusal(code)] * 3
    assert world.database.write([write]) == [True]
    assert len(world.requests) == 4
    assert world.stored("a") == {"version": 1}


@pytest.mark.parametrize("operation", ["get", "query", "write", "put", "update", "add", "transact"])
@pytest.mark.parametrize(
    ("trouble", "tries"), [(refusal("ThrottlingException"), TRIES), (NO_ANSWER, TRIES_WITHOUT_ANSWER)]
)
def test_endless_trouble_says_that_our_side_is_busy(operation: str, trouble: Exception, tries: int) -> None:
    world = World()
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: world.database.get([key("a")]),
        "query": lambda: world.database.query(Table.CONTROL, "x"),
        "write": lambda: world.database.write([to(1)]),
        "put": lambda: world.database.write([Put(key("a"), {})]),
        "update": lambda: world.database.write([Update(key("a"), {"n": 1})]),
        "add": lambda: world.database.write([Update(key("a"), add={"n": 1})]),
        "transact": lambda: world.database.transact([to(1)]),
    }
    world.before = [trouble] * 100
    with pytest.raises(Busy):
        calls[operation]()
    assert len(world.requests) == tries
    assert len(world.pauses) == tries - 1
    assert max(world.pauses) <= LONGEST_PAUSE


def test_statements_and_keys_that_are_throttled_for_ever_say_so_too() -> None:
    world = World()
    world.wire.refusals = {"a": ["ThrottlingError"] * 100}
    with pytest.raises(Busy):
        world.database.write([to(1), to(1, "b")])
    assert world.stored("b") == {"version": 1}
    world.wire.leaves = lambda entries: entries
    with pytest.raises(Busy):
        world.database.get([key("a")])
    with pytest.raises(Busy):
        world.database.write([Put(key("a"), {})])


def test_a_defect_passes_through_at_once_and_says_nothing_of_the_data() -> None:
    world = World()
    world.before = [refusal("ValidationException")]
    with pytest.raises(ClientError):
        world.database.get([key("a")])
    world.wire.refusals = {"a": ["AccessDenied"]}
    with pytest.raises(ValueError, match="refused a write to identities for AccessDenied"):
        world.database.write([to(1)])
    world.before = [refusal("ValidationException")]
    with pytest.raises(ValueError, match="refused a write to identities for ValidationException") as caught:
        world.database.write([Update(key("a"), {"n": 1})])
    assert "said" not in str(caught.value)
    assert world.pauses == []


# Answers that are lost.

LOST = [NO_ANSWER, refusal("InternalServerError"), refusal("ServiceUnavailable")]


@pytest.mark.parametrize(
    "write",
    [
        Put(key("new"), {"n": 1, "doc": "x"}, {"pk": ABSENT}),
        Update(key("old"), {"n": 2, "doc": "x"}, expect={"n": 1}),
        Delete(key("old"), {"n": 1}),
        Put(key("new"), {"n": 1}),
        Delete(key("old")),
        Update(key("old"), {"m": 2}, expect={"m": ABSENT}),
        Update(key("old"), {"m": 2}),
        Delete(key("new"), {"pk": ABSENT}),
        Update(key("old"), {"m": 2}, add={"n": 1}, expect={"n": 1}),
    ],
    ids=str,
)
def test_a_write_whose_answer_was_lost_is_done_once_and_told_as_done(write: Write) -> None:
    expected, keys = MemoryDatabase(), [key("old"), key("new")]
    expected.write([Put(key("old"), {"n": 1}), write])
    for lost, is_carried_out in itertools.product(LOST, (True, False)):
        world = World()
        world.put(old={"n": 1})
        if is_carried_out:
            world.after = [lost]
        else:
            world.before = [lost]

        with example(lost, is_carried_out):
            assert world.database.write([write]) == [True]
            assert world.database.get(keys) == expected.get(keys)


def test_a_lost_write_that_somebody_else_undid_is_told_as_not_done() -> None:
    world = World()
    world.put(a={"version": 1})
    other = DynamoDatabase(world.wire, NAMES)

    def undo(operation: str, request: Mapping[str, Any]) -> None:
        if not world.pauses:
            world.wire.after = lambda operation, request: None
            other.write([Update(key("a"), {"version": 9})])
            raise NO_ANSWER

    world.wire.after = undo
    assert world.database.write([to(2)]) == [False]
    assert world.stored("a") == {"version": 9}


def test_what_was_refused_without_any_lost_answer_is_not_read_again() -> None:
    world = World()
    world.put(a={"version": 7})
    assert world.database.write([to(2), Put(key("b"), {})]) == [False, True]
    assert world.database.write([Update(key("a"), {"n": 1}, expect={"version": ABSENT})]) == [False]
    assert world.operations["BatchGetItem"] == 0


def test_a_lost_batch_tells_of_each_statement_what_became_of_it() -> None:
    world = World()
    world.put(b={"version": 1}, c={"version": 7})
    world.after = [NO_ANSWER]
    writes = [to(1, "a"), to(2, "b"), to(2, "c"), to(1, "d")]
    assert world.database.write(writes) == [True, True, False, True]
    assert [world.stored(name) for name in "abcd"] == [{"version": n} for n in (1, 2, 7, 1)]


def test_a_single_statement_of_which_nobody_knows_is_looked_at_too() -> None:
    world = World()
    world.put(b={"version": 1})
    world.wire.carried_out = {"a", "b"}
    assert world.database.write([to(1, "a"), to(2, "b"), to(1, "c")]) == [True] * 3
    assert [world.stored(name) for name in "abc"] == [{"version": n} for n in (1, 2, 1)]


def test_a_lost_deletion_of_what_is_there_again_is_told_as_not_done() -> None:
    world = World()
    world.put(a={"version": 1})
    other = DynamoDatabase(world.wire, NAMES)

    def undo(operation: str, request: Mapping[str, Any]) -> None:
        world.wire.after = lambda operation, request: None
        other.write([Put(key("a"), {"version": 7})])
        raise NO_ANSWER

    world.wire.after = undo
    assert world.database.write([Delete(key("a"), {"version": 1})]) == [False]


# Transactions.


def test_a_transaction_keeps_its_token_as_long_as_nobody_knows_whether_it_was_applied() -> None:
    world = World()
    add = Update(key("a"), add={"n": 1})
    world.after = [NO_ANSWER, refusal("TransactionInProgressException")]
    assert world.database.transact([add])
    assert world.stored("a") == {"n": 1}
    assert len({request["ClientRequestToken"] for _, request in world.requests[:3]}) == 1

    conflict = refusal("TransactionCanceledException")
    conflict.response["CancellationReasons"] = [{"Code": "TransactionConflict"}]
    world.requests.clear()
    world.before = [NO_ANSWER, conflict, conflict]
    assert world.database.transact([add])
    assert world.stored("a") == {"n": 2}
    assert len({request["ClientRequestToken"] for _, request in world.requests[:4]}) == 1


def test_a_transaction_that_was_certainly_not_applied_gets_a_new_token() -> None:
    world = World()
    conflict = refusal("TransactionCanceledException")
    conflict.response["CancellationReasons"] = [{"Code": "None"}, {"Code": "ThrottlingError"}]
    world.before = [conflict, conflict]
    assert world.database.transact([to(1), Update(key("b"), add={"n": 1})])
    assert len({request["ClientRequestToken"] for _, request in world.requests}) == 3
    assert len(world.pauses) == 2


def test_a_transaction_with_a_refused_condition_is_not_tried_again_though_others_were_busy() -> None:
    world = World()
    cancelled = refusal("TransactionCanceledException")
    cancelled.response["CancellationReasons"] = [{"Code": "ThrottlingError"}, {"Code": NOT_HELD}]
    world.before = [cancelled]
    assert not world.database.transact([to(1), to(1, "b")])
    assert len(world.requests) == 1


# All at once.


class Trouble:
    """Befalls calls, statements and entries by chance; nothing is said to be throttled after it was carried out."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def plan(self, wire: DynamoWire, names: str) -> None:
        codes = ["ThrottlingError", "InternalServerError", "ProvisionedThroughputExceeded"]
        wire.refusals = {name: self._chance.choices(codes, k=self._chance.randrange(3)) for name in names}
        wire.leaves = lambda entries: self._chance.randrange(entries) if self._chance.random() < 0.3 else 0
        wire.before = self._meet(NO_ANSWER, refusal("ThrottlingException"), refusal("InternalServerError"))
        wire.after = self._meet(NO_ANSWER, refusal("InternalServerError"))

    def _meet(self, *errors: Exception) -> Callable[[str, Mapping[str, Any]], None]:
        def meet(operation: str, request: Mapping[str, Any]) -> None:
            if self._chance.random() < 0.3:
                raise self._chance.choice(errors)

        return meet


_names = st.sampled_from("abc")
_values = st.fixed_dictionaries({"n": st.integers(0, 2)}, optional={"m": st.integers(0, 1)})
_expect = st.dictionaries(st.sampled_from("nm"), st.sampled_from([0, 1, 2, ABSENT]), max_size=2)
_writes = st.one_of(
    st.builds(
        lambda name, item, new: Put(key(name), item, {"pk": ABSENT} if new else {}), _names, _values, st.booleans()
    ),
    st.builds(lambda name, item, expect: Update(key(name), item, expect=expect), _names, _values, _expect),
    st.builds(lambda name: Update(key(name), add={"count": 1}), _names),
)


@settings(max_examples=400)
@given(calls=st.lists(st.lists(_writes, max_size=8), min_size=1, max_size=4), seed=st.integers(0, 10**6))
def test_whatever_trouble_passes_the_outcome_is_that_of_a_database_without_any(
    calls: list[list[Write]], seed: int
) -> None:
    """Each write changes its item for good (`serial`), so what is read again can be told from what was there."""
    world, expected, trouble = World(), MemoryDatabase(), Trouble(seed)
    serial = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamodb, "TRIES", 100)
        patch.setattr(dynamodb, "TRIES_WITHOUT_ANSWER", 100)
        for writes in calls:
            numbered: list[Write] = []
            for write in writes:
                serial += 1
                numbered.append(_with(write, serial))
            trouble.plan(world.wire, "abc")
            assert world.database.write(numbered) == expected.write(numbered)
        world.wire.before = world.wire.after = lambda operation, request: None
        names = [key(name) for name in "abc"]
        assert world.database.get(names) == expected.get(names)


def _with(write: Write, serial: int) -> Write:
    if isinstance(write, Put):
        return replace(write, item={**write.item, "serial": serial})
    return replace(write, put={**write.put, "serial": serial}) if isinstance(write, Update) else write


# The environment.

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "relay-route",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "eu-west-1",
}


def test_tables_are_found_by_the_prefix() -> None:
    database = connect({**LAMBDA, "RELAY_PREFIX": "mine"})
    assert set(database._tables.values()) == {f"mine-{table.value}" for table in Table}


def test_no_answer_is_an_error_of_botocore() -> None:
    assert isinstance(NO_ANSWER, BotoCoreError)
