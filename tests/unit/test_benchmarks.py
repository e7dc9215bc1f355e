"""The benchmarks: the population is right, the queues are honest, and a small run of each gives what it should."""

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.ingest.app import handler as ingest_handler
from local.benchmarks import __main__ as benchmarks
from local.benchmarks import (
    activecampaign,
    cpu,
    gainsight_px,
    ingest,
    pace,
    prices,
    rejected,
    relaying,
    webhooks,
    worker,
)
from local.benchmarks.apart import EndedEarlyError, apart
from local.benchmarks.fast_clock import FastClock
from local.benchmarks.population import Population, Trouble, leave, move, store
from local.benchmarks.pricing import Bill
from local.benchmarks.queues import BATCH, RECEIVES, VISIBILITY, Queues, Record
from local.benchmarks.report import Figure, Goal, Report
from local.fake_aws import Asked
from relay.domain.addresses import normal_address
from relay.domain.changes import from_json
from relay.intake.endpoint import MAX_BODY_BYTES
from relay.queues import Queue, parse_records
from relay.settings.sources import Sources
from relay.sources.authentication import MODES
from relay.sources.dialects import DIALECTS
from relay.sources.reading import MAX_PROFILES
from relay.stores import profiles, segments
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.queue import FakeQueueClient
from tests.fakes.secrets import FakeSecrets
from tests.unit.template import expanding

pytestmark = pytest.mark.exhaustive

# The population.


def test_a_population_is_stored_as_the_relay_stores_it_and_spread_evenly() -> None:
    population, database = Population(1200, ("shop/one", "shop/two")), MemoryDatabase()
    store(database, population)

    shards = [list(population.shard(index, 4)) for index in range(4)]
    ids = [profile_id for shard in shards for profile_id, _ in shard]
    found = profiles.load(database, ids)

    assert [len(shard) for shard in shards] == [300] * 4
    assert all(shard == sorted(shard) for shard in shards)
    assert sorted(number for shard in shards for _, number in shard) == list(range(1200))
    assert not list(population.troubles())
    assert all(profile is not None and profile.version == 1 for profile in found)
    assert segments.known(database, ["shop/one", "shop/two", "shop/three"]) == {"shop/one", "shop/two"}
    listed = [profile for bucket in range(256) for profile in segments.listing(database, "shop/two", bucket)]
    assert listed == sorted(ids)


def test_everybody_moves_and_everybody_leaves() -> None:
    population, database = Population(300, ("shop/one", "shop/two")), MemoryDatabase()
    store(database, population)
    ids = [profile_id for profile_id, _ in population.shard(0, 1)]
    before = profiles.load(database, ids)

    move(database, population)
    moved = profiles.load(database, ids)
    leave(database, population)
    left = profiles.load(database, ids)

    for old, new, gone in zip(before, moved, left, strict=True):
        assert old is not None
        assert new is not None
        assert gone is not None
        assert new.attributes["phone"].value != old.attributes["phone"].value
        assert {**new.attributes, "phone": old.attributes["phone"]} == old.attributes
        assert (new.version, new.memberships) == (2, old.memberships)
        assert not any(held.realized for held in gone.memberships.values())


