"""Adobe's HTTP API dialect: every framing and form of time, and nothing but a refusal for the rest."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.changes import MembershipChange
from relay.problem_details import MAX_ERRORS, Refusal
from relay.settings.sources import SourceSettings
from relay.sources.adobe_http import read
from relay.sources.reading import MAX_PROFILES, Reading
from tests.examples import example

EVENTS = Path(__file__).parents[2] / "events"
QUALIFIED = "2026-01-11T21:24:39Z"
MOMENT = datetime(2026, 1, 11, 21, 24, 39, tzinfo=UTC)


def reading(body: Any, namespaces: frozenset[str] = frozenset({"ups"})) -> Reading:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(
        raw,
        SourceSettings("aep", "adobe-http", "bearer", ("t",), "identities.crm", frozenset(namespaces)),
        datetime(2026, 3, 1, tzinfo=UTC),
    )


def refusal(body: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        reading(body)
    return caught.value


def profile(status: Any = "realized", at: Any = QUALIFIED, crm: str = "c-1") -> dict[str, Any]:
    return {
        "person": {"name": {"firstName": "Ada"}},
        "segmentMembership": {"ups": {"seg-1": {"status": status, "lastQualificationTime": at}}},
        "identityMap": {"crmId": [{"id": crm}]},
    }


def test_the_sample_event_reads_as_three_profiles() -> None:
    shown = reading((EVENTS / "webhook-adobe-http.json").read_bytes())

    assert [one.identities["crmId"] for one in shown.profiles] == [["HB-100041"], ["HB-100042"], ["HB-100043"]]
    assert [[m.realized for m in one.memberships] for one in shown.profiles] == [[True, False], [False], [True]]
    assert shown.profiles[0].memberships[0].name == "Frequent readers"
    assert [one.ignored_memberships for one in shown.profiles] == [1, 0, 0]


def test_a_profile_is_a_snapshot_without_a_time_of_its_own() -> None:
    (one,) = reading(profile()).profiles

    assert one.snapshot
    assert one.at is None
    assert one.identities == {"crmId": ["c-1"]}
    assert one.attributes == {"person": {"name": {"firstName": "Ada"}}}
    assert one.memberships == [MembershipChange("aep/seg-1", realized=True, at=MOMENT)]


@pytest.mark.parametrize(
    "framed",
    [
        json.dumps([profile(), profile(crm="c-2")]),
        json.dumps({"profiles": [profile(), profile(crm="c-2")]}),
        json.dumps(profile()) + json.dumps(profile(crm="c-2")),
        json.dumps(profile()) + "\n" + json.dumps(profile(crm="c-2"), indent=2) + "\r\n\n",
        "\ufeff" + json.dumps([profile(), profile(crm="c-2")]),
    ],
)
def test_several_profiles_in_any_framing(framed: str) -> None:
    assert [one.identities["crmId"] for one in reading(framed.encode()).profiles] == [["c-1"], ["c-2"]]


def test_prefixed_keys_read_as_plain_ones() -> None:
    (one,) = reading(
        {
            "xdm:person": {"xdm:name": {"xdm:firstName": "Ada"}, "tags": [{"xdm:a": 1}]},
            "xdm:segmentMembership": {
                "ups": {"seg-1": {"xdm:status": "existing", "xdm:lastQualificationTime": QUALIFIED, "xdm:version": "3"}}
            },
            "xdm:identityMap": {"crmId": [{"xdm:id": "c-1", "xdm:primary": True}]},
        }
    ).profiles

    assert one.attributes == {"person": {"name": {"firstName": "Ada"}, "tags": [{"a": 1}]}}
    assert one.memberships == [MembershipChange("aep/seg-1", realized=True, at=MOMENT)]
    assert one.identities == {"crmId": ["c-1"]}


@pytest.mark.parametrize(
    ("status", "realized"), [("realized", True), ("existing", True), ("exited", False), ("exiting", False)]
)
def test_statuses(status: str, realized: bool) -> None:
    assert reading(profile(status)).profiles[0].memberships[0].realized is realized


@pytest.mark.parametrize(
    "at",
    [
        "2026-01-11T21:24:39Z",
        "2026-01-11T21:24:39+0000",
        "2026-01-11T21:24:39.000+0000",
        "2026-01-11T21:24:39.000000Z",
        "2026-01-11T22:24:39+01:00",
        "2026-01-11 21:24:39",
    ],
)
def test_every_documented_form_of_time(at: str) -> None:
    assert reading(profile(at=at)).profiles[0].memberships[0].at == MOMENT


def test_only_the_namespaces_of_the_source_count() -> None:
    body = profile()
    body["segmentMembership"]["AAM"] = {"x": {"status": "whatever"}, "y": None}

    shown = reading(body)

    assert len(shown.profiles[0].memberships) == 1
    assert shown.profiles[0].ignored_memberships == 2
    assert len(reading(profile(), frozenset({"AAM"})).profiles[0].memberships) == 0


def test_empty_and_repeated_identities_do_not_count() -> None:
    body = {"identityMap": {"crmId": [{"id": "c-1"}, {"id": ""}, {"id": "c-1"}], "email": [{"id": ""}], "ECID": None}}

    (one,) = reading({**body, "plan": "pro"}).profiles
    assert one.identities == {"crmId": ["c-1"]}
    # An identity without a value says that there is none: the message is as full a snapshot as ever.
    assert one.snapshot
    assert one.left_out_counts == {"unfit_identity": 2}


@pytest.mark.parametrize("lacking", ["segmentMembership", "identityMap", "person"])
def test_a_profile_may_lack_any_part(lacking: str) -> None:
    for body in ({**profile(), lacking: None}, {**profile(), lacking: {}}):
        (one,) = reading(body).profiles
        assert not one.left_out_counts


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"segmentMembership": None, "identityMap": None},
        {"segmentMembership": {}, "identityMap": {}},
        {"segmentMembership": {"ups": {}}, "identityMap": {"crmId": []}},
        {"email": "kim@example.com", "plan": "pro"},
        {"profiles": [{"email": "kim@example.com"}]},
    ],
)
def test_what_holds_neither_identities_nor_memberships_is_refused(body: Mapping[str, Any]) -> None:
    assert refusal(body).status == 422


def test_an_empty_list_holds_no_profiles() -> None:
    assert reading([]).profiles == []


def test_a_wrong_shape_is_told_with_its_place() -> None:
    table: list[tuple[Any, str, str]] = [
        (profile("paused"), "#/segmentMembership/ups/seg-1/status", "must be one of realized, existing"),
        (profile(None), "#/segmentMembership/ups/seg-1/status", "must be one of realized, existing"),
        ([profile(at="soon")], "#/0/segmentMembership/ups/seg-1/lastQualificationTime", "must be a time such as"),
        (profile(at=20260430), "#/segmentMembership/ups/seg-1/lastQualificationTime", "must be a time such as"),
        (profile(at="0001-01-01T00:00:00+14:00"), "#/segmentMembership/ups/seg-1/lastQualificationTime", "such as"),
        (profile(at="1969-12-31T23:59:59Z"), "#/segmentMembership/ups/seg-1/lastQualificationTime", "1970"),
        ({"profiles": [1]}, "#/profiles/0", "must be a profile"),
        ({"segmentMembership": []}, "#/segmentMembership", "must be an object"),
        ({"segmentMembership": {"ups": {"a": 1}}}, "#/segmentMembership/ups/a", "must be an object with status"),
        ({"identityMap": {"crmId": {"id": "1"}}}, "#/identityMap/crmId", "must be a list"),
        ({"identityMap": {"crmId": [{"id": 5.5}]}}, "#/identityMap/crmId/0", "must be a text that is not empty"),
        ({"identityMap": {"crmId": ["c-1"]}}, "#/identityMap/crmId/0", "must be a text that is not empty"),
        ({"xdm:identityMap": {"a@b.example": 1}}, "#/xdm:identityMap", "must be a list"),
    ]
    for body, pointer, detail in table:
        with example(body, pointer, detail):
            refused = refusal(body)

            assert refused.status == 422
            assert refused.errors[0].pointer == pointer
            assert detail in refused.errors[0].detail


def test_documents_one_after_the_other_are_told_by_index() -> None:
    body = json.dumps(profile("paused")) + json.dumps(profile(None))
    assert [error.pointer for error in refusal(body.encode()).errors] == [
        "#/0/segmentMembership/ups/seg-1/status",
        "#/1/segmentMembership/ups/seg-1/status",
    ]


def test_a_readable_membership_is_taken_whatever_is_wrong_beside_it() -> None:
    table: list[tuple[dict[str, Any], str, str]] = [
        (
            {"identityMap": {"crmId": [{"id": "c-1"}], "Phone": [{"id": None}]}},
            "unfit_identity",
            "/identityMap/Phone/0",
        ),
        ({"identityMap": {"crmId": [{"id": "c-1"}, {"id": ""}]}}, "unfit_identity", "/identityMap/crmId/1"),
        ({"identityMap": {"crmId": [{"id": "c-1"}, 7]}}, "unfit_identity", "/identityMap/crmId/1"),
        ({"identityMap": {"crmId": [{"id": "c-1"}, {"id": "x" * 2000}]}}, "unfit_identity", "/identityMap/crmId/1"),
        ({"identityMap": {"crmId": [{"id": "c-1"}], "\ud83d": [{"id": "1"}]}}, "unfit_identity", "/identityMap"),
        ({"identityMap": {"crmId": [{"id": "c-1"}], "Phone": "1"}}, "unfit_identity", "/identityMap/Phone"),
        ({"person": "hi \ud83d"}, "unfit_attribute", "/person"),
        ({"person": float("1e300") * 1e300}, "unfit_attribute", "/person"),
        ({"person": json.loads("[" * 40 + "]" * 40)}, "unfit_attribute", "/person"),
        ({"person": {str(number): number for number in range(10_001)}}, "unfit_attribute", "/person"),
        ({"segmentMembership": {"other": {"status": "realized"}}}, "unfit_membership", "/other/lastQualificationTime"),
        (
            {"segmentMembership": {"other": {"status": "paused", "lastQualificationTime": QUALIFIED}}},
            "unfit_membership",
            "/other/status",
        ),
        ({"segmentMembership": {"other": None}}, "unfit_membership", "/other"),
        (
            {"segmentMembership": {"": {"status": "realized", "lastQualificationTime": QUALIFIED}}},
            "unfit_membership",
            "",
        ),
        (
            {"segmentMembership": {"x" * 300: {"status": "realized", "lastQualificationTime": QUALIFIED}}},
            "unfit_membership",
            "",
        ),
    ]
    for beside, code, pointer in table:
        with example(beside, code, pointer):
            exit_ = profile("exited")
            if "segmentMembership" in beside:
                exit_["segmentMembership"]["ups"] |= beside["segmentMembership"]
                pointer = f"/segmentMembership/ups{pointer}"
            else:
                exit_ |= beside
            raw = json.dumps([exit_, profile(crm="c-2")]).replace("Infinity", "1e999")

            first, second = reading(raw.encode()).profiles

            assert first.memberships == [MembershipChange("aep/seg-1", realized=False, at=MOMENT)]
            assert first.identities == {"crmId": ["c-1"]}
            assert first.left_out_counts == {code: 1}
            [part] = first.left_out
            assert (part.code, part.error.pointer.startswith(f"#/0{pointer}")) == (code, True)
            assert not second.left_out_counts


@pytest.mark.parametrize(
    ("beside", "snapshot"),
    [
        ({"Phone": [{"id": None}]}, True),
        ({"Phone": [{"id": ""}]}, True),
        ({"Phone": [{"id": "1" * 2000}]}, False),
        ({"Phone": "1"}, False),
    ],
)
def test_a_snapshot_does_not_clear_what_only_could_not_be_read(beside: dict[str, Any], snapshot: bool) -> None:
    body = profile()
    body["identityMap"] |= beside
    assert reading(body).profiles[0].snapshot is snapshot


def test_attributes_and_identities_are_taken_without_memberships_as_far_as_they_can_be_read() -> None:
    (one,) = reading({"identityMap": {"crmId": [{"id": "c-1"}]}, "plan": "pro", "bio": "\ud83d"}).profiles
    assert (one.attributes, one.identities, one.snapshot) == ({"plan": "pro"}, {"crmId": ["c-1"]}, False)
    assert one.left_out_counts == {"unfit_attribute": 1}
    # What may have been a membership is what the profile was about.
    body = {"identityMap": {"crmId": [{"id": "c-1"}]}, "plan": "pro", "segmentMembership": {"ups": "vip"}}
    assert refusal(body).errors[0].pointer == "#/segmentMembership/ups"


def test_whole_numbers_are_identities() -> None:
    body = {"identityMap": {"crmId": [{"id": 5}, {"id": 1001.0}]}}
    assert reading(body).profiles[0].identities == {"crmId": ["5", "1001"]}


@pytest.mark.parametrize(
    ("body", "sender"),
    [
        ({"changes": [{"identities": {"crm": "1"}}]}, "relay-json"),
        ({"type": "identify", "userId": "u", "traits": {}}, "Twilio Segment"),
        ([{"type": "track", "anonymousId": "a", "event": "Audience Entered"}], "Twilio Segment"),
        ({"profiles": [{"identities": [{"type": "ecid", "id": "1"}]}]}, "Destination SDK"),
        ({"action": "members", "parameters": {"members": []}}, "Mixpanel"),
        ({"cohort_id": "c", "in_cohort": True, "users": []}, "Amplitude"),
        ({"type": "audience_membership_change_request", "firehose_version": "3"}, "mParticle"),
    ],
)
def test_the_refusal_of_another_platforms_body_says_whose_it_looks_like(body: Any, sender: str) -> None:
    refused = refusal(body)
    assert refused.status == 422
    assert sender in refused.detail


def test_a_wrong_profile_harms_none_beside_it() -> None:
    framings = ["[{0},{1},{2}]", '{{"profiles":[{0},{1},{2}]}}', "{0}{1}\n{2}"]
    profiles: list[tuple[str, str]] = [
        (json.dumps(profile("paused", at="soon")), "/segmentMembership/ups/seg-1/status"),
        ("7", ""),
        (json.dumps({"identityMap": {"crmId": [{"id": "\ud83d"}]}}), "/identityMap/crmId/0"),
    ]
    for framed in framings:
        for wrong, inside in profiles:
            with example(framed, wrong, inside):
                good, better = (
                    json.dumps({**profile(crm=crm), "segmentMembership": {"AAM": {"x": {}}}}) for crm in ("c-1", "c-2")
                )

                shown = reading(framed.format(good, wrong, better).encode())

                assert [one.identities["crmId"] for one in shown.profiles] == [["c-1"], ["c-2"]]
                assert [one.ignored_memberships for one in shown.profiles] == [1, 1]
                place = "#/profiles/1" if framed.startswith("{{") else "#/1"
                assert [error.pointer for error in shown.misshapen] == [place + inside]


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"a": }', "line 1, column 7"),
        (b'{"a": NaN}', "number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number"),
        (b'{"a": "\xff"}', "byte 7"),
        (b'{"identityMap": {}} trailing ada@example.com', "line 1, column 21"),
    ],
)
def test_what_is_not_json_is_told_without_content(raw: bytes, detail: str) -> None:
    refused = refusal(raw)

    assert (refused.status, refused.code) == (400, "malformed_json")
    assert detail in refused.detail
    assert "ada@" not in refused.detail


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": 1}',
        json.dumps({str(number): number for number in range(10_001)}).encode(),
    ],
    ids=["stack", "depth", "infinity", "surrogate", "surrogate key", "keys"],
)
def test_json_that_could_not_be_carried_is_refused(raw: bytes) -> None:
    assert refusal(raw).status == 422


def test_errors_and_profiles_are_bounded() -> None:
    assert len(refusal([1] * 1000).errors) == MAX_ERRORS
    assert refusal([profile()] * (MAX_PROFILES + 1)).status == 413
    assert refusal([1] * (MAX_PROFILES + 1)).status == 413
    assert len(reading([1] * (MAX_PROFILES - 1) + [profile()]).misshapen) == MAX_PROFILES - 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "segmentMembership": st.dictionaries(
            st.sampled_from(["ups", "AAM"]),
            st.dictionaries(
                st.text(max_size=4),
                st.fixed_dictionaries(
                    {"status": json_values | st.sampled_from(["realized", "exited"])},
                    optional={"lastQualificationTime": json_values | st.datetimes().map(datetime.isoformat)},
                )
                | json_values,
                max_size=3,
            )
            | json_values,
        ),
        "identityMap": st.dictionaries(
            st.text(max_size=4), st.lists(st.fixed_dictionaries({"id": json_values}) | json_values) | json_values
        ),
        "person": json_values,
    },
)


@given(st.binary() | (near_misses | json_values | st.lists(near_misses)).map(lambda body: json.dumps(body).encode()))
def test_any_bytes_give_profiles_or_a_refusal(raw: bytes) -> None:
    try:
        shown = reading(raw)
        whole = all(one.snapshot or one.left_out for one in shown.profiles)
        status = 202 if whole and (shown.profiles or not shown.misshapen) else 500
    except Refusal as refused:
        status = int(refused.status)
    assert status in (202, 400, 413, 422)
