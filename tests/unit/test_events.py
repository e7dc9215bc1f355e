"""Every event in `events/` goes through its function's real handler, as `sam local invoke` would send it."""

import importlib.util
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relay.domain.exports import Export
from relay.domain.runs import RunState
from relay.observability import Observability
from relay.queues import Queue
from relay.settings.settings import Settings
from relay.stores import breakers, imports, runs
from relay.stores.imports import OpenImport
from tests.fakes.bench import MINUTE, TOOL, VIP, Bench
from tests.fakes.bench_destination import Job
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueueClient
from tests.fakes.routing_world import World
from tests.fakes.secrets import FakeParameters, FakeSecrets

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(folder.name for folder in (ROOT / "functions").iterdir() if (folder / "app.py").exists())
FIRST, SECOND, THIRD = (
    "3fa1c09d5be24a7796d1f0a4c2b8e713",
    "41d07e2c9b8f4c5fa0e36d7781bb2c90",
    "87c3b2a1d4e54f60918273645546f7e8",
)
VERSION = 1777800000000
MAPPING = {"email": "attributes.email"}


class Context:
    """What Lambda says of an invocation."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

    def get_remaining_time_in_millis(self) -> int:
        return 110_000


def event(name: str) -> Any:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def handler_of(function: str) -> Callable[..., Any]:
    """Load a function's handler by its path, as Lambda does."""
    spec = importlib.util.spec_from_file_location(f"app_of_{function}", ROOT / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[..., Any] = module.handler
    return handler


def bench_with(connection: str, export: str, *, imports: bool = False) -> Bench:
    bench = Bench(streams=False, imports=imports)
    bench.clock.time = datetime(2026, 5, 4, 9, 36, tzinfo=UTC)
    bench.settings.saved.clear()
    bench.settings.connections = {connection: TOOL}
    bench.settings.save(Export(connection, export, TOOL, True, True, (VIP,), MAPPING, "7", VERSION))
    for place, profile in enumerate((FIRST, SECOND, THIRD)):
        bench.store_as(profile, email=f"{place}@x.example")
    return bench


def test_every_function_has_an_event() -> None:
    assert [name for name in FUNCTIONS if not (ROOT / "events" / f"{name}.json").exists()] == []


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("ingest", "export", "admin", "tick")])
def test_an_event_from_sqs_has_what_sqs_sends(name: str) -> None:
    for record in event(name)["Records"]:
        assert record.keys() >= {"messageId", "receiptHandle", "body", "attributes", "eventSource", "eventSourceARN"}
        assert ("MessageGroupId" in record["attributes"]) == record["eventSourceARN"].endswith(".fifo")


def ingest(posted: Any, dialect: str, profile_key: str, **more: str) -> tuple[dict[str, Any], FakeQueueClient]:
    secrets, client, clock = FakeSecrets(), FakeQueueClient(), FakeClock(datetime(2026, 2, 11, 9, tzinfo=UTC))
    secrets["relay/stack/identity-key"] = "identity"
    token = posted["headers"]["Authorization"].removeprefix("Bearer ")
    secrets["relay/sources/shop"] = {
        "dialect": dialect,
        "auth": "bearer",
        "secret": token,
        "profile_key": profile_key,
        **more,
    }
    answer = handler_of("ingest")(
        posted,
        Context(),
        settings=Settings("relay", secrets=secrets, ssm=FakeParameters(), clock=clock),
        queue=Queue("https://sqs/changes", client=client, clock=clock),
        clock=clock,
        observability=Observability(io.StringIO()),
    )
    return answer, client


def test_ingest_takes_its_event() -> None:
    answer, client = ingest(event("ingest"), "relay-json", "identities.crm_id")
    assert answer["statusCode"] == 202
    assert len(client) == 1


