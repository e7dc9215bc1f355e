"""How long a webhook waits: the built layer, imported and called as Lambda does it, against AWS on a socket.

What is measured is CPU time of a process of its own, on this machine and this machine's Python. The answers of AWS come
by TLS from another process, so that connections, certificates and signatures are in it, and waiting is not.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore

from local.benchmarks import webhooks
from local.benchmarks.report import Figure, Goal, Report, Section
from local.fake_aws import Answer, Asked, by_tls, certificate, serving_as
from local.processes import LocalStackError

ROOT = Path(__file__).resolve().parents[2]
FULL_SHARE_MB = 1_769
"""A function of this size has one processor; others have their share of it.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
MEMORY_MB = (512, 1_024, 1_769)
DEPLOYED_MB = 1_024
"""The template's size of ingest."""
TIMEOUT_SECONDS = 10
"""The template's limit of ingest."""
SIZES = {1: 100, 10: 50, 5_000: 3}
"""Profiles in a request, and how often it is sent in each start."""
STARTS = 7
MANY = 100
"""People in the larger of the two requests of every source: the difference is what one more costs."""
OF_EACH = {1: 60, MANY: 8}
"""People in a request of each dialect and way of authentication, and how often it is sent in each start."""
PLAIN = "relay-json-bearer"
"""The source that the others are compared with."""

_TOKEN = "a-long-random-token"
_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
_MEASURED = (
    "CPU time of this machine, by its own Python. Lambda gives CPU in proportion to memory, one processor at 1,769 MB: "
    "times at a size are CPU time divided by that share. Lambda lends a starting function more, so a real start is "
    "sooner."
)
_NOT_MEASURED = (
    "Not in it: what Lambda itself takes to start, and waiting for AWS (two connections and three calls before the "
    "first answer, one call before each other)."
)


