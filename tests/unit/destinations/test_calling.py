import json
import traceback
from collections.abc import Iterator
from datetime import timedelta
from email.message import Message
from typing import Any
from urllib.request import Request

import pytest
import requests
from flask import Flask, Response, request
from urllib3.exceptions import ReadTimeoutError

from relay.destinations import calling
from relay.destinations.calling import HttpCaller, encode_json, shared_session
from relay.destinations.contract import Quota
from relay.domain.problems import ConnectionProblem, Problem, Transient
from tests.fakes.wsgi_session import WsgiAdapter, wsgi_session

QUOTA = Quota("rest", 5, timedelta(seconds=1))
PLANTED = "anna@example.com"
SECRET = "s3cret"


class Door:
    """A caller to a small application, with everything it logged and paced."""

    def __init__(self) -> None:
        app = Flask("door")
        self.answers: Iterator[Response] = iter(())
        self.lines: list[dict[str, Any]] = []
        self.paced: list[str] = []
        self.held: list[timedelta] = []

        @app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
        @app.route("/<path:path>", methods=["GET", "POST"])
        def answer(path: str) -> Response:
            self.seen = request.get_data()
            return next(self.answers)

        self.adapter = WsgiAdapter(app)
        self.call = HttpCaller(
            "acme",
            pace=lambda quota: self.paced.append(quota.name),
            log=lambda message, **fields: self.lines.append({"message": message, **fields}),
            hold=self.held.append,
            session=wsgi_session(self.adapter),
        )

    def get(self, answer: Response, path: str = "/api/3/contacts/17/contactLists", **arguments: Any) -> Any:
        self.answers = iter([answer])
        return self.call("GET", f"https://acme.api-us1.com{path}", quota=QUOTA, **arguments)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize(
    ("content_type", "content", "expected"),
    [
        ("application/json", '{"a":1}', {"a": 1}),
        ("application/json; charset=utf-8", "[1]", [1]),
        ("application/problem+json", '{"a":1}', {"a": 1}),
        ("text/html", '{"a":1}', None),
        ("application/json", "<html>", None),
        ("application/json", "", None),
        ("application/json", "null", None),
        ("application/json", '"text"', None),
        ("application/json", "[" * 100_000, None),
    ],
)
def test_json_only_when_it_really_is_json(door: Door, content_type: str, content: str, expected: Any) -> None:
    answer = door.get(Response(content, content_type=content_type))
    assert answer.body == expected
    assert answer.size == len(content)


def test_redirects_are_not_followed(door: Door) -> None:
    answer = door.get(Response("", 302, {"Location": "https://elsewhere.example/"}))
    assert answer.status == 302
    assert len(door.adapter.requests) == 1


def test_one_log_line_per_attempt_without_query_ids_headers_or_bodies(door: Door) -> None:
    door.get(Response("{}", content_type="application/json"), params={"email": PLANTED}, headers={"Api-Token": SECRET})
    (line,) = door.lines
    assert line.pop("milliseconds") >= 0
    assert line == {
        "message": "destination call",
        "connection": "acme",
        "operation": "rest",
        "method": "GET",
        "path": "/api/3/contacts/*/contactLists",
        "status": 200,
        "bytes": 2,
    }
    assert door.paced == ["rest"]
    assert door.call.counts == {("rest", 200): 1}


def test_headers_in_lower_case(door: Door) -> None:
    assert door.get(Response("", 429, {"Retry-After": "3"})).headers["retry-after"] == "3"


@pytest.mark.parametrize("status", [429, 503])
def test_a_rest_the_destination_asks_for_is_held_for_everybody_and_the_answer_returned(door: Door, status: int) -> None:
    answer = door.get(Response("", status, {"Retry-After": "40"}))
    assert door.held == [timedelta(seconds=40)]
    assert answer.status == status
    assert len(door.lines) == 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [(429, {}), (429, {"Retry-After": "soon"}), (503, {}), (200, {"Retry-After": "40"}), (201, {"Retry-After": "40"})],
)
def test_no_rest_is_held_that_nobody_asked_for(door: Door, status: int, headers: dict[str, str]) -> None:
    door.get(Response("", status, headers))
    assert door.held == []


