"""A person who is forgotten is found nowhere but where the answer says, on the deployed stack."""

import json
import zlib
from collections.abc import Iterator
from typing import Any

from local.stack import LocalStack
from relay.names import table_name
from relay.stores.database import Table
from tests.stack.world import World, bucket_of

PERSON = {"first_name": "Planted-Wilhelmina", "last_name": "Planted-Vandenbroucke", "phone": "+32 470 999111"}


def test_nothing_is_read_of_a_forgotten_person_but_what_the_answer_names(stack: LocalStack, world: World) -> None:
    list_id = world.put_list("customers", on_exit="unsubscribe")
    planted = [world.email(1), f"{world.name}-1", *PERSON.values()]
    world.post_shop([world.shop_change(1, attributes=PERSON), world.shop_change(2)])
    world.stored()
    world.administrator.wait_until_runs_start()
    world.run(world.list_export)
    world.until("both contacts", lambda: len(world.contacts(list_id)) == 2)
    assert _found(stack, world, planted)

    [answer] = world.operator.relay("forget", f"{world.shop.source}:{world.name}-1", "--yes")

    assert answer["state"] == "done"
    assert list(world.contacts(list_id)) == [world.email(2)]
    # A message that comes late brings nobody back.
    world.post_shop([world.shop_change(2)])
    world.stored()
    found = _found(stack, world, planted)
    named = {one["where"] for one in answer["remains"]}
    assert {"backups of the tables", "Changes queue", "rows of imports"} <= named
    # Rows of imports are named; so few people went by single calls.
    assert found == []


def _found(stack: LocalStack, world: World, planted: list[str]) -> list[tuple[str, str]]:
    """Return where planted values can be read: tables, queues, files and logs."""
    return [(where, value) for where, text in _texts(stack, world) for value in planted if _holds(text, value)]


def _holds(text: str, value: str) -> bool:
    at = text.find(value)
    # `t1-1` is not `t1-12`.
    return at >= 0 and not text[at + len(value) : at + len(value) + 1].isdigit()


def _readable(item: dict[str, Any]) -> str:
    packed = [one["B"] for one in item.values() if one.keys() == {"B"}]
    texts = [zlib.decompress(one).decode() if one[:1] == b"x" else repr(one) for one in packed]
    return json.dumps([item, texts], default=str)


def _texts(stack: LocalStack, world: World) -> Iterator[tuple[str, str]]:
    scan = stack.client("dynamodb").get_paginator("scan")
    for table in Table:
        for page in scan.paginate(TableName=table_name(stack.prefix, table), ConsistentRead=True):
            yield from ((f"table {table.value}", _readable(item)) for item in page["Items"])
    for name in stack.outputs:
        if "Queue" in name or "DLQ" in name:
            yield from ((f"queue {name}", text) for text in world.peek(name.removesuffix("Url")))
    objects = stack.client("s3")
    bucket = bucket_of(stack)
    for page in objects.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", ()):
            body = objects.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
            yield f"file {one['Key']}", body.decode(errors="replace")
    logs = stack.client("logs")
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            yield from (("log", event["message"]) for found in events for event in found["events"])
