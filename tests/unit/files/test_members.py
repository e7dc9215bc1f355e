"""Rows of segment files to changes: identities, attributes, status."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.domain.changes import MembershipChange
from relay.domain.expressions import compiled
from relay.files.columns import identity_columns
from relay.files.members import Members
from relay.files.rows import BrokenRow, Row, Unreadable
from relay.sources.profile_key import keys_of
from relay.sources.reading import Incoming

AT = datetime(2026, 4, 30, 9, 30, tzinfo=UTC)


def members(profile_key: str = "identities.crm", identities: str | None = None, status: str | None = None) -> Members:
    return Members(
        segment="dwh/vip",
        at=AT,
        profile_key=profile_key,
        identities=None if identities is None else identity_columns(identities),
        status=status,
    )


def read(values: Mapping[str, Any], reader: Members | None = None) -> Incoming:
    found = (reader or members()).change_of(Row("part", 7, values))
    assert isinstance(found, Incoming)
    return found


def test_the_column_named_as_profile_key_names_it_is_the_identity_and_others_are_attributes() -> None:
    found = read({"crm": "1", "city": "Oslo", "plan": None})
    assert found.identities == {"crm": ["1"]}
    assert found.attributes == {"city": "Oslo", "plan": None}
    assert found.memberships == (MembershipChange("dwh/vip", True, AT),)
    assert not found.snapshot


def test_dots_make_objects_as_webhooks_bring_them() -> None:
    found = read(
        {
            "crm": "1",
            "xdm:person.name.firstName": "Kim",
            "person.name.lastName": "Lee",
            "home.city": None,
            "plan": "gold",
            "plan.since": "2026",
            "attributes.tier": 2,
            "attributes": {"age": 30},
        }
    )
    assert found.attributes == {
        "person": {"name": {"firstName": "Kim", "lastName": "Lee"}},
        "home": None,
        "plan": "gold",
        "plan.since": "2026",
        "tier": 2,
        "age": 30,
    }


@pytest.mark.parametrize(
    "values",
    [
        {"identities.crm": "1"},
        {"identityMap.crm": "1"},
        {"xdm:identityMap.crm.id": "1"},
        {"identityMap.crm[0].id": "1"},
        {"identities": {"crm": ["1", "1", None]}},
        {"identityMap": {"crm": [{"id": "1", "primary": True}]}},
        {"crm": 1},
    ],
)
@pytest.mark.parametrize("profile_key", ["identities.crm", "identityMap.crm[0].id", "identityMap.crm[?primary].id"])
def test_identities_are_found_however_they_are_written(values: Mapping[str, Any], profile_key: str) -> None:
    reader = members(profile_key)
    reader.require("part", list(values))
    found = read(values, reader)
    assert found.identities == {"crm": ["1"]}
    assert keys_of(found, compiled(profile_key)) == {"1"}


def test_an_identity_without_a_value_is_cleared() -> None:
    assert read({"crm": "1", "identities.email": None}).identities == {"crm": ["1"], "email": None}


def test_options_name_identities_and_status() -> None:
    reader = members("[identities.crm, identities.email]", "crm=CUSTOMER_ID, email", "STATE")
    reader.require("part", ["CUSTOMER_ID", "email", "STATE"])
    found = read({"CUSTOMER_ID": "1", "email": "a@b.c", "STATE": "EXITED", "crm": "x"}, reader)
    assert found.identities == {"crm": ["1"], "email": ["a@b.c"]}
    assert found.attributes == {"crm": "x"}
    assert [one.realized for one in found.memberships] == [False]


@pytest.mark.parametrize(
    ("profile_key", "column"),
    [("attributes.email", "email"), ("attributes.person.email", "person.email"), ("CustomerId", "CustomerId")],
)
def test_profile_key_may_look_up_any_column(profile_key: str, column: str) -> None:
    reader = members(profile_key)
    reader.require("part", ["city", column])
    assert keys_of(read({"city": "Oslo", column: "7"}, reader), compiled(profile_key)) == {"7"}


def test_profile_key_may_look_up_a_column_that_is_an_identity() -> None:
    reader = members("CustomerId", "crm=CustomerId")
    reader.require("part", ["CustomerId"])
    assert keys_of(read({"CustomerId": "7"}, reader), compiled("CustomerId")) == {"7"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "looks for identities.crm. file_identities of the source names columns that are called otherwise"),
        ({"identities": "crm=ID"}, "a has no column ID, which the source's settings name"),
        ({"identities": "crm=city", "status": "STATE"}, "a has no column STATE, which the source's settings name"),
        ({"profile_key": "attributes.email || identities.crm"}, "looks for attributes.email or identities.crm"),
    ],
)
def test_a_header_that_identifies_nobody_is_unreadable(options: Mapping[str, str], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        members(**options).require("a", ["city", "segmentMembership.status", "identities.email"])


@pytest.mark.parametrize("text", ["", "crm,,email", "=ID", "crm=ID, email=ID"])
def test_identity_columns_that_name_nothing_or_a_column_twice_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must name columns|names a column twice"):
        identity_columns(text)


@pytest.mark.parametrize(
    ("values", "realized"),
    [
        ({"segmentMembership.status": "Active"}, True),
        ({"segmentMembership.status": "Expired"}, False),
        (
            {"segmentMembership.ups.9-a.status": "expired", "segmentMembership.ups.9-a.at": "x"},
            False,
        ),
        ({"segmentMembership": {"ups": {"9-a": {"status": "realized"}}}}, True),
        ({"segmentMembership": {"ups": {"9-a": {"status": "realized"}, "vip": {"status": "exited"}}}}, False),
        ({"xdm:segmentMembership": {"xdm:ups": None}}, True),
    ],
)
def test_the_status_of_adobes_files_counts(values: Mapping[str, Any], realized: bool) -> None:
    found = read({"crm": "1", **values})
    assert [one.realized for one in found.memberships] == [realized]
    assert found.attributes == {}


def test_another_status_does_not_count_where_the_option_names_one() -> None:
    found = read({"crm": "1", "in": True, "segmentMembership.status": "Expired"}, members(status="in"))
    assert [one.realized for one in found.memberships] == [True]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"crm": "x" * 1_025}, "has an identity of more than 1,024 characters"),
        ({"crm": "1", "segmentMembership.status": "perhaps"}, "has a status that is not known"),
        ({"crm": "1", "segmentMembership.status": None}, "has no status"),
        (
            {"crm": "1", "segmentMembership.ups.a.status": "Active", "segmentMembership.ups.b.status": "Active"},
            "has several statuses; file_status names the one that counts",
        ),
    ],
)
def test_rows_that_say_nothing_certain_are_broken(values: Mapping[str, Any], reason: str) -> None:
    assert members().change_of(Row("part", 7, values)) == BrokenRow("part", 7, reason)


def test_names_beyond_those_remembered_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.files.members._MAX_NAMES", 1)
    assert read({"city": "Oslo", "crm": "1"}).identities == {"crm": ["1"]}
