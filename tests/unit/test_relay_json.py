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
from relay.sources.reading import MAX_PROFILES, Reading
from relay.sources.relay_json import read

EVENTS = Path(__file__).parents[2] / "events"
PLANTED = "ada.lovelace@example.com"


def reading(body: Any) -> Reading:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(raw, source="shop", namespaces=frozenset())


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
    ("told", "read_as"),
    [("a", ["a"]), (["b", "a", "b"], ["b", "a"]), (None, None), ([], None)],
)
def test_identities_are_texts_lists_or_cleared(told: Any, read_as: Any) -> None:
    assert reading({"changes": [{"identities": {"crm": told}}]}).profiles[0].identities == {"crm": read_as}


def test_an_empty_change_is_a_patch_of_nothing() -> None:
    (one,) = reading({"changes": [{}]}).profiles
    assert (one.snapshot, one.at, one.identities, one.attributes, one.memberships) == (False, None, {}, {}, [])


def membership(**fields: Any) -> dict[str, Any]:
    told = {"segment": "vip", "status": "realized", "at": "2026-01-01T00:00:00Z", **fields}
    return {"changes": [{"memberships": [told]}]}


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ([], "#", "must be an object"),
        ({}, "#/changes", "is missing"),
        ({"changes": {}}, "#/changes", "must be a list"),
        ({"changes": [PLANTED]}, "#/changes/0", "dictionary"),
        ({"changes": [], PLANTED: 1}, "#", "does not know"),
        ({"changes": [{PLANTED: 1}]}, "#/changes/0", "does not know"),
        ({"changes": [{"identities": {"crm": 5}}]}, "#/changes/0/identities/crm", "must be a text"),
        ({"changes": [{"identities": {PLANTED: [PLANTED, ""]}}]}, "#/changes/0/identities", "must be a text"),
        ({"changes": [{"attributes": [PLANTED]}]}, "#/changes/0/attributes", "dictionary"),
        ({"changes": [{"snapshot": PLANTED}]}, "#/changes/0/snapshot", "boolean"),
        ({"changes": [{"at": PLANTED}]}, "#/changes/0/at", "must be a time such as"),
        (membership(status=PLANTED), "#/changes/0/memberships/0/status", "'realized' or 'exited'"),
        (membership(at="2026-01-01T00:00:00"), "#/changes/0/memberships/0/at", "with Z or an offset"),
        (membership(at=20260101), "#/changes/0/memberships/0/at", "must be a time such as"),
        (membership(segment=""), "#/changes/0/memberships/0/segment", "at least 1"),
        (membership(name=7), "#/changes/0/memberships/0/name", "string"),
    ],
)
def test_a_wrong_shape_is_told_with_its_place_and_no_content(body: Any, pointer: str, detail: str) -> None:
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
        ({"attributes": {"a": "\ud800"}}, ""),
        (membership(status=PLANTED)["changes"][0], "/memberships/0/status"),
    ],
)
def test_a_wrong_change_harms_none_beside_it(wrong: Any, inside: str) -> None:
    told = reading({"changes": [{}, wrong, {"identities": {"crm": "c-2"}}]})

    assert [one.place for one in told.profiles] == [("changes", 0), ("changes", 2)]
    assert told.profiles[1].identities == {"crm": ["c-2"]}
    assert [error.pointer for error in told.misshapen] == [f"#/changes/1{inside}"]
    assert PLANTED not in repr(told.misshapen)


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