def test_a_refused_connection_was_certainly_not_taken(door: Door) -> None:
    door.adapter.refuses_connections = True
    with pytest.raises(Transient) as caught:
        door.get(Response(""), params={"email": PLANTED})
    assert (caught.value.code, caught.value.taken) == ("network", False)
    assert door.lines[0]["status"] == 0
    assert door.lines[0]["problem"] == "network"
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("error", "code", "taken"),
    [
        (requests.ConnectTimeout(PLANTED), "timeout", False),
        (requests.ReadTimeout(PLANTED), "timeout", None),
        (requests.ConnectionError(ReadTimeoutError(None, PLANTED, PLANTED)), "timeout", None),  # type: ignore[arg-type]
        (requests.ConnectionError(PLANTED), "network", None),
        (requests.exceptions.SSLError(PLANTED), "network", None),
        (requests.exceptions.ChunkedEncodingError(PLANTED), "network", None),
        (requests.exceptions.ContentDecodingError(PLANTED), "network", None),
    ],
)
def test_network_trouble(
    door: Door, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, taken: bool | None
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(door.adapter, "send", fail)
    with pytest.raises(Transient) as caught:
        door.get(Response(""))
    assert (caught.value.code, caught.value.taken) == (code, taken)
    assert PLANTED not in "".join(traceback.format_exception(caught.value))


def test_a_key_that_cannot_be_a_header_stops_the_connection(door: Door) -> None:
    headers = {"Api-Token": f"{SECRET}\nX-Other: 1"}
    with pytest.raises(ConnectionProblem) as caught:
        door.get(Response(""), headers=headers)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_an_answer_without_end_is_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(Transient, match="answer_too_large"):
        door.get(Response("x" * 11))


def test_an_answer_that_drips_is_cut_off(door: Door) -> None:
    ticks = iter([0.0, calling.ANSWER_SECONDS + 1, calling.ANSWER_SECONDS + 1])
    door.call = HttpCaller(
        "acme",
        pace=lambda _: None,
        log=lambda *_, **__: None,
        session=wsgi_session(door.adapter),
        monotonic=lambda: next(ticks),
    )
    with pytest.raises(Transient, match="timeout"):
        door.get(Response("drip"))


def test_an_exhausted_pace_makes_no_call(door: Door) -> None:
    def exhausted(_: Quota) -> None:
        raise Transient("pace", "used up", taken=False)

    door.call = HttpCaller("acme", pace=exhausted, log=lambda *_, **__: None, session=wsgi_session(door.adapter))
    with pytest.raises(Problem):
        door.get(Response(""))
    assert door.adapter.requests == []


def test_mistake_5_json_is_encoded_not_interpolated(door: Door) -> None:
    door.answers = iter([Response("{}", content_type="application/json")])
    body = {"email": 'o"brien\\@example.com', "name": "Zoë"}
    door.call("POST", "https://acme.api-us1.com/api/3/x", quota=QUOTA, json=body)
    assert json.loads(door.seen) == body
    assert door.seen == encode_json(body)


def test_half_an_emoji_does_not_spoil_the_call() -> None:
    assert json.loads(encode_json(["\ud83d", "fine"])) == ["?", "fine"]


def test_the_shared_session_keeps_nothing_between_calls() -> None:
    session = shared_session()
    assert session is shared_session()
    assert session.trust_env is False
    answer = Message()
    answer["Set-Cookie"] = "sid=1"
    session.cookies.extract_cookies(_Headers(answer), Request("https://acme.api-us1.com/"))  # type: ignore[arg-type]
    assert list(session.cookies) == []


class _Headers:
    def __init__(self, message: Message) -> None:
        self.info = lambda: message
