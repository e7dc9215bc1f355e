"""Queue messages survive the journey, and spread over shards."""

import json

import pytest

from relay.messages import MAX_PROFILES, CheckImport, Confirm, Look, Page, Task, by_shard, from_json, group, shard_of
from tests.fakes.bench import person

MESSAGES: list[Task] = [
    Look("ac", "weekly", 7, ("00ab", "01cd")),
    Look("ac", "weekly", 7, ("00ab",), tries=2),
    Page("ac", "weekly", 7, "r1", 3, 1, ""),
    CheckImport("ac", "a-call", 2),
    Confirm("ac", "weekly", 7, ("00ab",)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.KIND)
def test_a_message_comes_back_as_it_was_sent(message: Task) -> None:
    assert from_json(json.loads(json.dumps(message.to_json()))) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.KIND)
def test_a_message_of_another_kind_or_with_gaps_is_refused(message: Task) -> None:
    with pytest.raises(KeyError):
        from_json(message.to_json() | {"kind": "other"})
    with pytest.raises(KeyError):
        from_json({"kind": message.KIND})


def test_profiles_are_spread_by_bucket_each_once_and_in_order() -> None:
    ids = [person(number) for number in range(1000)]
    pages = list(by_shard([*reversed(ids), ids[0]], 3))
    assert sorted(one for _, page in pages for one in page) == sorted(ids)
    assert all(len(page) <= MAX_PROFILES and list(page) == sorted(page) for _, page in pages)
    assert all(shard_of(one, 3) == shard for shard, page in pages for one in page)
    assert group("ac", 2) == "ac#2"
