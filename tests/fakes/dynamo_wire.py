"""DynamoDB at the end of the wire: what it answers to the requests this project makes, with the units it would charge.

It reads the statements and expressions that `relay.stores.dynamodb` writes and no others. A test may let it throttle,
leave things unprocessed, lose answers, or refuse single statements.
"""

import base64
import bisect
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

Attributes = dict[str, dict[str, Any]]
"""An item as the wire has it: `{"pk": {"S": "..."}}`."""

NOT_HELD = "ConditionalCheckFailed"
TOO_LARGE = "Item size to update has exceeded the maximum allowed size"
MAX_ITEM_BYTES = 400 * 1024


class DynamoWire:
    """Answers as DynamoDB. `before` and `after` are called around every call with its operation and request.

    What `before` raises did not happen, what `after` raises did. `refusals` maps a partition key to error codes that
    the next statements for it are answered with; they are not carried out, but for those in `carried_out`, whose answer
    is an InternalServerError. `leaves` says how many of the entries of a batch stay unprocessed.
    """

    def __init__(
        self,
        *,
        before: Callable[[str, Mapping[str, Any]], None] = lambda operation, request: None,
        after: Callable[[str, Mapping[str, Any]], None] = lambda operation, request: None,
    ) -> None:
        self.before = before
        self.after = after
        self.refusals: dict[str, list[str]] = {}
        self.carried_out: set[str] = set()
        self.leaves: Callable[[int], int] = lambda entries: 0
        self.calls: Counter[str] = Counter()
        self.read_units: Counter[str] = Counter()
        """Halves where a read may be old; whole numbers otherwise."""
        self.write_units: Counter[str] = Counter()
        self._tables: dict[str, dict[str, dict[str, Attributes]]] = {}
        self._sorted: dict[tuple[str, str], list[str]] = {}
        self._tokens: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call."""
        return self.answer(operation, json.loads(json.dumps(request)))

    def answer(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call whose request is nobody else's."""
        self.before(operation, request)
        with self._lock:
            self.calls[operation] += 1
            answer: dict[str, Any] = getattr(self, f"_{_snake(operation)}")(request)
        self.after(operation, request)
        return answer

    # Reads.

    def _batch_get_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, list[Attributes]] = {}
        keys = [(name, key) for name, asked in request["RequestItems"].items() for key in asked["Keys"]]
        if len(keys) > 100 or len({json.dumps(entry, sort_keys=True) for entry in keys}) < len(keys):
            raise _refused("ValidationException", "BatchGetItem")
        done = len(keys) - self.leaves(len(keys))
        for name, key in keys[:done]:
            item = self._item(name, key)
            size = 0 if item is None else _size(item)
            self._charge_read(name, size, is_consistent=request["RequestItems"][name].get("ConsistentRead", False))
            if item is not None:
                found.setdefault(name, []).append(item)
        left: dict[str, Any] = {}
        for name, key in keys[done:]:
            left.setdefault(name, {"ConsistentRead": True, "Keys": []})["Keys"].append(key)
        return {"Responses": found, "UnprocessedKeys": left}

    def _query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, values = request["TableName"], {k: v["S"] for k, v in request["ExpressionAttributeValues"].items()}
        keys = self._keys(name, values[":pk"])
        condition = request["KeyConditionExpression"]
        start = bisect.bisect_left(keys, values.get(":first", ""))
        if "sk > :first" in condition:
            start = bisect.bisect_right(keys, values[":first"])
        end = bisect.bisect_right(keys, values[":last"]) if ":last" in values else len(keys)
        within = keys[start:end]
        if "ExclusiveStartKey" in request:
            last = request["ExclusiveStartKey"]["sk"]["S"]
            within = [sk for sk in within if (sk > last) == request["ScanIndexForward"] and sk != last]
        if not request["ScanIndexForward"]:
            within.reverse()
        items: list[Attributes] = []
        size = 0
        for sk in within[: request.get("Limit")]:
            items.append(self._tables[name][values[":pk"]][sk])
            size += _size(items[-1])
            if size > 1_000_000:
                break
        self._charge_read(name, size, is_consistent=request.get("ConsistentRead", False))
        answer: dict[str, Any] = {"Items": items, "Count": len(items)}
        if items and (len(items) < len(within) or len(items) == request.get("Limit")):
            answer["LastEvaluatedKey"] = {"pk": items[-1]["pk"], "sk": items[-1]["sk"]}
        return answer

    def _scan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["TableName"]
        last = request.get("ExclusiveStartKey", {"pk": {"S": ""}})["pk"]["S"]
        items: list[Attributes] = []
        size = 0
        for pk in sorted(one for one in self._tables[name] if one > last):
            if len(items) == request["Limit"] or size > 1_000_000:
                break
            for item in self._tables[name][pk].values():
                items.append(item)
                size += _size(item)
        self._charge_read(name, size, is_consistent=request.get("ConsistentRead", False))
        ends = {} if len(items) < request["Limit"] else {"LastEvaluatedKey": {"pk": items[-1]["pk"]}}
        return {"Items": items, "Count": len(items), **ends}

    # Writes.

    def _batch_execute_statement(self, request: Mapping[str, Any]) -> dict[str, Any]:
        statements = [_parsed(entry) for entry in request["Statements"]]
        places = [(s.table, json.dumps(s.key, sort_keys=True)) for s in statements]
        if not 0 < len(statements) <= 25 or len(set(places)) < len(places):
            raise _refused("ValidationException", "BatchExecuteStatement")
        return {"Responses": [self._executed(statement) for statement in statements]}

    def _executed(self, statement: "_Statement") -> dict[str, Any]:
        planned = self.refusals.get(statement.key["pk"]["S"], [])
        if planned:
            return {"Error": {"Code": planned.pop(0), "Message": "planned"}}
        old = self._item(statement.table, statement.key)
        new = None if statement.verb == "DELETE" else {**statement.key, **(old or {}), **statement.put}
        if statement.verb == "INSERT" and old is not None:
            return self._not_held(statement, old, new, "DuplicateItem")
        if statement.verb != "INSERT" and (old is None or not statement.holds(old)):
            return self._not_held(statement, old, new, NOT_HELD)
        if new is not None and _size(new) > MAX_ITEM_BYTES:
            return {"Error": {"Code": "ValidationError", "Message": TOO_LARGE}}
        self._store(statement.table, statement.key, new, factor=1)
        if statement.key["pk"]["S"] in self.carried_out:
            self.carried_out.remove(statement.key["pk"]["S"])
            return {"Error": {"Code": "InternalServerError", "Message": "planned"}}
        return {"TableName": statement.table}

    def _not_held(
        self, statement: "_Statement", old: Attributes | None, new: Attributes | None, code: str
    ) -> dict[str, Any]:
        self._charge(statement.table, old, new, factor=1)
        return {"Error": {"Code": code, "Message": "The conditional request failed"}}

    def _batch_write_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        entries = [(name, entry) for name, asked in request["RequestItems"].items() for entry in asked]
        if not 0 < len(entries) <= 25:
            raise _refused("ValidationException", "BatchWriteItem")
        done = len(entries) - self.leaves(len(entries))
        for name, entry in entries[:done]:
            if "PutRequest" in entry:
                item = entry["PutRequest"]["Item"]
                self._store(name, _key_in(item), item, factor=1)
            else:
                self._store(name, entry["DeleteRequest"]["Key"], None, factor=1)
        left: dict[str, list[Any]] = {}
        for name, entry in entries[done:]:
            left.setdefault(name, []).append(entry)
        return {"UnprocessedItems": left}

    def _update_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._single("Update", request)

    def _delete_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._single("Delete", request)

    def _single(self, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
        name, key = request["TableName"], request["Key"]
        new = self._after(kind, request)
        if not self._holds(request):
            self._charge(name, self._item(name, key), new, factor=1)
            raise _refused("ConditionalCheckFailedException", f"{kind}Item")
        if new is not None and _size(new) > MAX_ITEM_BYTES:
            raise _refused("ValidationException", f"{kind}Item", TOO_LARGE)
        self._store(name, key, new, factor=1)
        return {}

    def _transact_write_items(self, request: Mapping[str, Any]) -> dict[str, Any]:
        token, entries = request["ClientRequestToken"], request["TransactItems"]
        text = json.dumps(entries, sort_keys=True)
        if self._tokens.get(token) == text:
            return {}
        writes = [(kind, write) for entry in entries for kind, write in entry.items()]
        if len(writes) > 100:
            raise _refused("ValidationException", "TransactWriteItems")
        after = [self._after(kind, write) for kind, write in writes]
        reasons = [
            {"Code": NOT_HELD, "Message": "The conditional request failed"}
            if not self._holds(write)
            else {"Code": "ValidationError", "Message": TOO_LARGE}
            if new is not None and _size(new) > MAX_ITEM_BYTES
            else {"Code": "None"}
            for (_, write), new in zip(writes, after, strict=True)
        ]
        is_refused = any(reason["Code"] != "None" for reason in reasons)
        for (_, write), new in zip(writes, after, strict=True):
            name, key = write["TableName"], write.get("Key") or _key_in(write["Item"])
            if is_refused:
                self._charge(name, self._item(name, key), new, factor=2)
            else:
                self._store(name, key, new, factor=2)
        if is_refused:
            raise _refused("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
        self._tokens[token] = text
        return {}

    def _holds(self, request: Mapping[str, Any]) -> bool:
        item = self._item(request["TableName"], request.get("Key") or _key_in(request["Item"]))
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        for condition in filter(None, request.get("ConditionExpression", "").split(" AND ")):
            if missing := re.fullmatch(r"attribute_not_exists\((#e\d+)\)", condition):
                if item is not None and names[missing[1]] in item:
                    return False
            else:
                name, value = condition.split(" = ")
                if item is None or item.get(names[name]) != values[value]:
                    return False
        return True

    def _after(self, kind: str, request: Mapping[str, Any]) -> Attributes | None:
        """Return what an item is after a write."""
        if kind == "Delete":
            return None
        if kind == "Put":
            return dict(request["Item"])
        key = request["Key"]
        names, values = request.get("ExpressionAttributeNames", {}), request["ExpressionAttributeValues"]
        new = dict(self._item(request["TableName"], key) or key)
        for verb, parts in re.findall(r"(SET|ADD) (.*?)(?= ADD |$)", request["UpdateExpression"]):
            for part in parts.split(", "):
                place, value = part.split(" = ") if verb == "SET" else part.split()
                attribute = names[place]
                if verb == "SET":
                    new[attribute] = values[value]
                else:
                    old = int(new.get(attribute, {"N": "0"})["N"])
                    new[attribute] = {"N": str(old + int(values[value]["N"]))}
        return new

    # The items.

    def beside(self) -> "DynamoWire":
        """Return another end of this wire: the same tables, with counts of its own."""
        other = DynamoWire()
        other._tables, other._sorted, other._tokens, other._lock = self._tables, self._sorted, self._tokens, self._lock
        return other

    def _item(self, table: str, key: Mapping[str, Any]) -> Attributes | None:
        return self._tables.get(table, {}).get(key["pk"]["S"], {}).get(key.get("sk", {"S": ""})["S"])

    def _keys(self, table: str, pk: str) -> list[str]:
        if (table, pk) not in self._sorted:
            self._sorted[table, pk] = sorted(self._tables.get(table, {}).get(pk, {}))
        return self._sorted[table, pk]

    def _store(self, table: str, key: Mapping[str, Any], item: Attributes | None, *, factor: int) -> None:
        pk, sk = key["pk"]["S"], key.get("sk", {"S": ""})["S"]
        partition = self._tables.setdefault(table, {}).setdefault(pk, {})
        old = partition.get(sk)
        self._charge(table, old, item, factor=factor)
        if (old is None) != (item is None):
            self._sorted.pop((table, pk), None)
        if item is None:
            partition.pop(sk, None)
        else:
            partition[sk] = item

    def _charge(self, table: str, old: Attributes | None, new: Attributes | None, *, factor: int) -> None:
        """Charge a write, applied or not, by the larger of the two items.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
        """
        largest = max(0 if one is None else _size(one) for one in (old, new))
        self.write_units[table] += factor * max(1, -(-largest // 1024))

    def _charge_read(self, table: str, size: int, *, is_consistent: bool) -> None:
        units = max(1, -(-size // 4096))
        self.read_units[table] += units if is_consistent else units / 2  # type: ignore[assignment]

    def items(self, table: str) -> Iterator[Attributes]:
        """Yield the items of a table."""
        for partition in self._tables.get(table, {}).values():
            yield from partition.values()

    def forget_units(self) -> None:
        """Begin to count calls and units again."""
        for counts in (self.calls, self.read_units, self.write_units):
            counts.clear()


class _Statement:
    """A PartiQL statement as it was read: verb, table, key, what it sets and what it expects."""

    def __init__(self, verb: str, table: str, put: Attributes, where: Attributes, missing: Sequence[str]) -> None:
        self.verb = verb
        self.table = table
        self.put = put
        self.key = _key_in(put if verb == "INSERT" else where)
        self._where = where
        self._missing = missing

    def holds(self, item: Attributes) -> bool:
        """Return whether an item is as the statement expects it."""
        return all(item.get(name) == value for name, value in self._where.items()) and not any(
            name in item for name in self._missing
        )


_WRITTEN = re.compile(r'(?:INSERT INTO|UPDATE|DELETE FROM) "([^"]+)"')


class _Shape(NamedTuple):
    """What the text of a statement says: names of what it sets, expects and misses."""

    verb: str
    table: str
    put: Sequence[str]
    where: Sequence[str] = ()
    missing: Sequence[str] = ()


@cache
def _shape(text: str) -> _Shape:
    table = _WRITTEN.match(text)
    assert table is not None, text
    verb = text.split()[0]
    if verb == "INSERT":
        return _Shape(verb, table[1], re.findall(r"'([^']+)': \?", text))
    before, where = text.split(" WHERE ")
    names = re.findall(r'"([^"]+)" = \?', where)
    assert len(set(names)) == len(names), text
    put = re.findall(r'SET "([^"]+)" = \?', before)
    return _Shape(verb, table[1], put, names, re.findall(r'"([^"]+)" IS MISSING', where))


def _parsed(entry: Mapping[str, Any]) -> _Statement:
    shape, values = _shape(entry["Statement"]), iter(entry["Parameters"])
    put = {name: next(values) for name in shape.put}
    return _Statement(shape.verb, shape.table, put, {name: next(values) for name in shape.where}, shape.missing)


def _key_in(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("pk", "sk") if name in item}


def _size(item: Attributes) -> int:
    """Return the bytes DynamoDB charges for an item.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    size = 0
    for name, typed in item.items():
        size += len(name.encode())
        for kind, value in typed.items():
            if kind == "S":
                size += len(value.encode())
            elif kind == "N":
                size += (len(value) + 1) // 2 + 1
            elif kind == "B":
                size += len(base64.b64decode(value))
            else:
                size += 1
    return size


def _snake(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def _refused(code: str, operation: str, message: str = "", **more: Any) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message or code}, **more}, operation)  # type: ignore[typeddict-item]
