"""The ways to prove where a message comes from that are neither a bearer's nor those of Standard Webhooks."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.problems import SettingsProblem
from relay.settings.sources import source_of
from relay.sources.authentication import MODES, authentic
from tests.examples import example

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
STAMP = int(NOW.timestamp())
BODY = b'{"a": 1}'
GITHUB = "It's a Secret to Everybody"
SEGMENT_FIRST = (
    b'{"context":{"personas":{"computation_class":"audience","computation_key":"vip"}},"event":"Audience Entered",'
    b'"messageId":"personas_1","properties":{"audience_key":"vip","vip":true},"timestamp":"2026-01-01T00:00:00.000Z",'
    b'"type":"track","userId":"u1"}'
)
SEGMENT_SIGNATURE = "bdb37c314022fcc6587f286777fda82fa23c2f0e"


def proves(
    mode: str,
    secret: str | tuple[str, ...],
    headers: Mapping[str, str | list[str]],
    body: bytes = BODY,
    options: Mapping[str, str] | None = None,
) -> bool:
    secrets = (secret,) if isinstance(secret, str) else secret
    return authentic(MODES[mode], secrets, headers, body, now=NOW, options=options)


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def test_a_header_of_any_name() -> None:
    assert proves("header", "key 1", {"X-API-KEY": " key 1 "}, options={"auth_header": "X-Api-Key"})
    assert proves("header", ("new", "old"), {"x-api-key": "old"}, options={"auth_header": "X-Api-Key"})
    for headers in ({}, {"x-api-key": "key"}, {"x-api-key": "kéy"}, {"x-other": "key 1"}, {"x-api-key": "\ud800"}):
        with example(str(headers)):
            assert not proves("header", "key 1", headers, options={"auth_header": "X-Api-Key"})


def test_user_and_password() -> None:
    assert proves("basic", "app:pass:wörd", basic("app:pass:wörd"))
    assert proves("basic", ("app:new", "app:old"), basic("app:old"))
    table: list[dict[str, str]] = [
        {},
        basic("app:pass2"),
        basic("app"),
        basic(""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic \udcff"},
        {"Authorization": basic("app:pass")["Authorization"].replace("Basic", "Bearer")},
    ]
    for headers in table:
        with example(str(headers)):
            assert not proves("basic", "app:pass", headers)


def test_the_published_signature_with_a_prefix() -> None:
    right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    options = {"signature_header": "X-Hub-Signature-256", "signature_prefix": "sha256="}
    assert proves("hmac", GITHUB, {"x-hub-signature-256": right}, b"Hello, World!", options)
    assert proves("hmac", ("new", GITHUB), {"x-hub-signature-256": right}, b"Hello, World!", options)
    table: list[str | list[str]] = [
        "",
        right.removeprefix("sha256="),
        right[:-2],
        f"{right}00",
        right.upper(),
        f"sha256={'é' * 64}",
        [right, right],
        "sha256=",
        "sha256= " + right.removeprefix("sha256="),
    ]
    for wrong in table:
        with example(wrong):
            assert not proves("hmac", GITHUB, {"x-hub-signature-256": wrong}, b"Hello, World!", options)
    assert not proves("hmac", GITHUB, {"x-hub-signature-256": right}, b"Hello, World?", options)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_signed_time_must_be_young(algorithm: str) -> None:
    options = {
        "signature_header": "X-Signature",
        "signature_algorithm": algorithm,
        "signature_encoding": "base64",
        "signed_text": "v0:{timestamp}:{body}:end",
        "timestamp_header": "X-Time",
    }
    for age, is_right in ((0, True), (299, True), (-299, True), (301, False), (-301, False)):
        stamp = str(STAMP - age)
        made = hmac.new(b"secret", f"v0:{stamp}:".encode() + BODY + b":end", algorithm).digest()
        headers = {"X-Signature": base64.b64encode(made).decode(), "X-Time": stamp}
        with example(age):
            assert proves("hmac", "secret", headers, options=options) is is_right
            assert not proves("hmac", "secret", {**headers, "X-Time": str(STAMP + 1)}, options=options)
            assert not proves("hmac", "secret", {"X-Signature": headers["X-Signature"]}, options=options)


def test_segment_signs_the_body_or_the_first_element_of_a_batch() -> None:
    second = SEGMENT_FIRST.replace(b"u1", b"u2")
    first_alone = b"[" + SEGMENT_FIRST + b"," + second + b"]"
    for body in (SEGMENT_FIRST, first_alone, b" [ " + SEGMENT_FIRST + b" ]"):
        with example(body[:10]):
            assert proves("segment", ("new", "abc123"), {"X-Signature": SEGMENT_SIGNATURE}, body)
    whole = hmac.new(b"abc123", first_alone, hashlib.sha1).hexdigest()
    assert proves("segment", "abc123", {"X-Signature": whole}, first_alone)
    assert not proves("segment", "abc123", {"X-Signature": SEGMENT_SIGNATURE}, b"[" + second + b"," + SEGMENT_FIRST)
    for body in (b"", b"[", b"[]", b"[" * 5_000, b"[\xff", b"[1" * 9, b'[{"a":' + b"1" * 5_000 + b"}]"):
        with example(body[:10]):
            assert not proves("segment", "abc123", {"X-Signature": SEGMENT_SIGNATURE}, body)


@settings(max_examples=150)
@given(
    st.sampled_from([*MODES]),
    st.dictionaries(
        st.sampled_from(["Authorization", "X-Signature", "x-time", "webhook-id", "webhook-timestamp", "X-Key"]),
        st.text(max_size=30) | st.lists(st.text(max_size=9), max_size=3) | st.sampled_from(["Basic ", "Bearer é"]),
    ),
    st.binary(max_size=20) | st.just(b"[" * 3_000),
)
def test_no_header_is_taken_for_a_proof_or_raises(
    mode: str, headers: Mapping[str, str | list[str]], body: bytes
) -> None:
    options = {"auth_header": "X-Key", "signature_header": "X-Signature", "timestamp_header": "x-time"}
    options["signed_text"] = "{timestamp}.{body}"
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw:long"
    assert not authentic(MODES[mode], [secret], headers, body, now=NOW, options=options)


def test_options_are_those_of_the_mode() -> None:
    base = {"dialect": "relay-json", "secret": "user:pass", "profile_key": "identities.crm"}
    timed = {"signature_header": "X-S", "timestamp_header": "X-T", "signed_text": "{timestamp}.{body}"}
    assert source_of("shop", {**base, "auth": "hmac", **timed}).auth_options == timed
    table: list[tuple[dict[str, str], str]] = [
        ({"auth": "bearer", "auth_header": "X-Key"}, "auth_header: belongs to header"),
        ({"auth": "header"}, "auth_header: is missing"),
        ({"auth": "header", "auth_header": "X Key"}, "auth_header: must be the name of a header"),
        ({"auth": "header", "auth_header": "X-Key", "secret": "kéy"}, "secret: must be printable ASCII"),
        ({"auth": "basic", "secret": "alone"}, "secret: must be a user's name"),
        ({"auth": "hmac"}, "signature_header: is missing"),
        ({"auth": "hmac", **timed, "signature_algorithm": "md5"}, "signature_algorithm: must be one of"),
        ({"auth": "hmac", **timed, "signature_encoding": "base32"}, "signature_encoding: must be one of"),
        ({"auth": "hmac", **timed, "signed_text": "{body}"}, "timestamp_header: must be given if"),
        ({"auth": "hmac", **timed, "signed_text": "{url}{body}"}, "signed_text: must hold {body} once"),
        ({"auth": "hmac", **timed, "signature_header": ":"}, "signature_header: must be the name of a header"),
    ]
    for options, reason in table:
        with example(options), pytest.raises(SettingsProblem) as caught:
            source_of("shop", {**base, **options})
        assert reason in caught.value.what
