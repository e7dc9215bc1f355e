"""Bodies as platforms send them, in all their spellings: who is in which segment, and what is ignored."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from local.benchmarks import webhooks
from relay.domain import moments
from relay.domain.changes import Change, from_json
from relay.domain.keyed_hash import KeyedHash
from relay.settings.sources import SourceSettings
from relay.sources.cloud_events import BATCH, ONE
from relay.sources.dialects import DIALECTS
from relay.sources.intake import Intake, take_in
from relay.sources.mapping import FIELDS
from relay.sources.repeats import webhook_id_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME = "2026-01-02T03:04:05Z"
KEY = '[identities.*[], attributes.email, attributes."$email"]'
IDS = [{"type": "email", "id": "kim@x.example"}]
IN, OUT = [("s/vip", True)], [("s/vip", False)]


def taken(dialect: str, body: Any, content_type: str = "application/json", **mapping: str) -> Intake:
    source = SourceSettings("s", dialect, "bearer", ("t",), KEY, mapping=mapping)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    hashed = KeyedHash("k")
    return take_in(raw, source=source, identity_hash=hashed, received_at=NOON, content_type=content_type)


def changes(intake: Intake) -> list[Change]:
    return [change for message in intake.messages for change in from_json(message).changes]


def held(intake: Intake) -> list[tuple[str, bool]]:
    return [(one.segment, one.realized) for change in changes(intake) for one in change.memberships]


def adobe(status: str, **more: Any) -> dict[str, Any]:
    membership = {"status": status, "lastQualificationTime": TIME, **more}
    return {"segmentMembership": {"ups": {"vip": membership}}, "identityMap": {"ECID": [{"id": "1"}]}}


def sdk(**more: Any) -> dict[str, Any]:
    return {"identities": IDS, **more}


def engage(kind: str, **more: Any) -> dict[str, Any]:
    personas = {"computation_class": "audience", "computation_id": "aud_1", "computation_key": "vip", "space_id": "spa"}
    own = {"traits": {"vip": True}} if kind == "identify" else {"event": "Audience Entered", "properties": {}}
    return {"type": kind, "userId": "u-1", "messageId": "personas_1", "context": {"personas": personas}, **own, **more}


def firehose(*audiences: Any, **more: Any) -> dict[str, Any]:
    person: dict[str, Any] = {"user_identities": None, "device_identities": [], "mpid": 7, "audiences": audiences}
    head = {"type": "audience_membership_change_request", "id": "m-1", "timestamp_ms": 1767323045000}
    return {**head, "firehose_version": "2.8.1", "user_profiles": [person], **more}


def mixpanel(action: str, **more: Any) -> dict[str, Any]:
    member = {"mixpanel_distinct_id": "d-1", "email": "kim@x.example", "last_name": None}
    return {"action": action, "parameters": {"mixpanel_cohort_id": "vip", "members": [member], **more}}


def amplitude(**more: Any) -> dict[str, Any]:
    return {"cohort_id": "vip", "in_cohort": True, "computed_time": "1767323045", "users": [{"user_id": "u"}], **more}


TAKEN: Sequence[tuple[str, Any, Sequence[tuple[str, bool]]]] = [
    ("adobe-http", adobe("Exited"), OUT),
    ("adobe-http", adobe("existing", name=None, version=3, validUntil=None), IN),
    ("adobe-http", adobe("realized", lastQualificationTime="2021-03-10 10:03:08"), IN),
    ("adobe-http", adobe("realized", lastQualificationTime="2022-01-11T21:24:39.000+0000"), IN),
    ("adobe-http", json.dumps(adobe("realized")).encode() + b"\n" + json.dumps(adobe("exited")).encode(), [*IN, *OUT]),
    ("adobe-sdk", sdk(AdobeExperiencePlatformSegments={"add": None, "remove": ["vip"]}), OUT),
    ("adobe-sdk", {"profiles": [sdk(AdobeExperiencePlatformSegments={"add": ["vip"]}, segment_names={"add": []})]}, IN),
    ("adobe-sdk", {"audienceId": "vip", "profiles": [{"email": "kim@x.example", "firstName": "Kim"}]}, IN),
    ("adobe-sdk", {"audienceId": "vip", "segmentStatus": "EXITED", "profiles": [sdk()]}, OUT),
    ("adobe-sdk", {"profiles": [{"firstName": "Kim", "email": "kim@x.example"}]}, []),
    ("adobe-sdk", {**adobe("Existing"), "attributes": {"first": {"value": "Kim"}, "born": {}}}, IN),
    ("segment", engage("identify", userId=None, anonymousId="a-1"), IN),
    ("segment", engage("identify", traits={"vip": "false", "email": None}), OUT),
    ("segment", engage("identify", userId=42, context={"personas": {"computation_class": "audience"}}), IN),
    ("segment", engage("track", properties={"audience_key": "vip", "vip": True}, groupId="g-1"), IN),
    ("segment", engage("track", properties={"vip": False}, event="Audience Exited"), OUT),
    ("segment", engage("track", event="Audience Membership Changed", properties={"vip": False}), OUT),
    ("segment", engage("track", properties={"j_o_a__b_c1": "true"}), [("s/j_o_a__b_c1", True)]),
    ("segment", engage("track", properties={"audience_key": "vip"}, context={"traits": {"email": "k@x.example"}}), IN),
    ("segment", engage("track", properties={"audience_key": "vip"}, context={"personas": {"computation_class": "new"}}),
     IN),
    ("segment", {"batch": [engage("identify"), engage("group", groupId="g")], "sentAt": TIME}, IN),
    ("segment", {"type": "record", "action": "DELETE", "identifiers": {"email": "k@x.example"}}, [("s/record", False)]),
    ("mparticle", firehose({"audience_id": "vip", "audience_name": "VIPs", "action": "add"}), IN),
    ("mparticle", firehose({"audience_id": "vip", "action": "DELETE"}, timestamp_ms="1767323045000"), OUT),
    ("mparticle", firehose({"audience_id": "vip", "action": "add", "user_attributes": [{"key": "a", "action": None}]},
                           timestamp_ms=None), IN),
    ("mparticle", firehose(user_profiles=[]), []),
    ("mixpanel", mixpanel("add_members", mixpanel_session_id="n", page_info={"total_pages": 1, "page_count": 1}), IN),
    ("mixpanel", mixpanel("remove_members", page_info=None), OUT),
    ("mixpanel", mixpanel("add_members", members=None), []),
    ("mixpanel", {"action": "remove_members", "parameters": {"mixpanel_cohort_id": "vip"}}, []),
    ("mixpanel", mixpanel("add_members", members=[{"$distinct_id": "d-1", "$email": "kim@x.example"}]), IN),
    ("mixpanel", mixpanel("add_members", members=[{"mixpanel_distinct_id": None, "email": "kim@x.example"}]), IN),
    ("mixpanel", {"action": "add_members", "parameters": {"mixpanel_cohort_id": "vip"},
                  "members": [{"mixpanel_distinct_id": "d"}]}, IN),
    ("amplitude", amplitude(computed_time=None), IN),
    ("amplitude", amplitude(computed_time=1767323045000, message_id=None, cohort_name=None), IN),
    ("amplitude", amplitude(in_cohort="False"), OUT),
    ("amplitude", amplitude(users=["u-1", "u-2"]), [*IN, *IN]),
    ("amplitude", amplitude(users=None), []),
    ("relay-json", {"changes": [{"identities": {"crm": 1.0, "email": None},
                                 "memberships": [{"segment": "vip", "status": "exited", "at": 1767323045}]}]}, OUT),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "body", "expected"), TAKEN)
def test_a_body_is_read_whole(dialect: str, body: Any, expected: Sequence[tuple[str, bool]]) -> None:
    intake = taken(dialect, body)
    assert held(intake) == list(expected)
    assert intake.taken.rejections == []
    assert DIALECTS[dialect].answer(intake.taken).status in (200, 202)


def test_a_body_without_a_time_counts_as_of_its_receipt_and_one_with_a_time_as_of_that() -> None:
    times = [changes(taken("amplitude", body))[0].memberships[0].at for body in (amplitude(computed_time=None),
                                                                                 amplitude())]  # fmt: skip
    assert [moments.text(one) for one in times] == ["2026-03-01T12:00:00.000000Z", "2026-01-02T03:04:05.000000Z"]


@pytest.mark.parametrize(
    ("place", "page"),
    [
        ({"mixpanel_session_id": "n"}, None),
        ({"page_info": {"total_pages": 1, "page_count": 1}}, None),
        ({"mixpanel_session_id": "n", "page_info": {"total_pages": "3", "page_count": "2"}}, (2, 3)),
        ({"mixpanel_session_id": "n", "page_info": {"total_pages": 0, "page_count": 0}, "members": []}, (1, 1)),
        ({"mixpanel_session_id": "n", "page_info": {"total_pages": 1, "page_count": 1}, "members": None}, None),
    ],
)
def test_a_page_of_a_cohort_that_does_not_say_which_it_is_adds_members_and_removes_nobody(
    place: Any, page: tuple[int, int] | None
) -> None:
    intake = taken("mixpanel", mixpanel("members", **place))
    pages = [from_json(message).page for message in intake.messages]
    assert [one and (one.page, one.pages) for one in pages] == ([page] if intake.messages else [])
    assert intake.taken.left_out_counts == ({} if page else {"unfit_snapshot": 1})
    assert held(intake) == ([] if "members" in place else IN)


@pytest.mark.parametrize("dialect", [*DIALECTS])
def test_an_empty_batch_of_events_is_answered_by_every_dialect(dialect: str) -> None:
    empty = taken(dialect, [], BATCH)
    assert (empty.messages, DIALECTS[dialect].answer(empty.taken).status in (200, 202)) == ([], True)


@pytest.mark.parametrize(
    "more", [{}, {"subject": None, "data_base64": None, "comexampleextension": 5}, {"datacontenttype": "text/json"}]
)
def test_every_dialect_is_read_inside_a_cloud_event(more: dict[str, Any]) -> None:
    for dialect, body in (
        ("mixpanel", mixpanel("add_members")),
        ("amplitude", amplitude()),
        ("adobe-http", adobe("realized")),
    ):
        event = {"specversion": "1.0", "id": "e", "source": "/s", "type": "t", "data": body, **more}
        assert held(taken(dialect, event, f"{ONE}; charset=UTF-8")) == IN
        assert held(taken(dialect, [event, event], BATCH)) == [*IN, *IN]


def test_an_event_in_binary_mode_has_the_id_that_it_has_in_structured_mode() -> None:
    assert webhook_id_of({"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/shop"}) == "/shop e-1"
    assert webhook_id_of({"ce-id": "e-1"}) is None
    assert webhook_id_of({"ce-id": "e-1", "ce-source": "/shop", "idempotency-key": '"k"'}) == "k"


MAPPED = {"identities": "{crm: id}", "attributes": "{email: mail}"}


@pytest.mark.parametrize(
    ("value", "expected"), [(1, IN), (0, OUT), (1.0, IN), (True, IN), (" False ", OUT), ("yes", None), (2, None)]
)
def test_a_mapping_takes_the_flags_of_warehouses(value: Any, expected: Any) -> None:
    rows = [{"id": "1", "s": "vip", "m": value}, {"id": "2", "s": "vip", "m": True}]
    intake = taken("mapped", rows, **MAPPED, segment="s", **{"in": "m"})
    assert held(intake) == [*(expected or []), *IN]
    assert [one.code for one in intake.taken.rejections] == ([] if expected else ["wrong_shape"])


@pytest.mark.parametrize(("status", "expected"), [("Exited", OUT), ("exiting", OUT), ("existing", IN)])
def test_a_mapping_takes_the_statuses_of_adobe(status: str, expected: Any) -> None:
    assert held(taken("mapped", {"id": "1", "s": "vip", "m": status}, **MAPPED, segment="s", status="m")) == expected


def test_a_mapping_can_leave_out_what_is_about_no_segment() -> None:
    events = [{"id": "1", "event": "page", "s": "vip"}, {"id": "2", "event": "joined", "s": "vip"}]
    mapping = {**MAPPED, "segment": "event == 'joined' && s", "in": "event == 'joined'"}
    intake = taken("mapped", events, **mapping)
    assert (held(intake), intake.taken.ignored_memberships, intake.taken.accepted) == (IN, 1, 2)


LISTS = {
    "adobe-http": (),
    "adobe-sdk": ("profiles",),
    "amplitude": ("users",),
    "mapped": ("rows",),
    "mixpanel": ("parameters", "members"),
    "mparticle": ("user_profiles",),
    "relay-json": ("changes",),
    "segment": (),
}


@pytest.mark.parametrize("dialect", [*DIALECTS])
@pytest.mark.parametrize("odd", [5, None, [], {}])
def test_of_a_body_that_is_bad_in_part_the_good_is_taken_and_the_bad_reported(dialect: str, odd: Any) -> None:
    body = json.loads(webhooks.body_of(dialect, range(3)))
    people = body
    for key in LISTS[dialect]:
        people = people[key]
    people[1] = odd
    mapping = {key: text for key, text in webhooks.secret(f"{dialect}-bearer").items() if key in FIELDS}
    intake = taken(dialect, body, **mapping)
    assert len(held(intake)) == 2
    assert (intake.taken.accepted, len(intake.taken.rejections)) == (2, 1)
    [rejected] = intake.taken.rejections
    assert rejected.code in ("wrong_shape", "no_identity")
    assert "/1" in rejected.pointer
    assert DIALECTS[dialect].answer(intake.taken).status in (200, 202)