@pytest.mark.parametrize(
    ("body", "dialect", "profile_key"),
    [
        ("webhook-adobe-http", "adobe-http", "identities.crmId"),
        ("webhook-adobe-sdk", "adobe-sdk", "identities.crm_id"),
        ("webhook-relay-json", "relay-json", "identities.crm_id"),
        ("webhook-segment", "segment", "identities.user_id"),
    ],
)
def test_ingest_takes_the_body_of_each_dialect(body: str, dialect: str, profile_key: str) -> None:
    posted = {**event("ingest"), "body": json.dumps(event(body)), "isBase64Encoded": False}
    answer, client = ingest(posted, dialect, profile_key)
    assert answer["statusCode"] == 202, answer
    assert len(client.bodies[0]["changes"]) == json.loads(answer["body"])["accepted"] > 0


def test_ingest_answers_mparticle_with_the_response_it_expects() -> None:
    body = event("webhook-mparticle")
    answer, client = ingest({**event("ingest"), "body": json.dumps(body)}, "mparticle", "identities.mpid")
    assert answer["statusCode"] == 200
    told = json.loads(answer["body"])
    assert told["type"] == "audience_membership_change_response"
    assert told["id"] == body["id"]
    assert len(client.bodies[0]["changes"]) == 1


def test_ingest_takes_any_json_by_the_expressions_of_its_source() -> None:
    posted = {**event("ingest"), "body": json.dumps(event("webhook-mapped"))}
    answer, client = ingest(
        posted,
        "mapped",
        "identities.crm",
        each="rows",
        identities="{crm: customer}",
        attributes="{email: email}",
        segment="body.audience",
        status="state",
        at="since",
    )
    assert answer["statusCode"] == 202, answer
    assert [one["memberships"][0]["realized"] for one in client.bodies[0]["changes"]] == [True, False]


def test_route_takes_its_event() -> None:
    world = World()
    assert handler_of("route")(event("route"), Context(), router=world.router()) == {"batchItemFailures": []}
    assert world.totals("aep").changes == 2


@pytest.mark.parametrize(
    ("name", "connection", "export", "members"),
    [("destination", "newsletter", "readers", 3), ("destination-looks", "product", "gold-members", 3)],
)
def test_a_destinations_function_takes_its_event(name: str, connection: str, export: str, members: int) -> None:
    bench = bench_with(connection, export)
    run = bench.start(bench.settings.export(f"{connection}/{export}"))
    for message in bench.queue.take():
        assert bench.consume(message) == []
    given = event(name)
    for record in given["Records"]:
        record["body"] = record["body"].replace("20260504T033000-4f1a2b", run.id)

    answer = handler_of("destination")(given, Context(), consumer=bench.stack.consumer(TOOL))

    assert answer == {"batchItemFailures": []}
    assert len(bench.tool.holds()) == members, bench.logged()


def test_the_function_of_checks_takes_its_event() -> None:
    """Of the import that its first message asks about nothing is known yet; nobody of its second is unconfirmed."""
    bench = bench_with("newsletter", "readers", imports=True)
    now = bench.clock.now()
    opened = OpenImport("9f2c41d07e8ba365", "newsletter", "readers", "settings", "import-1", 0, now, now, number=2)
    imports.record(bench.database, opened, [])
    bench.tool.jobs.append(Job("import-1", [], {}))

    answer = handler_of("import_checks")(event("import_checks"), Context(), checker=bench.stack.import_checker())

    assert answer == {"batchItemFailures": []}
    [still] = imports.all_open(bench.database, "newsletter")
    assert still.number == 3
    assert len(bench.checks.messages) == 1


def test_the_export_function_takes_its_event() -> None:
    bench = bench_with("newsletter", "readers")
    answer = handler_of("export")(event("export"), Context(), starts=bench.stack.scheduled_starts())
    assert [started["state"] for started in answer["started"]] == ["running"]


def test_the_admin_function_takes_its_event() -> None:
    bench = bench_with("newsletter", "vip")
    answer = handler_of("admin")(event("admin"), Context(), operator=bench.operator())["answer"]
    assert (answer["export"], answer["state"]) == ("newsletter/vip", "running")


def test_the_tick_takes_its_event() -> None:
    bench = bench_with("newsletter", "readers")
    breakers.request_resync(bench.database, "newsletter", "readers")
    bench.clock.time += MINUTE
    handler_of("tick")(event("tick"), Context(), ticker=bench.stack.ticker())
    assert [run.state for run in runs.latest(bench.database, "newsletter/readers")] == [RunState.RUNNING]