def test_a_population_with_troubles_has_as_many_of_each_as_real_ones_and_spreads_them_evenly() -> None:
    population = Population(8000, ("shop/one",), has_troubles=True)
    given = dict(population.troubles())
    wanted = {Trouble.EXCLUDED: 80, Trouble.UNSUBSCRIBED: 80, Trouble.MALFORMED: 40, Trouble.BOUNCED: 8}
    assert Counter(given.values()) == wanted
    for index in range(4):
        shard = Counter(given[number] for _, number in population.shard(index, 4) if number in given)
        assert shard == {trouble: count // 4 for trouble, count in wanted.items()}
    malformed = {number for number in given if normal_address(population.email(number)) is None}
    assert malformed == {number for number, trouble in given.items() if trouble is Trouble.MALFORMED}


# The queues.

HOUR_IN_A_SECOND = 3600.0


def queues(scale: float = HOUR_IN_A_SECOND) -> Queues:
    return Queues(FastClock(scale), ["c#0", "c#1"])


def bodies(batch: Sequence[Record]) -> list[Any]:
    return [json.loads(record["body"])["n"] for record in batch]


def entry(n: int, group: str | None = "c#0", delay: int = 0) -> dict[str, Any]:
    """Return a message as SendMessageBatch takes it."""
    grouped = {} if group is None else {"MessageGroupId": group}
    return {"Id": str(n), "MessageBody": json.dumps({"n": n}), **grouped, **({"DelaySeconds": delay} if delay else {})}


def test_a_group_is_handed_over_in_order_and_held_up_while_it_is_worked_on() -> None:
    line = queues(scale=1)
    line.take([entry(n) for n in range(12)] + [entry(100, "c#1")])

    first = line.receive("c#0")
    assert bodies(first) == list(range(10))
    given = [(one.receive_count, one.group, one.body["n"]) for one in parse_records({"Records": first})]
    assert given == [(1, "c#0", n) for n in range(10)]
    assert bodies(line.receive("c#1")) == [100], "another group goes on"
    waiting = threading.Thread(target=lambda: found.extend(line.receive("c#0")))
    found: list[Record] = []
    waiting.start()
    assert not line.wait_until(lambda: bool(found), 0.05)
    line.finish(first, [])
    waiting.join(5)
    assert bodies(found) == [10, 11]


def test_what_failed_comes_back_first_when_its_time_has_come() -> None:
    line = queues()
    line.take([entry(n) for n in range(3)])
    first = line.receive("c#0")
    line.retry_later(first[1]["receiptHandle"], 60.9)
    before = line._clock.now()
    line.finish(first, [first[1]["messageId"]])

    again = line.receive("c#0")

    assert [(one.body["n"], one.receive_count) for one in parse_records({"Records": again})] == [(1, 2)]
    assert line._clock.now() - before >= timedelta(seconds=59)


def test_what_nobody_finishes_comes_back_after_its_visibility_and_at_last_is_dead() -> None:
    line = queues(scale=VISIBILITY.total_seconds() * 1000)
    line.take([entry(7)])
    counts = [int(line.receive("c#0")[0]["attributes"]["ApproximateReceiveCount"]) for _ in range(RECEIVES)]
    assert counts == list(range(1, RECEIVES + 1))
    worker = threading.Thread(target=line.receive, args=("c#0",))
    worker.start()
    assert line.wait_until(lambda: line.is_idle, 5)
    line.close()
    worker.join(5)
    assert line.dead == 1


def test_checks_come_when_they_are_due_whatever_was_sent_before() -> None:
    line = queues()
    line.take([entry(900, None, 900), entry(60, None, 60), entry(0, None)])
    order = []
    while not line.is_idle:
        batch = line.receive(Queues.CHECKS)
        order.append(bodies(batch))
        line.finish(batch, [])
    assert order == [[0], [60], [900]]


def test_requests_are_counted_as_sqs_charges_for_them() -> None:
    line = queues()
    line.put("c#0", {"n": 0})
    assert line.requests() == {}, "somebody else has paid for what was put there"
    large = {**entry(1), "MessageBody": json.dumps({"n": "x" * 100_000})}
    line.take([large, entry(2)])
    assert line.requests() == {"fifo": 2}, "a request of 64 KB each"
    batch = line.receive("c#0")
    line.finish(batch, [batch[0]["messageId"]])
    line.retry_later(batch[0]["receiptHandle"], 0)
    assert line.requests() == {"fifo": 2 + 1 + 1}, "a receive, one call that deletes, one that hides"
    line.take([entry(3, None)])
    line.finish(line.receive(Queues.CHECKS), [])
    assert line.requests() == {"standard": 3}


def test_closing_ends_those_who_wait() -> None:
    line = queues()
    worker = threading.Thread(target=line.receive, args=("c#0",))
    worker.start()
    line.close()
    worker.join(5)
    assert not worker.is_alive()


# The report.


@pytest.mark.parametrize(
    ("value", "goal", "missed"),
    [
        (4.1, Goal("<=", 4.1), False),
        (4.2, Goal("<=", 4.1), True),
        (95.0, Goal(">=", 95), False),
        (200.0, Goal("<", 200), True),
        (0, Goal("=", 0), False),
        (1, Goal("=", 0), True),
        (1, None, False),
    ],
)
def test_a_missed_goal_is_named(value: float, goal: Goal | None, missed: bool) -> None:
    report = Report("Tool", {"profiles": 5}, [Figure("calls", "all calls", value, goal)])
    assert [figure.name for figure in report.missed] == (["calls"] if missed else [])
    assert report.to_json()["missed"] == (["calls"] if missed else [])


def test_the_command_says_by_its_status_and_its_text_that_a_goal_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[int, float, str]] = []

    def missing(folder: Path, profiles: int, time_scale: float, account: str) -> Report:
        asked.append((profiles, time_scale, account))
        return Report("Tool", {"profiles": profiles}, [Figure("writes", "write calls", 3, Goal("=", 0))], ["A note."])

    monkeypatch.setattr(activecampaign, "benchmark", missing)

    assert benchmarks.main(["activecampaign", "--profiles", "500"]) == 1
    given = capsys.readouterr().out
    assert "MISSED: write calls 3 = 0" in given
    assert "A note." in given
    assert asked == [(500, activecampaign.DEFAULT_TIME_SCALE, "open")]


