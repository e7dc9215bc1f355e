"""mParticle's audience messages, and what they are answered with."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from relay.domain.changes import Forget
from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.dialect import Taken
from relay.sources.mparticle import answer, read
from relay.sources.reading import Reading
from tests.webhooks import json_values

SOURCE = SourceSettings("mp", "mparticle", "bearer", (), "identities.mpid")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "key-of-the-account"
SENT = 1770000000123


def message(kind: str, **more: Any) -> dict[str, Any]:
    account = {"account_id": 1, "account_settings": {"apiKey": SECRET}}
    head = {"type": kind, "id": "r-1", "timestamp_ms": SENT, "firehose_version": "3.2.0", "account": account}
    return {**head, **more}


def reading(body: Any) -> Reading:
    return read(json.dumps(body).encode(), SOURCE, NOW)


def answered(found: Reading) -> dict[str, Any]:
    given = answer(Taken("q-1", 0, 0, reply=found.reply))
    assert (given.status, given.headers["Content-Type"]) == (200, "application/json")
    told: dict[str, Any] = json.loads(given.body)
    return told


PROFILE = {
    "mpid": "8812345678901234567",
    "user_identities": [
        {"type": "email", "encoding": "raw", "value": "kim@x.example"},
        {"type": "email", "encoding": "sha256", "value": "ab" * 32},
        {"type": "customer", "value": "c-1"},
    ],
    "device_identities": [{"type": "android_id", "encoding": "md5", "value": "cd" * 16}],
    "partner_identities": None,
    "audiences": [
        {
            "audience_id": 7,
            "audience_name": "VIPs",
            "action": "add",
            "audience_subscription_settings": {"token": SECRET},
            "user_attributes": [
                {"key": "plan", "value": "gold", "action": "upsert"},
                {"key": "tags", "list_value": ["a", "b"], "action": "upsert"},
                {"key": "old", "action": "delete"},
                {},
            ],
        },
        {"audience_id": 8, "action": "delete"},
        {"audience_id": 9, "action": "attribute_update", "user_attributes": [{"key": "age", "value": "40"}]},
    ],
}


def test_a_membership_change_is_read_whole_and_nothing_of_the_accounts_secrets_is_kept() -> None:
    found = reading(message("audience_membership_change_request", user_profiles=[PROFILE]))
    (profile,) = found.profiles
    assert profile.identities == {
        "mpid": ["8812345678901234567"],
        "email": ["kim@x.example"],
        "email_sha256": ["ab" * 32],
        "customer": ["c-1"],
        "android_id_md5": ["cd" * 16],
    }
    assert profile.attributes == {"plan": "gold", "tags": ["a", "b"], "old": None, "age": "40"}
    assert [(m.segment, m.realized, m.name) for m in profile.memberships] == [
        ("mp/7", True, "VIPs"), ("mp/8", False, None),
    ]  # fmt: skip
    assert {m.at for m in profile.memberships} == {profile.at} == {datetime(2026, 2, 2, 2, 40, 0, 123000, tzinfo=UTC)}
    assert (profile.ignored_memberships, profile.webhook_id) == (1, "r-1")
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("body", "code", "expected"),
    [
        (
            message("audience_membership_change_request"),
            "verification",
            {"type": "audience_membership_change_response", "suspend_subscription": False},
        ),
        (
            message("audience_subscription_request", audience_id=7, action="add"),
            "subscription",
            {"type": "audience_subscription_response", "audience_subscription_settings": {}},
        ),
        (message("event_processing_request", events=[]), "other_request", {"type": "event_processing_response"}),
        (
            message("dsr_processing_request", subject_request_type="access"),
            "other_request",
            {"type": "dsr_processing_response"},
        ),
    ],
)
def test_other_requests_are_ignored_and_answered(body: Any, code: str, expected: dict[str, Any]) -> None:
    found = reading(body)
    assert (found.profiles, found.ignored) == ([], {code: 1})
    head = {"id": "r-1", "timestamp_ms": SENT, "firehose_version": "3.2.0"}
    assert answered(found) == {**head, **expected}


def test_a_request_without_an_id_is_answered_with_ours() -> None:
    found = reading({"type": "audience_membership_change_request", "timestamp_ms": "odd"})
    assert answered(found) == {
        "type": "audience_membership_change_response",
        "id": "q-1",
        "timestamp_ms": int(NOW.timestamp() * 1_000),
        "firehose_version": "",
        "suspend_subscription": False,
    }


def test_an_erasure_forgets_the_person() -> None:
    subject = {"email": {"encoding": "raw", "value": "kim@x.example"}, "mpid": "5"}
    body = message("dsr_processing_request", subject_request_type="erasure", subject_identities=subject)
    (profile,) = reading(body).profiles
    assert profile.forget is Forget.HERE
    assert profile.identities == {"email": ["kim@x.example"], "mpid": ["5"]}
    with pytest.raises(Refusal):
        reading({**body, "subject_identities": None})


def test_what_cannot_be_read_is_left_out_beside_what_can() -> None:
    odd = {
        "mpid": 5,
        "user_identities": ["odd"],
        "device_identities": "odd",
        "audiences": [{"audience_id": 7, "action": "add"}, "odd", {"audience_id": 8, "action": "x"},
                      {"audience_id": 9, "action": "delete", "user_attributes": ["odd"]},
                      {"audience_id": 9, "action": "delete", "user_attributes": "odd"}],
    }  # fmt: skip
    body = message("audience_membership_change_request", user_profiles=[odd, "odd", {"mpid": 1, "audiences": "odd"}])
    found = reading({**body, "timestamp_ms": "odd"})
    (profile,) = found.profiles
    assert profile.left_out_counts == {
        "unfit_time": 1, "unfit_identity": 2, "unfit_membership": 2, "unfit_attribute": 2,
    }  # fmt: skip
    assert [m.at for m in profile.memberships] == [NOW] * 3
    assert len(found.misshapen) == 2


@pytest.mark.parametrize(
    "body",
    [{"type": "module_registration_request", "firehose_version": "1"}, {"changes": []}, 5,
     {"type": "audience_membership_change_request", "user_profiles": "odd"}],
)  # fmt: skip
def test_other_messages_are_refused(body: Any) -> None:
    with pytest.raises(Refusal) as caught:
        reading(body)
    assert caught.value.status == 422


@given(json_values)
def test_nothing_but_a_refusal_comes_of_any_body(value: Any) -> None:
    kind = "audience_membership_change_request"
    for body in (
        value,
        {"type": kind, "id": value, "timestamp_ms": value, "firehose_version": value, "user_profiles": [value]},
        {"type": kind, "user_profiles": [{"mpid": value, "user_identities": value, "audiences": value}]},
        {"type": kind, "user_profiles": [{"user_identities": [value], "audiences": [value]}]},
        {"type": kind, "user_profiles": [{"audiences": [{"action": value, "user_attributes": value}]}]},
        {"type": "dsr_processing_request", "subject_request_type": "erasure", "subject_identities": value},
    ):
        with suppress(Refusal):
            answered(reading(body))
