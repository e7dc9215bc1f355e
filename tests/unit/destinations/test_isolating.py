from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.destinations.contract import Reply
from relay.destinations.error_table import DEFAULT_TABLE, Refused
from relay.destinations.isolating import MAX_REFUSALS, Refusals, Tally, isolate
from relay.domain.exports import Export
from relay.domain.problems import (
    Busy,
    Conflict,
    ConnectionProblem,
    ExportProblem,
    Problem,
    Rejection,
    RejectionKind,
    Transient,
)
from tests.fakes.scripted_caller import DictNotes

ALONE = Rejection(RejectionKind.DATA, "alone", "refused by itself")
EXPORT = Export("acme", "main", "tool", True, True, ("shop/vip",), {}, None, 7)
NAMED = Rejection(RejectionKind.DATA, "named", "refused by name")


def unproven() -> Tally:
    """Return the tally of an export of which nothing was taken yet."""
    return Refusals().of(DictNotes(), EXPORT)


def refused(named: Mapping[int, Rejection] | None = None) -> Refused:
    """Return the refusal of a whole call, with the rows that are blamed, by place."""
    return Refused(DEFAULT_TABLE[-2], Reply(400, {}, {}, 2), named)


def scripted(
    *answers: Mapping[int, Rejection] | Exception, calls: list[list[int]] | None = None
) -> Callable[[Sequence[int]], Mapping[int, Rejection]]:
    """Return an attempt that answers so, one after the other, and lists the rows of each call."""
    left = list(answers)

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection]:
        if calls is not None:
            calls.append(list(rows))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return attempt


def refuse_everything(rows: Sequence[int]) -> Mapping[int, Rejection]:
    """Refuse a call, whoever is in it."""
    raise refused()


@given(st.integers(1, 300), st.data())
def test_exactly_the_bad_rows_are_refused_and_every_other_is_taken_once(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=3))
    names = data.draw(st.booleans())
    taken: list[int] = []

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection]:
        guilty = [place for place, row in enumerate(rows) if row in bad]
        if guilty:
            raise refused(dict.fromkeys(guilty, NAMED) if names else {})
        taken.extend(rows)
        return {}

    assert set(isolate(range(size), attempt, ALONE, unproven())) == bad
    assert sorted(taken) == sorted(set(range(size)) - bad)


def test_named_rows_are_dropped_and_the_rest_is_sent_once_more() -> None:
    calls: list[list[int]] = []
    assert isolate([0, 1, 2], scripted(refused({1: NAMED}), {}, calls=calls), ALONE, unproven()) == {1: NAMED}
    assert calls == [[0, 1, 2], [0, 2]]


def test_a_second_refusal_splits_even_when_rows_are_named_again() -> None:
    calls: list[list[int]] = []
    attempt = scripted(refused({0: NAMED}), refused({1: NAMED}), {}, {}, calls=calls)
    isolate([0, 1, 2, 3, 4], attempt, ALONE, unproven())
    assert calls == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [1, 2], [3, 4]]


def test_rows_that_are_refused_in_a_call_that_was_taken_are_not_sent_again() -> None:
    calls: list[list[int]] = []
    assert isolate([0, 1, 2], scripted({1: NAMED}, calls=calls), ALONE, unproven()) == {1: NAMED}
    assert calls == [[0, 1, 2]]


def test_when_nothing_at_all_is_taken_the_export_stops_instead_of_refusing_everyone() -> None:
    calls: list[list[int]] = []
    with pytest.raises(ExportProblem):
        isolate(range(250), scripted(*[refused()] * 250, calls=calls), ALONE, unproven())
    assert len(calls) == MAX_REFUSALS


def test_refused_calls_of_one_row_each_are_counted_together() -> None:
    """However few rows come at a time: also when a run sends them one by one."""
    tally = unproven()
    for _ in range(MAX_REFUSALS - 1):
        assert isolate([0], refuse_everything, ALONE, tally) == {0: ALONE}
    with pytest.raises(ExportProblem):
        isolate([0], refuse_everything, ALONE, tally)


def test_a_row_refused_by_name_says_nothing_about_the_export() -> None:
    tally = unproven()
    for _ in range(2 * MAX_REFUSALS):
        assert isolate([0], lambda _: {0: NAMED}, ALONE, tally) == {0: NAMED}
    assert not tally.is_proven()


def test_other_exports_and_versions_are_counted_apart() -> None:
    refusals, notes = Refusals(), DictNotes()
    for number in range(2 * MAX_REFUSALS):
        for export in (replace(EXPORT, name=f"number {number}"), replace(EXPORT, version=number)):
            assert isolate([0], refuse_everything, ALONE, refusals.of(notes, export)) == {0: ALONE}


def test_trouble_before_anything_was_taken_is_passed_on_as_it_is() -> None:
    trouble = Transient("rate_limited", "slow down", taken=False)
    with pytest.raises(Transient) as caught:
        isolate([0, 1], scripted(trouble), ALONE, unproven())
    assert caught.value.taken is False


@pytest.mark.parametrize(
    "trouble",
    [
        Transient("rate_limited", "slow", taken=False, retry_after=timedelta(seconds=3)),
        ConnectionProblem("key", "bad"),
        Busy("pace", "the quota is used up", taken=False, retry_after=timedelta(seconds=40)),
        Conflict("pace", "no slot could be taken"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_trouble_after_a_part_was_taken_stays_what_it_is_and_has_an_unknown_outcome(trouble: Problem) -> None:
    """Our own limit is no failure of the destination, and an account that refuses us stops at once."""
    with pytest.raises(Problem) as caught:
        isolate([0, 1, 2, 3], scripted(refused(), {}, trouble), ALONE, unproven())
    assert type(caught.value) is type(trouble)
    assert (caught.value.code, caught.value.what, caught.value.taken) == (trouble.code, trouble.what, None)
    assert getattr(caught.value, "retry_after", None) == getattr(trouble, "retry_after", None)
    assert trouble.taken is False


def test_once_something_was_taken_a_call_of_nobody_but_refused_rows_blames_the_rows() -> None:
    tally = unproven()
    assert isolate([0], lambda _: {}, ALONE, tally) == {}
    for one in (tally, Refusals().of(tally.notes, EXPORT)):
        assert set(isolate(range(100), refuse_everything, ALONE, one)) == set(range(100))


def test_edited_settings_need_a_new_proof() -> None:
    tally = unproven()
    tally.taken()
    edited = replace(tally, export=replace(EXPORT, version=8))
    assert not edited.is_proven()
    with pytest.raises(ExportProblem):
        isolate(range(100), refuse_everything, ALONE, edited)
    edited.taken()
    assert edited.is_proven()
