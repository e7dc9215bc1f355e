"""From bodies to messages: nothing lost, nothing too large."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.changes import Change, from_json
from relay.domain.keyed_hash import KeyedHash
from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.intake import (
    MAX_MESSAGE_BYTES,
    NO_IDENTITY,
    TOO_LARGE,
    WRONG_SHAPE,
    Intake,
    Rejected,
    encoded_size,
    fits,
    in_messages,
    take_in,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = SourceSettings(
    name="shop", dialect="relay-json", auth="bearer", secrets=("token-1",), profile_key="identities.crm"
)
HASH = KeyedHash("key")


def taken(*changes: dict[str, Any]) -> Intake:
    body = json.dumps({"changes": changes}).encode()
    return take_in(body, source=SHOP, identity_hash=HASH, received_at=NOON)


def test_a_change_is_known_by_the_hash_of_source_and_value() -> None:
    (message,) = taken({"identities": {"crm": "c-1"}, "attributes": {"a": 1}}).messages
    batch = from_json(message)

    assert batch.source == "shop"
    assert batch.changes[0].profile_id == HASH("shop", "c-1")
    assert batch.changes[0].attributes == {"a": 1}
    assert batch.changes[0].received_at == NOON


def test_one_that_names_no_profile_is_accepted_and_counted_but_none_of_its_data_travels_on() -> None:
    told = taken({"identities": {"email": "ada@example.com"}}, {"identities": {"crm": "c-1"}})

    (message,) = told.messages
    assert told.accepted == 2
    assert told.rejections == [Rejected(NO_IDENTITY, "#/changes/0")]
    assert from_json(message).changes[0] == Change(None, NOON, memberships=[], rejection=NO_IDENTITY)
    assert "ada@" not in json.dumps(message)


def test_no_changes_make_no_message() -> None:
    assert taken().messages == []


def test_every_message_has_an_id_of_its_own() -> None:
    messages = taken(*[{"identities": {"crm": "c"}, "attributes": {"a": "x" * 90_000}}] * 5).messages
    assert len({message["id"] for message in messages}) == len(messages) == 3


def test_a_profile_too_large_alone_is_refused_by_its_place() -> None:
    large = {"identities": {"crm": "c-2"}, "attributes": {"a": "x" * MAX_MESSAGE_BYTES}}
    with pytest.raises(Refusal) as caught:
        taken({"identities": {"email": "ada@example.com"}}, {"at": 1}, large)

    assert caught.value.status == 413
    assert [error.pointer for error in caught.value.errors] == ["#/changes/2"]


def test_what_cannot_be_taken_is_counted_and_harms_none_beside_it() -> None:
    large = {"identities": {"crm": "c-2"}, "attributes": {"a": "x" * MAX_MESSAGE_BYTES}}
    told = taken({"at": 1}, {"identities": {"crm": "c-1"}}, large, {})

    (message,) = told.messages
    first, *rejected = from_json(message).changes
    assert first.profile_id == HASH("shop", "c-1")
    assert sorted(change.rejection or "" for change in rejected) == [NO_IDENTITY, TOO_LARGE, WRONG_SHAPE]
    assert all(change == Change(None, NOON, memberships=[], rejection=change.rejection) for change in rejected)
    assert told.accepted == 4
    assert set(told.rejections) == {
        Rejected(WRONG_SHAPE, "#/changes/0/at"),
        Rejected(TOO_LARGE, "#/changes/2"),
        Rejected(NO_IDENTITY, "#/changes/3"),
    }


def test_a_change_that_fits_no_message_is_a_defect_of_the_caller() -> None:
    large = Change("00" * 16, NOON, attributes={"a": "x" * MAX_MESSAGE_BYTES})
    assert not fits("shop", large)
    with pytest.raises(ValueError, match="bytes"):
        list(in_messages("shop", [large]))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["x", "é", "\U0001f600", '"']), st.integers(0, 15_000)), max_size=25))
def test_messages_hold_all_changes_in_order_and_fit(shape: list[tuple[str, int]]) -> None:
    changes = [
        Change(f"{index:032x}", NOON, attributes={"a": letter * length}) for index, (letter, length) in enumerate(shape)
    ]

    messages = list(in_messages("shop", changes))

    assert [c.profile_id for m in messages for c in from_json(m).changes] == [c.profile_id for c in changes]
    assert all(encoded_size(message) <= MAX_MESSAGE_BYTES for message in messages)
    # No message could have taken the first change of the next one.
    for message, following in pairwise(messages):
        both = {**message, "changes": [*message["changes"], following["changes"][0]]}
        assert encoded_size(both) > MAX_MESSAGE_BYTES - 10
