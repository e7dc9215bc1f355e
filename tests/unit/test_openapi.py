"""The description of the webhook endpoint: it is as the code is, it is valid, and the endpoint does what it says."""

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from standardwebhooks import Webhook

from functions.ingest.app import handler
from local import openapi
from relay.observability import Observability
from relay.queues import Queue
from relay.settings.settings import Settings
from relay.sources import relay_json
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueueClient
from tests.fakes.secrets import FakeParameters, FakeSecrets, refusal
from tests.webhooks import (
    DOCUMENT,
    FITS_ADOBE_HTTP,
    FITS_RELAY_JSON,
    METHODS,
    adobe_bodies,
    flaw,
    raw_bodies,
    relay_bodies,
)

TOKEN, SIGNING = "token-of-the-shop", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OPEN = {"auth": "bearer", "secret": TOKEN, "profile_key": "identities.*[]"}
SIGNED = {"auth": "standard-webhooks", "secret": SIGNING, "profile_key": "identities.crm"}
SOURCES: dict[str, dict[str, str]] = {
    "shop": {"dialect": "relay-json", **OPEN},
    "aep": {"dialect": "adobe-http", **OPEN},
    "signed": {"dialect": "relay-json", **SIGNED},
    "broken": {"dialect": "relay-json"},
}


class Endpoint:
    """The handler over fakes, with several sources; nothing of a request before is left."""

    def __init__(self, queue: FakeQueueClient | None = None) -> None:
        self.clock = FakeClock()
        self.client = FakeQueueClient() if queue is None else queue
        secrets = FakeSecrets(**{f"relay/sources/{name}": fields for name, fields in SOURCES.items()})
        secrets["relay/stack/identity-key"] = "identity"
        secrets["relay/sources/locked"] = refusal("AccessDeniedException")
        self._settings = Settings("relay", secrets=secrets, ssm=FakeParameters(), clock=self.clock)

    def post(
        self, source: str, raw: bytes, headers: Mapping[str, str], method: str = "post"
    ) -> tuple[int, dict[str, Any]]:
        """Return status and body of an answer, having held it to the description."""
        is_posted = method == "post" and source != ""
        event = {
            "httpMethod": method.upper(),
            # Whatever is no webhook comes by the route of everything else.
            "pathParameters": {"source": source} if is_posted else {"proxy": f"webhooks/{source}".rstrip("/")},
            "headers": headers,
            "body": base64.b64encode(raw).decode(),
            "isBase64Encoded": True,
        }
        answer = handler(
            event,
            None,
            settings=self._settings,
            queue=Queue("https://sqs/changes", client=self.client, clock=self.clock),
            clock=self.clock,
            observability=Observability(io.StringIO()),
        )
        path = "/webhooks/{source}" if source else "/webhooks"
        assert flaw(answer["statusCode"], answer["headers"], answer["body"], method, path) is None
        body: dict[str, Any] = json.loads(answer["body"])
        return answer["statusCode"], body

    def signed(self, raw: bytes) -> dict[str, str]:
        now = self.clock.now()
        text = raw.decode(errors="replace")
        signature = Webhook(SIGNING).sign("msg_1", now, text)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


EMPTY = "holds no identities, no attributes and no memberships"


def is_utf8(raw: bytes) -> bool:
    return raw.decode(errors="replace").encode() == raw


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    return Endpoint()


def test_the_page_is_what_the_code_prints() -> None:
    assert openapi.PAGE.read_text(encoding="utf-8") == openapi.text(), "run `make pages`"


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_it_has_every_key_of_a_change_and_of_a_membership() -> None:
    change = DOCUMENT["components"]["schemas"]["RelayJson"]["properties"]["changes"]["items"]["properties"]
    assert change.keys() == relay_json._KEYS
    assert change["memberships"]["items"]["properties"].keys() == relay_json._MEMBERSHIP_KEYS


@pytest.mark.parametrize(
    "answer",
    [
        (202, {"Content-Type": "application/json"}, "{}"),
        (200, {"Content-Type": "application/json"}, "{}"),
        (401, {"Content-Type": "application/problem+json"}, json.dumps({"type": "about:blank"})),
        (404, {"Content-Type": "text/html"}, "<html>"),
    ],
)
def test_what_is_not_described_is_noticed(answer: tuple[int, dict[str, str], str]) -> None:
    assert flaw(*answer) is not None


def test_a_problem_with_another_code_or_without_its_header_is_noticed(endpoint: Endpoint) -> None:
    _, body = endpoint.post("nobody", b"{}", {})
    as_sent = {"Content-Type": "application/problem+json"}
    assert flaw(404, as_sent, json.dumps(body)) is None
    assert flaw(404, as_sent, json.dumps({**body, "code": "odd"})) is not None
    assert flaw(404, as_sent, json.dumps({**body, "more": 1})) is not None
    body |= {"status": 429, "code": "too_many_unknown_sources"}
    assert flaw(429, {**as_sent, "Retry-After": "10"}, json.dumps(body)) is None
    assert flaw(429, as_sent, json.dumps(body)) is not None


@settings(max_examples=300)
@given(
    raw=raw_bodies,
    source=st.sampled_from([*SOURCES, "locked", "nobody", ""])
    | st.text(st.characters(exclude_characters="/"), max_size=5),
    proof=st.sampled_from(["right", "wrong", "none", "signed"]),
    method=st.just("post") | st.sampled_from(METHODS),
)
def test_every_answer_is_one_of_the_description(
    endpoint: Endpoint, raw: bytes, source: str, proof: str, method: str
) -> None:
    headers = {"right": bearer(), "wrong": bearer("wrong"), "none": {}, "signed": endpoint.signed(raw)}[proof]
    status, body = endpoint.post(source, raw, headers, method)
    assert status < 500 or body["code"] in ("source_not_usable", "unavailable")
    if not source:
        assert (status, body["code"]) == (404, "no_source")
    elif method != "post":
        assert (status, body["code"]) == (405, "method_not_allowed")
    elif source in ("shop", "aep", "signed"):
        assert status < 500
        # The library that signs here takes texts alone.
        is_proven = proof == "right" if source != "signed" else proof == "signed" and is_utf8(raw)
        assert (status == 401) == (not is_proven)


@settings(max_examples=200)
@given(relay_bodies)
def test_a_relay_json_body_of_the_described_shape_is_taken_whole(endpoint: Endpoint, body: Any) -> None:
    assume(FITS_RELAY_JSON.is_valid(body))
    status, answer = endpoint.post("shop", json.dumps(body).encode(), bearer())
    assert status == 202
    assert answer["left_out"] == 0
    assert {one["code"] for one in answer["rejections"]} <= {"no_identity"}


@settings(max_examples=200)
@given(adobe_bodies)
def test_an_adobe_body_of_the_described_shape_is_taken(endpoint: Endpoint, body: Any) -> None:
    assume(FITS_ADOBE_HTTP.is_valid(body))
    status, answer = endpoint.post("aep", json.dumps(body).encode(), bearer())
    if status == 422:
        assert {error["detail"] for error in answer["errors"]} == {EMPTY}
        return
    assert (status, answer["left_out"]) == (202, 0)
    assert {one["code"] for one in answer["rejections"]} <= {"no_identity", "wrong_shape"}


def test_a_queue_that_takes_nothing_is_a_503_of_the_description() -> None:
    endpoint = Endpoint(FakeQueueClient([refusal("ServiceUnavailable")] * 20))
    raw = json.dumps({"changes": [{"identities": {"crm": "1"}}]}).encode()
    status, body = endpoint.post("shop", raw, bearer())
    assert (status, body["code"]) == (503, "unavailable")
