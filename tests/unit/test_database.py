"""One contract for every database: the fake in memory must promise exactly what DynamoDB keeps."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from relay.domain.problems import Busy
from relay.stores.database import ABSENT, Database, Delete, Group, Item, Key, Put, Table, Update, Write, write_one
from relay.stores.dynamodb import PACK_FROM, SORTED_TABLES, TRIES, DynamoDatabase, connect
from tests.fakes.memory_database import MemoryDatabase

NAMES = {table: f"test-{table.value}" for table in Table}


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        yield client


def _make_tables(client: Any) -> None:
    old = client.list_tables()["TableNames"]
    for table, name in NAMES.items():
        attributes = ["pk", "sk"] if table in SORTED_TABLES else ["pk"]
        if name in old:
            client.delete_table(TableName=name)
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": a, "KeyType": k} for a, k in zip(attributes, ["HASH", "RANGE"], strict=False)],
            AttributeDefinitions=[{"AttributeName": a, "AttributeType": "S"} for a in attributes],
            BillingMode="PAY_PER_REQUEST",
        )


@pytest.fixture(params=["memory", "dynamodb", "dynamodb packed"])
def database(request: pytest.FixtureRequest, dynamodb: Any) -> Database:
    if request.param == "memory":
        return MemoryDatabase()
    _make_tables(dynamodb)
    return DynamoDatabase(dynamodb, NAMES, pack_from=1 if "packed" in request.param else PACK_FROM)


PROFILE = Key(Table.PROFILES, "p1")


def in_control(sk: str, pk: str = "c") -> Key:
    return Key(Table.CONTROL, pk, sk)


def sks(items: Sequence[dict[str, Any]]) -> list[str]:
    return [item["sk"] for item in items]


def test_an_item_comes_back_as_it_was_put_with_its_key(database: Database) -> None:
    item: Item = {"text": "ü", "empty": "", "number": -(10**30), "yes": True, "no": False, "bytes": b"\x00\xff"}
    assert write_one(database, Put(PROFILE, dict(item)), Put(in_control("a"), dict(item)))

    found = database.get([PROFILE, in_control("a")])

    assert found == [{"pk": "p1", **item}, {"pk": "c", "sk": "a", **item}]
    assert found[0] is not None
    assert {name: type(value) for name, value in found[0].items() if name != "pk"} == {
        name: type(value) for name, value in item.items()
    }


def test_get_keeps_order_and_repeats_and_gaps_over_more_keys_than_a_call_takes(database: Database) -> None:
    database.write([[Put(in_control(f"{n:03}"), {"n": n})] for n in range(230)])
    keys = [in_control(f"{n:03}") for n in (*range(229, -1, -1), 500, 7, 7)]

    found = database.get([*keys, PROFILE])

    numbers = [None if item is None else item["n"] for item in found]
    assert numbers == [*range(229, -1, -1), None, 7, 7, None]


def test_what_was_read_is_a_copy(database: Database) -> None:
    write_one(database, Put(PROFILE, {"n": 1}))
    one, two = database.get([PROFILE, PROFILE])
    assert one is not None
    one["n"] = 2
    assert two == {"pk": "p1", "n": 1}
    assert database.get([PROFILE]) == [{"pk": "p1", "n": 1}]
    assert database.get([]) == []


def test_a_put_replaces_the_whole_item(database: Database) -> None:
    write_one(database, Put(PROFILE, {"a": 1, "b": 2}))
    write_one(database, Put(PROFILE, {"b": 3}))
    assert database.get([PROFILE]) == [{"pk": "p1", "b": 3}]


def test_an_update_makes_the_item_sets_and_adds_from_nought(database: Database) -> None:
    assert write_one(database, Update(PROFILE, put={"name": "x", "size": 4}, add={"count": 2}))
    assert write_one(database, Update(PROFILE, put={"size": 5}, add={"count": -3, "other": 0}))
    assert database.get([PROFILE]) == [{"pk": "p1", "name": "x", "size": 5, "count": -1, "other": 0}]


def test_deleting_what_is_not_there_is_fine_unless_expected(database: Database) -> None:
    assert write_one(database, Delete(PROFILE))
    assert not write_one(database, Delete(PROFILE, expect={"n": 1}))
    write_one(database, Put(PROFILE, {"n": 1}))
    assert not write_one(database, Delete(PROFILE, expect={"n": 2}))
    assert write_one(database, Delete(PROFILE, expect={"n": 1}))
    assert database.get([PROFILE]) == [None]


@pytest.mark.parametrize(
    ("stored", "expect", "holds"),
    [
        (None, {}, True),
        (None, {"pk": ABSENT}, True),
        (None, {"n": ABSENT}, True),
        (None, {"n": 0}, False),
        (None, {"pk": "p1"}, False),
        ({"n": 1}, {"pk": ABSENT}, False),
        ({"n": 1}, {"pk": "p1"}, True),
        ({"n": 1}, {"n": 1}, True),
        ({"n": 1}, {"n": 1, "m": ABSENT}, True),
        ({"n": 1}, {"n": ABSENT}, False),
        ({"n": 1}, {"n": "1"}, False),
        ({"n": True}, {"n": True}, True),
        ({"n": ""}, {"n": ""}, True),
        ({"n": ""}, {"n": ABSENT}, False),
    ],
)
@pytest.mark.parametrize("kind", [Put, Update, Delete])
def test_expectations(database: Database, stored: Any, expect: Any, holds: bool, kind: Any) -> None:
    if stored is not None:
        write_one(database, Put(PROFILE, stored))
    writes: dict[Any, Write] = {
        Put: Put(PROFILE, {"new": 1}, expect),
        Update: Update(PROFILE, {"new": 1}, expect=expect),
        Delete: Delete(PROFILE, expect),
    }

    before = database.get([PROFILE])
    assert write_one(database, writes[kind]) is holds
    if not holds:
        assert database.get([PROFILE]) == before


def test_a_group_applies_all_or_nothing_over_tables(database: Database) -> None:
    write_one(database, Put(PROFILE, {"version": 1}))
    changes = [Put(in_control("x"), {"n": 1}), Put(Key(Table.CLAIMS, "k"), {"n": 1})]

    assert not write_one(database, *changes, Update(PROFILE, {"version": 3}, expect={"version": 2}))
    assert database.get([in_control("x"), Key(Table.CLAIMS, "k")]) == [None, None]

    assert write_one(database, *changes, Update(PROFILE, {"version": 2}, expect={"version": 1}))
    assert None not in database.get([in_control("x"), Key(Table.CLAIMS, "k")])


def test_each_group_is_judged_by_itself_in_the_order_given(database: Database) -> None:
    def step(n: int) -> Group:
        return [Put(PROFILE, {"n": n}, expect={"n": n - 1} if n else {"pk": ABSENT})]

    groups = [step(0), step(2), step(1), step(1), step(2), [Put(in_control("other"), {"n": 1})]]
    assert database.write(groups) == [True, False, True, False, True, True]
    assert database.get([PROFILE]) == [{"pk": "p1", "n": 2}]
    assert database.write([]) == []


def test_many_groups_of_which_some_are_refused(database: Database) -> None:
    database.write([[Put(in_control(f"{n:03}"), {"n": n})] for n in range(0, 120, 7)])
    groups: list[Group] = [
        [Put(in_control(f"{n:03}"), {"n": -1}, expect={"pk": ABSENT}), Put(in_control(f"{n:03}", "twin"), {"n": n})]
        for n in range(120)
    ]
    assert database.write(groups) == [n % 7 != 0 for n in range(120)]
    assert len(database.query(Table.CONTROL, "twin")) == sum(n % 7 != 0 for n in range(120))


def test_large_items_are_spread_over_transactions(database: Database) -> None:
    assert all(database.write([[Put(in_control(f"{n:02}"), {"blob": "x" * 350_000})] for n in range(30)]))
    assert len(database.query(Table.CONTROL, "c")) == 30


def test_a_query_sorts_and_bounds(database: Database) -> None:
    names = ["b", "a", "a#2", "a#1", "a#1\U0010fffe", "ä", "Z", "a$"]
    database.write([[Put(in_control(name), {})] for name in names] + [[Put(in_control("a", "elsewhere"), {})]])

    assert sks(database.query(Table.CONTROL, "c")) == sorted(names)
    assert sks(database.query(Table.CONTROL, "c", limit=3)) == sorted(names)[:3]
    assert sks(database.query(Table.CONTROL, "c", after="a#1")) == ["a#1\U0010fffe", "a#2", "a$", "b", "ä"]
    assert sks(database.query(Table.CONTROL, "c", after="a#15", limit=1)) == ["a#1\U0010fffe"]
    assert sks(database.query(Table.CONTROL, "c", prefix="a#")) == ["a#1", "a#1\U0010fffe", "a#2"]
    assert sks(database.query(Table.CONTROL, "c", prefix="a#", after="a#")) == ["a#1", "a#1\U0010fffe", "a#2"]
    assert sks(database.query(Table.CONTROL, "c", prefix="a#", after="a#1", limit=1)) == ["a#1\U0010fffe"]
    assert sks(database.query(Table.CONTROL, "c", prefix="a#", after="Z", limit=2)) == ["a#1", "a#1\U0010fffe"]
    assert database.query(Table.CONTROL, "c", prefix="a#", after="b") == []
    assert database.query(Table.CONTROL, "c", after="\U0010ffff") == []
    assert database.query(Table.CONTROL, "nobody") == []
    assert database.query(Table.CONTROL, "c", limit=0) == []


def test_a_query_reads_more_than_one_page(database: Database) -> None:
    database.write([[Put(in_control(f"{n:02}"), {"blob": "x" * 300_000})] for n in range(12)])
    assert sks(database.query(Table.CONTROL, "c")) == [f"{n:02}" for n in range(12)]
    assert sks(database.query(Table.CONTROL, "c", after="01", limit=9)) == [f"{n:02}" for n in range(2, 11)]


@pytest.mark.parametrize(
    "group",
    [
        [],
        [Put(in_control(str(n)), {}) for n in range(101)],
        [Put(PROFILE, {}), Delete(PROFILE)],
        [Update(PROFILE)],
        [Update(PROFILE, {"n": 1}, add={"n": 1})],
        [Put(PROFILE, {"pk": "p2"})],
        [Put(PROFILE, cast("Item", {"n": None}))],
        [Put(Key(Table.PROFILES, "p", "s"), {})],
        [Put(Key(Table.CONTROL, "p"), {})],
        [Put(Key(Table.PROFILES, ""), {})],
    ],
)
def test_defects_are_refused_before_anything_is_written(database: Database, group: Any) -> None:
    with pytest.raises(ValueError, match=r"group|update|key|values"):
        database.write([[Put(in_control("first"), {})], group])
    assert database.get([in_control("first")]) == [None]


_keys = st.sampled_from([PROFILE, in_control("a"), in_control("b"), Key(Table.CLAIMS, "k")])
_expect = st.dictionaries(st.sampled_from("nm"), st.sampled_from([0, 1, 2, ABSENT]), max_size=2) | st.sampled_from(
    [{"pk": ABSENT}, {"pk": "p1"}]
)
_write = st.one_of(
    st.builds(Put, _keys, st.dictionaries(st.sampled_from("nm"), st.integers(0, 2)), _expect),
    st.builds(Update, _keys, st.just({"n": 1}), st.just({"m": 1}), _expect),
    st.builds(Delete, _keys, _expect),
)
_groups = st.lists(st.lists(_write, min_size=1, max_size=3, unique_by=lambda write: write.key), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(_groups, min_size=1, max_size=3))
def test_both_databases_do_the_same(dynamodb: Any, calls: list[list[Any]]) -> None:
    _make_tables(dynamodb)
    memory, real = MemoryDatabase(), DynamoDatabase(dynamodb, NAMES)
    for groups in calls:
        assert real.write(groups) == memory.write(groups)
    keys = [PROFILE, in_control("a"), in_control("b"), Key(Table.CLAIMS, "k")]
    assert real.get(keys) == memory.get(keys)


class Scripted:
    """A client that answers from a script; an exception in it is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**request: Any) -> Any:
            self.requests.append((operation, request))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.requests]