def benchmark(folder: Path, starts: int = STARTS) -> Report:
    """Build the layer for this machine's Python, start ingest some times, and report; `folder` is scratch space."""
    layer, function, runtime = _layer(folder), _function(folder), _runtime(folder)
    file = certificate(folder)
    bundle = folder / "bundle.pem"
    bundle.write_bytes(Path(botocore.__file__).with_name("cacert.pem").read_bytes() + file.read_bytes())
    events = [(_event(size), repeats) for size, repeats in SIZES.items()]
    events_file = folder / "events.json"
    events_file.write_text(json.dumps(events), encoding="utf-8")
    paths = os.pathsep.join(map(str, (function, layer, runtime)))
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("cold_start.py")), paths, str(events_file)]
    found = []
    each: dict[str, list[Mapping[str, Any]]] = {source: [] for source in webhooks.SOURCES}
    with serving_as(_answer, by_tls(file)) as aws:
        environment = _environment(aws.url, bundle)
        # The first one only compiles what the runtime would have compiled.
        _start(command, environment)
        for _ in range(starts):
            aws.asked.clear()
            found.append(_start(command, environment))
        warm_calls = _warm_calls(aws.asked)
        # In turn, so that a busy minute of the machine falls on all of them.
        for _ in range(max(1, starts // 2)):
            for source, of_it in each.items():
                told = [(webhooks.event(source, people), repeats) for people, repeats in OF_EACH.items()]
                events_file.write_text(json.dumps(told), encoding="utf-8")
                of_it.append(_start(command, environment))
    return Report(
        "ingest",
        {"starts": starts},
        [*_figures(found, warm_calls, len(json.dumps(events[-1][0]))), *_of_each(each)],
        (_MEASURED, _NOT_MEASURED),
        {source: f"dialect {dialect}, auth {mode}" for source, (dialect, mode) in webhooks.SOURCES.items()},
    )


def _figures(found: Sequence[Mapping[str, Any]], warm_calls: float, largest: int) -> list[Figure]:
    imported = statistics.median(one["import"] for one in found)
    first = statistics.median(one["first"] for one in found)
    warm = [statistics.median(statistics.median(one["warm"][place]) for one in found) for place in range(len(SIZES))]
    figures = [
        Figure("import_ms", "import of the function and its layer, CPU ms", imported, digits=1),
        Figure("first_ms", "first request after it, CPU ms", first, digits=1),
        *(
            Figure(
                f"warm_{size}_ms",
                f"a warm request of {size:,} {'profile' if size == 1 else 'profiles'}, CPU ms",
                took,
                Goal("<=", 1) if size == 1 else None,
                digits=2,
            )
            for size, took in zip(SIZES, warm, strict=True)
        ),
        Figure("warm_calls", "calls to AWS of a warm request", warm_calls, Goal("=", 1)),
        Figure("largest_bytes", "bytes of the largest request, as an event", largest),
        Figure(
            "slow_imports",
            "of boto3, pydantic and requests, imported",
            max(len(one["heavy"]) for one in found),
            Goal("=", 0),
        ),
    ]
    for memory in MEMORY_MB:
        share = min(1.0, memory / FULL_SHARE_MB)
        is_deployed = memory == DEPLOYED_MB
        figures += [
            Figure(
                f"cold_at_{memory}_ms",
                f"at {memory:,} MB: from the start to the first answer, ms",
                (imported + first) / share,
                Goal("<=", 500) if is_deployed else None,
            ),
            Figure(
                f"warm_at_{memory}_ms",
                f"at {memory:,} MB: an answer to 1 profile, ms",
                warm[0] / share,
                digits=1,
            ),
            Figure(
                f"largest_at_{memory}_ms",
                f"at {memory:,} MB: an answer to {max(SIZES):,} profiles, ms",
                warm[-1] / share,
                Goal("<=", TIMEOUT_SECONDS * 1e3 / 4) if is_deployed else None,
            ),
        ]
    return figures


def _of_each(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Figure]:
    """Return what a start, a request and one more change cost, by source; the least that was measured, and ratios.

    The least is what the code costs; everything above it is the machine's other work.
    """
    figures: list[Figure] = []
    least: dict[str, tuple[float, float, float]] = {}
    for source, starts in found.items():
        one, many = (min(min(start["warm"][place]) for start in starts) for place in range(len(OF_EACH)))
        start = min(start["import"] + start["first"] for start in starts)
        least[source] = start, 1e3 * one, 1e3 * (many - one) / (MANY - 1)
    names = (
        ("start_ms", "import and first request, CPU ms", 1),
        ("request_us", "a warm request of 1 person, CPU microseconds", 0),
        ("change_us", "one more change in it, CPU microseconds", 1),
    )
    for source, values in least.items():
        for (name, text, digits), value, plain in zip(names, values, least[PLAIN], strict=True):
            figures.append(Figure(name, text, value, digits=digits, case=source))
            ratio = Figure(f"{name}_ratio", f"{text}, of {PLAIN}", value / plain, digits=2, case=source)
            figures.append(replace(ratio, section=Section.PARTS))
    return figures


def _warm_calls(asked: Sequence[Asked]) -> float:
    """Return the calls of one warm request of one profile: those after the first message was sent."""
    targets = [one.headers["x-amz-target"].rpartition(".")[2] for one in asked]
    warm = targets[targets.index("SendMessageBatch") + 1 :]
    repeats = SIZES[1]
    last = [place for place, target in enumerate(warm) if target == "SendMessageBatch"][repeats - 1]
    return (last + 1) / repeats


def _layer(folder: Path) -> Path:
    """Build the layer as `sam build` does, for this Python."""
    source, built = folder / "source", folder / "built"
    shutil.copytree(ROOT / "layers/relay", source, ignore=shutil.ignore_patterns("__pycache__"))
    command = ["make", "-C", str(source), "build-RelayLayer"]
    python = ROOT / ".tools/install/bin/python"
    variables = {"ARTIFACTS_DIR": str(built), "RELAY_LAYER_TARGETS": "host", "PYTHON": str(python)}
    made = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if made.returncode:
        raise LocalStackError(f"the layer could not be built:\n{made.stdout}{made.stderr}")
    return built / "python"


def _function(folder: Path) -> Path:
    return Path(
        shutil.copytree(ROOT / "functions/ingest", folder / "function", ignore=shutil.ignore_patterns("__pyc*"))
    )


def _runtime(folder: Path) -> Path:
    """Return a folder with what Lambda's runtime has and the layer has not: boto3 and what it needs."""
    runtime, site = folder / "runtime", Path(botocore.__file__).parents[1]
    runtime.mkdir()
    for name in _RUNTIME:
        (runtime / name).symlink_to(site / name)
    return runtime


def _environment(url: str, bundle: Path) -> dict[str, str]:
    return {
        "AWS_LAMBDA_FUNCTION_NAME": "audience-relay-ingest",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "t" * 800,
        "AWS_ENDPOINT_URL": url,
        "AWS_CA_BUNDLE": str(bundle),
        "RELAY_PREFIX": "audience-relay",
        "RELAY_CHANGES_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/audience-relay-changes",
        "POWERTOOLS_SERVICE_NAME": "ingest",
        "POWERTOOLS_METRICS_NAMESPACE": "audience-relay",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "LANG": "C.UTF-8",
    }


def _start(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    run = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if run.returncode:
        raise LocalStackError(f"ingest did not start:\n{run.stderr}")
    given: dict[str, Any] = json.loads(run.stdout)
    if not set(given["statuses"]) <= {200, 202}:
        raise LocalStackError(f"ingest answered {given['statuses']}")
    return given


def _answer(asked: Asked) -> Answer:
    request = asked.json
    if "SecretId" in request:
        _, is_source, name = request["SecretId"].partition("/sources/")
        plain = {"dialect": "relay-json", "auth": "bearer", "secret": _TOKEN, "profile_key": "identities.crm"}
        source = webhooks.secret(name) if name in webhooks.SOURCES else plain
        text = json.dumps(source) if is_source else "k" * 64
        return Answer(body={"Name": request["SecretId"], "SecretString": text})
    return Answer(body={"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []})


def _event(profiles: int) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events/ingest.json").read_text(encoding="utf-8"))
    changes = [
        {
            "identities": {"crm": f"c-{number}", "email": f"kim.{number}@example.com"},
            "attributes": {"firstName": "Kim", "lastName": f"Number {number}", "plan": "gold", "visits": number},
            "memberships": [
                {"segment": "vip", "status": "realized", "at": "2026-11-22T09:30:00Z", "name": "VIP customers"},
                {"segment": "lapsed", "status": "exited", "at": "2026-11-22T09:30:00Z"},
            ],
        }
        for number in range(profiles)
    ]
    event["pathParameters"]["source"] = "crm"
    event["headers"]["Authorization"] = f"Bearer {_TOKEN}"
    event["multiValueHeaders"]["Authorization"] = [f"Bearer {_TOKEN}"]
    event["body"] = json.dumps({"changes": changes}, separators=(",", ":"))
    return event
