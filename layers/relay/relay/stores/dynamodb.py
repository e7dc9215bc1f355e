"""The database on DynamoDB: few calls, bounded retries, and writes that stay right when an answer is lost.

Many conditional writes of single items travel together as PartiQL statements, each with a condition and a result of its
own, at the price of plain writes. What must happen together is a transaction, at twice the price.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html
"""

import base64
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from relay import aws
from relay.aws.clients import Wire
from relay.domain.problems import Busy
from relay.names import table_name
from relay.stores.database import (
    Delete,
    Expectation,
    Item,
    Key,
    Missing,
    Put,
    Table,
    Update,
    Write,
    check_key,
    check_transaction,
    check_write,
)

MAX_KEYS = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""

MAX_STATEMENTS = 25
"""Of one batch; also the most requests of one BatchWriteItem."""

TRIES = 10
"""How often one call is sent before its trouble is handed on: about three seconds of pauses in all."""

TRIES_WITHOUT_ANSWER = 4
"""How often no answer may come to it: each takes some seconds to wait for."""

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
"""Seconds; the pauses between tries double from the first to the longest, with full jitter."""

_HIGHEST = "\U0010ffff"
_NOT_HELD = frozenset({"ConditionalCheckFailed", "ConditionalCheckFailedException", "DuplicateItem"})
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

_UNKNOWN = frozenset({"InternalServerError", "ServiceUnavailable"})
"""Those after which nobody knows whether a write was applied.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html"""

_TOO_LARGE = "Item size"
"""Part of what DynamoDB says when an item would grow over `MAX_ITEM_BYTES`: "Item size has exceeded the maximum allowed
size", with "to update" in it for an update."""


def connect(environment: Mapping[str, str]) -> "DynamoDatabase":
    """Return the database of the stack whose prefix is RELAY_PREFIX of `environment`."""
    prefix = environment["RELAY_PREFIX"]
    return DynamoDatabase(aws.dynamodb(environment), {table: table_name(prefix, table) for table in Table})


