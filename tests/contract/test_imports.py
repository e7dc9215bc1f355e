"""Asynchronous imports: what was queued is looked at until it is known, as often and in as small parts as one likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.destinations.contract import Answer, OpenImport, Step
from relay.domain.problems import Problem, Rejection
from tests.contract.conftest import LEAVE_OUT, name_of
from tests.contract.subject import MOST_LOOKS, Subject
from tests.contract.test_membership import people
from tests.fakes.wire import Act, Answered, Sent

PEOPLE = 40
LEFT_OUT = frozenset(range(0, PEOPLE, 3))
"""Somebody in every part, and more than one look asks about."""

imports = pytest.mark.parametrize("kind", LEAVE_OUT, ids=name_of)


def queue(subject: Subject) -> tuple[str, int | None, list[Step]]:
    """Queue an import of people of whom some are left out; return its id, how many are queued, and the steps."""
    for number in LEFT_OUT:
        subject.leave_out(subject.identity(number))
    steps = [subject.step(number) for number in range(PEOPLE)]
    answer: Answer = subject.destination.send(subject.account(), subject.export, steps)
    assert answer.import_id is not None
    assert answer.refused == {}
    return answer.import_id, answer.queued, steps


class LittleTime:
    """Time for so many things in each look."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._asked = 0

    def begin(self) -> None:
        """Begin a look."""
        self._asked = 0

    def is_left(self) -> bool:
        """Return whether there is time for one thing more."""
        self._asked += 1
        return self._asked <= self._most


class Failing:
    """Trouble with each look: from the first request on, then from the second, and so on."""

    def __init__(self) -> None:
        self._looks = 0
        self._requests = 0

    def begin(self) -> None:
        """Begin a look."""
        self._looks += 1
        self._requests = 0

    def __call__(self, sent: Sent, act: Act) -> Answered:
        """Answer a request."""
        self._requests += 1
        return Answered(500) if self._requests > self._looks % 9 else act()


def look_until_answered(
    subject: Subject,
    import_id: str,
    queued: int | None,
    steps: Sequence[Step],
    between: Callable[[], None],
    *,
    may_fail: bool = False,
) -> tuple[dict[int, Rejection], int]:
    """Look until all is answered; return who was refused, and how many looks it took. Nobody is answered twice."""
    refused: dict[int, Rejection] = {}
    waiting, note = list(range(len(steps))), None
    for looks in range(1, 10 * MOST_LOOKS):
        between()
        try:
            report = subject.look(import_id, queued, [steps[index] for index in waiting], note)
        except Problem:
            assert may_fail
            continue
        if report.finished:
            assert set(report.refused).isdisjoint(report.open)
            assert report.open | report.refused.keys() <= set(range(len(waiting)))
            refused |= {waiting[place]: why for place, why in report.refused.items()}
            waiting, queued, note = [waiting[place] for place in sorted(report.open)], None, report.note
        else:
            assert not report.refused
        if report.finished and not waiting:
            return refused, looks
        subject.time.pass_(2)
    raise AssertionError("it was never answered")


@imports
def test_what_was_queued_is_not_done_and_an_early_look_says_so(subject: Subject) -> None:
    import_id, queued, steps = queue(subject)
    assert subject.inside() == set()
    for _ in range(3):
        report = subject.look(import_id, queued, steps)
        assert (report.finished, report.refused, report.open) == (False, {}, frozenset())


@imports
def test_however_small_the_parts_of_a_look_are_the_same_comes_of_it(subject: Subject) -> None:
    import_id, queued, steps = queue(subject)
    subject.settle()
    assert subject.inside() == people(subject, *(set(range(PEOPLE)) - LEFT_OUT))
    at_once, few = look_until_answered(subject, import_id, queued, steps, lambda: None)
    assert set(at_once) == LEFT_OUT
    for most in (1, 3):
        time = LittleTime(most)
        subject.is_time_left = time.is_left
        in_parts, many = look_until_answered(subject, import_id, queued, steps, time.begin)
        assert in_parts == at_once
        assert many >= few


