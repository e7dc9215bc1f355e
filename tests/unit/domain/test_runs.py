"""Runs: the ledger's arithmetic, the guard, and shards that cover every bucket once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.keyed_hash import BUCKETS
from relay.domain.runs import (
    COUNTS,
    Shard,
    buckets_of,
    ledger_adds_up,
    needs_confirmation,
    rejects_too_many,
    total,
)

columns = st.fixed_dictionaries({name: st.integers(0, 1000) for name in COUNTS[1:]})


@settings(deadline=None)
@given(st.lists(columns, max_size=5))
def test_a_ledger_adds_up_when_every_selected_profile_is_in_one_column(counts: list[dict[str, int]]) -> None:
    shards = [Shard(index, counts={**one, "selected": sum(one.values())}) for index, one in enumerate(counts)]
    assert ledger_adds_up(total(shards))


@settings(deadline=None)
@given(columns, st.sampled_from(COUNTS), st.integers(-5, 5).filter(bool))
def test_a_ledger_with_one_profile_too_many_or_too_few_does_not_add_up(
    counts: dict[str, int], column: str, error: int
) -> None:
    ledger = {**counts, "selected": sum(counts.values())}
    ledger[column] += error
    assert not ledger_adds_up(ledger)


def test_columns_that_only_explain_others_are_no_part_of_the_sum() -> None:
    assert ledger_adds_up({"selected": 2, "rejected": 2, "rejected:no_email": 2, "told": 7, "leaving": 3, "calls": 9})


@pytest.mark.parametrize(
    ("told", "leaving", "stops"),
    [
        (100, 100, False),
        (100, 101, True),
        (500, 100, False),
        (500, 101, True),
        (10_000, 2_000, False),
        (10_000, 2_001, True),
        (0, 0, False),
    ],
)
def test_a_run_stops_when_more_than_a_fifth_and_more_than_a_hundred_would_leave(
    told: int, leaving: int, stops: bool
) -> None:
    assert needs_confirmation({"told": told, "leaving": leaving}, passed=True) is stops


@pytest.mark.parametrize(
    ("told", "leaving", "passed", "stops"),
    [(90, 90, False, True), (90, 90, True, False), (90, 89, False, False), (2, 2, False, True), (1, 1, False, False)],
)
def test_a_list_of_any_size_is_not_emptied_by_settings_that_no_run_was_let_through_under(
    told: int, leaving: int, passed: bool, stops: bool
) -> None:
    assert needs_confirmation({"told": told, "leaving": leaving}, passed=passed) is stops


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 7, 10, 16, 255, 256])
def test_the_shards_cover_every_bucket_exactly_once_and_in_order(shards: int) -> None:
    buckets = [list(buckets_of(shard, shards)) for shard in range(shards)]
    assert sorted(bucket for part in buckets for bucket in part) == list(range(BUCKETS))
    assert all(part == sorted(part) for part in buckets)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"selected": 0}, None),
        ({"selected": 1000, "delivered": 1000}, None),
        ({"selected": 50, "delivered": 30, "rejected": 20, "rejected:no_email": 20}, None),
        (
            {"selected": 50, "delivered": 29, "rejected": 21, "rejected:no_email": 21},
            "21 of 50 were rejected for no_email",
        ),
        ({"selected": 1000, "delivered": 800, "rejected": 200, "rejected:no_email": 200}, None),
        (
            {"selected": 1000, "unchanged": 799, "rejected": 201, "rejected:excluded": 201},
            "201 of 1000 were rejected for excluded",
        ),
        (
            {"selected": 1000, "delivered": 700, "rejected": 300, "rejected:no_email": 150, "rejected:excluded": 150},
            None,
        ),
        (
            {"selected": 5, "duplicate": 1, "rejected": 4, "rejected:no_email": 3, "rejected:excluded": 1},
            "nobody was taken: 4 rejected, 3 of them for no_email",
        ),
        ({"selected": 3, "duplicate": 3}, None),
    ],
)
def test_a_run_that_takes_nobody_or_rejects_a_fifth_for_one_reason_says_so(
    counts: dict[str, int], told: str | None
) -> None:
    assert rejects_too_many(counts) == told
