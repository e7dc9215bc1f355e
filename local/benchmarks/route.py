"""What it costs to route changes: CPU, units, calls and AWS's list price.

The function as it is deployed takes events as Lambda hands them over. It calls AWS with its own clients, on a socket,
in another process. Only its own CPU time counts.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from local.benchmarks import keys, webhooks
from local.benchmarks.apart import apart
from local.benchmarks.aws_apart import PREFIX, Aws, Usage, aws_apart
from local.benchmarks.cases import MEASURED, Case
from local.benchmarks.cpu import DATABASE, OWN, QUEUES, CpuMeter
from local.benchmarks.keys import Touched
from local.benchmarks.memory import peak_memory_mb
from local.benchmarks.prices import DYNAMODB_SECONDS, QUEUE_SECONDS
from local.benchmarks.pricing import PRICED, Bill, requests
from local.benchmarks.report import Figure, Goal, Report
from local.benchmarks.worker import Log
from relay.clock import SystemClock
from relay.domain.changes import Change, MembershipChange, change_to_json, message_of
from relay.domain.keyed_hash import KeyedHash
from relay.json_text import json_text
from relay.settings.sources import source_of
from relay.sources.dialects import DIALECTS
from relay.sources.intake import take_in
from relay.stores import dynamodb
from relay.stores.directory import Directory, Entry

BATCH: Final = 100
"""Messages of one invocation, as the template has it."""
RECEIVED_AT_ONCE: Final = 10
"""Messages that one receive brings at most, and one delete takes."""
IN_A_REQUEST: Final = 100
"""People in a request of each dialect."""
_OF: Final = "of_"
CASES: Final[Mapping[str, tuple[int, str]]] = {
    "first": (1, "new profiles, 1 a message"),
    "changed": (1, "an attribute changed, 1 a message"),
    "again": (1, "the same again, 1 a message"),
    "first_by_10": (10, "new profiles, 10 a message"),
    "changed_by_10": (10, "an attribute changed, 10 a message"),
    "again_by_10": (10, "the same again, 10 a message"),
    **{
        f"{_OF}{dialect}": (IN_A_REQUEST, f"new profiles, {IN_A_REQUEST} a request of {dialect}")
        for dialect in DIALECTS
    },
}
"""Changes a message, and what it is called."""

_SEGMENT = "shop/vip"
_EXPORT = {"state": "active", "stream": True, "segments": [_SEGMENT], "mapping": {"email": "identities.email[0]"}}
_PARAMETERS = {f"/{PREFIX}/exports/product/segments": json.dumps(_EXPORT)}
GOALS: Final[Mapping[str, Mapping[str, Goal]]] = {
    "first": {"cpu_seconds_per_100k": Goal("<=", 20), "write_units_per_1000": Goal("<=", 2_100)},
    "first_by_10": {
        "cpu_seconds_per_100k": Goal("<=", 20),
        "write_units_per_1000": Goal("<=", 2_100),
        "list_price_per_million": Goal("<=", 1.5),
    },
}


def benchmark(_folder: Path, profiles: int) -> Report:
    """Route all cases in a process of its own and report."""
    with aws_apart(_PARAMETERS) as aws:
        found: dict[str, Any] = apart(measure, aws, profiles)
    figures = [figure for case in CASES for figure in _figures(case, found["cases"][case], profiles)]
    peak = Figure("peak_mb", "most memory, MB", found["peak_mb"])
    titles = {case: title for case, (_, title) in CASES.items()}
    figures = [*figures, peak, *_of_keys(keys.measure(profiles))]
    return Report("route", {"profiles": profiles}, figures, (MEASURED, PRICED), titles)


def _of_keys(touched: Touched) -> Iterator[Figure]:
    """Yield what as many webhooks of one source and one person each touched, from ingest to the store."""
    yield Figure("single_writes", "single webhooks: writes of items", touched.writes)
    yield Figure("single_keys", "on how many partition keys", touched.keys)
    yield Figure(
        "hottest_share", "the hottest key's share of the writes, of 1", touched.hottest / touched.writes, digits=4
    )
    share = touched.hottest_control / touched.writes
    yield Figure("hottest_control_share", "the same of keys that are no profile's and no segment's", share, digits=4)
    yield Figure("single_reads", "reads of items and lists", touched.reads)
    yield Figure(
        "hottest_read_share",
        "the hottest key's share of the reads, of 1",
        touched.hottest_read / touched.reads,
        digits=4,
    )
    yield Figure("settings_reads", "calls for settings while they are kept", touched.settings, Goal("=", 0))


def measure(aws: Aws, profiles: int) -> dict[str, Any]:
    """Route all cases; return what was measured of each by its name."""
    os.environ.update(aws.environment("route"))
    database = dynamodb.connect(os.environ)
    Directory(database, SystemClock()).keep("product", Entry("gainsight_px", True, 4))
    cpu = CpuMeter()
    for name in ("get", "query", "write", "transact"):
        _time(cpu, DATABASE, dynamodb.DynamoDatabase, name)
    _time(cpu, QUEUES, importlib.import_module("relay.queues").Queue, "send")
    app = importlib.import_module("functions.route.app")
    cases: dict[str, Any] = {}
    handler: Callable[..., Mapping[str, Any]] = app.handler
    handler({"Records": []}, None)
    for case, (per_message, _) in CASES.items():
        texts = list(_events(case, profiles, per_message))
        # Lambda's runtime reads the event's JSON, not the function.
        events = [json.loads(event) for event in texts]
        cpu.take()
        aws.usage()
        with redirect_stdout(Log()) as log:
            for event in events:
                with cpu.part(OWN):
                    answer = handler(event, None)
                if answer["batchItemFailures"]:
                    raise RuntimeError("messages failed")
        spent, _ = cpu.take()
        cases[case] = {"cpu": spent, "usage": aws.usage(), "events": [len(text) for text in texts], "logs": log.bytes}
    return {"cases": cases, "peak_mb": peak_memory_mb()}


def _time(cpu: CpuMeter, part: str, owner: Any, name: str) -> None:
    done = getattr(owner, name)

    def timed(*arguments: Any, **named: Any) -> Any:
        with cpu.part(part):
            return done(*arguments, **named)

    setattr(owner, name, timed)


def _figures(case: str, measured: Mapping[str, Any], profiles: int) -> Iterator[Figure]:
    usage: Usage = measured["usage"]
    calls, to_queues = usage.calls.total(), usage.calls["SendMessageBatch"]
    bill = Bill(
        write_units=sum(usage.write_units.values()),
        read_units=sum(usage.read_units.values()),
        fifo_requests=to_queues,
        standard_requests=_requests_of_receiving(measured["events"]),
        invocations=len(measured["events"]),
        cpu_seconds=sum(measured["cpu"].values()),
        waited_seconds=(calls - to_queues) * DYNAMODB_SECONDS + to_queues * QUEUE_SECONDS,
        log_bytes=measured["logs"],
    )
    work = Case(amount=profiles, cpu=measured["cpu"], usage=usage, bill=bill, calls=calls, goals=GOALS.get(case, {}))
    return work.figures(case, "changes", "AWS")


def _requests_of_receiving(sizes: Sequence[int]) -> int:
    """Return the requests by which Lambda receives and deletes the messages of events of these sizes, in bytes."""
    receives = BATCH // RECEIVED_AT_ONCE
    return sum(max(receives, requests(size)) + receives for size in sizes)


def _events(case: str, profiles: int, per_message: int) -> Iterator[str]:
    """Yield the events of a case as JSON. The cases of new profiles have people of their own."""
    messages = [_record(number, body) for number, body in enumerate(_messages(case, profiles, per_message))]
    for start in range(0, len(messages), BATCH):
        yield json.dumps({"Records": messages[start : start + BATCH]})


def _messages(case: str, profiles: int, per_message: int) -> Iterator[str]:
    if case.startswith(_OF):
        yield from _of_dialect(case.removeprefix(_OF), profiles)
        return
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


def _of_dialect(dialect: str, profiles: int) -> Iterator[str]:
    """Yield the messages that ingest makes of the requests of a dialect."""
    source = source_of(dialect, webhooks.secret(f"{dialect}-bearer"))
    for start in range(0, profiles, IN_A_REQUEST):
        raw = webhooks.body_of(dialect, range(start, min(start + IN_A_REQUEST, profiles))).encode()
        intake = take_in(raw, source=source, identity_hash=KeyedHash("benchmark"), received_at=datetime.now(UTC))
        yield from map(json_text, intake.messages)


_EPOCH: Final = datetime(2026, 11, 1, tzinfo=UTC)


def _record(number: int, body: str) -> dict[str, Any]:
    return {
        "messageId": f"message-{number}",
        "receiptHandle": "r" * 400,
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1795708800000"},
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:123456789012:{PREFIX}-changes",
    }
