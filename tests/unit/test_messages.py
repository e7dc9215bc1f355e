"""Queue messages survive the journey, and spread over shards."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.delivery.messages import MAX_PROFILES, CheckImport, Cursor, LookAgain, WakeLater, by_shard, group, shard_of
from tests.fakes.routing_world import profile_id

MESSAGES = [
    LookAgain("ac", "weekly", 7, ("00ab", "01cd")),
    LookAgain("ac", "weekly", 7, ("00ab",), thorough=True, run="r1"),
    Cursor("ac", "weekly", 7, "r1", 3, 1, ""),
    CheckImport("ac", "weekly", "flight", 2),
    WakeLater("ac", "weekly", 7, ("00ab",), datetime(2026, 5, 1, 12, 0, 0, 5, UTC), "r1"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.KIND)
def test_a_message_comes_back_as_it_was_sent(message: Any) -> None:
    assert type(message).from_json(json.loads(json.dumps(message.to_json()))) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.KIND)
def test_a_message_of_another_kind_or_with_gaps_is_refused(message: Any) -> None:
    with pytest.raises(ValueError, match=message.KIND):
        type(message).from_json(message.to_json() | {"kind": "other"})
    with pytest.raises(KeyError):
        type(message).from_json({"kind": message.KIND})


def test_profiles_are_spread_by_bucket_each_once_and_in_order() -> None:
    ids = [profile_id(number) for number in range(1000)]
    pages = list(by_shard([*reversed(ids), ids[0]], 3))
    assert sorted(one for _, page in pages for one in page) == sorted(ids)
    assert all(len(page) <= MAX_PROFILES and list(page) == sorted(page) for _, page in pages)
    assert all(shard_of(one, 3) == shard for shard, page in pages for one in page)
    assert group("ac", 2) == "ac#2"
