"""Twilio Segment's events."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from relay.domain import moments
from relay.domain.changes import Forget
from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.reading import Incoming, Reading
from relay.sources.segment import read
from tests.webhooks import json_values

SOURCE = SourceSettings("seg", "segment", "segment", (), "identities.user_id")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PERSONAS = {"computation_class": "audience", "computation_id": "aud_1", "computation_key": "vip", "space_id": "spa_1"}


def reading(body: Any) -> Reading:
    return read(json.dumps(body).encode(), SOURCE, NOW)


def one(event: Any) -> Incoming:
    (profile,) = reading(event).profiles
    return profile


def held(event: Any) -> list[tuple[str, bool]]:
    return [(each.segment, each.realized) for each in one(event).memberships]


def identify(traits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": "u-1", "traits": traits, "context": {"personas": PERSONAS}, **more}


def track(event: str, properties: dict[str, Any], **personas: Any) -> dict[str, Any]:
    context = {"personas": {**PERSONAS, **personas}}
    return {"type": "track", "event": event, "userId": "u-1", "properties": properties, "context": context}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (identify({"vip": True}), ("seg/vip", True)),
        (identify({"vip": False, "is_subscribed": True}), ("seg/vip", False)),
        (identify({"renamed": "true"}), ("seg/vip", True)),
        (track("Audience Entered", {"audience_key": "vip", "vip": True}), ("seg/vip", True)),
        (track("Joined the club", {"audience_key": "vip", "vip": True, "paid": False}), ("seg/vip", True)),
        (track("Left the club", {"audience_key": "vip", "out": False}), ("seg/vip", False)),
        (track("Audience Exited", {"audience_key": "vip"}), ("seg/vip", False)),
        (track("x", {"first_buyers": True}, computation_key="aud_1"), ("seg/first_buyers", True)),
        (track("Audience Entered", {"j_o_mail_a1": "true"}, computation_key="j_o_9"), ("seg/j_o_mail_a1", True)),
        (identify({"vip": True, "n": 1}, context={"personas": {"computation_key": "vip"}}), ("seg/vip", True)),
        (track("Step", {"vip": True}, computation_class="journey_step"), ("seg/vip", True)),
        (
            {"type": "track", "event": "Audience Exited", "userId": "u", "properties": {"audience_key": "vip"}},
            ("seg/vip", False),
        ),
    ],
)
def test_an_audience_goes_by_its_key_whatever_it_was_renamed_to(event: Any, expected: tuple[str, bool]) -> None:
    assert held(event) == [expected]


def test_a_flag_is_no_attribute_and_everything_else_of_an_identify_is() -> None:
    event = identify({"vip": True, "email": "kim@x.example", "plan": "gold"}, messageId="m-1", anonymousId="a-1")
    profile = one(event)
    assert profile.attributes == {"email": "kim@x.example", "plan": "gold"}
    assert profile.identities == {"user_id": ["u-1"], "anonymous_id": ["a-1"], "email": ["kim@x.example"]}
    assert profile.webhook_id == "m-1"


def test_an_address_and_other_ids_stand_in_the_context_of_a_track() -> None:
    context = {
        "personas": PERSONAS,
        "traits": {"email": "kim@x.example"},
        "externalIds": [{"id": "c-1", "type": "crm"}, "odd", {"id": "c-2", "type": "crm"}],
    }
    profile = one({**track("Audience Entered", {"audience_key": "vip", "vip": True}), "context": context})
    assert profile.identities == {"user_id": ["u-1"], "crm": ["c-1", "c-2"], "email": ["kim@x.example"]}
    assert profile.left_out_counts == {"unfit_identity": 1}
    assert profile.attributes == {"email": "kim@x.example"}


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"timestamp": "2026-02-01T00:00:00.5Z", "sentAt": "2026-02-02T00:00:00Z"}, "2026-02-01T00:00:00.500000Z"),
        ({"timestamp": "yesterday", "receivedAt": "2026-02-02T00:00:00Z"}, "2026-02-02T00:00:00.000000Z"),
        ({}, "2026-03-01T12:00:00.000000Z"),
    ],
)  # fmt: skip
def test_a_membership_is_of_the_first_time_that_can_be_read_or_else_of_the_receipt(times: Any, at: str) -> None:
    assert moments.text(one(identify({"vip": True}, **times)).memberships[0].at) == at


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (track("Trait Computed", {"trait_key": "sum", "sum": 4.5}, computation_class="trait"), "computed_trait"),
        (identify({"sum": 4.5}, context={"personas": {"computation_class": "trait"}}), "computed_trait"),
        (identify({"sum": 4.5}, context={"personas": {"computation_class": ["odd"]}}), "computed_trait"),
        ({"type": "track", "event": "Order Completed", "userId": "u"}, "unknown_event"),
        (track("Entity Added", {"vip": True}), "unknown_event"),
        (track("Welcome", {"journey_name": "x"}, event_emitter_id="e"), "unknown_event"),
        ({"type": "group", "userId": "u", "groupId": "g"}, "unknown_event"),
        ({"type": "page", "anonymousId": "a"}, "unknown_event"),
    ],
)
def test_what_is_no_audience_is_ignored_and_counted(event: Any, code: str) -> None:
    found = reading([event, identify({"vip": True})])
    assert len(found.profiles) == 1
    assert found.ignored == {code: 1}


def test_an_identify_of_its_own_brings_attributes() -> None:
    profile = one({"type": "identify", "userId": "u-1", "traits": {"plan": "gold", "vip": True}})
    assert (profile.attributes, profile.memberships) == ({"plan": "gold", "vip": True}, [])


def test_a_deletion_notice_forgets_the_person() -> None:
    profile = one({"type": "delete", "userId": "u-1", "timestamp": "2026-02-02T00:30:08.276Z"})
    assert (profile.forget, profile.identities, profile.memberships) == (Forget.HERE, {"user_id": ["u-1"]}, [])


def test_an_audience_list_of_rudderstack_is_one_person_an_entry() -> None:
    data = {"add": [{"email": "a@x.example"}, {"userId": "u-2", "plan": "x"}, 5], "remove": [{"email": "b@x.example"}]}
    event = {
        "type": "audiencelist",
        "userId": "job",
        "properties": {"listData": data},
        "timestamp": "2026-02-02T00:00Z",
    }
    found = reading(event)
    assert [(p.identities, p.memberships[0].realized) for p in found.profiles] == [
        ({"email": ["a@x.example"]}, True),
        ({"user_id": ["u-2"]}, True),
        ({"email": ["b@x.example"]}, False),
    ]
    assert {p.memberships[0].segment for p in found.profiles} == {"seg/audiencelist"}
    assert [error.pointer for error in found.misshapen] == ["#/properties/listData/add/2"]
    with pytest.raises(Refusal):
        reading({"type": "audiencelist", "properties": {"listData": {"add": "odd"}}})


@pytest.mark.parametrize(("action", "realized"), [("insert", True), ("update", True), ("delete", False)])
def test_a_record_of_rudderstack_is_a_member_until_it_is_deleted(action: str, realized: bool) -> None:
    profile = one({"type": "record", "action": action, "identifiers": {"crm": 5}, "fields": {"plan": "x"}})
    assert profile.identities == {"crm": ["5"]}
    assert profile.attributes == {"plan": "x"}
    assert [(m.segment, m.realized) for m in profile.memberships] == [("seg/record", realized)]


def test_batches_are_read_event_by_event() -> None:
    events = [identify({"vip": True}), {"type": "odd"}, "odd", identify({"x": 1})]
    for body, start in ((events, "#/"), ({"batch": events}, "#/batch/")):
        found = reading(body)
        assert len(found.profiles) == 1
        assert [error.pointer for error in found.misshapen] == [
            f"{start}1/type", f"{start}2", f"{start}3/traits",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "body", [{"changes": []}, {"type": "audience_membership_change_request", "firehose_version": "1"}, {"type": "x"}, 5]
)
def test_the_body_of_another_platform_is_refused(body: Any) -> None:
    with pytest.raises(Refusal) as caught:
        reading(body)
    assert caught.value.status == 422


@given(json_values)
def test_nothing_but_a_refusal_comes_of_any_body(value: Any) -> None:
    for body in (
        value,
        [value],
        {"type": "identify", "traits": value, "context": value, "userId": value, "timestamp": value},
        {"type": "track", "event": value, "properties": value, "context": {"personas": value, "traits": value}},
        {"type": "audiencelist", "properties": {"listData": {"add": value}}},
        {"type": "record", "action": value, "identifiers": value, "fields": value},
    ):
        with suppress(Refusal):
            reading(body)