class DynamoDatabase:
    """`Database` on DynamoDB.

    Every method raises Busy when throttling, conflicts or network trouble outlast its tries; after a write some may
    then have been applied. ValueError is a write that DynamoDB will never take, such as an item over its limit; others
    of the same call may have been applied. Other errors of DynamoDB are defects and pass through as ClientError.
    """

    def __init__(self, wire: Wire, tables: Mapping[Table, str], *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._wire = wire
        self._tables = tables
        self._sleep = sleep

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return the items in the order of the keys, None where there is none; a key may come more than once."""
        for key in keys:
            check_key(key)
        wanted = list(dict.fromkeys(keys))
        found: dict[tuple[str, str, str], Item] = {}
        for start in range(0, len(wanted), MAX_KEYS):
            request: dict[str, Any] = {}
            for key in wanted[start : start + MAX_KEYS]:
                request.setdefault(self._tables[key.table], {"ConsistentRead": True, "Keys": []})["Keys"].append(
                    _key(key)
                )
            tries = _Tries(self._sleep)
            while request:
                answer = self._call("BatchGetItem", {"RequestItems": request}, tries)
                for name, items in answer["Responses"].items():
                    for raw in items:
                        item = _unmarshal(raw)
                        found[name, str(item["pk"]), str(item.get("sk", ""))] = item
                request = answer.get("UnprocessedKeys", {})
                if request:
                    tries.pause("throttled", "DynamoDB left keys unprocessed")
        return [found.get((self._tables[key.table], key.pk, key.sk)) for key in keys]

    def query(
        self,
        table: Table,
        pk: str,
        *,
        after: str = "",
        until: str = "",
        prefix: str = "",
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Item]:
        """Return items of one partition by `sk`: greater than `after`, at most `until`, starting with `prefix`."""
        check_key(Key(table, pk, prefix or after or "?"))
        last = min(part for part in (until, prefix + _HIGHEST) if part) if prefix or until else ""
        first = max(after, prefix)
        if (limit is not None and limit <= 0) or (last and first > last):
            return []
        condition, values, spare = "pk = :pk", {":pk": {"S": pk}}, 0
        if first and last:
            # Only one condition on `sk` is allowed; `after` itself may come along and is dropped below.
            condition, spare = condition + " AND sk BETWEEN :first AND :last", 1
            values |= {":first": {"S": first}, ":last": {"S": last}}
        elif last:
            condition, values[":last"] = condition + " AND sk <= :last", {"S": last}
        elif first:
            condition, values[":first"] = condition + " AND sk > :first", {"S": first}
        request: dict[str, Any] = {
            "TableName": self._tables[table],
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not newest_first,
        }
        items: list[Item] = []
        while True:
            if limit is not None:
                request["Limit"] = limit - len(items) + spare
            answer = self._call("Query", request, _Tries(self._sleep))
            items += [item for item in map(_unmarshal, answer["Items"]) if not after or item["sk"] != after]
            if "LastEvaluatedKey" not in answer or (limit is not None and len(items) >= limit):
                return items[:limit]
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def scan(self, table: Table, *, after: str = "", limit: int) -> tuple[list[Item], str]:
        """Return a page of a table without sort key, and the key it ended at, empty where the table has ended.

        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
        """
        request: dict[str, Any] = {"TableName": self._tables[table], "ConsistentRead": True, "Limit": limit}
        if after:
            request["ExclusiveStartKey"] = _key(Key(table, after))
        answer = self._call("Scan", request, _Tries(self._sleep))
        last = answer.get("LastEvaluatedKey")
        return list(map(_unmarshal, answer["Items"])), "" if last is None else str(_unmarshal(last)["pk"])

    def write(self, writes: Sequence[Write]) -> list[bool]:
        """Apply each write by itself and say, in order, which applied; False means an expectation did not hold."""
        for write in writes:
            check_write(write)
        applied = [False] * len(writes)
        for way, indices in _batches(writes):
            for index, is_applied in zip(indices, self._send(way, [writes[i] for i in indices]), strict=True):
                applied[index] = is_applied
        return applied

    def _send(self, way: "_Way", writes: Sequence[Write]) -> list[bool]:
        match way:
            case _Way.STATEMENTS:
                return self._execute(writes)
            case _Way.REQUESTS:
                return self._put_all(writes)
            case _Way.ONE:
                return [self._one(writes[0])]
            case _Way.TRANSACTION:
                return [self.transact(writes)]

    def transact(self, writes: Sequence[Write]) -> bool:
        """Apply writes of different keys all or not at all; False when an expectation did not hold.

        The token lets DynamoDB recognise a transaction that is sent again because its answer was lost. One that was
        certainly not applied gets a new token.
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
        """
        check_transaction(writes)
        request = {"TransactItems": [self._native(write) for write in writes], "ClientRequestToken": _token()}
        tries = _Tries(self._sleep)
        while True:
            answer = self._call("TransactWriteItems", request, tries, passes=("TransactionCanceledException",))
            if "Error" not in answer:
                return True
            reasons = [reason for reason in answer["CancellationReasons"] if reason.get("Code", "None") != "None"]
            if any(reason["Code"] in _NOT_HELD for reason in reasons):
                return False
            for reason in reasons:
                if reason["Code"] not in _BUSY:
                    raise _defect("a transaction", reason)
            tries.pause("busy", "DynamoDB kept refusing a transaction for conflicts or throttling")
            if not tries.lost:
                request["ClientRequestToken"] = _token()

    def _execute(self, writes: Sequence[Write]) -> list[bool]:
        """Send conditional writes of items of which it is known whether they exist."""
        applied = [False] * len(writes)
        waiting = list(range(len(writes)))
        tries = _Tries(self._sleep)
        while True:
            request = {"Statements": [self._statement(writes[index]) for index in waiting]}
            answer = self._call("BatchExecuteStatement", request, tries)
            busy, not_held = [], []
            for index, outcome in zip(waiting, answer["Responses"], strict=True):
                error = outcome.get("Error")
                if error is None:
                    applied[index] = True
                elif error["Code"] in _NOT_HELD:
                    not_held.append(index)
                elif error["Code"] in _BUSY:
                    busy.append(index)
                    tries.lost |= error["Code"] in _UNKNOWN
                else:
                    raise _defect(f"a write to {writes[index].key.table.value}", error)
            for index, is_there in self._found(writes, not_held, tries):
                applied[index] = is_there
            if not busy:
                return applied
            waiting = busy
            tries.pause("throttled", "DynamoDB kept throttling statements")

    def _found(self, writes: Sequence[Write], not_held: Sequence[int], tries: "_Tries") -> Iterator[tuple[int, bool]]:
        """Yield whether items are as refused writes would have left them, where that is not known.

        A statement has no token, so after a lost answer what is there now has to show it. A deletion may have found
        nothing to delete.
        """
        unknown = [index for index in not_held if tries.lost or isinstance(writes[index], Delete)]
        if not unknown:
            return
        items = self.get([writes[index].key for index in unknown])
        for index, item in zip(unknown, items, strict=True):
            write = writes[index]
            if isinstance(write, Delete):
                yield index, item is None
            else:
                attributes = write.item if isinstance(write, Put) else write.put
                yield index, item is not None and attributes.items() <= item.items()

    def _put_all(self, writes: Sequence[Write]) -> list[bool]:
        """Send puts and deletes that expect nothing."""
        request: dict[str, list[dict[str, Any]]] = {}
        for write in writes:
            entry = (
                {"PutRequest": {"Item": _whole(write)}}
                if isinstance(write, Put)
                else {"DeleteRequest": {"Key": _key(write.key)}}
            )
            request.setdefault(self._tables[write.key.table], []).append(entry)
        tries = _Tries(self._sleep)
        while request:
            answer = self._call("BatchWriteItem", {"RequestItems": request}, tries)
            request = answer.get("UnprocessedItems", {})
            if request:
                tries.pause("throttled", "DynamoDB left writes unprocessed")
        return [True] * len(writes)

    def _one(self, write: Write) -> bool:
        """Send one update or delete of an item that may not exist."""
        ((kind, request),) = self._native(write).items()
        tries = _Tries(self._sleep)
        try:
            answer = self._call(f"{kind}Item", request, tries, passes=tuple(_NOT_HELD))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            raise _defect(f"a write to {write.key.table.value}", error.response["Error"]) from None
        if "Error" not in answer:
            return True
        return any(is_there for _, is_there in self._found([write], [0], tries))

    def _statement(self, write: Write) -> dict[str, Any]:
        table, key, expect = self._tables[write.key.table], _key(write.key), write.expect
        values: list[Any]
        if isinstance(write, Put):
            text = _insert(table, (*key, *write.item))
            values = [*key.values(), *map(_marshal, write.item.values())]
        else:
            put = write.put if isinstance(write, Update) else {}
            absent = tuple(name for name, value in expect.items() if isinstance(value, Missing))
            # The key says already that the item must be there.
            equal = {
                name: value for name, value in expect.items() if not isinstance(value, Missing) and name not in key
            }
            text = _change(table, tuple(put), tuple(key), tuple(equal), absent)
            values = [*map(_marshal, put.values()), *key.values(), *map(_marshal, equal.values())]
        return {"Statement": text, "Parameters": values}

    def _native(self, write: Write) -> dict[str, dict[str, Any]]:
        request: dict[str, Any] = {"TableName": self._tables[write.key.table]}
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        if conditions := list(_conditions(write.expect, names, values)):
            request["ConditionExpression"] = " AND ".join(conditions)
        if isinstance(write, Put):
            request["Item"] = _whole(write)
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

    def _call(
        self, operation: str, request: Mapping[str, Any], tries: "_Tries", *, passes: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Call DynamoDB, waiting while it is busy; answers with a code in `passes` are returned, not raised."""
        while True:
            try:
                return self._wire.call(operation, request)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in passes:
                    return dict(error.response)
                if code not in _BUSY:
                    raise
                tries.lost |= code in _UNKNOWN
                tries.pause("throttled", f"DynamoDB was too busy for {operation} ({code})")
            except BotoCoreError as error:
                tries.note_no_answer()
                tries.pause("database_unavailable", f"DynamoDB gave no answer to {operation} ({type(error).__name__})")


class _Tries:
    """Counts the tries of one call and waits between them, longer each time, with full jitter.

    `lost` says that an earlier try may have been carried out.
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self._made = 1
        self._without_answer = 0
        self.lost = False

    def note_no_answer(self) -> None:
        """Count a try to which no answer came."""
        self.lost = True
        self._without_answer += 1

    def pause(self, code: str, what: str) -> None:
        """Wait before the next try; raise Busy when there is none left."""
        if self._made >= TRIES or self._without_answer >= TRIES_WITHOUT_ANSWER:
            raise Busy(code, what)
        self._sleep(random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._made)))  # noqa: S311 - jitter, not a secret
        self._made += 1


class _Way(Enum):
    """How a write travels."""

    STATEMENTS = "BatchExecuteStatement"
    """Up to 25 together, each with its own condition. INSERT only creates; UPDATE and DELETE need an existing item."""
    REQUESTS = "BatchWriteItem"
    """Up to 25 together, without a condition."""
    ONE = "UpdateItem, DeleteItem"
    TRANSACTION = "TransactWriteItems"


def _way(write: Write) -> _Way:
    if isinstance(write, Update) and write.add:
        # Only a transaction's token keeps an addition from happening twice.
        return _Way.TRANSACTION
    if isinstance(write, Put):
        return _Way.STATEMENTS if write.expect else _Way.REQUESTS
    if any(not isinstance(value, Missing) for value in write.expect.values()):
        return _Way.STATEMENTS
    return _Way.REQUESTS if isinstance(write, Delete) and not write.expect else _Way.ONE


def _batches(writes: Sequence[Write]) -> Iterator[tuple[_Way, list[int]]]:
    """Cut writes, in their order, into batches that travel together; no key comes twice in one."""
    batch: list[int] = []
    keys: set[Key] = set()
    way = _Way.ONE
    for index, write in enumerate(writes):
        its_way = _way(write)
        most = MAX_STATEMENTS if its_way in (_Way.STATEMENTS, _Way.REQUESTS) else 1
        if batch and (its_way is not way or len(batch) >= most or write.key in keys):
            yield way, batch
            batch, keys = [], set()
        way = its_way
        batch.append(index)
        keys.add(write.key)
    if batch:
        yield way, batch


def _token() -> str:
    return str(uuid.uuid4())


def _defect(what: str, error: Mapping[str, Any]) -> ValueError:
    """Return what is raised for a write that DynamoDB will never take; its own text may hold data."""
    if _TOO_LARGE in str(error.get("Message", "")):
        return ValueError(f"DynamoDB refused {what}: an item would be larger than 400 KB")
    return ValueError(f"DynamoDB refused {what} for {error['Code']}")


@lru_cache(maxsize=256)
def _insert(table: str, names: tuple[str, ...]) -> str:
    values = ", ".join([f"'{name}': ?" for name in names])
    return f'INSERT INTO "{table}" VALUE {{{values}}}'


@lru_cache(maxsize=256)
def _change(
    table: str, put: tuple[str, ...], key: tuple[str, ...], equal: tuple[str, ...], absent: tuple[str, ...]
) -> str:
    conditions = [*(f'"{name}" = ?' for name in (*key, *equal)), *(f'"{name}" IS MISSING' for name in absent)]
    verb = "UPDATE" if put else "DELETE FROM"
    return " ".join([verb, f'"{table}"', *(f'SET "{name}" = ?' for name in put), "WHERE", " AND ".join(conditions)])


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


def _whole(write: Put) -> dict[str, Any]:
    return _key(write.key) | {name: _marshal(value) for name, value in write.item.items()}


def _marshal(value: str | int | bool | bytes) -> dict[str, Any]:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"B": base64.b64encode(value).decode()}


def _unmarshal(item: Mapping[str, Mapping[str, Any]]) -> Item:
    plain: Item = {}
    for name, typed in item.items():
        if "S" in typed:
            plain[name] = typed["S"]
        elif "N" in typed:
            plain[name] = int(typed["N"])
        elif "B" in typed:
            plain[name] = base64.b64decode(typed["B"])
        else:
            plain[name] = typed["BOOL"]
    return plain
