"""Who may post: tokens and signatures, before and after a rotation. The reference library signs."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from relay.sources.authentication import MODES, Headers, Mode
from relay.sources.authentication import authentic as authentic_at
from tests.examples import example

BEARER = MODES["bearer"]
SIGNED = MODES["standard-webhooks"]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PREVIOUS = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"test": 2432232314}'


NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
# Its base64 has characters that base64url writes otherwise.
ODD_KEY = b"\xfb\xef\xbe\xff\xff\xff" * 5


def authentic(mode: Mode, secrets: Sequence[str], headers: Headers, body: bytes) -> bool:
    return authentic_at(mode, secrets, headers, body, now=NOW)


def signed(
    secret: str | bytes, body: bytes = BODY, age: timedelta = timedelta(0), lead: str = "webhook"
) -> dict[str, str]:
    sent = NOW - age
    return {
        f"{lead}-Id".title(): "msg_1",
        f"{lead}-TIMESTAMP".upper(): str(int(sent.timestamp())),
        f"{lead}-signature": Webhook(secret).sign("msg_1", sent, body.decode()),
    }


@pytest.mark.parametrize("header", ["Bearer token-1", "bearer token-1", "Bearer  token-1 "])
def test_a_token(header: str) -> None:
    assert authentic(BEARER, ["token-1"], {"AUTHORIZATION": header}, b"")


def test_a_missing_or_wrong_token() -> None:
    table: list[dict[str, str]] = [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer token-2"},
        {"Authorization": "Basic token-1"},
        {"Authorization": "token-1"},
        {"Authorization": "Bearer tökén-1"},
        {"X-Authorization": "Bearer token-1"},
    ]
    for headers in table:
        with example(headers):
            assert not authentic(BEARER, ["token-1"], headers, b"")


def test_only_the_whole_secret_and_nothing_more_is_the_token() -> None:
    secret = "a-token-nobody-guesses"
    for token in (*(secret[:length] for length in range(len(secret))), f"{secret}2", secret[1:], secret.upper()):
        assert not authentic(BEARER, [secret], {"authorization": f"Bearer {token}"}, b""), token


def test_both_secrets_are_taken_while_one_replaces_the_other() -> None:
    for token in ("new", "old"):
        assert authentic(BEARER, ["new", "old"], {"authorization": f"Bearer {token}"}, b"")
    for secret in (SECRET, PREVIOUS):
        assert authentic(SIGNED, [SECRET, PREVIOUS], signed(secret), BODY)


def test_the_published_vector_is_taken() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert authentic_at(SIGNED, [SECRET], headers, BODY, now=datetime.fromtimestamp(1614265330, UTC))


def test_a_good_signature_counts_whatever_else_is_listed() -> None:
    table: list[str] = [
        "v1a,AAAA v1,AAAA {good}",
        "{good} v1,AAAA",
        "v1,AAAA  {good}",
        " {good} ",
        "v1 {good}",
        "v1,a,b {good}",
        ", {good},",
        "v1, {good}",
        "v1,, {good}",
        "v1,AAAA,{good}",
        "v1,€ {good}",
        "v2,AAAA\t{good}",
    ]
    for listed in table:
        with example(listed):
            headers = signed(SECRET)
            headers["webhook-signature"] = listed.format(good=headers["webhook-signature"])
            assert authentic(SIGNED, [SECRET], headers, BODY)


def test_header_values_that_came_in_several_lines() -> None:
    headers: dict[str, str | list[str]] = {**signed(SECRET)}
    headers["webhook-signature"] = ["v1,AAAA", str(headers["webhook-signature"])]
    assert authentic(SIGNED, [SECRET], headers, BODY)
    assert authentic(BEARER, ["token-1"], {"Authorization": ["Basic x", "Bearer token-1"]}, b"")
    assert not authentic(BEARER, ["token-1"], {"Authorization": ["Basic x", "Bearer token-2"]}, b"")


def test_the_names_of_headers_that_svix_sends() -> None:
    assert authentic(SIGNED, [SECRET], signed(SECRET, lead="svix"), BODY)
    assert not authentic(SIGNED, [PREVIOUS], signed(SECRET, lead="svix"), BODY)


def test_headers_of_one_family_do_not_help_another() -> None:
    whole = signed(SECRET, lead="svix")
    del whole["svix-signature"]
    assert not authentic(SIGNED, [SECRET], {**whole, "webhook-signature": signed(SECRET)["webhook-signature"]}, BODY)


def written(key: bytes, *, url: bool = False, padded: bool = True) -> str:
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(key).decode()
    return text if padded else text.rstrip("=")


@pytest.mark.parametrize(
    "secret",
    [
        f"v1,{SECRET}",
        f"v1, {SECRET}",
        "v1,whsec_ " + SECRET.removeprefix("whsec_"),
        f"{SECRET}=",
        f"{SECRET}==",
        SECRET.removeprefix("whsec_"),
    ],
)
def test_a_secret_as_senders_show_it(secret: str) -> None:
    assert SIGNED.secret_problem(secret) is None
    assert authentic(SIGNED, [secret], signed(KEY), BODY)


def test_a_key_in_base64_or_base64url() -> None:
    for key in [ODD_KEY, ODD_KEY[:-1], ODD_KEY[:-2]]:
        for padded in [False, True]:
            for url in [False, True]:
                with example(key, padded, url):
                    secret = "whsec_" + written(key, url=url, padded=padded)
                    assert SIGNED.secret_problem(secret) is None
                    assert authentic(SIGNED, [secret], signed(key), BODY)


@pytest.mark.parametrize("url", [False, True])
def test_a_signature_in_base64_or_base64url(url: bool) -> None:
    bodies = (str(number).encode() for number in range(100))
    made = ((body, signed(SECRET, body)) for body in bodies)
    body, headers = next((body, shown) for body, shown in made if {*"+/"} <= {*shown["webhook-signature"]})
    if url:
        headers["webhook-signature"] = headers["webhook-signature"].replace("+", "-").replace("/", "_").rstrip("=")
    assert authentic(SIGNED, [SECRET], headers, body)


@pytest.mark.parametrize("text", ["a plain text, that is no base64", "a-plain-text-secret-of-a-sender"])
def test_a_sender_whose_key_is_the_text_of_the_secret(text: str) -> None:
    assert SIGNED.secret_problem(text) is None
    assert authentic(SIGNED, [text], signed(text.encode()), BODY)


def test_a_body_that_is_no_text() -> None:
    body = b"\xff\xfe{}"
    stamp = str(int(NOW.timestamp()))
    made = hmac.new(KEY, b".".join([b"m", stamp.encode(), body]), hashlib.sha256).digest()
    headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": f"v1,{written(made)}"}
    assert authentic(SIGNED, [SECRET], headers, body)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_an_old_or_early_signature(age: timedelta) -> None:
    assert not authentic(SIGNED, [SECRET], signed(SECRET, age=age), BODY)


def test_a_signature_of_another_body_or_secret() -> None:
    assert not authentic(SIGNED, [SECRET], signed(SECRET), BODY + b" ")
    assert not authentic(SIGNED, [SECRET], signed(PREVIOUS), BODY)


def test_only_the_whole_signature_and_nothing_more_is_a_good_one() -> None:
    headers = signed(SECRET)
    made = base64.b64decode(headers["webhook-signature"].removeprefix("v1,"))
    for other in (*(made[:length] for length in range(len(made))), made + b"2", made[1:]):
        headers["webhook-signature"] = f"v1,{written(other)}"
        assert not authentic(SIGNED, [SECRET], headers, BODY), other


@pytest.mark.parametrize("signature", ["", "v1", "v1,a,b", "v1,€", "v1,A", ","])
def test_a_malformed_signature_is_a_wrong_one(signature: str) -> None:
    assert not authentic(SIGNED, [SECRET], {**signed(SECRET), "webhook-signature": signature}, BODY)


def test_a_malformed_timestamp_is_a_wrong_one() -> None:
    table: list[str] = ["", "nan", "inf", "1e400", "-1", "now", "٣", "9" * 400, "1777622400.0"]
    for timestamp in table:
        with example(timestamp):
            made = hmac.new(KEY, f"msg_1.{timestamp}.".encode() + BODY, hashlib.sha256).digest()
            headers = {
                "webhook-id": "msg_1",
                "webhook-timestamp": timestamp,
                "webhook-signature": f"v1,{written(made)}",
            }
            assert not authentic(SIGNED, [SECRET], headers, BODY)


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


def test_secrets_that_cannot_work_are_told() -> None:
    table: list[tuple[str, str, bool]] = [
        ("bearer", "token-1", True),
        ("bearer", "two words", False),
        ("bearer", "schlüssel", False),
        ("standard-webhooks", SECRET, True),
        ("standard-webhooks", SECRET.removeprefix("whsec_"), True),
        ("standard-webhooks", "whsec_", False),
        ("standard-webhooks", "whsec_QUJD", False),
        ("standard-webhooks", "whsec_é", False),
        ("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL...", False),
        ("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL", False),
        ("standard-webhooks", f"{SECRET} {PREVIOUS}", False),
        ("standard-webhooks", "v1,", False),
        ("standard-webhooks", "a short text", False),
        ("standard-webhooks", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", False),
        ("standard-webhooks", "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", False),
    ]
    for mode, secret, usable in table:
        with example(mode, secret, usable):
            assert (MODES[mode].secret_problem(secret) is None) is usable


def test_what_is_wrong_with_a_secret_is_told() -> None:
    assert "base64" in str(SIGNED.secret_problem("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL..."))
    assert "asymmetric" in str(SIGNED.secret_problem("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    assert "U+FEFF" in str(BEARER.secret_problem("tok\ufeffen"))


def test_a_stored_secret_that_cannot_be_a_key_signs_nothing_and_harms_no_other() -> None:
    unusable = "whsec_é"
    assert not authentic(SIGNED, [unusable], signed(SECRET), BODY)
    assert authentic(SIGNED, [unusable, SECRET], signed(SECRET), BODY)
