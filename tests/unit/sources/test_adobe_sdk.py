"""What templates of Adobe's Destination SDK render."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.adobe_sdk import read
from relay.sources.reading import Incoming, Reading
from tests.webhooks import json_values

SOURCE = SourceSettings("aep", "adobe-sdk", "bearer", (), "identities.crm")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEGMENTS = "AdobeExperiencePlatformSegments"


def reading(body: Any) -> Reading:
    return read(body if isinstance(body, bytes) else json.dumps(body).encode(), SOURCE, NOW)


def held(profile: Incoming) -> list[tuple[str, bool, str | None]]:
    return [(m.segment.removeprefix("aep/"), m.realized, m.name) for m in profile.memberships]


def test_identities_attributes_and_segments_of_a_template() -> None:
    body = {
        "profiles": [
            {
                "attributes": {"first": {"value": "Kim"}, "born": {}, "plan": "gold", "gone": None},
                "identities": [{"type": "email", "id": "a@x.example"}, {"type": "email", "id": "b@x.example"},
                               {"type": "crm", "id": 5}],
                SEGMENTS: {"add": ["s-1", "s-2"], "remove": ["s-3"]},
            }
        ]
    }  # fmt: skip
    (profile,) = reading(body).profiles
    assert profile.identities == {"email": ["a@x.example", "b@x.example"], "crm": ["5"]}
    assert profile.attributes == {"first": "Kim", "born": None, "plan": "gold", "gone": None}
    assert held(profile) == [("s-1", True, None), ("s-2", True, None), ("s-3", False, None)]
    assert {m.at for m in profile.memberships} == {NOW}
    assert not profile.snapshot


@pytest.mark.parametrize("status", [None, "realized", "exited", "ADD", "remove"])
def test_a_group_says_the_segment_of_its_profiles(status: str | None) -> None:
    body = {"audienceId": "s-1", "audienceNamespace": "CustomerAudienceUpload", "profiles": [{"first": "A"}, {"b": 1}]}
    body |= {} if status is None else {"segmentStatus": status}
    found = reading([body, {**body, "audienceId": "s-2", "audienceName": "Two"}]).profiles
    is_in = status not in ("exited", "remove")
    assert [held(one) for one in found] == [[("s-1", is_in, None)]] * 2 + [[("s-2", is_in, "Two")]] * 2
    assert found[0].attributes == {"first": "A"}


def test_identities_come_by_namespace_too() -> None:
    body = {"profiles": [
        {"email": ["a@x.example", "b@x.example"], "phone": ["+1"]},
        {"identities": {"crm": "c-1", "email": [{"id": "a@x.example"}], "no": None}, "first": "Kim"},
        {"identityMap": {"ECID": [{"id": "e-1"}]}},
    ]}  # fmt: skip
    first, second, third = reading(body).profiles
    assert first.identities == {"email": ["a@x.example", "b@x.example"], "phone": ["+1"]}
    assert (second.identities, second.attributes) == ({"crm": ["c-1"], "email": ["a@x.example"]}, {"first": "Kim"})
    assert third.identities == {"ECID": ["e-1"]}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({SEGMENTS: {"add": ["s-1"]}, "segment_names": {"s-1": "One"}}, [("s-1", True, "One")]),
        ({SEGMENTS: {"remove": ["s-1"]}, "segment_names": {"remove": ["One"]}}, [("s-1", False, "One")]),
        ({"segments": {"add": [{"id": "s-1", "name": "One"}]}}, [("s-1", True, "One")]),
        ({"segment_names": ["One", "Two"]}, [("One", True, None), ("Two", True, None)]),
        ({"segment_names": {"added": ["One"], "removed": ["Two"]}}, [("One", True, None), ("Two", False, None)]),
        ({SEGMENTS: {"add": ["s-1"]}, "segment_names": ["One"]}, [("s-1", True, None)]),
        ({SEGMENTS: {"add": ["s-1"]}, "segment_names": {"add": []}}, [("s-1", True, None)]),
    ],
)
def test_names_of_segments(more: Any, expected: list[Any]) -> None:
    (profile,) = reading({"identities": {"crm": "c-1"}, **more}).profiles
    assert held(profile) == expected


def test_the_test_request_of_the_sdk_is_taken() -> None:
    """Its profiles are as the SDK stores them: nothing was rendered by a template."""
    membership = {"lastQualificationTime": "2021-05-13T12:16:27.248585Z", "status": "realized"}
    profile = {
        "segmentMembership": {
            "ups": {"s-1": membership, "s-2": {"status": "exited"}, "odd": {}, "bad": "odd"},
            "other": {"s-3": membership},
        },
        "identityMap": {"ECID": [{"id": "ECID-Z3i2t"}]},
        "attributes": {"firstName": {"value": "John"}},
    }
    (read_as,) = reading({"profiles": [profile]}).profiles
    assert held(read_as) == [("s-1", True, None), ("s-2", False, None)]
    assert [m.at for m in read_as.memberships] == [datetime(2021, 5, 13, 12, 16, 27, 248585, tzinfo=UTC), NOW]
    assert read_as.ignored_memberships == 1
    assert read_as.left_out_counts == {"unfit_membership": 2}


def test_what_cannot_be_read_is_left_out_beside_what_can() -> None:
    body = {
        "identities": [{"type": "crm", "id": "c-1"}, "odd"],
        "attributes": "odd",
        SEGMENTS: {"add": ["s-1", ""], "remove": "odd"},
        "segmentMembership": "odd",
    }
    (profile,) = reading(body).profiles
    assert held(profile) == [("s-1", True, None)]
    assert profile.left_out_counts == {"unfit_identity": 1, "unfit_attribute": 1, "unfit_membership": 3}


def test_documents_one_after_the_other_are_taken() -> None:
    one = {"identities": {"crm": "c-1"}}
    found = reading(json.dumps(one).encode() * 2 + b'"odd"')
    assert len(found.profiles) == 2
    assert [error.pointer for error in found.misshapen] == ["#/2"]


@pytest.mark.parametrize("body", [{"changes": []}, {"identities": {"crm": "1"}, "memberships": []},
                                  {"type": "track", "userId": "u"}, 5, {"x": SEGMENTS},
                                  {"audienceId": "s", "status": "odd", "profiles": [{}]},
                                  {"identities": {"a": 1}, SEGMENTS: "odd"}])  # fmt: skip
def test_the_body_of_another_platform_is_refused(body: Any) -> None:
    with pytest.raises(Refusal) as caught:
        reading(body)
    assert caught.value.status == 422


@given(json_values)
def test_nothing_but_a_refusal_comes_of_any_body(value: Any) -> None:
    for body in (
        value,
        {"profiles": value, "audienceId": value, "status": value},
        {"identities": value, "attributes": value, SEGMENTS: value, "segment_names": value},
        {"identities": [value], SEGMENTS: {"add": value, "remove": [value]}, "segment_names": value},
        {"segmentMembership": {"ups": value}, "identityMap": value},
        {"profiles": [{"segmentMembership": {"ups": {"s": value}}}], "audienceId": "s", "audienceName": value},
    ):
        with suppress(Refusal):
            reading(body)
