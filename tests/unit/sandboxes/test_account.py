"""What every account has, tried on one that counts what it was told."""

import pytest
from flask import Flask, Response, request
from pydantic.dataclasses import dataclass

from sandboxes.account import DAY, Account
from sandboxes.answers import InvalidControlError, json_answer
from sandboxes.config import AccountConfig
from sandboxes.control import make_app

from .conftest import Clock


@dataclass(frozen=True)
class WordsConfig(AccountConfig):
    key: str = "k"
    words_a_minute: int = 3
    words_a_day: int = 5


class Words(Account[WordsConfig]):
    limits = {"words_a_minute": 60, "words_a_day": DAY}

    def fill(self) -> None:
        self.words = ["first"]

    def state(self, *, summary: bool) -> dict[str, object]:
        return {"words": len(self.words) if summary else self.words}

    def counters(self) -> dict[str, object]:
        return {"letters": sum(map(len, self.words))}


@pytest.fixture
def account(clock: Clock) -> Words:
    return Words(WordsConfig(), clock, clock.sleep)


def app_of(account: Words) -> Flask:
    def admit() -> Response | None:
        if request.headers.get("Key") != account.config.key:
            return json_answer({}, 401)
        return json_answer({}, 429) if account.admit() is not None else None

    app = make_app(account, admit, not_writing=frozenset({"POST /looks"}))

    @app.post("/words/<word>")
    def add(word: str) -> Response:
        account.words.append(word)
        return json_answer({})

    @app.post("/looks")
    def look() -> Response:
        return json_answer(account.words)

    return app


def test_a_call_is_admitted_before_it_is_done(account: Words) -> None:
    client = app_of(account).test_client()
    statuses = [client.post(f"/words/{word}", headers={"Key": word}).status_code for word in ("k", "x", "k", "k", "k")]
    assert statuses == [200, 401, 200, 200, 429]
    assert account.words == ["first", "k", "k", "k"]


def test_the_control_api_needs_no_admission(account: Words) -> None:
    client = app_of(account).test_client()
    assert client.get("/_sandbox/state").get_json() == {"words": ["first"]}
    assert client.get("/_sandbox/state?summary=true").get_json() == {"words": 1}
    assert client.get("/_sandbox/counters").get_json()["letters"] == 5


def test_what_only_looks_is_no_write(account: Words) -> None:
    client = app_of(account).test_client()
    client.post("/words/more", headers={"Key": "k"})
    client.post("/looks", headers={"Key": "k"})
    assert (account.tally.write_calls, account.tally.writes) == (1, 1)


def test_the_longest_wait_counts_and_a_call_may_count_at_one_limit_alone(account: Words, clock: Clock) -> None:
    assert [account.admit() for _ in range(3)] == [None] * 3
    clock.advance(10)
    assert account.admit() == 50
    clock.advance(50)
    assert account.admit("words_a_minute") is None
    assert [account.admit() for _ in range(2)] == [None, DAY - 60]
    assert account.quotas["words_a_day"].remaining() == 0


def test_a_limit_can_be_changed_while_it_is_used(account: Words) -> None:
    for _ in range(3):
        account.admit()
    account.change({"words_a_minute": 4})
    assert account.admit() is None
    assert account.admit() is not None


def test_settings_are_changed_all_or_none_and_only_as_their_types_say(account: Words) -> None:
    for changes, wrong in (
        ({"key": "new", "colour": "red"}, "colour"),
        ({"key": 5}, "key"),
        ({"words_a_day": "5"}, "words_a_day"),
    ):
        with pytest.raises(InvalidControlError, match=wrong):
            account.change(changes)
    assert account.config == WordsConfig()
    account.change({"key": "new"})
    assert account.config == WordsConfig(key="new")


def test_a_reset_leaves_nothing_of_what_was_done(account: Words) -> None:
    account.words.append("second")
    account.change({"key": "new", "words_a_minute": 1})
    account.faults.append({"do": {"status": 500}})
    account.admit()
    account.tally.count("POST /words", "200", writing=True, processed=True)
    account.reset()
    assert (account.words, account.config, account.faults.waiting()) == (["first"], WordsConfig(), [])
    assert account.tally.report()["calls"] == 0
    assert {name: quota.remaining() for name, quota in account.quotas.items()} == {
        "words_a_minute": 3,
        "words_a_day": 5,
    }


def test_time_passes_as_much_faster_as_one_says(clock: Clock) -> None:
    account = Words(WordsConfig(words_a_minute=1), clock, clock.sleep, 20)
    assert account.admit() is None
    clock.advance(2.9)
    assert account.admit() is not None
    clock.advance(0.1)
    assert account.admit() is None