# Small runs of the real thing over HTTP. What depends on the machine (pace, CPU time, calls that came late and were
# refused) is not looked at.

KEYS = {
    "cpu_seconds_per_100k",
    "write_units_per_1000",
    "read_units_per_1000",
    "calls_per_1000",
    "share_of_limit",
    "list_price_per_million",
    "peak_mb",
}


def run_small(capsys: pytest.CaptureFixture[str], cases: Collection[str], *arguments: str) -> dict[str, Any]:
    """Run a benchmark as `make` does with JSON=1; return its JSON, whose keys are right."""
    status = benchmarks.main([*arguments, "--json"])

    given: dict[str, Any] = json.loads(capsys.readouterr().out)
    figures = given["figures"]
    assert status == (1 if given["missed"] else 0)
    assert figures.keys() == KEYS
    assert all(figures[name].keys() == set(cases) for name in KEYS - {"peak_mb"})
    assert 20 < figures["peak_mb"] < 200
    for case in cases:
        assert figures["cpu_seconds_per_100k"][case] > 0
        for whole in ("cpu_seconds_per_100k", "write_units_per_1000", "list_price_per_million"):
            ends = whole.removeprefix("list_")
            parts = [by_case.get(case, 0) for name, by_case in given["parts"].items() if name.endswith(ends)]
            assert sum(parts) == pytest.approx(figures[whole][case], abs=0.01)
    return given


@pytest.mark.enable_socket
@pytest.mark.parametrize(("account", "count"), [("open", 400), ("silent", 100)])
def test_a_small_activecampaign_benchmark(account: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--profiles", str(count), "--time-scale", "20", "--account", account)
    given = run_small(capsys, activecampaign.CASES, "activecampaign", *options)

    figures, outcome = given["figures"], given["outcome"]
    troubles = Counter(trouble for _, trouble in Population(count, ("shop/one",), has_troubles=True).troubles())
    taken = count - troubles.total()
    assert outcome["on_the_list"] == taken
    assert outcome["unsubscribed"] == troubles[Trouble.UNSUBSCRIBED]
    assert outcome["delivered"] == {"first": taken, "again": 0, "changed": taken}
    assert outcome["unchanged"] == {"first": 0, "again": taken, "changed": 0}
    assert set(outcome["malformed"].values()) == {troubles[Trouble.MALFORMED]}
    assert set(outcome["refused"].values()) == {troubles.total() - troubles[Trouble.MALFORMED]}
    assert outcome["write_calls"]["again"] == 0
    assert figures["share_of_limit"]["again"] == 0
    if account == "open":
        # An assignment, and a record twice; what runs and imports cost is much for so few.
        assert 2_900 < figures["write_units_per_1000"]["first"] < 4_500
        assert 1_900 < figures["write_units_per_1000"]["changed"] < 3_500
    assert figures["read_units_per_1000"]["again"] > 1_900
    assert 0.2 < figures["list_price_per_million"]["again"] < figures["list_price_per_million"]["first"]


@pytest.mark.enable_socket
def test_a_small_gainsight_px_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    given = run_small(capsys, gainsight_px.CASES, "gainsight-px", "--profiles", "1000", "--time-scale", "5")

    figures, outcome = given["figures"], given["outcome"]
    assert outcome["fewest_members"] == outcome["most_members"]
    assert outcome["most_members"] == {case: 0 if case.startswith("changed") else 1000 for case in gainsight_px.CASES}
    # Four shards, each with one call that is not full.
    assert outcome["update_calls"] == {case: 0 if case.startswith("again") else 4 for case in gainsight_px.CASES}
    assert set(outcome["times_backwards"].values()) == {0}
    # An assignment for a profile, and a record twice for each membership.
    expected = {"first": 2_500, "again": 0, "first_of_one": 3_000, "again_of_one": 0}
    found = {case: figures["write_units_per_1000"][case] for case in expected}
    assert found == pytest.approx(expected, abs=60)


# CPU and prices.


def test_time_belongs_to_the_innermost_part(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 1.0, 3.0, 7.0, 100.0, 101.0])
    monkeypatch.setattr("local.benchmarks.cpu.time.thread_time", lambda: next(seconds))
    meter = cpu.CpuMeter()
    with meter.part("own"):
        meter.timed("database", len)("x")
    with meter.part("own"):
        pass
    assert meter.take() == ({"own": 1 + 4 + 1, "database": 2}, {"own": 2, "database": 1})
    assert meter.take() == ({}, {})


