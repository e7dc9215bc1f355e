"""What it costs to route changes: CPU, units, calls and AWS's list price.

The function as it is deployed takes events as Lambda hands them over. It calls AWS with its own clients, on a socket,
in another process. Only its own CPU time counts.
"""

import importlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from local.benchmarks import prices
from local.benchmarks.apart import apart
from local.benchmarks.aws_apart import Aws, Usage, aws_apart
from local.benchmarks.memory import peak_memory_mb
from local.benchmarks.report import Figure, Goal, Report
from relay.clock import SystemClock
from relay.domain.changes import Change, MembershipChange, change_to_json, message_of
from relay.domain.keyed_hash import KeyedHash
from relay.json_text import json_text
from relay.stores import dynamodb
from relay.stores.directory import Directory, Entry

BATCH: Final = 100
"""Messages of one invocation, as the template has it."""
RECEIVED_AT_ONCE: Final = 10
"""Messages that one receive brings at most, and one delete takes."""
FULL_SHARE_GB: Final = 1_769 / 1024
"""A function of this size has one processor. Others have their share of it, so CPU time costs the same at any size.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

CASES: Final[Mapping[str, tuple[int, str]]] = {
    "first": (1, "new profiles, 1 a message"),
    "changed": (1, "an attribute changed, 1 a message"),
    "again": (1, "the same again, 1 a message"),
    "first_by_10": (10, "new profiles, 10 a message"),
    "changed_by_10": (10, "an attribute changed, 10 a message"),
    "again_by_10": (10, "the same again, 10 a message"),
}
"""Changes a message, and what it is called."""

_PREFIX = "audience-relay"
_SEGMENT = "shop/vip"
_EXPORT = {"state": "active", "stream": True, "segments": [_SEGMENT], "mapping": {"email": "identities.email[0]"}}
_PARAMETERS = {f"/{_PREFIX}/exports/product/segments": json.dumps(_EXPORT)}
_QUEUES = "https://sqs.eu-west-1.amazonaws.com/123456789012"
_MEASURED = (
    "CPU time of this machine, by its own Python: the function's own code, its client of DynamoDB and its client of "
    "SQS. What stands in for AWS runs in another process, whose CPU is not in it."
)
_PRICED = (
    "Prices are AWS's list prices of us-east-1. Of Lambda the CPU time counts, at the function's share of a processor, "
    "and not the time it waits for answers."
)


def benchmark(_folder: Path, profiles: int) -> Report:
    """Route all cases in a process of its own and report."""
    with aws_apart(_PARAMETERS) as aws:
        found: dict[str, Any] = apart(measure, aws, profiles)
    figures = [figure for case in CASES for figure in _figures(case, found["cases"][case], profiles)]
    peak = Figure("peak_mb", "most memory, MB", found["peak_mb"])
    return Report("route", {"profiles": profiles}, [*figures, peak], (_MEASURED, _PRICED))


def measure(aws: Aws, profiles: int) -> dict[str, Any]:
    """Route all cases; return what was measured of each by its name."""
    os.environ.update(_environment(aws.url))
    database = dynamodb.connect(os.environ)
    Directory(database, SystemClock()).keep("product", Entry("gainsight_px", True, 4))
    parts = _Parts()
    app = importlib.import_module("functions.route.app")
    cases: dict[str, Any] = {}
    handler: Callable[..., Mapping[str, Any]] = app.handler
    handler({"Records": []}, None)
    for case, (per_message, _) in CASES.items():
        texts = list(_events(case, profiles, per_message))
        # Lambda's runtime reads the event's JSON, not the function.
        events = [json.loads(event) for event in texts]
        parts.spent.clear()
        aws.usage()
        began = time.process_time()
        for event in events:
            answer = handler(event, None)
            if answer["batchItemFailures"]:
                raise RuntimeError("messages failed")
        cases[case] = {
            "cpu": time.process_time() - began,
            "parts": dict(parts.spent),
            "usage": aws.usage(),
            "events": [len(text) for text in texts],
        }
    return {"cases": cases, "peak_mb": peak_memory_mb()}


class _Parts:
    """CPU time of this thread within the clients, by part."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        for name in ("get", "query", "write", "transact"):
            self._time(dynamodb.DynamoDatabase, name, "database")
        self._time(importlib.import_module("relay.queues").Queue, "send", "queues")

    def _time(self, owner: Any, name: str, part: str) -> None:
        done = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return done(*arguments, **named)
            finally:
                self.spent[part] += time.thread_time() - began  # type: ignore[assignment]

        setattr(owner, name, timed)


