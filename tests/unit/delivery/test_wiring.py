"""The parts as the functions put them together."""

from datetime import timedelta

import pytest
from flask import Flask, Response

from relay.delivery.wishes import claim_key
from relay.destinations import calling
from relay.destinations.contract import Quota
from relay.domain.claims import Claim
from relay.domain.exports import Connection
from relay.stores import claims
from relay.wiring import Stack
from tests.fakes.clock import FakeClock
from tests.fakes.delivery_bench import KEYED, BenchSettings
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.wsgi_session import WsgiAdapter, wsgi_session

QUOTA = Quota("rest", 5, timedelta(seconds=1))
IMPORTS = Quota("bulk", 97, timedelta(minutes=1))
LETTERS = Connection("letters", "tool", "letters", "a secret")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Return a stack without AWS whose destinations answer every call with 429."""
    app = Flask("busy")
    app.add_url_rule("/", view_func=lambda: Response("", 429, {"Retry-After": "40"}))
    session = wsgi_session(WsgiAdapter(app))
    monkeypatch.setattr(calling, "shared_session", lambda: session)
    stack = Stack({}, FakeClock())
    stack.__dict__.update(database=MemoryDatabase(), settings=BenchSettings())
    return stack


def test_a_rest_one_call_is_asked_for_holds_every_caller_of_the_account(stack: Stack) -> None:
    account, _ = stack.opener.account(LETTERS)
    assert account.call("GET", "https://tool.example/", quota=QUOTA).status == 429
    other, _ = stack.opener.account(LETTERS)
    for quota in (QUOTA, IMPORTS):
        assert other.backlog(quota) == timedelta(seconds=40)


def test_a_destination_is_shown_what_it_asked_to_remember_at_another_target(stack: Stack) -> None:
    stack.__dict__["keyed"] = KEYED
    account, _ = stack.opener.account(LETTERS)
    assert account.memo_at("list/8", "ann@x.example") is None
    key = claim_key(KEYED, "letters", "list/8", "ann@x.example")
    assert stack.database.write([[claims.save(key, Claim(memo="what our call left"), stack.clock.now())]]) == [True]
    assert account.memo_at("list/8", "ann@x.example") == "what our call left"


def test_a_destination_can_hold_a_quota_itself(stack: Stack) -> None:
    account, _ = stack.opener.account(LETTERS)
    account.hold(QUOTA, timedelta(seconds=30))
    assert account.backlog(QUOTA) == timedelta(seconds=30)
    assert account.backlog(IMPORTS) == timedelta()