@imports
def test_another_process_that_knows_its_steps_and_the_last_note_looks_as_well(subject: Subject) -> None:
    """Also under settings that were saved again: a look depends on nothing else."""
    import_id, queued, steps = queue(subject)
    subject.settle()
    kept = [replace(step, evidence=None) for step in steps]
    subject.evidence.clear()

    def begin() -> None:
        subject.destination = type(subject.destination)()
        subject.export = replace(subject.export, version=subject.export.version + 1)

    refused, _ = look_until_answered(subject, import_id, queued, kept, begin)
    assert set(refused) == LEFT_OUT


@imports
def test_a_look_without_time_answers_nobody_wrongly(subject: Subject) -> None:
    import_id, queued, steps = queue(subject)
    subject.settle()
    subject.is_time_left = lambda: False
    report = subject.look(import_id, queued, steps)
    assert report.finished
    answered = set(range(PEOPLE)) - report.open
    assert answered & LEFT_OUT == set(report.refused)


@imports
def test_looks_that_fail_at_any_request_lose_nobody(subject: Subject) -> None:
    import_id, queued, steps = queue(subject)
    subject.settle()
    trouble = Failing()
    subject.wire.interfere = trouble
    refused, _ = look_until_answered(subject, import_id, queued, steps, trouble.begin, may_fail=True)
    assert set(refused) == LEFT_OUT


@imports
def test_an_import_that_never_ends_is_answered_by_its_bound_however_often_it_was_looked_at(subject: Subject) -> None:
    steps = [subject.step(number) for number in range(3)]
    began = subject.time.now()
    waiting, note, contacts = list(range(len(steps))), None, len(steps)
    refused: dict[int, Rejection] = {}
    account = replace(subject.account(), backlog=lambda _: timedelta())
    while waiting and subject.time.now() <= began + subject.destination.import_bound:
        asked = OpenImport("nobody-knows-it", began, subject.time.now(), contacts if note is None else None, note)
        part = [steps[index] for index in waiting]
        report = subject.destination.import_report(account, subject.export, asked, part)
        if report.finished:
            refused |= {waiting[place]: why for place, why in report.refused.items()}
            waiting, note = [waiting[place] for place in sorted(report.open)], report.note
        subject.time.pass_(900)
    assert waiting == []
    # Nobody knows whether it will still come: nobody may think that it certainly does not.
    assert [rejection.is_certain for rejection in refused.values()] == [False] * len(steps)


def test_whether_steps_are_done_is_told_as_it_is(subject: Subject) -> None:
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    account = replace(subject.account(), backlog=lambda _: timedelta())
    asked = [subject.step(1), subject.step(2, joins=False), subject.step(3), subject.step(4, joins=False)]
    done = subject.destination.confirm(account, subject.export, asked)
    assert done in ({0: True, 1: False, 2: False, 3: True}, {}), "some cannot tell"


def test_what_is_said_to_be_over_lies_back_and_is_only_asked_for(subject: Subject) -> None:
    subject.deliver([subject.step(number) for number in range(12)])
    writes, said = subject.counters()["write_calls"], []
    for _ in range(12):
        asked_at = subject.time.now()
        cleared = subject.destination.cleared_before(subject.account(), asked_at)
        if cleared is not None:
            assert cleared < asked_at
            said.append(cleared)
        subject.time.pass_(600)
    assert said == sorted(said)
    assert subject.counters()["write_calls"] == writes


@imports
def test_nothing_is_said_to_be_over_while_an_import_goes_on(subject: Subject) -> None:
    """Whatever was to be sent before the moment that is told has all its effect by now."""
    for _ in range(20):
        began = subject.time.now()
        queue(subject)
        subject.settles_within = timedelta(seconds=30)
        cleared = subject.destination.cleared_before(subject.account(), subject.time.now())
        assert cleared is None or cleared < began
        subject.time.pass_(400)