def _figures(case: str, measured: Mapping[str, Any], profiles: int) -> Iterator[Figure]:
    usage: Usage = measured["usage"]
    cpu, parts = measured["cpu"] * 1e5 / profiles, measured["parts"]
    writes, reads = sum(usage.write_units.values()), sum(usage.read_units.values())
    is_first, title = case.startswith("first"), CASES[case][1]

    def figure(name: str, text: str, value: float, goal: Goal | None = None, digits: int = 1) -> Figure:
        return Figure(f"{name}.{case}", f"{title}: {text}", value, goal, digits)

    yield figure("cpu_seconds_per_100k", "CPU s per 100,000", cpu, Goal("<=", 20) if is_first else None)
    for part, text in (("database", "client of DynamoDB"), ("queues", "client of SQS")):
        spent = parts.get(part, 0.0) * 1e5 / profiles
        yield figure(f"{part}_cpu_seconds_per_100k", f"of it {text}", spent)
    goal = Goal("<=", 2_100) if is_first else None
    yield figure("write_units_per_1000", "write units per 1,000", writes * 1e3 / profiles, goal)
    yield figure("read_units_per_1000", "read units per 1,000", reads * 1e3 / profiles)
    calls = sum(usage.calls.values())
    yield figure("calls_per_1000", "calls to AWS per 1,000", calls * 1e3 / profiles)
    price = {name: amount * 1e6 / profiles for name, amount in _price(measured).items()}
    goal = Goal("<=", 1.5) if case == "first_by_10" else None
    yield figure("list_price_per_million", "list price per million, $", sum(price.values()), goal, 2)
    for name, amount in price.items():
        yield figure(f"{name}_price_per_million", f"of it {name.replace('_', ' ')}, $", amount, digits=3)


def _price(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return what a case costs, in dollars, by part."""
    usage: Usage = measured["usage"]
    return {
        "writes": sum(usage.write_units.values()) * prices.DYNAMODB_WRITE_UNIT,
        "reads": sum(usage.read_units.values()) * prices.DYNAMODB_READ_UNIT,
        "queues": _requests_of_receiving(measured["events"]) * prices.SQS_STANDARD_REQUEST
        + usage.calls["SendMessageBatch"] * prices.SQS_FIFO_REQUEST,
        "function": len(measured["events"]) * prices.LAMBDA_REQUEST
        + measured["cpu"] * FULL_SHARE_GB * prices.LAMBDA_GB_SECOND,
    }


def _requests_of_receiving(sizes: Sequence[int]) -> int:
    """Return the requests by which Lambda receives and deletes the messages of events of these sizes, in bytes."""
    receives = BATCH // RECEIVED_AT_ONCE
    return sum(max(receives, -(-size // prices.SQS_REQUEST_BYTES)) + receives for size in sizes)


def _events(case: str, profiles: int, per_message: int) -> Iterator[str]:
    """Yield the events of a case as JSON. The cases of new profiles have people of their own."""
    messages = [_record(number, body) for number, body in enumerate(_messages(case, profiles, per_message))]
    for start in range(0, len(messages), BATCH):
        yield json.dumps({"Records": messages[start : start + BATCH]})


def _messages(case: str, profiles: int, per_message: int) -> Iterator[str]:
    keyed, kind = KeyedHash("benchmark"), case.partition("_")[0]
    now = datetime.now(UTC)
    # Of its own time is what changed, and nothing else.
    later = {"first": timedelta(0), "changed": timedelta(hours=1), "again": timedelta(hours=2)}[kind]
    value = "old" if kind == "first" else "new"
    at = _EPOCH if kind == "first" else _EPOCH + timedelta(minutes=1)
    for start in range(0, profiles, per_message):
        changes = []
        for position in range(min(per_message, profiles - start)):
            number = start + position
            change = Change(
                profile_ids=(keyed("shop", f"{per_message}-{number}"),),
                received_at=now + later,
                position=position,
                webhook_id=keyed("webhook", f"{case}-{start}"),
                at=at,
                identities={"crm_id": [f"HB-{number}"], "email": [f"customer{number}@harbour-books.example"]},
                attributes={f"attribute{n}": f"{value} value {n} of {number}" for n in range(6)},
                memberships=[MembershipChange(_SEGMENT, True, _EPOCH, "VIP customers")],
            )
            changes.append(change_to_json(change))
        yield json_text(message_of(f"{case}-{start}", "shop", changes))


_EPOCH: Final = datetime(2026, 11, 1, tzinfo=UTC)


def _record(number: int, body: str) -> dict[str, Any]:
    return {
        "messageId": f"message-{number}",
        "receiptHandle": "r" * 400,
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1795708800000"},
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:123456789012:{_PREFIX}-changes",
    }


def _environment(url: str) -> dict[str, str]:
    return {
        "AWS_LAMBDA_FUNCTION_NAME": f"{_PREFIX}-route",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "t" * 800,
        "AWS_ENDPOINT_URL": url,
        "RELAY_PREFIX": _PREFIX,
        "RELAY_CHANGES_QUEUE": f"{_QUEUES}/{_PREFIX}-changes",
        "RELAY_GAINSIGHT_PX_QUEUE": f"{_QUEUES}/{_PREFIX}-gainsight_px.fifo",
        "POWERTOOLS_SERVICE_NAME": "route",
        "POWERTOOLS_METRICS_NAMESPACE": "AudienceRelay",
        **{variable: f"{_PREFIX}-{table.value}" for table, variable in dynamodb.VARIABLES.items()},
    }
