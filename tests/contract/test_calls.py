"""How steps become calls, and refused rows beside taken ones, wherever in a call they are."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.domain.problems import ExportProblem
from tests.contract.conftest import LEAVE_OUT, SUBJECTS, name_of
from tests.contract.playing import assert_clean
from tests.contract.subject import Subject
from tests.contract.test_membership import people

ALWAYS: int | None = None
CUT = {kind: kind() for kind in SUBJECTS}
"""A subject of each kind for what asks nothing of its sandbox."""


@given(
    blocks=st.lists(
        st.tuples(st.integers(0, 700), st.integers(0, 1_200), st.integers(0, 3_000), st.booleans(), st.booleans()),
        max_size=5,
    ),
    backlog=st.sampled_from([timedelta(), timedelta(minutes=1)]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("kind", SUBJECTS, ids=name_of)
def test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked(
    kind: type[Subject], blocks: list[tuple[int, int, int, bool, bool]], backlog: timedelta
) -> None:
    subject = CUT[kind]
    subject.backlog = backlog
    targets = sorted(subject.destination.targets(subject.export))
    kinds = {
        (joins, last, length): subject.step(0, joins=joins, word="é" * length, target=targets[-1 if last else 0])
        for _, _, length, joins, last in blocks
    }
    steps = [
        replace(kinds[joins, last, length], identity=subject.identity(number))
        for first, count, length, joins, last in blocks
        for number in range(first, first + min(count, 1_000_000 // (length + 1)))
    ]
    sent, notes = len(subject.wire.requests), dict(subject.notes.kept)
    calls = subject.destination.calls(subject.account(), subject.export, steps)
    assert (len(subject.wire.requests), subject.notes.kept) == (sent, notes)
    assert sorted(index for call in calls for index in call) == list(range(len(steps)))
    assert all(calls)
    number_of = {index: number for number, call in enumerate(calls) for index in call}
    last_call: dict[tuple[str, str], int] = {}
    for index, step in enumerate(steps):
        place = (step.target, step.identity)
        # In and out at once has no defined result: the later step gets a later call.
        assert last_call.get(place, -1) < number_of[index]
        last_call[place] = number_of[index]
    assert max(map(len, calls), default=0) <= subject.destination.call_size


@pytest.mark.parametrize("length", [0, 2_500])
def test_a_full_call_and_more_is_taken_at_once(subject: Subject, length: int) -> None:
    """Full by number or by size: what is larger than the vendor takes would be refused, and be taken apart."""
    count = min(subject.destination.call_size + 3, 400 if length else 2_000)
    assert subject.deliver([subject.step(number, word="é" * length or None) for number in range(count)]) == {}
    assert len(subject.inside()) == count
    assert [line["status"] for line in subject.lines if line["status"] >= 400] == []
    assert subject.deliver([subject.step(number, joins=False, after=9) for number in range(count)]) == {}
    assert subject.inside() == set()


# Refusals.


def refuse(subject: Subject, *numbers: int) -> None:
    """Have every call refused that holds one of these people."""
    for number in numbers:
        # The encoded form, as faults look at the bytes of a body.
        marker = json.dumps(subject.identity(number), ensure_ascii=False)
        subject.fault({"status": 400, "body": {}}, path=subject.delivery_path, contains=marker, times=ALWAYS)


def test_refused_rows_are_found_wherever_they_are_and_hide_nobody(subject: Subject) -> None:
    size = subject.destination.call_size
    steps = [subject.step(number) for number in range(size + 20)]
    bad = (0, size // 2, size - 1, size, size + 19)
    refuse(subject, *bad)
    refused = subject.deliver(steps)
    assert tuple(sorted(refused)) == bad
    assert subject.inside() == people(subject, *(set(range(size + 20)) - set(bad)))
    assert_clean(subject, *(rejection.detail for rejection in refused.values()))


@pytest.mark.parametrize("kind", LEAVE_OUT, ids=name_of)
def test_who_is_refused_at_once_and_who_is_left_out_later_hide_neither_each_other_nor_the_rest(
    subject: Subject,
) -> None:
    size = subject.destination.call_size
    at_once, later = {3, size - 2, size + 2}, {0, 4, size - 1, size + 3}
    refuse(subject, *at_once)
    for number in later:
        subject.leave_out(subject.identity(number))
    refused = subject.deliver([subject.step(number) for number in range(size + 20)])
    assert set(refused) == at_once | later
    assert {number for number, why in refused.items() if why.code == refused[3].code} == at_once
    assert subject.inside() == people(subject, *(set(range(size + 20)) - at_once - later))
    assert_clean(subject, *(rejection.detail for rejection in refused.values()))


def test_of_those_who_leave_the_refused_are_found_too(subject: Subject) -> None:
    subject.deliver([subject.step(number) for number in range(12)])
    marker = json.dumps(subject.identity(7), ensure_ascii=False)
    subject.fault({"status": 400, "body": {}}, contains=marker, times=ALWAYS)
    steps = [subject.step(number, joins=False, after=9) for number in range(12)]
    refused = subject.deliver(steps)
    stayed = people(subject, *refused)
    # A way out that names nobody in its requests cannot be refused like this.
    assert (set(refused), subject.inside()) in (({7}, stayed), (set(), set()))


def test_when_everything_is_refused_the_export_stops_and_nobody_is_blamed(subject: Subject) -> None:
    subject.fault({"status": 400, "body": {}}, path=subject.delivery_path, times=ALWAYS)
    with pytest.raises(ExportProblem):
        subject.deliver([subject.step(number) for number in range(100)])
