"""From bodies to messages: nothing lost, nothing too large."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.changes import MAX_IDS, Change, from_json
from relay.domain.keyed_hash import KeyedHash
from relay.json_text import json_size
from relay.problem_details import Refusal
from relay.settings.sources import SourceSettings
from relay.sources.dialect import Rejected
from relay.sources.intake import (
    MAX_MESSAGE_BYTES,
    NO_IDENTITY,
    WRONG_SHAPE,
    Intake,
    fits,
    in_messages,
    take_in,
)
from relay.sources.reading import TOO_LARGE

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP = SourceSettings(
    name="shop", dialect="relay-json", auth="bearer", secrets=("token-1",), profile_key="identities.crm"
)
OTHER_SHOP = replace(SHOP, name="other-shop")
HASH = KeyedHash("key")
LAYER = str(Path(__file__).parents[2] / "layers" / "relay")


def taken(
    *changes: dict[str, Any],
    source: SourceSettings = SHOP,
    webhook_id: str | None = None,
    request_id: str | None = None,
) -> Intake:
    body = json.dumps({"changes": changes}).encode()
    return take_in(
        body, source=source, identity_hash=HASH, received_at=NOON, webhook_id=webhook_id, request_id=request_id
    )


def queued(intake: Intake) -> list[Change]:
    return [change for message in intake.messages for change in from_json(message).changes]


def membership(segment: str, status: str = "realized") -> dict[str, str]:
    return {"segment": segment, "status": status, "at": "2026-02-01T00:00:00Z"}


def test_a_change_is_known_by_the_hash_of_source_and_value() -> None:
    (message,) = taken({"identities": {"crm": "c-1"}, "attributes": {"a": 1}}).messages
    batch = from_json(message)

    assert batch.source == "shop"
    assert batch.changes[0].profile_ids == (HASH("shop", "c-1"),)
    assert batch.changes[0].attributes == {"a": 1}
    assert batch.changes[0].received_at == NOON


def test_one_that_names_no_profile_is_counted_as_rejected_and_none_of_its_data_travels_on() -> None:
    shown = taken({"identities": {"email": "ada@example.com"}}, {"identities": {"crm": "c-1"}})

    (message,) = shown.messages
    assert shown.taken.accepted == 1
    assert shown.taken.rejections == [Rejected(NO_IDENTITY, "#/changes/0")]
    names = {"email": None}
    assert from_json(message).changes[0] == Change((), NOON, identities=names, memberships=[], rejection=NO_IDENTITY)
    assert "ada@" not in json.dumps(message)


def test_reading_needs_neither_pydantic_nor_boto3_nor_requests() -> None:
    """The first answer of a cold function waits for every import."""
    heavy = ("pydantic", "boto3", "botocore", "requests")
    program = f"import sys, relay.sources.intake; print([m for m in sys.modules if m.split('.')[0] in {heavy}])"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONPATH": LAYER})
    assert run.stdout.strip() == "[]"


def test_no_changes_make_no_message() -> None:
    assert taken().messages == []


def test_all_messages_of_a_request_carry_its_id() -> None:
    messages = taken(*[{"identities": {"crm": "c"}, "attributes": {"a": "x" * 90_000}}] * 5, request_id="r-1").messages
    assert [message["id"] for message in messages] == ["r-1"] * 3
    assert len({message["id"] for message in taken({"identities": {"crm": "c"}}).messages}) == 1


def test_a_profile_too_large_alone_is_refused_by_its_place() -> None:
    large = {"identities": {"crm": "c-2"}, "attributes": {"a": "x" * MAX_MESSAGE_BYTES}}
    with pytest.raises(Refusal) as caught:
        taken({"identities": {"email": "ada@example.com"}}, {"at": 1}, large)

    assert caught.value.status == 413
    assert [error.pointer for error in caught.value.errors] == ["#/changes/2"]


def test_what_cannot_be_taken_is_counted_and_harms_none_beside_it() -> None:
    large = {"identities": {"crm": "c-2"}, "attributes": {"a": "x" * MAX_MESSAGE_BYTES}}
    shown = taken({"at": 1}, {"identities": {"crm": "c-1"}}, large, {"attributes": {"a": 1}})

    (message,) = shown.messages
    first, *rejected = from_json(message).changes
    assert first.profile_ids == (HASH("shop", "c-1"),)
    assert sorted(change.rejection or "" for change in rejected) == [NO_IDENTITY, TOO_LARGE, WRONG_SHAPE]
    assert all(change == Change((), NOON, memberships=[], rejection=change.rejection) for change in rejected)
    assert shown.taken.accepted == 1
    assert set(shown.taken.rejections) == {
        Rejected(WRONG_SHAPE, "#/changes/0/at"),
        Rejected(TOO_LARGE, "#/changes/2"),
        Rejected(NO_IDENTITY, "#/changes/3"),
    }


def test_all_ids_of_a_change_travel_sorted_and_bounded() -> None:
    many = [str(number) for number in range(MAX_IDS + 20)]
    few, all_of_them = queued(taken({"identities": {"crm": ["b", "a", "b"]}}, {"identities": {"crm": many}}))
    assert few.profile_ids == tuple(sorted({HASH("shop", "a"), HASH("shop", "b")}))
    assert all_of_them.profile_ids == tuple(sorted(HASH("shop", one) for one in many)[:MAX_IDS])


def test_every_change_knows_its_place_in_the_request() -> None:
    changes = queued(taken({"identities": {"crm": "c-1"}}, {"at": 1}, {"identities": {"crm": "c-2"}}))
    placed = {change.profile_ids: change.position for change in changes if change.rejection is None}
    assert placed == {(HASH("shop", "c-1"),): 0, (HASH("shop", "c-2"),): 1}
    assert all(change.received_at == NOON for change in changes)


def test_a_message_is_known_by_its_webhook_id_and_its_content() -> None:
    one, other = {"identities": {"crm": "c-1"}}, {"identities": {"crm": "c-2"}}

    def known_as(change: dict[str, Any], webhook_id: str | None, source: SourceSettings = SHOP) -> str | None:
        return queued(taken(change, source=source, webhook_id=webhook_id))[0].webhook_id

    assert known_as(one, None) is None
    assert known_as(one, "msg_1") == known_as(one, "msg_1")
    assert len(known_as(one, "msg_1" * 1000) or "") == 12
    # Another sender may count its messages just the same, and a careless one gives all of them one id.
    different = [(one, "msg_1", SHOP), (one, "msg_2", SHOP), (other, "msg_1", SHOP), (one, "msg_1", OTHER_SHOP)]
    assert len({known_as(*each) for each in different}) == 4


def test_a_source_may_limit_itself_to_segments_and_the_others_are_ignored_and_counted() -> None:
    limited = replace(SHOP, segments=frozenset({"shop/vip"}))
    shown = taken(
        {"identities": {"crm": "c-1"}, "memberships": [membership("vip"), membership("other")]},
        {"identities": {"crm": "c-2"}, "attributes": {"a": 1}, "memberships": [membership("other")]},
        source=limited,
    )
    first, second = queued(shown)
    assert [one.segment for one in first.memberships] == ["shop/vip"]
    assert (second.memberships, second.attributes) == ([], {"a": 1})
    assert (shown.taken.ignored_memberships, shown.taken.accepted, shown.taken.rejections) == (2, 2, [])


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600"])
def test_a_change_is_measured_as_it_is_sent(letter: str) -> None:
    """34,000 letters of two bytes are 68 kB, however JSON might escape them."""
    count = 190_000 // len(letter.encode())
    (change,) = queued(taken({"identities": {"crm": "c"}, "attributes": {"bio": letter * count}}))
    assert change.attributes == {"bio": letter * count}


def test_memberships_travel_without_what_has_no_room_beside_them() -> None:
    shown = taken(
        {
            "identities": {"crm": "c-1"},
            "attributes": {"email": "kim@example.com", "large": "x" * MAX_MESSAGE_BYTES, "plan": "pro"},
            "memberships": [membership("vip", "exited")],
            "snapshot": True,
        }
    )
    (change,) = queued(shown)
    assert [one.segment for one in change.memberships] == ["shop/vip"]
    assert change.attributes == {"email": "kim@example.com", "plan": "pro"}
    # What is left out of a snapshot would count as gone.
    assert not change.snapshot
    assert shown.taken.rejections == []
    assert [(part.code, part.error.pointer) for part in shown.taken.left_out] == [(TOO_LARGE, "#/changes/0")]
    assert shown.taken.left_out_counts == {TOO_LARGE: 1}


def test_identities_and_memberships_too_large_for_a_message_travel_in_several() -> None:
    many = [f"{number}-" + "é" * 200 for number in range(700)]
    identities = {"crm": "c-1", "mail": [f"{number}" * 200 for number in range(700)]}
    shown = taken({"identities": identities, "memberships": [membership(one) for one in many]})
    changes = queued(shown)
    assert len(shown.messages) > 1
    assert [one.segment for change in changes for one in change.memberships] == [f"shop/{one}" for one in many]
    assert {change.profile_ids for change in changes} == {(HASH("shop", "c-1"),)}
    assert shown.taken.accepted == len(changes)
    assert all(json_size(message) <= MAX_MESSAGE_BYTES for message in shown.messages)


def test_attributes_that_have_room_are_taken_without_those_that_have_not() -> None:
    shown = taken({"identities": {"crm": "c-1"}, "attributes": {"large": "x" * MAX_MESSAGE_BYTES, "plan": "pro"}})
    (change,) = queued(shown)
    assert change.attributes == {"plan": "pro"}
    assert shown.taken.left_out_counts == {TOO_LARGE: 1}


def test_a_change_that_fits_no_message_is_a_defect_of_the_caller() -> None:
    large = Change(("00" * 16,), NOON, attributes={"a": "x" * MAX_MESSAGE_BYTES})
    assert not fits("shop", large)
    with pytest.raises(ValueError, match="bytes"):
        list(in_messages("shop", [large]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["x", "é", "\U0001f600", '"', "\uffff", "\n"]), st.integers(0, 15_000)), max_size=25
    )
)
def test_messages_hold_all_changes_in_order_and_fit(shape: list[tuple[str, int]]) -> None:
    changes = [
        Change((f"{index:032x}",), NOON, attributes={"a": letter * length})
        for index, (letter, length) in enumerate(shape)
    ]

    messages = list(in_messages("shop", changes))

    assert [c.profile_ids for m in messages for c in from_json(m).changes] == [c.profile_ids for c in changes]
    assert all(json_size(message) <= MAX_MESSAGE_BYTES for message in messages)
    # No message could have taken the first change of the next one.
    for message, following in pairwise(messages):
        both = {**message, "changes": [*message["changes"], following["changes"][0]]}
        assert json_size(both) > MAX_MESSAGE_BYTES - 10


def test_of_a_profile_that_cannot_be_identified_only_the_names_of_its_identities_travel_on() -> None:
    """A check shows them to whoever wrote a `profile_key` that finds nobody."""
    identities = {"crmId": "c-1", "kim@example.com": "x", "e mail": "kim@example.com", "a" * 41: "x", "ok_2": ["y"]}
    shown = taken({"identities": identities, "attributes": {"email": "kim@example.com"}, "memberships": []})
    [message] = shown.messages
    [change] = from_json(message).changes
    assert (change.rejection, change.identities) == (NO_IDENTITY, {"crmId": None, "ok_2": None})
    assert "kim" not in json.dumps(message)


def test_so_many_names_travel_on_and_no_more() -> None:
    shown = taken(
        {"identities": {f"name{number:02}": "x" for number in range(50)}, "attributes": {}, "memberships": []}
    )
    [change] = from_json(shown.messages[0]).changes
    assert len(change.identities) == 12
