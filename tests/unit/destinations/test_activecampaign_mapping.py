"""Targets of a mapping, addresses, encoded values, and what an export's options add to every member."""

from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.domain.problems import Rejection
from tests.contract.activecampaign_replies import FIELD, REMOVE_TAG, SET_FIELD, TAG, UNSUBSCRIBE, export


def test_mapping_problems() -> None:
    problems = dict(DESTINATION.mapping_problems({"firstName": "x", "fields.0": "x", "fields.12": "x", "tags": "x"}))
    assert set(problems) == {"email", "firstName", "fields.0"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" Anna@Example.COM ", "anna@example.com"),
        (["", None, "B@example.com", "a@example.com"], "a@example.com"),
        (["a@example.com", "b@example.com"], "a@example.com"),
        (["not an address", 17, None, "b@example.com"], "b@example.com"),
        ("o'brien+x@mail.example.co", "o'brien+x@mail.example.co"),
        ("anna@exämple.example", "anna@xn--exmple-cua.example"),
        ("\ufeffAnna\u200b@example.com\u00a0", "anna@example.com"),
    ],
)
def test_an_address(value: Any, expected: str) -> None:
    assert DESTINATION.identity_of(value, export()) == [expected]


@pytest.mark.parametrize("value", [None, "", "  ", [], [None, ""]])
def test_no_address(value: Any) -> None:
    rejection = DESTINATION.identity_of(value, export())
    assert isinstance(rejection, Rejection)
    assert rejection.code == "no_email"


@pytest.mark.parametrize(
    "value",
    [
        "anna",
        "@example.com",
        "anna@example",
        "anna@example.c",
        "anna@example.c1",
        "a@b@example.com",
        "an na@example.com",
        "a..b@example.com",
        "anna@.example.com",
        "anna@example..com",
        'an"na@example.com',
        "anna(x)@example.com",
        "anna;b@example.com",
        "anna\x00@example.com",
        "anna\ud83d@example.com",
        17,
        ["anna", None, 17],
        {"address": "anna@example.com"},
        False,
    ],
)
def test_a_malformed_address(value: Any) -> None:
    rejection = DESTINATION.identity_of(value, export())
    assert isinstance(rejection, Rejection)
    assert rejection.code == "malformed_email"
    assert str(value) not in rejection.detail


@pytest.mark.parametrize(
    ("target", "value", "expected"),
    [
        ("first_name", " Anna Maria ", "Anna Maria"),
        ("first_name", ["", "Anna", "Maria"], "Anna"),
        ("phone", "+49 (0) 89 / 1", "+49 (0) 89 / 1"),
        ("fields.1", True, "true"),
        ("fields.1", False, "false"),
        ("fields.1", 0, "0"),
        ("fields.1", 3.0, "3"),
        ("fields.1", 2.5, "2.5"),
        ("first_name", 1001.0, "1001"),
        ("phone", 4.912e10, "49120000000"),
        ("fields.1", [1.0, 2, "3.0"], "||1||2||3.0||"),
        ("tags", [1001.0, 1e3], "||1001||1000||"),
        ("fields.1", ["a", "", None, " b "], "||a||b||"),
        ("fields.1", ["a"], "||a||"),
        ("fields.1", ["a||b", "c"], "||a|b||c||"),
        ("tags", "VIP", "||VIP||"),
        ("tags", ["VIP", "", "a||b"], "||VIP||a|b||"),
        ("tags", ["|VIP|", "a|"], "||VIP||a||"),
    ],
)
def test_encoding(target: str, value: Any, expected: str) -> None:
    assert DESTINATION.encode(target, value) == expected


@pytest.mark.parametrize("value", [None, "", "  ", [], [None, " "], {}, {"a": 1}, float("nan"), float("inf")])
def test_a_missing_value_is_nothing_not_null_or_empty(value: Any) -> None:
    assert DESTINATION.encode("fields.1", value) is None
    assert DESTINATION.encode("first_name", value) is None


def test_a_name_is_not_split_on_spaces() -> None:
    assert DESTINATION.encode("last_name", "Smith of Wherever") == "Smith of Wherever"


def test_members_get_the_field_value_that_marks_them() -> None:
    assert DESTINATION.complete(export(**SET_FIELD), {"phone": "1"}) == {
        "phone": "1",
        "fields.3": "yes",
        "list": "7",
    }


def test_members_get_the_tag_that_marks_them_besides_their_own() -> None:
    tagging = export(**REMOVE_TAG)
    assert DESTINATION.complete(tagging, {}) == {"tags": "||Member||", "list": "7"}
    assert DESTINATION.complete(tagging, {"tags": "||VIP||"}) == {"tags": "||VIP||Member||", "list": "7"}


@pytest.mark.parametrize("options", [SET_FIELD, REMOVE_TAG])
def test_an_edited_list_reaches_every_marked_member(options: dict[str, Any]) -> None:
    before, now = (DESTINATION.complete(export(**options, list_id=number), {}) for number in "78")
    assert {target for target in now if now[target] != before[target]} == {"list"}


def test_tags_that_differ_in_case_only_are_one_target() -> None:
    one, other = (DESTINATION.targets(export(on_exit="remove_tag", tag=tag)) for tag in ("Member", "mEMBER"))
    assert one == other


@pytest.mark.parametrize("value", ["|", "||", ["|", "||"]])
def test_tags_of_nothing_but_pipes_are_none(value: Any) -> None:
    assert DESTINATION.encode("tags", value) is None


@pytest.mark.parametrize("options", [{}, UNSUBSCRIBE])
def test_other_members_get_nothing(options: dict[str, Any]) -> None:
    assert DESTINATION.complete(export(**options), {"phone": "1"}) == {"phone": "1"}


@pytest.mark.parametrize(
    ("options", "target"), [({}, "list/7"), (UNSUBSCRIBE, "list/7"), (SET_FIELD, FIELD), (REMOVE_TAG, TAG.lower())]
)
def test_what_any_segment_qualifies_for_and_nobody_else_may_write_to(options: dict[str, Any], target: str) -> None:
    assert DESTINATION.targets(export(**options)) == {target: frozenset({"aep/a", "aep/b"})}
    assert DESTINATION.owned(export(**options)) == {target, "list/7"}


def test_a_tag_with_a_slash_is_a_target_like_any_other() -> None:
    slashed = export(on_exit="remove_tag", tag="a/b")
    assert DESTINATION.owned(slashed) == {"tag/a/b", "list/7"}


@pytest.mark.parametrize(
    ("options", "given"), [({}, False), (UNSUBSCRIBE, True), (SET_FIELD, True), (REMOVE_TAG, True)]
)
def test_who_leaves_is_told_except_with_keep(options: dict[str, Any], given: bool) -> None:
    assert DESTINATION.tells_leaving(export(**options)) is given
