"""Verdicts: where a profile stands, whatever its records went through."""

from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.domain.identity import (
    MOST_CLAIMANTS,
    NOTHING,
    NotTaken,
    Record,
    Rejected,
    Taken,
    Unwanted,
    answered,
    lapse,
    next_step,
    release,
    wanted_content,
)
from relay.domain.ledger import Column, LeaverColumn
from relay.reconcile.verdict import (
    DELIVERED,
    DUPLICATE,
    OUTSTANDING,
    UNCHANGED,
    Verdict,
    on_leaver,
    on_member,
)
from tests.unit.domain.test_identity import (
    BLUE,
    MAIN,
    MINUTE,
    NOON,
    PROFILES,
    RECORDS,
    RED,
    REFUSED,
    UNSURE,
    called,
    claimed,
    delivered,
    played,
)

WORST_FIRST = [Column.OUTSTANDING, Column.REJECTED, Column.DELIVERED, Column.UNCHANGED, Column.DUPLICATE]


MANY = st.lists(RECORDS, max_size=3)
MOMENTS = st.integers(-10, 600).map(lambda minutes: NOON + minutes * MINUTE)


def whom(records: list[Record]) -> str:
    """Return the profile that a record is about."""
    return next((record.responsible for record in records if record.responsible is not None), "p0")


@settings(max_examples=150, deadline=None)
@example([played([("refuse", "p0", REFUSED)])], None, NOON, NOON)
@given(MANY, st.none() | PROFILES, st.none() | MOMENTS, MOMENTS)
def test_a_member_stands_where_its_records_say(
    records: list[Record], anybody: str | None, began: datetime | None, now: datetime
) -> None:
    profile = anybody or whom(records)
    stands = on_member(records, profile, began, now)
    own = [record for one in records if (record := lapse(one, now)).winner == profile]
    steps = [next_step(record) for record in own]
    assert (stands == OUTSTANDING) is any(step != NOTHING for step in steps)
    if stands == DUPLICATE:
        assert records
        assert not own
    if stands.column in (Column.DELIVERED, Column.UNCHANGED):
        assert all(record.acknowledged == wanted_content(record) for record in own)
    if stands == DELIVERED:
        assert began is not None
        assert any(record.since is not None and record.since >= began for record in own)
    if stands.column is Column.REJECTED:
        assert any(record.refused is not None and record.refused.code == stands.code for record in own)


@settings(max_examples=80, deadline=None)
@given(MANY, RECORDS, PROFILES, MOMENTS)
def test_one_record_more_makes_nobody_stand_better(
    records: list[Record], more: Record, profile: str, now: datetime
) -> None:
    before, after = (on_member(some, profile, NOON, now) for some in (records, [*records, more]))
    assert WORST_FIRST.index(after.column) <= WORST_FIRST.index(before.column) or not records


@settings(max_examples=150, deadline=None)
@example([played([("bring", "p0", RED), ("release", "p0", False)])], None, NOON)
@example(
    [
        played([("bring", "p0", RED), ("release", "p0", False), ("attempt", False, answer)])
        for answer in (REFUSED, NotTaken())
    ],
    "p0",
    NOON,
)
@given(MANY, st.none() | PROFILES, MOMENTS)
def test_a_leaver_is_removed_when_no_record_waits_for_it_to_leave(
    records: list[Record], anybody: str | None, now: datetime
) -> None:
    profile = anybody or whom(records)
    stands = on_leaver(records, profile, now)
    leaving = [
        lapse(record, now)
        for record in records
        if isinstance(record.desired, Unwanted) and record.desired.leaving == profile
    ]
    assert (stands is LeaverColumn.REMOVED) is (not leaving)
    if stands is LeaverColumn.KEPT:
        assert all(next_step(record) == NOTHING for record in leaving)


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (delivered(), DELIVERED),
        (delivered()._replace(since=NOON - timedelta(days=1)), UNCHANGED),
        (delivered()._replace(since=NOON), DELIVERED),
        (claimed(delivered(), "p1", BLUE), DUPLICATE),
        (claimed(Record()), OUTSTANDING),
        (called(claimed(Record())), OUTSTANDING),
        (answered(called(claimed(Record())), "c1", REFUSED, NOON), Verdict(Column.REJECTED, "excluded")),
        (answered(called(claimed(Record())), "c1", UNSURE, NOON), Verdict(Column.REJECTED, "unconfirmed")),
        (answered(called(claimed(Record())), "c1", NotTaken(), NOON), OUTSTANDING),
        # What was refused are other values than those that are held and desired.
        (delivered()._replace(refused=claimed(delivered(), digest=BLUE).refused), DELIVERED),
    ],
)
def test_examples_of_members(record: Record, verdict: Verdict) -> None:
    assert on_member([record], "p2", NOON, NOON) == verdict


def test_without_a_run_nothing_was_delivered_in_one() -> None:
    assert on_member([delivered()], "p2", None, NOON) == UNCHANGED
    assert on_member([], "p2", NOON, NOON) == UNCHANGED


LEAVING = release(delivered(), MAIN, "p2", keep=False)


@pytest.mark.parametrize(
    ("record", "column"),
    [
        (delivered(), LeaverColumn.REMOVED),
        (LEAVING, LeaverColumn.OUTSTANDING),
        (called(LEAVING), LeaverColumn.OUTSTANDING),
        (answered(called(LEAVING), "c1", Taken(), NOON), LeaverColumn.REMOVED),
        (answered(called(LEAVING), "c1", Rejected("excluded", "s"), NOON), LeaverColumn.KEPT),
        (release(delivered(), MAIN, "p2", keep=True), LeaverColumn.REMOVED),
        (release(delivered()._replace(turned_away_at=NOON), MAIN, "p2", keep=False), LeaverColumn.KEPT),
        (release(claimed(delivered(), "p5"), MAIN, "p2", keep=False), LeaverColumn.REMOVED),
        (release(called(claimed(Record())), MAIN, "p2", keep=False), LeaverColumn.OUTSTANDING),
    ],
)
def test_examples_of_leavers(record: Record, column: LeaverColumn) -> None:
    assert on_leaver([record], "p2", NOON) is column


def test_of_several_records_of_a_leaver_the_one_that_is_open_counts_first() -> None:
    kept = answered(called(LEAVING), "c1", Rejected("excluded", "s"), NOON)
    gone = answered(called(LEAVING), "c1", Taken(), NOON)
    assert on_leaver([gone, kept, LEAVING], "p2", NOON) is LeaverColumn.OUTSTANDING
    assert on_leaver([gone, kept], "p2", NOON) is LeaverColumn.KEPT
    assert on_leaver([], "p2", NOON) is LeaverColumn.REMOVED


def test_whoever_was_turned_away_is_a_duplicate() -> None:
    record = Record()
    for number in range(MOST_CLAIMANTS + 1):
        record = claimed(record, f"p{number:02d}")
    assert not record.names(f"p{MOST_CLAIMANTS:02d}")
    assert on_member([record], f"p{MOST_CLAIMANTS:02d}", NOON, NOON) == DUPLICATE