def refusal(code: str, *reasons: str) -> ClientError:
    response: Any = {"Error": {"Code": code}, "CancellationReasons": [{"Code": reason} for reason in reasons]}
    return ClientError(response, "Op")


def scripted(*answers: Any) -> tuple[DynamoDatabase, Scripted, list[float]]:
    client, pauses = Scripted(*answers), list[float]()
    return DynamoDatabase(client, NAMES, sleep=pauses.append), client, pauses  # type: ignore[arg-type]


def puts(count: int) -> list[Group]:
    return [[Put(in_control(f"{n:03}"), {})] for n in range(count)]


def test_few_lone_writes_go_plainly_and_many_in_transactions() -> None:
    database, client, _ = scripted({})
    assert database.write([*puts(2), [Delete(PROFILE)], [Update(PROFILE, {"n": 1})]]) == [True] * 4
    assert client.operations == ["put_item", "put_item", "delete_item", "update_item"]

    database, client, _ = scripted({})
    assert database.write(puts(150)) == [True] * 150
    assert [len(request["TransactItems"]) for _, request in client.requests] == [100, 50]


def test_a_lone_addition_goes_as_a_transaction_because_only_that_survives_a_lost_answer() -> None:
    database, client, _ = scripted({})
    assert write_one(database, Update(PROFILE, add={"n": 1}))
    assert client.operations == ["transact_write_items"]
    assert client.requests[0][1]["ClientRequestToken"]


