"""Our own dialect: the documented shape, and errors that say where without repeating what."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.changes import MembershipChange
from relay.problem_details import MAX_ERRORS, Refusal
from relay.settings.sources import SourceSettings
from relay.sources.json_body import MAX_KEYS
from relay.sources.reading import MAX_PROFILES, Reading
from relay.sources.relay_json import read
from tests.examples import example

EVENTS = Path(__file__).parents[2] / "events"
PLANTED = "ada.lovelace@example.com"


def reading(body: Any) -> Reading:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(
        raw, SourceSettings("shop", "relay-json", "bearer", ("t",), "identities.crm"), datetime(2026, 3, 1, tzinfo=UTC)
    )


def refusal(body: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        reading(body)
    return caught.value


def test_the_sample_event_reads_as_three_changes() -> None:
    first, second, third = reading((EVENTS / "webhook-relay-json.json").read_bytes()).profiles

    assert first.snapshot
    assert first.at == datetime(2026, 2, 11, 8, 15, 31, tzinfo=UTC)
    assert first.identities == {"crm_id": ["HB-100041"], "email": ["mireille@harbour-books.example"]}
    assert [m.realized for m in first.memberships] == [True, False]
    assert not second.snapshot
    assert second.memberships == [
        MembershipChange("shop/frequent-readers", realized=False, at=datetime(2026, 2, 11, 8, 16, 2, tzinfo=UTC))
    ]
    assert third.attributes == {"first_name": "Akua", "phone": None}


@pytest.mark.parametrize(
    ("shown", "read_as"),
    [
        ("a", ["a"]),
        (["b", "a", "b"], ["b", "a"]),
        (None, None),
        ([], None),
        (1001, ["1001"]),
        ([1001.0, "x"], ["1001", "x"]),
    ],
)
def test_identities_are_texts_lists_or_cleared(shown: Any, read_as: Any) -> None:
    assert reading({"changes": [{"identities": {"crm": shown}}]}).profiles[0].identities == {"crm": read_as}


@pytest.mark.parametrize("empty", [{}, {"memberships": []}, {"snapshot": True}, {"identities": {}, "at": None}])
def test_a_change_that_holds_nothing_is_refused(empty: dict[str, Any]) -> None:
    refused = refusal({"changes": [empty]})
    assert refused.errors[0].detail == "holds no identities, no attributes and no memberships"


def test_what_is_null_was_not_told() -> None:
    shown = {"identities": {"crm": "1"}, "memberships": None, "at": None, "snapshot": None}
    (one,) = reading({"changes": [shown]}).profiles
    assert (one.snapshot, one.at, one.attributes, one.memberships) == (False, None, {}, [])
    assert not one.left_out_counts


def membership(**fields: Any) -> dict[str, Any]:
    shown = {"segment": "vip", "status": "realized", "at": "2026-01-01T00:00:00Z", **fields}
    return {"changes": [{"memberships": [shown]}]}


def test_a_wrong_shape_is_told_with_its_place_and_no_content() -> None:
    table: list[tuple[Any, str, str]] = [
        ([], "#", "must be an object"),
        ({}, "#/changes", "is missing"),
        ({"changes": {}}, "#/changes", "must be a list"),
        ({"changes": [PLANTED]}, "#/changes/0", "must be a change"),
        ({"changes": [], PLANTED: 1}, "#", "does not know"),
        ({"changes": [{PLANTED: 1}]}, "#/changes/0", "does not know"),
        ({"changes": [{"identities": {"crm": 5.5}}]}, "#/changes/0/identities/crm", "must be a text"),
        ({"changes": [{"identities": {"crm": [None]}}]}, "#/changes/0/identities/crm/0", "must be a text"),
        ({"changes": [{"identities": {PLANTED: [PLANTED, ""]}}]}, "#/changes/0/identities", "must be a text"),
        ({"changes": [{"attributes": [PLANTED]}]}, "#/changes/0/attributes", "must be an object"),
        ({"changes": [{"snapshot": PLANTED}]}, "#/changes/0/snapshot", "must be true or false"),
        ({"changes": [{"at": PLANTED}]}, "#/changes/0/at", "must be a time such as"),
        (membership(status=PLANTED), "#/changes/0/memberships/0/status", "realized or exited"),
        (membership(at="2026-01-01T00:00:00"), "#/changes/0/memberships/0/at", "with Z or an offset"),
        (membership(at=20260101), "#/changes/0/memberships/0/at", "must be a time such as"),
        (membership(segment=""), "#/changes/0/memberships/0/segment", "must be a text"),
        (membership(segment="x" * 300), "#/changes/0/memberships/0/segment", "is longer than"),
        (membership(segment="\ud83d"), "#/changes/0/memberships/0/segment", "half a surrogate pair"),
        ({"changes": [{"memberships": ["vip"]}]}, "#/changes/0/memberships/0", "must be an object"),
        ({"changes": [{"memberships": "vip"}]}, "#/changes/0/memberships", "must be a list"),
        ({"changes": [{"memberships": [{"segment": "vip"}]}]}, "#/changes/0/memberships/0/status", "is missing"),
    ]
    for body, pointer, detail in table:
        with example(body, pointer, detail):
            refused = refusal(body)

            assert refused.status == 422
            assert refused.errors[0].pointer == pointer
            assert detail in refused.errors[0].detail
            assert PLANTED not in json.dumps(refused.body("r-1"))


@pytest.mark.parametrize(
    ("wrong", "inside"),
    [
        (PLANTED, ""),
        ({PLANTED: 1}, ""),
        ({"at": PLANTED, "snapshot": PLANTED}, "/at"),
        ({"attributes": {"a": "\ud800"}}, "/attributes/a"),
        (membership(status=PLANTED)["changes"][0], "/memberships/0/status"),
    ],
)
def test_a_wrong_change_harms_none_beside_it(wrong: Any, inside: str) -> None:
    shown = reading({"changes": [{"identities": {"crm": "c-1"}}, wrong, {"identities": {"crm": "c-2"}}]})

    assert [one.place for one in shown.profiles] == [("changes", 0), ("changes", 2)]
    assert shown.profiles[1].identities == {"crm": ["c-2"]}
    assert [error.pointer for error in shown.misshapen] == [f"#/changes/1{inside}"]
    assert PLANTED not in repr(shown.misshapen)


EXIT = {"segment": "vip", "status": "exited", "at": "2026-05-01T07:59:00Z"}


def test_a_readable_membership_is_taken_whatever_is_wrong_beside_it() -> None:
    table: list[tuple[dict[str, Any], str, str]] = [
        ({"attributes": {"bio": "hi \ud83d"}}, "unfit_attribute", "/attributes/bio"),
        ({"attributes": {"hi \ud83d": 1}}, "unfit_attribute", "/attributes"),
        ({"attributes": None}, "unfit_attribute", "/attributes"),
        ({"attributes": [1]}, "unfit_attribute", "/attributes"),
        ({"identities": {"crm": "c-1", "email": ""}}, "unfit_identity", "/identities/email"),
        ({"identities": {"crm": "c-1", "email": [None]}}, "unfit_identity", "/identities/email/0"),
        ({"identities": {"crm": ["c-1", " "]}}, "unfit_identity", "/identities/crm/1"),
        ({"identities": {"crm": ["c-1", True]}}, "unfit_identity", "/identities/crm/1"),
        ({"identities": {"crm": ["c-1", "x" * 2000]}}, "unfit_identity", "/identities/crm/1"),
        ({"identities": {"crm": "c-1", "device": {"id": 1}}}, "unfit_identity", "/identities/device"),
        ({"at": "soon"}, "unfit_time", "/at"),
        ({"snapshot": "yes"}, "unfit_snapshot", "/snapshot"),
        ({"source": "crm"}, "unknown_key", ""),
        ({"memberships": [EXIT, {"segment": "other", "status": "realized"}]}, "unfit_membership", "/memberships/1/at"),
        ({"memberships": [EXIT, {**EXIT, "segment": 5.5}]}, "unfit_membership", "/memberships/1/segment"),
        ({"memberships": [{**EXIT, "name": 7}]}, "unfit_membership", "/memberships/0/name"),
        ({"memberships": [{**EXIT, "score": 7}]}, "unknown_key", "/memberships/0"),
        ({"memberships": [EXIT, None]}, "unfit_membership", "/memberships/1"),
    ]
    for beside, code, pointer in table:
        with example(beside, code, pointer):
            shown = {"identities": {"crm": "c-1"}, "attributes": {}, "memberships": [EXIT], **beside}

            (one,) = reading({"changes": [shown]}).profiles

            assert [(each.segment, each.realized) for each in one.memberships] == [("shop/vip", False)]
            assert one.identities == {"crm": ["c-1"]}
            assert one.left_out_counts == {code: 1}
            [part] = one.left_out
            assert (part.code, part.error.pointer) == (code, f"#/changes/0{pointer}")


def test_what_is_wrong_around_the_changes_is_told_and_harms_none() -> None:
    shown = reading({"changes": [{"memberships": [EXIT]}], "sent_at": "2026-05-01T08:00:00Z"})
    assert len(shown.profiles) == 1
    assert [(part.code, part.error.pointer) for part in shown.left_out] == [("unknown_key", "#")]


def test_attributes_and_identities_are_taken_without_memberships_as_far_as_they_can_be_read() -> None:
    shown = {
        "identities": {"crm": "c-1", "email": ""},
        "attributes": {"plan": "pro", "bio": "\ud83d"},
        "snapshot": True,
    }
    (one,) = reading({"changes": [shown]}).profiles
    assert (one.identities, one.attributes, one.snapshot) == ({"crm": ["c-1"]}, {"plan": "pro"}, False)
    assert one.left_out_counts == {"unfit_identity": 1, "unfit_attribute": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"membership": [EXIT]},
        {"memberships": [{**EXIT, "status": "left"}]},
        {"at": "soon"},
        {"snapshot": "yes"},
    ],
)
def test_a_change_in_which_the_essential_may_be_what_cannot_be_read_is_refused(wrong: dict[str, Any]) -> None:
    shown = {"identities": {"crm": "c-1"}, "attributes": {"plan": "pro"}, **wrong}
    assert refusal({"changes": [shown]}).status == 422
    assert len(reading({"changes": [shown, {"identities": {"crm": "c-2"}}]}).misshapen) == 1


@pytest.mark.parametrize(
    ("body", "sender"),
    [
        ({"segmentMembership": {"ups": {}}, "identityMap": {}}, "adobe-http"),
        ([{"segmentMembership": {"ups": {}}, "identityMap": {}}], "adobe-http"),
        ({"memberships": [EXIT]}, "without the list of changes"),
        ({"type": "identify", "userId": "u", "traits": {}}, "Twilio Segment"),
        ({"batch": [{"type": "identify", "userId": "u"}]}, "Twilio Segment"),
        ({"type": "contact.updated", "timestamp": "2026-05-01T08:00:00Z", "data": {}}, "Standard Webhooks"),
        ({"specversion": "1.0", "type": "x", "data": {}}, "CloudEvents"),
    ],
)
def test_the_refusal_of_another_platforms_body_says_whose_it_looks_like(body: Any, sender: str) -> None:
    assert sender in refusal(body).detail


def test_errors_are_counted_and_the_first_are_kept() -> None:
    shown = {"identities": {"crm": ["c-1", *[""] * 1000]}, "memberships": [EXIT]}
    (one,) = reading({"changes": [shown]}).profiles
    assert one.left_out_counts == {"unfit_identity": 1000}
    assert len(one.left_out) == MAX_ERRORS


def test_every_error_of_what_is_wrong_throughout_is_told_as_far_as_an_answer_goes() -> None:
    assert [error.pointer for error in refusal({"changes": [{"at": 1}, {"at": 2}]}).errors] == [
        "#/changes/0/at",
        "#/changes/1/at",
    ]
    assert len(refusal({"changes": [{"at": 1}] * 100}).errors) == MAX_ERRORS


def test_a_second_document_is_refused() -> None:
    assert refusal(b'{"changes": []} {"changes": []}').status == 400


def test_the_number_of_changes_is_bounded() -> None:
    assert refusal({"changes": [1] * (MAX_PROFILES + 1)}).status == 413


@given(
    st.binary()
    | st.fixed_dictionaries(
        {
            "changes": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "identities": st.dictionaries(st.text(), st.text() | st.none() | st.lists(st.text())),
                        "attributes": st.dictionaries(st.text(), st.floats() | st.text() | st.none()),
                        "at": st.text() | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
                        "snapshot": st.booleans() | st.none(),
                        "memberships": st.lists(
                            st.fixed_dictionaries(
                                {
                                    "segment": st.text(),
                                    "status": st.sampled_from(["realized", "exited", "existing"]),
                                    "at": st.just("2026-01-01T00:00:00Z") | st.text(),
                                }
                            )
                        ),
                    },
                )
            )
        }
    ).map(lambda body: json.dumps(body).encode())
)
def test_any_bytes_give_profiles_or_a_refusal(raw: bytes) -> None:
    try:
        status = 202 if reading(raw) else 500
    except Refusal as refused:
        status = int(refused.status)
    assert status in (202, 400, 413, 422)


def test_a_namespace_that_nothing_could_carry_is_left_out_and_the_others_are_read() -> None:
    (one,) = reading({"changes": [{"identities": {"\ud83d": "1", "crm": "c-1"}, "memberships": [EXIT]}]}).profiles
    assert one.identities == {"crm": ["c-1"]}
    assert one.left_out_counts == {"unfit_identity": 1}


def test_of_too_many_attributes_none_is_read_and_the_membership_is() -> None:
    attributes = {str(number): number for number in range(MAX_KEYS + 1)}
    shown = {"identities": {"crm": "c-1"}, "attributes": attributes, "memberships": [EXIT]}
    (one,) = reading({"changes": [shown]}).profiles
    assert one.attributes == {}
    assert [each.segment for each in one.memberships] == ["shop/vip"]
    assert one.left_out_counts == {"unfit_attribute": 1}
