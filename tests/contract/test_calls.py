"""How steps become calls, and refused rows beside taken ones, wherever in a call they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from relay.destinations.contract import Step
from relay.domain.problems import ExportProblem
from tests.contract.conftest import LEAVE_OUT, name_of
from tests.contract.playing import assert_clean
from tests.contract.subject import Subject
from tests.contract.test_membership import people
from tests.contract.test_rest import pace_really

ALWAYS: int | None = None

Block = tuple[int, int, int, bool, bool]
"""People from the first on, how many, the length of their values, whether they join, and whether the last target."""

BLOCKS = st.lists(
    st.tuples(st.integers(0, 700), st.integers(0, 1_200), st.integers(0, 3_000), st.booleans(), st.booleans()),
    max_size=5,
)


PHASES = (Phase.explicit, Phase.generate)
"""What fails is small enough without making it smaller, which takes long."""


def test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked(subject: Subject) -> None:
    @given(blocks=BLOCKS, backlog=st.sampled_from([timedelta(), timedelta(minutes=1)]))
    @example([(0, 9, 1, True, False), (4, 9, 1, False, False), (2, 3, 1, True, True)], timedelta(minutes=1))
    @settings(max_examples=30, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
    def cut(blocks: list[Block], backlog: timedelta) -> None:
        subject.backlog = backlog
        _assert_well_cut(subject, _steps_of(subject, blocks))

    cut()
    assert subject.wire.requests == []
    assert subject.notes.kept == {}


def _steps_of(subject: Subject, blocks: list[Block]) -> list[Step]:
    targets = sorted(subject.destination.targets(subject.export))
    steps: list[Step] = []
    for first, count, length, joins, is_last in blocks:
        one = subject.step(0, joins=joins, word="é" * length, target=targets[-1 if is_last else 0])
        numbers = range(first, first + min(count, 1_000_000 // (length + 1)))
        steps += [replace(one, identity=subject.identity(number)) for number in numbers]
    return steps


def _assert_well_cut(subject: Subject, steps: list[Step]) -> None:
    calls = subject.destination.calls(subject.account(), subject.export, steps)
    assert sorted(index for call in calls for index in call) == list(range(len(steps)))
    assert all(calls)
    assert max(map(len, calls), default=0) <= subject.destination.call_size
    number_of = {index: number for number, call in enumerate(calls) for index in call}
    last_call: dict[tuple[str, str], int] = {}
    for index, step in enumerate(steps):
        place = (step.target, step.identity)
        # In and out at once has no defined result: the later step gets a later call.
        assert last_call.get(place, -1) < number_of[index]
        last_call[place] = number_of[index]


@pytest.mark.parametrize("length", [0, 2_500])
def test_a_full_call_and_more_is_taken_at_once(subject: Subject, length: int) -> None:
    """Full by number or by size: what is larger than the vendor takes would be refused, and be taken apart."""
    count = min(subject.destination.call_size + 3, 400 if length else 2_000)
    assert subject.deliver([subject.step(number, word="é" * length or None) for number in range(count)]) == {}
    assert len(subject.inside()) == count
    assert [line["status"] for line in subject.lines if line["status"] >= 400] == []
    assert subject.deliver([subject.step(number, joins=False, after=9) for number in range(count)]) == {}
    assert subject.inside() == set()


@pytest.mark.parametrize("joins", [True, False])
def test_a_full_call_is_over_within_a_minute(subject: Subject, joins: bool) -> None:
    """Also when it has to wait for the pace of its own requests."""
    pace_really(subject)
    size = subject.destination.call_size
    subject.deliver([subject.step(0)])
    steps = [subject.step(number, joins=joins) for number in range(1, size + 1)]
    first = [steps[index] for index in subject.destination.calls(subject.account(), subject.export, steps)[0]]
    began = subject.time()
    answer = subject.destination.send(subject.account(), subject.export, first)
    assert answer.refused == {}
    assert subject.time() - began < 60


# Refusals.


def refuse_calls_with(subject: Subject, identity: str) -> None:
    """Have every call refused that holds somebody."""
    # The encoded form, as faults look at the bytes of a body.
    marker = json.dumps(identity, ensure_ascii=False)
    subject.fault({"status": 400, "body": {}}, path=subject.delivery_path, contains=marker, times=ALWAYS)


WAYS: Mapping[str, Callable[[Subject, str], None]] = {
    "with the whole call": refuse_calls_with,
    "in the vendor's own way": lambda subject, identity: subject.refuse(identity),
}


@pytest.mark.parametrize("way", WAYS)
def test_refused_rows_are_found_wherever_they_are_and_hide_nobody(subject: Subject, way: str) -> None:
    size = subject.destination.call_size
    steps = [subject.step(number) for number in range(size + 20)]
    bad = (0, size // 2, size - 1, size, size + 19)
    for number in bad:
        WAYS[way](subject, steps[number].identity)
    refused = subject.deliver(steps)
    if way == "with the whole call":
        met = subject.counters()["injected"]
        assert met, "no request to `delivery_path` held the identity: it has to name the call that carries it"
    assert tuple(sorted(refused)) == bad
    assert subject.inside() == people(subject, *(set(range(size + 20)) - set(bad)))
    assert_clean(subject, *(rejection.detail for rejection in refused.values()))


@pytest.mark.parametrize("kind", LEAVE_OUT, ids=name_of)
def test_who_is_refused_at_once_and_who_is_left_out_later_hide_neither_each_other_nor_the_rest(
    subject: Subject,
) -> None:
    size = subject.destination.call_size
    at_once, later = {3, size - 2, size + 2}, {0, 4, size - 1, size + 3}
    for number in at_once:
        refuse_calls_with(subject, subject.identity(number))
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