def test_unprocessed_keys_are_asked_for_again_after_a_pause() -> None:
    name = NAMES[Table.PROFILES]
    left = {name: {"ConsistentRead": True, "Keys": [{"pk": {"S": "p1"}}]}}
    database, client, pauses = scripted(
        {"Responses": {}, "UnprocessedKeys": left}, {"Responses": {name: [{"pk": {"S": "p1"}}]}}
    )
    assert database.get([PROFILE]) == [{"pk": "p1"}]
    assert client.requests[1][1]["RequestItems"] == left
    assert len(pauses) == 1


def test_a_conflict_is_tried_again_with_a_new_token_and_a_smaller_transaction() -> None:
    cancelled = refusal("TransactionCanceledException", *["None"] * 99, "TransactionConflict")
    database, client, pauses = scripted(cancelled, {})
    assert database.write(puts(100)) == [True] * 100
    assert [len(request["TransactItems"]) for _, request in client.requests] == [100, 50, 50]
    assert len({request["ClientRequestToken"] for _, request in client.requests}) == 3
    assert len(pauses) == 1


def test_a_transaction_still_in_progress_is_asked_for_again_with_its_token() -> None:
    database, client, _ = scripted(refusal("TransactionInProgressException"), {})
    assert write_one(database, Update(PROFILE, add={"n": 1}))
    assert len({request["ClientRequestToken"] for _, request in client.requests}) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        refusal("TransactionCanceledException", "ThrottlingError", "None"),
        refusal("ThrottlingException"),
        refusal("ProvisionedThroughputExceededException"),
    ],
)
def test_endless_trouble_says_that_our_side_is_busy(trouble: ClientError) -> None:
    database, client, pauses = scripted(trouble)
    with pytest.raises(Busy):
        write_one(database, Put(PROFILE, {}), Put(in_control("a"), {}))
    assert len(client.requests) == TRIES
    assert max(pauses) <= 1.0


