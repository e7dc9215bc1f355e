"""The database on DynamoDB: few calls, bounded retries, and writes that stay right when an answer is lost."""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay.domain.problems import Busy
from relay.stores.database import MAX_GROUP, Expectation, Group, Item, Key, Missing, Put, Table, Update, Write

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PACK_FROM = 8
"""From this many groups in one `write`, groups of a single write travel together in transactions too.

A transaction costs twice the write units of plain writes but moves up to 100 items per round trip: measured on an
emulator 6,800 items/s against 600/s. A few writes are not worth the price; bulk work is, because its function time
and its latency cost more than the units.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-capacity-handling
"""

MAX_KEYS = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""

MAX_ITEM_BYTES = 400 * 1024
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-items"""

MAX_TRANSACTION_BYTES = 3_500_000
"""Under the documented 4 MB, because our estimate does not count DynamoDB's own overhead per attribute."""

TRIES = 10
"""How often one call is sent before its trouble is handed on: about three seconds of pauses in all."""

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
"""Seconds; the pauses between tries double from the first to the longest, with full jitter."""

SORTED_TABLES = frozenset({Table.SEGMENTS, Table.DELIVERIES, Table.CONTROL})
"""The tables whose key is `pk` and `sk`; the key of the others is `pk` alone."""

VARIABLES: Mapping[Table, str] = {table: f"RELAY_{table.name}_TABLE" for table in Table}
"""The environment variables that name the tables."""

