"""Who may post: tokens and signatures, before and after a rotation."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from relay.sources.authentication import MODES, authentic

BEARER = MODES["bearer"]
SIGNED = MODES["standard-webhooks"]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PREVIOUS = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"test": 2432232314}'


def signed(secret: str, body: bytes = BODY, age: timedelta = timedelta(0)) -> dict[str, str]:
    sent = datetime.now(UTC) - age
    return {
        "Webhook-Id": "msg_1",
        "WEBHOOK-TIMESTAMP": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", sent, body.decode()),
    }


@pytest.mark.parametrize("header", ["Bearer token-1", "bearer token-1", "Bearer  token-1 "])
def test_a_token(header: str) -> None:
    assert authentic(BEARER, ["token-1"], {"AUTHORIZATION": header}, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer token-2"},
        {"Authorization": "Basic token-1"},
        {"Authorization": "token-1"},
        {"Authorization": "Bearer tökén-1"},
        {"X-Authorization": "Bearer token-1"},
    ],
)
def test_a_missing_or_wrong_token(headers: dict[str, str]) -> None:
    assert not authentic(BEARER, ["token-1"], headers, b"")


def test_both_secrets_are_taken_while_one_replaces_the_other() -> None:
    for token in ("new", "old"):
        assert authentic(BEARER, ["new", "old"], {"authorization": f"Bearer {token}"}, b"")
    for secret in (SECRET, PREVIOUS):
        assert authentic(SIGNED, [SECRET, PREVIOUS], signed(secret), BODY)


def test_the_published_vector_signs_alike() -> None:
    sent = datetime.fromtimestamp(1614265330, UTC)
    signature = Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", sent, BODY.decode())
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_among_others() -> None:
    headers = signed(SECRET)
    headers["webhook-signature"] = "v1a,AAAA v1,AAAA " + headers["webhook-signature"]
    assert authentic(SIGNED, [SECRET], headers, BODY)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_an_old_or_early_signature(age: timedelta) -> None:
    assert not authentic(SIGNED, [SECRET], signed(SECRET, age=age), BODY)


def test_a_signature_of_another_body_or_secret() -> None:
    assert not authentic(SIGNED, [SECRET], signed(SECRET), BODY + b" ")
    assert not authentic(SIGNED, [SECRET], signed(PREVIOUS), BODY)


@pytest.mark.parametrize("signature", ["", "v1", "v1,a,b", "v1,€", "v1,A", ","])
def test_a_malformed_signature_is_a_wrong_one(signature: str) -> None:
    assert not authentic(SIGNED, [SECRET], {**signed(SECRET), "webhook-signature": signature}, BODY)


@pytest.mark.parametrize("timestamp", ["", "nan", "inf", "1e400", "-1", "now"])
def test_a_malformed_timestamp_is_a_wrong_one(timestamp: str) -> None:
    assert not authentic(SIGNED, [SECRET], {**signed(SECRET), "WEBHOOK-TIMESTAMP": timestamp}, BODY)


@given(st.text(), st.text(), st.text(), st.binary())
def test_no_header_and_no_body_breaks_it(authorization: str, timestamp: str, signature: str, body: bytes) -> None:
    headers = {
        "authorization": authorization,
        "webhook-id": "m",
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }
    assert not authentic(BEARER, ["a-token-nobody-guesses"], headers, body)
    assert not authentic(SIGNED, [SECRET], headers, body)


@pytest.mark.parametrize(
    ("mode", "secret", "usable"),
    [
        ("bearer", "token-1", True),
        ("bearer", "two words", False),
        ("bearer", "schlüssel", False),
        ("standard-webhooks", SECRET, True),
        ("standard-webhooks", SECRET.removeprefix("whsec_"), True),
        ("standard-webhooks", "whsec_", False),
        ("standard-webhooks", "whsec_QUJD", False),
        ("standard-webhooks", "whsec_é", False),
    ],
)
def test_secrets_that_cannot_work_are_told(mode: str, secret: str, usable: bool) -> None:
    assert (MODES[mode].secret_problem(secret) is None) is usable