def test_a_bill_has_everything_that_is_paid_by_use() -> None:
    bill = Bill(
        write_units=1e6,
        read_units=2e6,
        fifo_requests=1_000_000,
        standard_requests=1_000_000,
        invocations=1_000_000,
        cpu_seconds=1024,
        waited_seconds=1000,
        log_bytes=650_000_000,
    )
    assert dict(bill.parts()) == pytest.approx(
        {
            "dynamodb_writes": 0.625,
            "dynamodb_reads": 0.25,
            "lambda_time": (1769 + 500) * 0.0000133334,
            "lambda_requests": 0.2,
            "sqs": 0.9,
            "logs": 0.5,
        }
    )


def test_prices_are_for_what_the_template_makes() -> None:
    template = expanding.unrolled(expanding.read())
    functions = template["Globals"]["Function"]
    assert functions["MemorySize"] == prices.MEMORY_GB * 1024
    assert functions["Timeout"] == worker.FUNCTION_SECONDS
    assert template["Parameters"]["Architecture"]["Default"] == "arm64", "Lambda's price is for this one"
    for name in ("activecampaign", "gainsightpx", "ImportChecks"):
        function = template["Resources"][f"{name}Function"]["Properties"]
        assert "MemorySize" not in function
        (source,) = function["Events"].values()
        events = source["Properties"]
        assert events["BatchSize"] == BATCH
        assert events["ScalingConfig"]["MaximumConcurrency"] == relaying.CHECKERS
    for queue in ("activecampaignQueue", "gainsightpxQueue", "checksQueue"):
        assert template["Resources"][queue]["Properties"]["VisibilityTimeout"] == VISIBILITY.total_seconds()


def test_a_process_that_fails_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EndedEarlyError, match="sleep failed"):
        apart(time.sleep, -1)
    assert "ValueError" in capfd.readouterr().err


def started(imported: float = 80, first: float = 3, warm: float = 0.5, heavy: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "import": imported,
        "first": first,
        "warm": [[warm] * 3, [2 * warm] * 3, [900 * warm] * 3],
        "statuses": [202],
        "heavy": list(heavy),
    }


def test_ingest_is_reckoned_by_the_share_of_a_processor() -> None:
    starts = [started(imported) for imported in (70, 80, 500)]
    report = Report("ingest", {}, ingest._figures(starts, 1, 2_000_000))

    assert report.missed == []
    assert report.value("cold_at_1769_ms") == 83
    assert report.value("cold_at_1024_ms") == pytest.approx(83 * 1769 / 1024)
    assert report.value("largest_at_512_ms") == pytest.approx(450 * 1769 / 512)
    assert report.value("warm_1_ms") == 0.5


