"""Every fault at every request: what a destination says of it is true, and sending the same again ends right."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relay.domain.problems import Busy, Conflict, Problem
from tests.contract.conftest import SUBJECTS, name_of
from tests.contract.conversations import CONVERSATIONS, INQUIRIES
from tests.contract.faults import FAULTS, Deviation, Fault, Kind, deviations, shapes
from tests.contract.playing import Conversing, Inquiring, Point, errors_in, has_no_body
from tests.contract.subject import Subject
from tests.examples import example

pytestmark = pytest.mark.exhaustive

HAD = [(kind, name) for kind in SUBJECTS for name, one in CONVERSATIONS.items() if one.fits(kind)]
"""Which conversations can be had with which destination."""

had = pytest.mark.parametrize(("kind", "name"), HAD, ids=[f"{name_of(kind)}: {name}" for kind, name in HAD])


@contextmanager
def _at(point: Point, what: str) -> Iterator[None]:
    """Say where it was when something is wrong."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{what} at {point.number}. {' '.join(point.place)}: {error!r}") from error


def _makes_a_difference(subject: Subject, point: Point, fault: Fault) -> bool:
    """Return whether a fault is one at this request."""
    if point.reads:
        return not fault.acts
    if point.sent.method == "DELETE" and fault.kind is Kind.ADDRESS:
        # What is not there need not be deleted.
        return False
    # Where no body is documented, one that is no page is a success.
    is_success = fault.kind is Kind.SHAPE or (fault.kind is Kind.PAGE and not fault.name.startswith("a page"))
    return not is_success or fault.acts or not has_no_body(subject, point.sent)


@had
def test_a_fault_at_a_request_that_writes(kind: type[Subject], name: str) -> None:
    conversing = Conversing(kind, CONVERSATIONS[name])
    for point in conversing.writing():
        for fault in FAULTS:
            if _makes_a_difference(conversing.subject, point, fault):
                with _at(point, fault.name):
                    conversing.play(point, fault)


@had
def test_a_fault_at_a_request_that_reads(kind: type[Subject], name: str) -> None:
    conversing = Conversing(kind, CONVERSATIONS[name])
    for point in conversing.reading():
        for fault in FAULTS:
            if _makes_a_difference(conversing.subject, point, fault):
                with _at(point, fault.name):
                    conversing.play(point, fault)


@had
def test_json_of_another_shape(kind: type[Subject], name: str) -> None:
    conversing = Conversing(kind, CONVERSATIONS[name])
    for point in (*conversing.writing(), *conversing.reading()):
        whole = (*shapes(point.good, acts=True), *shapes(point.good, acts=False))
        played: list[Fault | Deviation] = [one for one in whole if _makes_a_difference(conversing.subject, point, one)]
        for fault in (*played, *deviations(point.good)):
            with _at(point, fault.name):
                conversing.play(point, fault)


def _busy() -> Problem:
    return Busy("throttled", "our own side is at its limit")


def _out_of_time() -> Problem:
    return Conflict("out_of_time", "the function's time is nearly over")


OUR_LIMITS = (_busy, _out_of_time)


@had
def test_our_own_limit_stays_our_own(kind: type[Subject], name: str) -> None:
    conversing = Conversing(kind, CONVERSATIONS[name])
    for at, limit in itertools.product(range(1, conversing.met + 1), OUR_LIMITS):
        with example(f"{at} of {conversing.met}", limit):
            conversing.play_our_limit(at, limit)


@pytest.mark.parametrize("name", INQUIRIES)
def test_our_own_limit_while_something_is_asked_stays_our_own(kind: type[Subject], name: str) -> None:
    inquiring = Inquiring(kind, INQUIRIES[name])
    for at, limit in itertools.product(range(1, inquiring.met + 1), OUR_LIMITS):
        with example(f"{at} of {inquiring.met}", limit):
            inquiring.play_our_limit(at, limit)


@pytest.mark.parametrize("name", INQUIRIES)
def test_a_fault_while_something_is_asked(kind: type[Subject], name: str) -> None:
    inquiring = Inquiring(kind, INQUIRIES[name])
    for point in inquiring.points():
        played: list[Fault | Deviation] = [one for one in (*FAULTS, *shapes(point.good, acts=False)) if not one.acts]
        for fault in (*played, *deviations(point.good)):
            with _at(point, fault.name):
                inquiring.play(point.number, fault)


@pytest.mark.parametrize("name", ["a check", "a probe"])
def test_a_check_never_calls_an_account_well_that_answers_nothing_well(kind: type[Subject], name: str) -> None:
    inquiring = Inquiring(kind, INQUIRIES[name])
    for fault in (*FAULTS, *shapes(b"", acts=False)):
        if not fault.acts and fault.kind is not Kind.CONTENT:
            answer = inquiring.play(None, fault)
            assert isinstance(answer, Problem) or errors_in(answer), f"{fault.name}: {answer}"