_HIGHEST = "\U0010ffff"
_CHECK_FAILED = "ConditionalCheckFailed"
_BUSY = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Error codes and cancellation reasons that pass by waiting."""


def connect(environment: Mapping[str, str]) -> "DynamoDatabase":
    """Return the database of the tables that `environment` names (see `VARIABLES`).

    A table that is not named may be missing until it is used; then KeyError names its variable.
    """
    # boto3 takes 200 ms to import: whoever only handles keys and groups should not wait for it.
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 4},
        connect_timeout=2,
        read_timeout=5,
        max_pool_connections=10,
    )
    tables = {table: environment[variable] for table, variable in VARIABLES.items() if variable in environment}
    return DynamoDatabase(boto3.client("dynamodb", config=config), tables)


def check_groups(groups: Sequence[Group]) -> None:
    """Refuse, with ValueError, what no database may be asked to do: these are defects, whatever is stored."""
    for group in groups:
        if not 0 < len(group) <= MAX_GROUP:
            raise ValueError(f"a group has 1 to {MAX_GROUP} writes, not {len(group)}")
        if len({write.key for write in group}) < len(group):
            raise ValueError("a group writes a key twice")
        for write in group:
            check_key(write.key)
            if isinstance(write, Update):
                if not write.put and not write.add:
                    raise ValueError(f"an update of {write.key.table.value} changes nothing")
                if write.put.keys() & write.add.keys():
                    raise ValueError(f"an update of {write.key.table.value} sets and adds to the same attribute")
            item: Mapping[str, object] = write.item if isinstance(write, Put) else {}
            item = {**write.put, **write.add} if isinstance(write, Update) else item
            if "pk" in item or "sk" in item:
                raise ValueError(f"a write to {write.key.table.value} names a key attribute in its item")
            if _size(write) > MAX_ITEM_BYTES:
                raise ValueError(f"an item of {write.key.table.value} is larger than 400 KB")
            if bad := [name for name, value in item.items() if not isinstance(value, str | int | bytes)]:
                raise ValueError(f"a write to {write.key.table.value} has values of unknown type in {bad}")


def check_key(key: Key) -> None:
    """Refuse, with ValueError, a key that does not fit its table."""
    if not key.pk or bool(key.sk) != (key.table in SORTED_TABLES):
        raise ValueError(f"a key does not fit the table {key.table.value}")


@dataclass
class DynamoDatabase:
    """`Database` on DynamoDB.

    Every method raises Busy when throttling, conflicts or network trouble outlast its tries; `taken` is then None
    after a write, because some groups may have been applied. Other errors of DynamoDB are defects and pass through.
    """

    client: "DynamoDBClient"
    tables: Mapping[Table, str]
    pack_from: int = PACK_FROM
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return the items in the order of the keys, None where there is none; a key may come more than once."""
        for key in keys:
            check_key(key)
        wanted = list(dict.fromkeys(keys))
        found: dict[Key, Item] = {}
        names = {self._name(table): table for table in {key.table for key in wanted}}
        for start in range(0, len(wanted), MAX_KEYS):
            request: dict[str, Any] = {}
            for key in wanted[start : start + MAX_KEYS]:
                request.setdefault(self._name(key.table), {"ConsistentRead": True, "Keys": []})["Keys"].append(
                    _key(key)
                )
            tries = _Tries(self.sleep)
            while request:
                answer = self._call("batch_get_item", tries, RequestItems=request)
                for name, items in answer["Responses"].items():
                    for item in map(_unmarshal, items):
                        found[Key(names[name], str(item["pk"]), str(item.get("sk", "")))] = item
                request = answer.get("UnprocessedKeys", {})
                if request:
                    tries.pause("throttled", "DynamoDB left keys unprocessed")
        return [dict(found[key]) if key in found else None for key in keys]

    def query(
        self, table: Table, pk: str, *, after: str = "", prefix: str = "", limit: int | None = None
    ) -> list[Item]:
        """Return items of one partition sorted by `sk`: those greater than `after` and starting with `prefix`."""
        check_key(Key(table, pk, prefix or after or "?"))
        outside = after > prefix and not after.startswith(prefix)
        if outside or (limit is not None and limit <= 0):
            return []
        condition, values, spare = "pk = :pk", {":pk": {"S": pk}}, 0
        if prefix and after >= prefix:
            # Only one condition on `sk` is allowed; `after` itself comes along and is dropped below.
            condition, spare = condition + " AND sk BETWEEN :after AND :last", 1
            values |= {":after": {"S": after}, ":last": {"S": prefix + _HIGHEST}}
        elif prefix:
            condition, values[":prefix"] = condition + " AND begins_with(sk, :prefix)", {"S": prefix}
        elif after:
            condition, values[":after"] = condition + " AND sk > :after", {"S": after}
        request: dict[str, Any] = {
            "TableName": self._name(table),
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
        }
        items: list[Item] = []
        while True:
            if limit is not None:
                request["Limit"] = limit - len(items) + spare
            answer = self._call("query", _Tries(self.sleep), **request)
            items += [item for item in map(_unmarshal, answer["Items"]) if item["sk"] != after]
            if "LastEvaluatedKey" not in answer or (limit is not None and len(items) >= limit):
                return items[:limit]
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def write(self, groups: Sequence[Group]) -> list[bool]:
        """Apply each group atomically and say, in order, which applied; False means an expectation did not hold.

        A lone write goes out plainly, for half the price of a transaction, except when it comes in company
        (`PACK_FROM`) or adds to a counter: the SDK repeats a call whose answer was lost, and only a transaction's token
        keeps an addition from happening twice. A lone conditional write whose answer was lost may therefore be
        reported False although it applied: read again before drawing conclusions.

        Groups that share a key are applied in the order given.
        """
        check_groups(groups)
        applied = [False] * len(groups)
        waiting = list(range(len(groups)))
        tries = _Tries(self.sleep)
        most = MAX_GROUP
        while waiting:
            pack = self._pack(groups, waiting, most)
            if self._goes_plainly(groups, pack):
                refused: set[int] = set() if self._write_plainly(groups[pack[0]][0], tries) else set(pack)
                busy: set[int] = set()
            else:
                refused, busy = self._transact(groups, pack, tries)
            if busy:
                # A large transaction meets others more often: halve it while it does.
                most = max(1, sum(len(groups[index]) for index in pack) // 2)
                tries.pause("busy", "DynamoDB kept refusing a transaction for conflicts or throttling")
            elif not refused:
                most = MAX_GROUP
            done = refused if refused or busy else set(pack)
            for index in done - refused:
                applied[index] = True
            if done:
                tries = _Tries(self.sleep)
            waiting = [index for index in waiting if index not in done]
        return applied

    def _pack(self, groups: Sequence[Group], waiting: Sequence[int], most: int) -> list[int]:
        """Return the groups that go out together next; never past an earlier group that shares a key."""
        if self._goes_plainly(groups, waiting[:1]):
            return [waiting[0]]
        pack: list[int] = []
        seen: set[Key] = set()
        writes = size = 0
        for index in waiting:
            group = groups[index]
            keys = {write.key for write in group}
            weight = sum(map(_size, group))
            if pack and (writes + len(group) > most or size + weight > MAX_TRANSACTION_BYTES):
                break
            if not keys & seen and not self._goes_plainly(groups, [index]):
                pack.append(index)
                writes, size = writes + len(group), size + weight
            seen |= keys
        return pack

    def _goes_plainly(self, groups: Sequence[Group], pack: Sequence[int]) -> bool:
        if len(groups) >= self.pack_from or len(pack) != 1 or len(groups[pack[0]]) != 1:
            return False
        write = groups[pack[0]][0]
        return not (isinstance(write, Update) and write.add)

    def _write_plainly(self, write: Write, tries: "_Tries") -> bool:
        kind, request = next(iter(self._request(write).items()))
        answer = self._call(f"{kind.lower()}_item", tries, **request, passes=("ConditionalCheckFailedException",))
        return "Error" not in answer

    def _transact(self, groups: Sequence[Group], pack: Sequence[int], tries: "_Tries") -> tuple[set[int], set[int]]:
        """Send one transaction; return the groups whose expectations failed and those that met others at work."""
        origin = [index for index in pack for _ in groups[index]]
        answer = self._call(
            "transact_write_items",
            tries,
            TransactItems=[self._request(write) for index in pack for write in groups[index]],
            ClientRequestToken=str(uuid.uuid4()),
            passes=("TransactionCanceledException",),
        )
        if "Error" not in answer:
            return set(), set()
        codes = [reason.get("Code", "None") for reason in answer["CancellationReasons"]]
        if unknown := set(codes) - _BUSY - {_CHECK_FAILED, "None"}:
            raise ValueError(f"DynamoDB cancelled a transaction for {sorted(unknown)}")
        refused = {index for index, code in zip(origin, codes, strict=True) if code == _CHECK_FAILED}
        busy = {index for index, code in zip(origin, codes, strict=True) if code in _BUSY} - refused
        return refused, busy

    def _request(self, write: Write) -> dict[str, dict[str, Any]]:
        request: dict[str, Any] = {"TableName": self._name(write.key.table)}
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        if conditions := list(_conditions(write.expect, names, values)):
            request["ConditionExpression"] = " AND ".join(conditions)
        if isinstance(write, Put):
            request["Item"] = _key(write.key) | {name: _marshal(value) for name, value in write.item.items()}
        else:
            request["Key"] = _key(write.key)
        if isinstance(write, Update):
            clauses = []
            for verb, attributes, between in (("SET", write.put, "="), ("ADD", write.add, "")):
                parts: list[str] = []
                for name, value in attributes.items():
                    place = f"{verb[0].lower()}{len(parts)}"
                    names[f"#{place}"], values[f":{place}"] = name, _marshal(value)
                    parts.append(f"#{place} {between} :{place}")
                clauses += [f"{verb} {', '.join(parts)}"] if parts else []
            request["UpdateExpression"] = " ".join(clauses)
        if names:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = values
        return {type(write).__name__: request}

    def _name(self, table: Table) -> str:
        try:
            return self.tables[table]
        except KeyError:
            raise KeyError(f"{VARIABLES[table]} is not set") from None

    def _call(self, operation: str, tries: "_Tries", *, passes: Sequence[str] = (), **request: Any) -> dict[str, Any]:
        """Call DynamoDB, waiting while it is busy; answers with a code in `passes` are returned, not raised."""
        from botocore.exceptions import BotoCoreError, ClientError

        while True:
            try:
                answer: dict[str, Any] = getattr(self.client, operation)(**request)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in passes:
                    return dict(error.response)
                if code not in _BUSY:
                    raise
                tries.pause(code, f"DynamoDB was too busy for {operation}")
            except BotoCoreError as error:
                raise Busy(type(error).__name__, f"DynamoDB could not be reached for {operation}") from error
            else:
                return answer


class _Tries:
    """Counts the tries of one call and waits between them, longer each time, with full jitter.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self._made = 1

    def pause(self, code: str, what: str) -> None:
        """Wait before the next try; raise Busy when there is none left."""
        if self._made >= TRIES:
            raise Busy(code, what)
        self._sleep(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._made)))  # noqa: S311 - jitter, not a secret
        self._made += 1


def _conditions(expect: Expectation, names: dict[str, str], values: dict[str, Any]) -> Iterator[str]:
    for number, (name, value) in enumerate(expect.items()):
        names[f"#e{number}"] = name
        if isinstance(value, Missing):
            yield f"attribute_not_exists(#e{number})"
        else:
            values[f":e{number}"] = _marshal(value)
            yield f"#e{number} = :e{number}"


def _key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}} if key.sk else {"pk": {"S": key.pk}}


def _marshal(value: str | int | bool | bytes) -> dict[str, Any]:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"B": value}


def _unmarshal(item: Mapping[str, Mapping[str, Any]]) -> Item:
    plain: Item = {}
    for name, typed in item.items():
        for kind, value in typed.items():
            plain[name] = int(value) if kind == "N" else value
    return plain


def _size(write: Write) -> int:
    attributes: Mapping[str, Any] = {}
    if isinstance(write, Put):
        attributes = write.item
    elif isinstance(write, Update):
        attributes = {**write.put, **write.add}
    return 200 + sum(
        len(name) + (len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes) else 20)
        for name, value in attributes.items()
    )
