"""No secret and no personal data where people look: planted values are searched for everywhere after a bumpy flow."""

import json
from collections.abc import Iterator
from typing import Any

import requests

from local.processes import wait_for
from local.stack import FOLDER
from relay.names import table_name
from relay.stores.database import Table
from tests.stack.world import LOOK_EVERY, World

PERSON = {
    "first_name": "Xanthippe-Planted",
    "last_name": "Zwiebelfisch-Planted",
    "phone": "+32 499 987654321",
    "tier": "platinum-planted",
}
MAILBOX = "planted.xanthippe"


def test_planted_values_are_nowhere_to_be_read(world: World) -> None:
    address = f"{MAILBOX}@{world.name}.example"
    planted = {*PERSON.values(), MAILBOX, f"{world.name}.example", world.customer_id(1), f"{world.name}-e1", "PLANTED"}
    secrets = {
        world.adobe.secret,
        world.shop.secret,
        "sandbox-api-key",
        "sandbox-password",
        "sandbox-client-secret",
        "sandbox@example.com",
        "planted-wrong-key",
    }
    seen: list[tuple[str, str]] = []

    world.put_px("trial")
    world.put_list("customers", api_key="planted-wrong-key")
    seen += _answers(world, address)
    _misbehave(world, address)
    with world.idle("gainsightpx"):
        world.post_adobe(_visitor(world, address))
        world.post_shop(_customers(world, address))
        world.stored()
        world.administrator.wait_until_runs_start()
        world.operator.tick()
        seen += _queued(world, "gainsightpxQueue")
    world.until("the member", lambda: bool(world.px_members().get("trial")), 90)
    # First a key that does not work, then one that does, and the import checks held back to see their messages.
    assert world.run(world.list_export)["state"] == "stopped"
    world.put_list_connection("sandbox-api-key")
    world.let_probe_be_due(world.list_connection)
    with world.idle("activecampaign"):
        run = wait_for("the run that makes up for the stop", 90, lambda: _resumed(world), every=LOOK_EVERY)
        seen += _queued(world, "activecampaignQueue")
    with world.idle("ImportChecks"):
        seen += _queued(world, "checksQueue")
    run = world.ended(run["run"])
    assert run["counts"].get("rejected") == 1, run
    seen.append(("run records", json.dumps([run, *world.operator.runs(world.px_export)])))

    seen += _logs(world)
    seen += [(log.name, log.read_text(encoding="utf-8", errors="replace")) for log in FOLDER.glob("*.log")]
    seen += _control_items(world)
    seen += [("identities", json.dumps(item)) for item in _items(world, Table.IDENTITIES)]
    seen += [(f"dlq {queue}", text) for queue in _dlqs(world) for text in world.peek(queue)]
    seen.append(("metrics", json.dumps(world.stack.client("cloudwatch").list_metrics()["Metrics"], default=str)))

    kinds = {where.split(" ")[0] for where, _ in seen}
    assert kinds >= {"answer", "queue", "run", "log", "control", "identities", "metrics", "emulator.log"}
    found = [(where, value) for where, text in seen for value in planted | secrets if value in text]
    assert found == []


def _resumed(world: World) -> dict[str, Any] | None:
    """Return the run that follows the stopped one, once a tick has seen the new key."""
    world.operator.tick()
    newest = world.operator.runs(world.list_export)[0]
    return newest if newest["state"] == "running" else None


def _visitor(world: World, address: str) -> dict[str, Any]:
    person = {"person": {"name": {"firstName": PERSON["first_name"]}}, "personalEmail": {"address": address}}
    return {**world.adobe_profile(1, trial="realized"), **person}


def _customers(world: World, address: str) -> list[dict[str, Any]]:
    good = world.shop_change(1, identities={"crm_id": f"{world.name}-1", "email": address}, attributes=PERSON)
    bad = world.shop_change(2, identities={"crm_id": "2", "email": f"{MAILBOX} at nowhere"}, attributes=PERSON)
    # So many others that everybody goes by imports.
    return [good, bad, *(world.shop_change(number) for number in range(10, 130))]


def _misbehave(world: World, address: str) -> None:
    """Let both destinations repeat what they were sent in their error messages."""
    text = f"{address} {PERSON['last_name']} sandbox-api-key sandbox-password"
    repeated = {"message": text, "error": text, "error_description": text, "externalapierror": {"message": text}}
    world.px.misbehave(
        {"match": {"path": "/oauth/token"}, "do": {"status": 500, "body": repeated}},
        {"match": {"path": "/v1/external_segment/update_membership"}, "do": {"status": 503, "body": text}},
    )
    world.campaign.misbehave(
        {"match": {"path": "/api/3/import/bulk_import"}, "after": 1, "do": {"status": 500, "body": repeated}},
        {"match": {"path": "/api/3/import/info"}, "do": {"status": 500, "body": repeated}},
    )


def _answers(world: World, address: str) -> Iterator[tuple[str, str]]:
    """Yield the answers to requests that are wrong in ways that hold something personal."""
    bodies = [
        f'{{"changes": [{{"identities": {{"email": "{address}"'.encode(),
        json.dumps({"changes": [{"identities": {address: 3}, "attributes": [PERSON]}]}).encode(),
        json.dumps({"changes": [{address: PERSON["phone"], "memberships": [{"status": "PLANTED"}]}]}).encode(),
        json.dumps([address]).encode(),
    ]
    answers: list[requests.Response] = [world.shop.post_raw(raw, world.shop.proof(raw)) for raw in bodies]
    answers += [world.adobe.post({"segmentMembership": {"ups": {address: {"status": "PLANTED"}}}})]
    answers += [world.shop.post_raw(bodies[1], {"Authorization": f"Bearer {world.adobe.secret}"})]
    for answer in answers:
        assert 400 <= answer.status_code < 500
        yield "answer", json.dumps(dict(answer.headers)) + answer.text


def _queued(world: World, queue: str) -> list[tuple[str, str]]:
    # One look only: each counts as a receive, and the more of them, the longer the pause after a failure.
    texts = wait_for(f"a message in {queue}", 60, lambda: world.peek(queue) or None, every=LOOK_EVERY)
    return [(f"queue {queue}", text) for text in texts]


def _dlqs(world: World) -> list[str]:
    return [name.removesuffix("Url") for name in world.stack.outputs if "DLQ" in name]


def _logs(world: World) -> Iterator[tuple[str, str]]:
    client = world.stack.client("logs")
    for page in client.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            name = group["logGroupName"]
            for events in client.get_paginator("filter_log_events").paginate(logGroupName=name):
                yield from ((f"log {name}", event["message"]) for event in events["events"])


def _control_items(world: World) -> Iterator[tuple[str, str]]:
    """Yield the control table's items but what an open import needs to know to be settled."""
    for item in _items(world, Table.CONTROL):
        if item["sk"] != {"S": "entries"}:
            yield f"control {item['pk']['S'].split('#')[0]}", json.dumps(item, default=str)


def _items(world: World, table: Table) -> Iterator[dict[str, Any]]:
    paginator = world.stack.client("dynamodb").get_paginator("scan")
    for page in paginator.paginate(TableName=table_name(world.stack.prefix, table), ConsistentRead=True):
        yield from page["Items"]