@pytest.mark.parametrize(
    ("start", "calls", "missed"),
    [
        (started(imported=300), 1, ["cold_at_1024_ms"]),
        (started(warm=1.1), 1, ["warm_1_ms"]),
        (started(heavy=["boto3"]), 1, ["slow_imports"]),
        (started(), 2, ["warm_calls"]),
        (started(warm=2), 1, ["warm_1_ms", "largest_at_1024_ms"]),
    ],
)
def test_each_goal_of_ingest_can_be_missed(start: dict[str, Any], calls: float, missed: list[str]) -> None:
    report = Report("ingest", {}, ingest._figures([start], calls, 2_000_000))
    assert [figure.name for figure in report.missed] == missed


def test_ingest_is_reckoned_for_what_the_template_gives_it() -> None:
    template = expanding.read()
    properties = template["Resources"]["IngestFunction"]["Properties"]
    assert properties["MemorySize"] == ingest.DEPLOYED_MB in ingest.MEMORY_MB
    assert properties["Timeout"] == ingest.TIMEOUT_SECONDS
    assert max(ingest.SIZES) == MAX_PROFILES
    assert len(ingest._event(MAX_PROFILES)["body"]) <= MAX_BODY_BYTES


def test_the_calls_of_a_warm_request_are_those_after_the_first_message() -> None:
    def asked(operation: str) -> Asked:
        return Asked(1, "POST", "/", {"x-amz-target": f"service.{operation}"}, b"{}")

    start = [asked("GetSecretValue")] * 2
    warm = [asked("SendMessageBatch")] * (1 + ingest.SIZES[1])
    assert ingest._warm_calls(start + warm + [asked("SendMessageBatch")] * 50) == 1
    slow = [asked("SendMessageBatch"), *[asked("GetSecretValue"), asked("SendMessageBatch")] * ingest.SIZES[1]]
    assert ingest._warm_calls(start + slow) == 2


def test_every_body_of_ingest_is_taken_with_its_proof() -> None:
    secrets = FakeSecrets(**{f"relay/sources/{source}": webhooks.secret(source) for source in webhooks.SOURCES})
    secrets["relay/stack/identity-key"] = "identity"
    settings, client = Sources("relay", secrets=secrets), FakeQueueClient()
    for source in webhooks.SOURCES:
        with redirect_stdout(io.StringIO()):
            answer = ingest_handler(
                webhooks.event(source, 3), None, settings=settings, queue=Queue("https://sqs/changes", client=client)
            )
        assert answer["statusCode"] in (200, 202), source
    batches = [from_json(body) for body in client.bodies]
    assert {dialect for dialect, _ in webhooks.SOURCES.values()} == {*DIALECTS}
    assert {mode for _, mode in webhooks.SOURCES.values()} == {*MODES}
    assert [len(batch.changes) for batch in batches] == [3] * len(webhooks.SOURCES)
    assert all(one.memberships and one.attributes and one.profile_ids for batch in batches for one in batch.changes)


def test_a_source_is_compared_with_the_plain_one_and_counts_its_quietest_minute() -> None:
    quick = {"import": 50, "first": 2, "warm": [[0.5, 0.4], [10.3]]}
    busy = {"import": 90, "first": 2, "warm": [[0.9], [99.0]]}
    slow = {"import": 76, "first": 2, "warm": [[0.8], [20.6]]}
    figures = {one.full_name: one.value for one in ingest._of_each({ingest.PLAIN: [busy, quick], "x": [slow]})}
    assert figures[f"start_ms.{ingest.PLAIN}"] == 52
    assert figures["start_ms_ratio.x"] == 1.5
    assert figures["request_us.x"] == 800
    assert figures[f"change_us.{ingest.PLAIN}"] == pytest.approx(100)
    assert figures["change_us_ratio.x"] == pytest.approx(2)


# The pace.


def test_a_small_run_of_the_pace_measures_every_case() -> None:
    report = pace.benchmark(seconds=1)
    for case, (_, processes, at_once) in pace.CASES.items():
        assert report.value(f"calls_per_second.{case}") > 0
        assert report.value(f"most_in_a_second.{case}") >= min(processes * at_once, 4)
        assert report.value(f"database_calls_per_call.{case}") >= 0


def test_everybody_who_was_rejected_is_listed_in_pages() -> None:
    figures = {one.name: one for one in rejected.benchmark(None, 60).figures}
    assert (figures["rejected"].value, figures["complete"].value, figures["pages"].value) == (12, 1, 1)
