"""What destinations are asked to do while something goes wrong: conversations about people, and inquiries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from relay.destinations.contract import Step
from tests.contract.subject import Subject


def _nothing(_: Subject) -> None:
    """Nothing comes before."""


def _two_are_in(subject: Subject) -> None:
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    subject.time.pass_(60)


def _two_are_in_and_nothing_is_noted(subject: Subject) -> None:
    _two_are_in(subject)
    subject.notes.kept.clear()


def _one_has_left(subject: Subject) -> None:
    _two_are_in(subject)
    assert subject.deliver([subject.step(1, joins=False, after=10)]) == {}
    subject.time.pass_(60)


def _one_is_left_out(subject: Subject) -> None:
    subject.leave_out(subject.identity(2))


def _both_targets(subject: Subject) -> list[Step]:
    """One joins and one leaves the first target, and one joins the last, which may be the same."""
    last = max(subject.destination.targets(subject.export))
    return [subject.step(3, after=20), subject.step(1, joins=False, after=20), subject.step(4, after=20, target=last)]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Steps that are sent, after something else was; `fits` a subject or cannot be had with it."""

    steps: Callable[[Subject], list[Step]]
    before: Callable[[Subject], None] = _nothing
    fits: Callable[[type[Subject]], bool] = lambda kind: True


CONVERSATIONS: Mapping[str, Conversation] = {
    "two join": Conversation(lambda subject: [subject.step(1), subject.step(2)]),
    "one joins": Conversation(lambda subject: [subject.step(1)]),
    "two leave": Conversation(
        lambda subject: [subject.step(number, joins=False, after=10) for number in (1, 2)], _two_are_in
    ),
    "one leaves": Conversation(
        lambda subject: [subject.step(1, joins=False, after=10)], _two_are_in_and_nothing_is_noted
    ),
    "one comes back": Conversation(
        lambda subject: [subject.step(1, after=20)], _one_has_left, lambda kind: kind.comes_back
    ),
    "some join and one leaves": Conversation(_both_targets, _two_are_in),
    "one is left out": Conversation(
        lambda subject: [subject.step(1), subject.step(2), subject.step(3)],
        _one_is_left_out,
        lambda kind: kind.leaves_out,
    ),
}

Inquiry = Callable[[Subject], object]
"""Asks something that changes nothing."""

INQUIRIES: Mapping[str, Inquiry] = {
    "a check": lambda subject: subject.destination.check(subject.account(), [subject.export]),
    "a probe": lambda subject: subject.destination.check(subject.account(), []),
    "before a run": lambda subject: subject.destination.check_before_run(subject.account(), subject.export),
    "whether they are done": lambda subject: subject.destination.confirm(
        replace(subject.account(), backlog=lambda _: timedelta()),
        subject.export,
        [subject.step(1), subject.step(2, joins=False)],
    ),
    "how many there are": lambda subject: subject.destination.members(subject.account(), subject.target),
    "what is over": lambda subject: subject.destination.cleared_before(subject.account(), subject.time.now()),
}
