"""The parts as the stack puts them together."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask, Response

from relay.destinations.contract import Account, Quota
from relay.domain.identity import NOBODY, Record, Wanted
from relay.queues import Queue
from relay.stores import identities
from relay.stores.directory import Entry
from relay.wiring import Stack
from tests.fakes.bench import CONNECTION, KEYED, TOOL, Bench
from tests.fakes.bench_settings import BenchSettings
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.wsgi_session import WsgiAdapter, wsgi_session

ROOT = Path(__file__).parents[2]
QUOTA = Quota("rest", 5, timedelta(seconds=1))
IMPORTS = Quota("bulk", 97, timedelta(minutes=1))
LETTERS = BenchSettings({"letters": "tool"}).connection("letters")


@pytest.fixture
def stack() -> Stack:
    """Return a stack without AWS whose destinations answer every call with 429."""
    app = Flask("busy")
    app.add_url_rule("/", view_func=lambda: Response("", 429, {"Retry-After": "40"}))
    stack = Stack({})
    stack.session = wsgi_session(WsgiAdapter(app))
    stack.clock, stack.database, stack.keyed = FakeClock(), MemoryDatabase(), KEYED
    return stack


def account_of(stack: Stack) -> Account:
    account, _ = stack.accounts.open(LETTERS)
    return account


def test_a_rest_one_call_is_asked_for_holds_every_caller_of_the_account(stack: Stack) -> None:
    assert account_of(stack).call("GET", "https://tool.example/", quota=QUOTA).status == 429
    for quota in (QUOTA, IMPORTS):
        assert account_of(stack).backlog(quota) == timedelta(seconds=40)


def test_a_destination_is_shown_what_it_asked_to_remember_at_another_target(stack: Stack) -> None:
    account = account_of(stack)
    assert account.evidence_at("list/8", "ann@x.example") is None
    key = identities.key_of(KEYED, "letters", "list/8", "ann@x.example")
    record = Record(desired=NOBODY, evidence="what our call left")
    assert stack.database.write([identities.save(key, record, 0, stack.clock.now())]) == [True]
    assert account.evidence_at("list/8", "ann@x.example") == "what our call left"
    assert account.evidence_at("list/9", "ann@x.example") is None


def test_a_destination_can_hold_a_quota_itself(stack: Stack) -> None:
    account = account_of(stack)
    account.hold(QUOTA, timedelta(seconds=30))
    assert account.backlog(QUOTA) == timedelta(seconds=30)
    assert account.backlog(IMPORTS) == timedelta()


def test_a_part_is_made_once_and_one_that_is_set_counts_everywhere(stack: Stack) -> None:
    assert stack.pace is stack.pace
    other = Stack({"RELAY_PACE_SCALE": "2"})
    other.clock, other.database = stack.clock, stack.database
    assert other.pace is not stack.pace
    account_of(stack).hold(QUOTA, timedelta(seconds=30))
    assert other.pace.backlog("letters", QUOTA) == timedelta(seconds=30)


ON_LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "relay-any",
    "AWS_ACCESS_KEY_ID": "an-id",
    "AWS_SECRET_ACCESS_KEY": "a-secret",
    "AWS_SESSION_TOKEN": "a-session",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "RELAY_PREFIX": "relay",
    "RELAY_CHANGES_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/relay-changes",
}
"""What the environment of a function says."""

# Whose queue a look goes to.


@pytest.mark.parametrize("destination", ["gainsight_px", "gainsightpx"])
def test_a_destinations_queue_is_found_by_its_name_and_by_its_word(destination: str) -> None:
    queue = Stack(ON_LAMBDA).queue_of(destination)
    assert isinstance(queue, Queue)
    assert queue._url == "https://sqs.eu-west-1.amazonaws.com/123456789012/relay-gainsightpx.fifo"


def with_new_winner(record: Record) -> Record:
    """Return the record with a winner that has to be looked at."""
    assert record.winner is not None
    return record._replace(desired=Wanted((record.winner,)))


def test_the_directory_knows_the_queue_of_a_connection_whatever_its_secret_says() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example")
    bench.stack.directory.keep("moved", Entry(TOOL, True, 2))
    bench.restart()
    key = bench.key("2@x.example", connection="moved")
    bench.consume(bench.look(2))
    record = with_new_winner(bench.record("2@x.example"))
    bench.stack.reconciler.recorder.see_to("moved", {key: record})
    assert [task.to_json()["connection"] for task in bench.queue.tasks] == ["moved"]


def test_a_connection_that_no_tick_has_entered_yet_is_known_by_its_settings() -> None:
    bench = Bench()
    assert CONNECTION not in bench.stack.directory.read()
    bench.store(2, email="2@x.example")
    bench.consume(bench.look(2))
    record = with_new_winner(bench.record("2@x.example"))
    bench.stack.reconciler.recorder.see_to(CONNECTION, {"a-key": record})
    assert len(bench.queue.messages) == 1


def test_looks_for_a_connection_that_is_gone_are_dropped() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example")
    bench.consume(bench.look(2))
    record = with_new_winner(bench.record("2@x.example"))
    bench.stack.reconciler.recorder.see_to("gone", {"a-key": record})
    assert bench.queue.messages == bench.other_queue.messages == []


# What a function pays for when it starts.


@pytest.mark.parametrize(
    ("made", "unwanted"),
    [
        ("router()", {"boto3", "pydantic", "requests", "relay.destinations", "relay.reconcile"}),
        ("consumer('gainsightpx')", {"boto3", "relay.routing", "relay.workers.operators", "relay.workers.tick"}),
        ("import_checker()", {"boto3", "relay.routing", "relay.workers.operators", "relay.workers.tick"}),
        ("scheduled_starts()", {"relay.routing", "relay.reconcile.reconciler", "relay.workers.consumer"}),
        ("ticker()", {"relay.routing", "relay.workers.operators", "relay.workers.consumer"}),
    ],
)
def test_a_function_imports_what_it_needs_and_no_more(made: str, unwanted: set[str]) -> None:
    program = f"""
import sys
from relay.wiring import Stack
from relay.domain.keyed_hash import KeyedHash
stack = Stack()
stack.keyed = KeyedHash("test")
stack.{made}
print(*sys.modules)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "layers/relay"), **ON_LAMBDA},
    )
    assert set(answer.stdout.split()) & unwanted == set()
