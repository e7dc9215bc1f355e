"""Runs: shards that cover every bucket once, and cursors for every phase."""

from datetime import UTC, datetime

import pytest

from relay.domain.keyed_hash import BUCKETS, bucket_of
from relay.domain.runs import ENDED, Phase, Run, RunState, Shard, buckets_of, first_shards
from relay.messages import shard_of
from tests.examples import example

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SHARDS = [1, 2, 3, 4, 7, 10, 16, 255, 256]


def test_the_shards_cover_every_bucket_exactly_once_and_in_order() -> None:
    for shards in SHARDS:
        with example(shards):
            buckets = [list(buckets_of(shard, shards)) for shard in range(shards)]
            assert sorted(bucket for part in buckets for bucket in part) == list(range(BUCKETS))
            assert all(part == sorted(part) for part in buckets)


def test_a_profile_lies_in_a_bucket_of_the_shard_its_messages_go_to() -> None:
    for shards in SHARDS:
        with example(shards):
            for number in range(0, 256, 5):
                profile = f"{number:02x}{number:030x}"
                assert bucket_of(profile) in buckets_of(shard_of(profile, shards), shards)


@pytest.mark.parametrize("shards", [1, 2, 10])
def test_a_run_begins_with_a_cursor_for_each_phase_and_shard_and_asks_once(shards: int) -> None:
    run = Run("r1", "letters/main", "test", RunState.RUNNING, Phase.ASK, shards, 1, NOON)
    cursors = first_shards(run)
    assert cursors == [
        Shard(0, Phase.ASK, moved_at=NOON),
        *(Shard(index, Phase.DELIVER, moved_at=NOON) for index in range(shards)),
        *(Shard(index, Phase.REMOVE, moved_at=NOON) for index in range(shards)),
    ]
    assert all(shard.after == "" and not shard.done and not shard.counts for shard in cursors)


def test_a_run_is_over_unless_it_goes_on_or_waits_for_confirmation() -> None:
    assert set(RunState) - ENDED == {RunState.RUNNING, RunState.NEEDS_CONFIRMATION}
