"""The wire of DynamoDB counts units as DynamoDB charges them.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

from collections.abc import Callable, Sequence

import pytest

from relay.stores.database import ABSENT, Delete, Key, Put, Table, Update, Write
from relay.stores.dynamodb import DynamoDatabase
from tests.fakes.dynamo_wire import DynamoWire

NAMES = {table: table.value for table in Table}
KILOBYTE = 1024


def key(name: str, pk: str = "p") -> Key:
    return Key(Table.CONTROL, pk, name)


def item(size: int, name: str = "a") -> dict[str, str | int | bool | bytes]:
    """Return the item of `key(name)` that takes so many bytes with its key: names count, too."""
    return {"x": "y" * (size - len("pk" + "p" + "sk" + name + "x"))}


class World:
    def __init__(self) -> None:
        self.wire = DynamoWire()
        self.database = DynamoDatabase(self.wire, NAMES)

    def has(self, *puts: Put) -> "World":
        self.database.write(puts)
        self.wire.forget_units()
        return self

    def writes(self, *writes: Write) -> int:
        self.wire.forget_units()
        self.database.write(writes)
        return self.wire.write_units.total()

    def transacts(self, *writes: Write) -> int:
        self.wire.forget_units()
        self.database.transact(writes)
        return self.wire.write_units.total()

    def reads(self, read: Callable[[DynamoDatabase], Sequence[object]]) -> float:
        self.wire.forget_units()
        read(self.database)
        return self.wire.read_units.total()


@pytest.mark.parametrize(("size", "units"), [(20, 1), (KILOBYTE, 1), (KILOBYTE + 1, 2), (10 * KILOBYTE, 10)])
def test_a_write_costs_by_the_kilobyte_and_twice_as_much_in_a_transaction(size: int, units: int) -> None:
    assert World().writes(Put(key("a"), item(size))) == units
    assert World().writes(Put(key("a"), item(size), {"pk": ABSENT})) == units
    assert World().transacts(Put(key("a"), item(size))) == 2 * units


def test_of_the_item_before_and_after_the_larger_counts() -> None:
    large, small = item(3 * KILOBYTE), item(100)
    assert World().has(Put(key("a"), large)).writes(Put(key("a"), small)) == 3
    assert World().has(Put(key("a"), small)).writes(Put(key("a"), large)) == 3
    assert World().has(Put(key("a"), large)).writes(Delete(key("a"))) == 3
    # A small change of a large item costs all of it.
    assert World().has(Put(key("a"), large)).writes(Update(key("a"), {"n": 1}, expect={"pk": "p"})) == 4
    assert World().writes(Delete(key("nobody"))) == 1


def test_each_item_of_a_batch_is_rounded_up_by_itself() -> None:
    puts = [Put(key(name), item(300)) for name in "abcdefghijklmnopqrstuvwxyz"]
    assert World().writes(*puts) == 26
    updates = [Update(key(name), {"n": 1}, expect={"pk": "p"}) for name in "abcde"]
    assert World().has(*puts).writes(*updates) == 5


@pytest.mark.parametrize(
    "write",
    [
        Put(key("a"), item(100), {"pk": ABSENT}),
        Update(key("a"), {"n": 1}, expect={"x": "other"}),
        Update(key("a"), {"n": 1}, expect={"x": ABSENT}),
        Delete(key("a"), {"x": "other"}),
    ],
)
def test_a_write_that_is_refused_costs_as_much(write: Write) -> None:
    world = World().has(Put(key("a"), item(3 * KILOBYTE - 20)))
    assert world.writes(write) == 3
    assert world.transacts(write) == 6
    assert world.reads(lambda database: database.get([key("a")])) == 1


def test_a_transaction_that_is_refused_costs_every_item_of_it() -> None:
    world = World().has(Put(key("a"), item(2 * KILOBYTE)))
    refused = [Put(key("a"), item(100), {"pk": ABSENT}), Put(key("b"), item(100))]
    assert world.transacts(*refused) == 2 * (2 + 1)


@pytest.mark.parametrize(("size", "units"), [(20, 1), (4 * KILOBYTE, 1), (4 * KILOBYTE + 1, 2), (9 * KILOBYTE, 3)])
def test_a_read_costs_by_four_kilobytes_of_each_item(size: int, units: int) -> None:
    world = World().has(Put(key("a"), item(size)), Put(key("b"), item(size, "b")))
    assert world.reads(lambda database: database.get([key("a"), key("b")])) == 2 * units
    assert world.reads(lambda database: database.get([key("nobody")])) == 1


def test_a_query_costs_by_the_sum_of_what_it_finds() -> None:
    world = World().has(*(Put(key(name), item(KILOBYTE, name)) for name in "abcdefghi"))
    assert world.reads(lambda database: database.query(Table.CONTROL, "p")) == 3
    assert world.reads(lambda database: database.query(Table.CONTROL, "p", limit=4)) == 1
    assert world.reads(lambda database: database.query(Table.CONTROL, "nobody")) == 1


def test_a_read_that_may_be_old_costs_half() -> None:
    wire = DynamoWire()
    wire.call("BatchGetItem", {"RequestItems": {"control": {"Keys": [{"pk": {"S": "p"}, "sk": {"S": "a"}}]}}})
    query = {
        "TableName": "control",
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "p"}},
        "ScanIndexForward": True,
    }
    wire.call("Query", query)
    assert wire.read_units == {"control": 1}
    wire.call("Query", {**query, "ConsistentRead": True})
    assert wire.read_units == {"control": 2}


def test_another_end_of_the_wire_counts_for_itself() -> None:
    wire = DynamoWire()
    other = wire.beside()
    DynamoDatabase(other, NAMES).write([Put(key("a"), {"n": 1})])
    assert DynamoDatabase(wire, NAMES).get([key("a")]) == [{"pk": "p", "sk": "a", "n": 1}]
    assert (wire.write_units.total(), other.write_units.total()) == (0, 1)
    assert (wire.read_units.total(), other.read_units.total()) == (1, 0)
