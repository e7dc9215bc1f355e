"""How functions start: what they import, what they do ahead of the first request, and that trouble there fails nothing.

Each starts in a Python of its own, as on Lambda, with AWS on a socket of this machine.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.fake_aws import Answer, Asked, AwsServer, serving, serving_as

ROOT = Path(__file__).parents[3]
HEAVY = ("boto3", "pydantic", "requests")
TOKEN = "a-long-random-token"
PROGRAM = """
import json, sys
import app
event = json.loads(sys.argv[1])
began = set(sys.modules)
answers = [app.handler(event, None)["statusCode"] for _ in range(int(sys.argv[2]))]
print(json.dumps({"answers": answers, "imported": sorted(began), "later": sorted(set(sys.modules) - began)}))
"""


def start(function: str, environment: Mapping[str, str], requests: int = 0) -> dict[str, Any]:
    """Import a function, send it a request some times, and return the last line it prints."""
    paths = (ROOT / "functions" / function, ROOT / "layers/relay")
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(event()), str(requests)],
        env={"PYTHONPATH": ":".join(map(str, paths)), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    given: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return given


def event() -> dict[str, Any]:
    return {
        "pathParameters": {"source": "crm"},
        "headers": {"Authorization": f"Bearer {TOKEN}"},
        "body": json.dumps({"changes": [{"identities": {"crm": "c-1"}}]}),
    }


def on_lambda(server: AwsServer) -> dict[str, str]:
    return {
        "AWS_LAMBDA_FUNCTION_NAME": "relay-ingest",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "key-id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": server.url,
        "RELAY_PREFIX": "relay",
        "RELAY_CHANGES_QUEUE": "https://sqs.eu-west-1.amazonaws.com/1/changes",
    }


def as_aws(asked: Asked) -> Answer:
    request = asked.json
    if "SecretId" not in request:
        return Answer(body={"Successful": [], "Failed": []})
    source = {"dialect": "relay-json", "auth": "bearer", "secret": TOKEN, "profile_key": "identities.crm"}
    return Answer(body={"SecretString": json.dumps(source) if "/sources/" in request["SecretId"] else "identity-key"})


def targets(server: AwsServer) -> list[str]:
    return [asked.headers["x-amz-target"].partition(".")[2] for asked in server.asked]


@pytest.mark.parametrize("function", ["ingest", "route"])
def test_nothing_slow_is_imported(function: str) -> None:
    imported = start(function, {})["imported"]
    assert "relay.observability" in imported
    assert not {*HEAVY}.intersection(imported)
    assert not [name for name in imported if name.startswith(("relay.reconcile.reconciler", "relay.destinations."))]


def test_ingest_reads_the_identity_key_ahead_of_the_first_request() -> None:
    with serving_as(as_aws) as server:
        start("ingest", on_lambda(server))
        assert [asked.json.get("SecretId") for asked in server.asked] == ["relay/stack/identity-key"]
        # The other one is to SQS.
        assert server.connections == 2


def test_the_first_request_needs_no_connection_and_the_next_ones_one_call() -> None:
    with serving_as(as_aws) as server:
        given = start("ingest", on_lambda(server), requests=3)
    assert given["answers"] == [202, 202, 202]
    assert targets(server) == ["GetSecretValue", "GetSecretValue", *["SendMessageBatch"] * 3]
    assert server.connections == 2


def test_requests_import_nothing_more() -> None:
    # What is put off to the first request is done there with a share of the processor.
    with serving_as(as_aws) as server:
        given = start("ingest", on_lambda(server), requests=1)
    later = [name for name in given["later"] if not name.startswith("encodings")]
    # Which dialect is read only the source says. All dialects together would make every start slower.
    assert later == ["relay.sources.relay_json"]


def test_trouble_ahead_of_the_first_request_is_told_to_the_first_request() -> None:
    with serving(Answer(500)) as server:
        given = start("ingest", on_lambda(server), requests=1)
    assert given["answers"] == [503]
    with serving() as gone:
        pass
    assert start("ingest", on_lambda(gone), requests=1)["answers"] == [503]


def test_trouble_that_passes_fails_nothing() -> None:
    broken = [Answer(500), Answer(500)]
    with serving_as(lambda asked: broken.pop() if broken else as_aws(asked)) as server:
        assert start("ingest", on_lambda(server), requests=2)["answers"] == [202, 202]


@pytest.mark.parametrize("function", ["ingest", "route"])
def test_a_function_without_its_environment_starts(function: str) -> None:
    assert start(function, {})["answers"] == []


def test_route_makes_its_parts_as_it_starts() -> None:
    with serving() as server:
        imported = start("route", on_lambda(server))["imported"]
    assert {"relay.stores.dynamodb", "relay.routing.router"} <= {*imported}
    assert "boto3" not in imported
