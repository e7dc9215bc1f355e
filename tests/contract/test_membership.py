"""Who joins is in, who leaves is out, and nothing else changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.domain.exports import Export
from tests.contract.conftest import COME_BACK, SUBJECTS, name_of
from tests.contract.subject import Subject


def people(subject: Subject, *numbers: int) -> set[str]:
    """Return the identities of people."""
    return {subject.identity(number) for number in numbers}


def test_who_joins_is_in_with_their_values(subject: Subject) -> None:
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    assert subject.inside() == people(subject, 1, 2)
    assert subject.held_values(subject.identity(1)) == subject.values("word")


def test_a_value_is_replaced_by_a_later_one_and_stays_without_one(subject: Subject) -> None:
    subject.deliver([subject.step(1, word="old")])
    for after, word in enumerate(("new", None), start=1):
        assert subject.deliver([subject.step(1, word=word, after=after)]) == {}
        assert subject.held_values(subject.identity(1)) == subject.values("new")


def test_who_leaves_is_out_with_all_their_values_and_the_others_stay(subject: Subject) -> None:
    assert subject.destination.tells_leaving(subject.export)
    subject.deliver([subject.step(1), subject.step(2)])
    for _ in range(2):
        assert subject.deliver([subject.step(1, joins=False, after=1), subject.step(3, joins=False, after=1)]) == {}
        assert subject.inside() == people(subject, 2)
        # A vendor may forget those who left.
        assert subject.held_values(subject.identity(1)) in (subject.values("word"), {})


@pytest.mark.parametrize("kind", COME_BACK, ids=name_of)
def test_who_left_comes_back_again_and_again(subject: Subject) -> None:
    """Also when leaving was sent twice, as after a crash."""
    for after in range(5):
        for _ in range(1 + after % 2):
            assert subject.deliver([subject.step(1, joins=after % 2 == 0, after=after)]) == {}
            assert subject.inside() == (set() if after % 2 else people(subject, 1))
            subject.time.pass_(60)


def test_joining_and_leaving_in_one_delivery_ends_with_the_later_step(subject: Subject) -> None:
    subject.deliver([subject.step(3)])
    steps = [subject.step(1), subject.step(2), *(subject.step(number, joins=False, after=1) for number in (3, 1))]
    assert subject.deliver(steps) == {}
    assert subject.inside() == people(subject, 2)


EDITED = [(kind, place) for kind in SUBJECTS for place in range(len(kind().edits()))]


@pytest.mark.parametrize(("kind", "place"), EDITED, ids=[f"{name_of(kind)} {place}" for kind, place in EDITED])
def test_after_an_edit_whoever_leaves_is_taken_off_what_they_were_put_on(kind: type[Subject], place: int) -> None:
    """The export may not name that target any more, and other people are in it, or in today's."""
    subject = kind()
    former = subject.target
    assert subject.deliver([subject.step(number) for number in (1, 2, 3, 4)]) == {}
    subject.export = _edited(subject.export, subject.edits()[place])
    today = subject.target
    assert former not in subject.destination.targets(subject.export)
    assert subject.deliver([subject.step(number, after=1) for number in (2, 3)]) == {}
    stay = subject.members(today)

    def left(*numbers: int) -> None:
        leaving = [subject.step(number, joins=False, after=2, target=former) for number in numbers]
        assert subject.deliver([*leaving, subject.step(5, after=2)]) == {}

    left(1)
    left(2, 4)
    assert subject.members(former) == people(subject, 3)
    assert subject.members(today) == stay | people(subject, 5)


@pytest.mark.parametrize(("kind", "place"), EDITED, ids=[f"{name_of(kind)} {place}" for kind, place in EDITED])
def test_whoever_leaves_what_was_deleted_has_left_it(kind: type[Subject], place: int) -> None:
    """Nobody can still be in it, so that is no reason to stop the export, and nobody is to blame."""
    subject = kind()
    former = subject.target
    assert subject.deliver([subject.step(number) for number in (1, 2, 3, 4)]) == {}
    subject.export = _edited(subject.export, subject.edits()[place])
    assert subject.deliver([subject.step(number, after=1) for number in (2, 3)]) == {}
    subject.delete(former)
    others = subject.shows([subject.step(number) for number in (2, 3)])
    for numbers in ((1,), (2, 4), (2, 4)):
        leaving = [subject.step(number, joins=False, after=2, target=former) for number in numbers]
        assert subject.deliver([*leaving, subject.step(5, after=2)]) == {}
        assert subject.shows([subject.step(number) for number in (2, 3)]) == others
        assert subject.shows([subject.step(5)])[0][0]
    assert subject.problems == []


def _edited(export: Export, edit: Export) -> Export:
    return replace(edit, version=export.version + 1)


def test_what_else_is_held_of_somebody_stays_as_it_is(subject: Subject) -> None:
    for after, word in enumerate(("word", None, None)):
        step = subject.step(1, word=word, after=after)
        before = subject.held(step.identity)
        assert subject.deliver([step]) == {}
        held = subject.held(step.identity)
        assert {name: held.get(name) for name in before} == before


# What is sent.


def test_nothing_empty_is_ever_sent(subject: Subject) -> None:
    empty: list[Any] = [None, "", " ", [], ["", None]]
    encoded = [subject.destination.encode(field, value) for field in subject.mapping() for value in empty]
    assert set(encoded) == {None}
    subject.deliver([subject.step(1), subject.step(2, word=None), subject.step(3, joins=False)])
    for body in subject.wire.json_bodies():
        assert not {None, "", "null", "None", "undefined"} & set(_scalars(body)), body


def test_quotes_and_brackets_arrive_as_they_are(subject: Subject) -> None:
    nasty = 'He said "}],[{\\" & left\u2028'
    subject.deliver([subject.step(1, word=nasty)])
    assert subject.held_values(subject.identity(1)) == subject.values(nasty)


def test_each_time_is_sent_as_it_is(subject: Subject) -> None:
    """However many go out together: an identity's next time must not be earlier than the one it was sent with."""
    for round_ in range(3):
        steps = [
            subject.step(number, joins=round_ != 1 or number == 1, after=100 * round_ + number) for number in range(4)
        ]
        subject.deliver(steps)
        given = [subject.last_time(step.target, step.identity) for step in steps]
        assert given in ([step.at for step in steps], [None] * 4)


def test_every_attempt_is_paced_and_logged_once(subject: Subject) -> None:
    subject.deliver([subject.step(1), subject.step(2)])
    assert len(subject.paced) == len(subject.lines) == len(subject.wire.requests) > 0
    assert [line["operation"] for line in subject.lines] == [quota.name for quota in subject.paced]
    assert subject.counters()["limit_violations"] == 0


def test_only_what_was_mapped_is_sent(subject: Subject) -> None:
    """No text of a body is a value of somebody that no step asked for."""
    subject.deliver([subject.step(1, word="ours"), subject.step(2, word="ours")])
    first = len(subject.wire.json_bodies())
    subject.deliver([subject.step(1, word=None, after=1), subject.step(2, joins=False, after=1)])
    later = json.dumps(subject.wire.json_bodies()[first:])
    assert not [value for value in subject.values("ours").values() if json.dumps(value) in later]


def _scalars(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [scalar for inner in value.values() for scalar in _scalars(inner)]
    if isinstance(value, list):
        return [scalar for inner in value for scalar in _scalars(inner)]
    return [value]
