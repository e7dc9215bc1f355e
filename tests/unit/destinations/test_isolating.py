from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.destinations.isolating import MAX_REFUSALS, Proof, isolate
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


def unproven() -> Proof:
    """Return what is known of an export of which nothing was taken yet."""
    return Proof(DictNotes(), EXPORT)


@given(st.integers(1, 300), st.data())
def test_exactly_the_bad_rows_are_refused_and_every_other_is_taken_once(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=3))
    names = data.draw(st.booleans())
    taken: list[int] = []

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection] | None:
        guilty = bad & set(rows)
        if not guilty:
            taken.extend(rows)
            return None
        return dict.fromkeys(guilty, NAMED) if names else {}

    assert set(isolate(range(size), attempt, ALONE, unproven())) == bad
    assert sorted(taken) == sorted(set(range(size)) - bad)


def test_named_rows_are_dropped_and_the_rest_is_sent_once_more() -> None:
    calls: list[list[int]] = []

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection] | None:
        calls.append(list(rows))
        return {1: NAMED} if 1 in rows else None

    assert isolate([0, 1, 2], attempt, ALONE, unproven()) == {1: NAMED}
    assert calls == [[0, 1, 2], [0, 2]]


def test_a_second_refusal_splits_even_when_rows_are_named_again() -> None:
    calls: list[list[int]] = []
    answers: list[Mapping[int, Rejection] | None] = [{0: NAMED}, {1: NAMED}, None, None]

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection] | None:
        calls.append(list(rows))
        return answers.pop(0)

    isolate([0, 1, 2, 3, 4], attempt, ALONE, unproven())
    assert calls == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [1, 2], [3, 4]]


def test_when_nothing_at_all_is_taken_the_export_stops_instead_of_refusing_everyone() -> None:
    calls: list[int] = []

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection] | None:
        calls.append(len(rows))
        return {}

    with pytest.raises(ExportProblem):
        isolate(range(250), attempt, ALONE, unproven())
    assert len(calls) == MAX_REFUSALS


def test_trouble_before_anything_was_taken_is_passed_on_as_it_is() -> None:
    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection] | None:
        raise Transient("rate_limited", "slow down", taken=False)

    with pytest.raises(Transient) as caught:
        isolate([0, 1], attempt, ALONE, unproven())
    assert caught.value.taken is False


@pytest.mark.parametrize(
    "trouble",
    [Transient("rate_limited", "slow", taken=False, retry_after=timedelta(seconds=3)), ConnectionProblem("key", "bad")],
)
def test_trouble_after_a_part_was_taken_has_an_unknown_outcome(trouble: Exception) -> None:
    answers: list[Mapping[int, Rejection] | Exception | None] = [{}, None, trouble]

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection] | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(Transient) as caught:
        isolate([0, 1, 2, 3], attempt, ALONE, unproven())
    assert caught.value.taken is None
    assert caught.value.retry_after == getattr(trouble, "retry_after", None)
    assert not isinstance(caught.value, Busy)


@pytest.mark.parametrize(
    "trouble",
    [
        Busy("pace", "the quota is used up", taken=False, retry_after=timedelta(seconds=40)),
        Conflict("pace", "no slot could be taken"),
    ],
)
def test_our_own_pace_in_the_middle_of_a_call_is_no_failure_of_the_destination(trouble: Problem) -> None:
    answers: list[Mapping[int, Rejection] | Exception | None] = [{}, None, trouble]

    def attempt(rows: Sequence[int]) -> Mapping[int, Rejection] | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(Busy) as caught:
        isolate([0, 1, 2, 3], attempt, ALONE, unproven())
    assert (caught.value.code, caught.value.taken) == ("pace", None)
    assert caught.value.retry_after == getattr(trouble, "retry_after", None)


def test_once_something_was_taken_a_call_of_nobody_but_refused_rows_blames_the_rows() -> None:
    proof = unproven()
    assert isolate([0], lambda _: None, ALONE, proof) == {}
    assert set(isolate(range(100), lambda _: {}, ALONE, proof)) == set(range(100))


def test_edited_settings_need_a_new_proof() -> None:
    proof = unproven()
    proof.keep()
    edited = Proof(proof.notes, replace(EXPORT, version=8))
    assert not edited.is_there()
    with pytest.raises(ExportProblem):
        isolate(range(100), lambda _: {}, ALONE, edited)
    edited.keep()
    assert edited.is_there()
