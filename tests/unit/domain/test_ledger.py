"""The ledger of a run: whatever its pages, import checks and ticks move, its sums hold at every moment."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.ledger import (
    Column,
    Counts,
    LeaverColumn,
    adds_up,
    counted,
    is_settled,
    leaver_counted,
    leaver_settled,
    needs_confirmation,
    rejections,
    rejects_too_many,
    returned,
    settled,
    total,
    warned,
    warnings,
)
from tests.examples import example

CODES = st.sampled_from(["no_email", "excluded", "defect"])
FINAL = [column for column in Column if column is not Column.OUTSTANDING]

MOVES = st.one_of(
    st.tuples(st.just("count"), st.sampled_from(Column), CODES, st.integers(0, 3)),
    st.tuples(st.just("settle"), st.sampled_from(Column), CODES, st.integers(0, 3)),
    st.tuples(st.just("warn"), st.none(), CODES, st.integers(0, 3)),
    st.tuples(st.just("leaves"), st.none(), st.none(), st.integers(0, 3)),
    st.tuples(st.just("count leaver"), st.sampled_from(LeaverColumn), st.none(), st.integers(0, 3)),
    st.tuples(st.just("settle leaver"), st.sampled_from(LeaverColumn), st.none(), st.integers(0, 3)),
)


class Run:
    """Counts profiles of four shards as the engine does: each once, and only those who are outstanding later."""

    def __init__(self) -> None:
        self.shards: list[Counter[str]] = [Counter() for _ in range(4)]
        self.leaving = [0] * 4

    def play(self, kind: str, column: object, code: str | None, shard: int) -> None:
        counts = self.shards[shard]
        if kind == "count" and isinstance(column, Column):
            counts.update(counted(column, code))
        elif kind == "settle" and isinstance(column, Column) and counts[Column.OUTSTANDING]:
            counts.update(settled(column, code))
        elif kind == "warn" and code is not None:
            counts.update(warned([code]))
        elif kind == "leaves":
            counts["leaving"] += 1
            self.leaving[shard] += 1
        elif kind == "count leaver" and isinstance(column, LeaverColumn) and self.leaving[shard]:
            self.leaving[shard] -= 1
            counts.update(leaver_counted(column))
        elif kind == "settle leaver" and isinstance(column, LeaverColumn) and counts[LeaverColumn.OUTSTANDING]:
            counts.update(leaver_settled(column))


@given(st.lists(MOVES, max_size=60))
def test_the_sums_hold_after_any_moves(moves: list[tuple[str, object, str | None, int]]) -> None:
    run = Run()
    for move in moves:
        run.play(*move)
        counts = total(run.shards)
        assert adds_up(counts)
        assert all(number >= 0 for number in counts.values())
        assert returned(counts) == sum(run.leaving)
        assert sum(rejections(counts).values()) == counts[Column.REJECTED]
        outstanding = counts[Column.OUTSTANDING] + counts[LeaverColumn.OUTSTANDING]
        assert is_settled(counts) is (outstanding == 0)


@given(st.lists(MOVES, max_size=20), st.sampled_from([*Column, "selected"]), st.integers(-3, 3).filter(bool))
def test_one_too_many_or_too_few_is_noticed(
    moves: list[tuple[str, object, str | None, int]], column: str, error: int
) -> None:
    run = Run()
    for move in moves:
        run.play(*move)
    assert not adds_up(total([*run.shards, {column: error}]))


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 300), st.booleans())
def test_the_more_would_leave_the_sooner_a_person_is_asked(
    assigned: int, leaving: int, more: int, passed: bool
) -> None:
    def asks(leaving: int, *, passed: bool) -> bool:
        return needs_confirmation({"assigned": assigned, "leaving": leaving}, passed=passed)

    assert asks(leaving + more, passed=passed) or not asks(leaving, passed=passed)
    assert asks(leaving, passed=False) or not asks(leaving, passed=True)
    if leaving > 100 and leaving > 0.2 * assigned:
        assert asks(leaving, passed=passed)
    elif leaving < assigned:
        assert not asks(leaving, passed=passed)


@given(st.lists(st.tuples(st.sampled_from(FINAL), CODES, st.integers(0, 150)), max_size=12))
def test_a_run_speaks_of_its_rejections_just_when_nobody_was_taken_or_one_reason_is_frequent(
    members: list[tuple[Column, str, int]],
) -> None:
    counts = total(counted(column, code) for column, code, number in members for _ in range(number))
    reasons = rejections(counts)
    is_frequent = any(number > max(20, counts["selected"] / 5) for number in reasons.values())
    nobody = bool(reasons) and counts[Column.DELIVERED] + counts[Column.UNCHANGED] == 0
    says = rejects_too_many(counts)
    assert (says is not None) is (is_frequent or nobody)
    if says is not None:
        assert f"for {max(reasons, key=lambda code: (reasons[code], code))}" in says


@given(st.lists(st.lists(CODES, unique=True), max_size=20))
def test_each_warning_of_each_profile_is_counted(profiles: list[list[str]]) -> None:
    counts = total([*(warned(codes) for codes in profiles), *(counted(Column.DELIVERED) for _ in profiles)])
    assert warnings(counts) == Counter(code for codes in profiles for code in codes)
    assert adds_up(counts)
    assert rejections(counts) == {}


def test_more_who_went_than_were_leaving_is_noticed() -> None:
    assert not adds_up({"leaving": 1, "removed": 2})


@pytest.mark.parametrize("column", FINAL)
def test_whoever_is_settled_leaves_outstanding_for_one_column(column: Column) -> None:
    counts = total([counted(Column.OUTSTANDING), settled(column, "excluded")])
    assert {name: number for name, number in counts.items() if number} == dict(counted(column, "excluded"))


@pytest.mark.parametrize("column", LeaverColumn)
def test_a_leaver_that_is_settled_leaves_outstanding_for_another_column(column: LeaverColumn) -> None:
    counts = total([{"leaving": 1}, leaver_counted(LeaverColumn.OUTSTANDING), leaver_settled(column)])
    assert {name: number for name, number in counts.items() if number} == {"leaving": 1, column.value: 1}
    assert (returned(counts), adds_up(counts)) == (0, True)


@given(st.sampled_from(Column), st.sampled_from(LeaverColumn))
def test_whoever_stays_outstanding_is_moved_nowhere(column: Column, leaver_column: LeaverColumn) -> None:
    assert bool(settled(column)) is (column is not Column.OUTSTANDING)
    assert bool(leaver_settled(leaver_column)) is (leaver_column is not LeaverColumn.OUTSTANDING)


def test_a_reason_is_counted_with_rejections_alone() -> None:
    assert rejections(counted(Column.REJECTED, "excluded")) == {"excluded": 1}
    assert rejections(counted(Column.DELIVERED, "excluded")) == {}
    assert rejections(counted(Column.REJECTED)) == {}


def test_warnings_are_counted_beside_the_columns() -> None:
    counts = total([counted(Column.DELIVERED), warned(["unfit_expression", "too_long"]), warned(["too_long"])])
    assert warnings(counts) == {"unfit_expression": 1, "too_long": 2}
    assert adds_up(counts)
    assert rejections(counts) == {}


@pytest.mark.parametrize(
    ("assigned", "leaving", "asks"),
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
def test_a_person_is_asked_when_more_than_a_fifth_and_more_than_a_hundred_would_leave(
    assigned: int, leaving: int, asks: bool
) -> None:
    assert needs_confirmation({"assigned": assigned, "leaving": leaving}, passed=True) is asks


@pytest.mark.parametrize(
    ("assigned", "leaving", "passed", "asks"),
    [(90, 90, False, True), (90, 90, True, False), (90, 89, False, False), (2, 2, False, True), (1, 1, False, False)],
)
def test_no_list_is_emptied_by_settings_that_no_run_was_let_through_under(
    assigned: int, leaving: int, passed: bool, asks: bool
) -> None:
    assert needs_confirmation({"assigned": assigned, "leaving": leaving}, passed=passed) is asks


def test_a_run_that_takes_nobody_or_rejects_a_fifth_for_one_reason_says_so() -> None:
    table: list[tuple[Counts, str | None]] = [
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
    ]
    for counts, says in table:
        with example(counts, says):
            assert rejects_too_many(counts) == says
