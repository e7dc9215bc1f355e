"""Exchanges are kept masked, in bounds, and without credentials."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.destinations.contract import Account, Reply
from relay.destinations.exchanges import MAX_CHARACTERS, MOST, Exchange, Recording, masked
from relay.domain.exports import Connection
from relay.domain.problems import Transient
from relay.stores import traces
from relay.stores.database import MAX_ITEM_BYTES
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.scripted_caller import DictNotes

PLANTED = "Zanzibar42"
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(PLANTED)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just(PLANTED), inner, max_size=4)
)


@given(VALUES)
def test_nothing_is_left_of_a_value_but_type_and_length(value: Any) -> None:
    shown = json.dumps(masked(value))
    assert PLANTED not in shown


def test_keys_that_look_like_names_stay() -> None:
    given_value = {
        "contact": {"email": "ada@x.example", "age": 36, "ada@x.example": True, "7": None},
        "tags": ["a", "bb"],
    }
    assert masked(given_value) == {
        "contact": {"email": "<text of 13>", "age": "<number>", "<key 3>": True, "<key 4>": None},
        "tags": ["<text of 1>", "<text of 2>"],
    }
    assert masked(object()) == "<value>"


def kept(recording: Recording, answer: Reply | Exception, method: str = "POST", **sent: Any) -> Exchange:
    """Make one call, and return what is kept of it."""

    def call(*_: Any, **__: Any) -> Reply:
        if isinstance(answer, Exception):
            raise answer
        return answer

    account = Account(Connection("c", "tool", "C", None), call, DictNotes())
    try:
        recording.of(account).call(method, "https://x.example/api/3/contacts/4711?key=hidden", **sent)
    except Transient:
        assert isinstance(answer, Transient)
    return recording.exchanges[-1]


ANSWER = Reply(200, {"set-cookie": "hidden"}, {"id": "4711", "access_token": "hidden"}, 10)


def test_with_values_all_is_shown_but_credentials() -> None:
    shown = kept(
        Recording(shows_values=True),
        ANSWER,
        headers={"Api-Token": "hidden"},
        json={"email": "ada@x.example", "api_key": "hidden"},
        params={"email": "ada@x.example"},
    )
    assert shown == Exchange(
        "POST",
        "/api/3/contacts/*",
        {"email": "ada@x.example"},
        {"email": "ada@x.example", "api_key": "<text of 6>"},
        200,
        {"id": "4711", "access_token": "<text of 6>"},
    )
    assert kept(Recording(shows_values=True), ANSWER, json=[{"token": 1}, "a"]).request == [{"token": "<number>"}, "a"]


def test_a_form_and_its_answer_are_masked_whatever_was_asked() -> None:
    shown = kept(Recording(shows_values=True), ANSWER, form={"username": "hidden", "password": "hidden"})
    assert "hidden" not in json.dumps(shown)
    assert shown.request == {"username": "<text of 6>", "password": "<text of 6>"}
    assert shown.response == {"id": "<text of 4>", "access_token": "<text of 6>"}


def test_a_call_without_an_answer_says_why() -> None:
    shown = kept(Recording(shows_values=False), Transient("timeout", "no answer"), method="GET")
    assert (shown.status, shown.problem, shown.request, shown.response) == (0, "timeout", None, None)


@pytest.mark.parametrize("text", ["x" * 10_000, "\u00e9" * 2_000, "\U0001f600" * 2_000])
def test_the_largest_attempt_fits_into_an_item(text: str) -> None:
    recording = Recording(shows_values=True)
    long = text[: MAX_CHARACTERS // 14]
    for _ in range(MOST + 3):
        kept(recording, Reply(200, {}, {"a": long}, 1), json={"a": long}, params={"a": long})
    assert (len(recording.exchanges), recording.left_out) == (MOST, 3)
    assert kept(Recording(shows_values=True), ANSWER, json=[text]).request.endswith("too long to be kept>")
    database, clock = MemoryDatabase(), FakeClock()
    attempt = traces.Attempt(clock.now(), "destination", "delivered", [one._asdict() for one in recording.exchanges], 3)
    traces.add(database, "p.1", attempt)
    assert MOST * 3 * MAX_CHARACTERS < MAX_ITEM_BYTES
    [found] = traces.attempts(database, "p.1", clock.now())
    assert (found.left_out, len(found.exchanges)) == (3, MOST)