def test_network_trouble_is_busy_and_a_defect_is_not() -> None:
    database, _, _ = scripted(ReadTimeoutError(endpoint_url="https://example.com"))
    with pytest.raises(Busy):
        database.get([PROFILE])

    database, _, _ = scripted(refusal("ValidationException"))
    with pytest.raises(ClientError):
        write_one(database, Put(PROFILE, {}))

    database, _, _ = scripted(refusal("TransactionCanceledException", "ValidationError", "None"))
    with pytest.raises(ValueError, match="ValidationError"):
        write_one(database, Put(PROFILE, {}), Put(in_control("a"), {}))


def test_tables_may_be_unnamed_until_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    database = connect({"RELAY_PROFILES_TABLE": "mine"})
    assert database.tables == {Table.PROFILES: "mine"}
    with pytest.raises(KeyError, match="RELAY_CONTROL_TABLE"):
        database.get([in_control("a")])


def test_the_fake_names_every_step_before_and_after_it() -> None:
    seen: list[str] = []
    database = MemoryDatabase(before=lambda step: seen.append(f"> {step}"), after=lambda step: seen.append(f"< {step}"))
    database.write([[Put(PROFILE, {}), Put(in_control("a"), {})], [Delete(PROFILE)]])
    database.get([PROFILE])
    database.query(Table.CONTROL, "c")
    steps = ["write control+profiles", "write profiles", "get profiles", "query control"]
    assert seen == [mark + step for step in steps for mark in ("> ", "< ")]
    assert database.steps == steps


def test_the_fake_tells_numbers_from_booleans_as_dynamodb_does_and_moto_does_not() -> None:
    database = MemoryDatabase()
    write_one(database, Put(PROFILE, {"n": 1, "yes": True}))
    assert not write_one(database, Put(PROFILE, {}, expect={"n": True}))
    assert not write_one(database, Put(PROFILE, {}, expect={"yes": 1}))
