"""The account's overview of open imports: it saves asking about each, and shows when lost ones are over."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Notes, Reply
from relay.domain.problems import ConnectionProblem, Transient
from tests.contract.activecampaign_replies import AT, account, asked, export, import_info, opened, overview, step
from tests.fakes.scripted_caller import DictNotes, reply

TWO = [step(), step("b@example.com")]


def first_look(*answers: Reply, age: float = 10, count: int | None = 2, **more: Any) -> tuple[bool, list[str]]:
    the_account = account(*answers)
    people = more.pop("steps", TWO)
    seen = DESTINATION.import_report(the_account, export(), opened(contacts=count, age=age), people)
    return seen.finished, asked(the_account)


@pytest.mark.parametrize(
    ("age", "outstanding", "asks"),
    [(10, (17,), True), (10, ("18",), False), (0, ("1",), True), (0, ("2",), False), (60, (60, "39"), False)],
)
def test_while_more_wait_than_can_have_come_later_an_import_is_not_asked_about(
    age: float, outstanding: tuple[Any, ...], asks: bool
) -> None:
    finished, calls = first_look(overview(*outstanding), import_info(), age=age)
    assert finished is asks
    assert calls == ["GET import/bulk_import", "GET import/info"][: 1 + asks]


def test_the_overview_serves_everybody_for_a_quarter_of_a_minute() -> None:
    notes = DictNotes()
    calls = []
    for now in (0, 14.9, 15, 29.9):
        the_account = account(overview(500), overview(500), notes=notes)
        DESTINATION.import_report(the_account, export(), opened(contacts=2, now=now), TWO)
        calls.append(len(asked(the_account)))
    assert calls == [1, 0, 1, 0]


def test_an_import_so_old_is_asked_about_whatever_the_overview_says() -> None:
    assert first_look(import_info(), age=600) == (True, ["GET import/info"])
    assert first_look(overview(5000), age=599) == (False, ["GET import/bulk_import"])


def test_the_rest_of_an_earlier_look_is_asked_about_at_once() -> None:
    assert first_look(import_info("waiting"), count=None) == (False, ["GET import/info"])


@pytest.mark.parametrize(
    "unreadable",
    [
        reply(404, {}),
        reply(400, {}),
        reply(200, {}),
        reply(200, []),
        reply(200, {"outstanding": {}}),
        overview("many"),
        reply(200, {"outstanding": ["500"]}),
    ],
)
def test_an_overview_that_cannot_be_read_is_ignored(unreadable: Reply) -> None:
    notes = DictNotes()
    the_account = account(unreadable, import_info(), notes=notes)
    assert DESTINATION.import_report(the_account, export(), opened(contacts=2), TWO).finished
    assert notes.kept == {}


def test_an_overview_nobody_may_see_is_ignored() -> None:
    forbidden = reply(403, {})
    assert first_look(forbidden, forbidden, import_info())[0]


# When lost imports are over.


def over_at(notes: Notes, minutes: float, *answers: Reply) -> tuple[float | None, list[str]]:
    """Ask what is over some minutes after the start; return it, in minutes, and the calls."""
    the_account = account(*answers, notes=notes)
    cleared = DESTINATION.cleared_before(the_account, AT + timedelta(minutes=minutes))
    return None if cleared is None else (cleared - AT).total_seconds() / 60, asked(the_account)


EMPTY, LOOKED = overview(), ["GET import/bulk_import"]


def test_what_was_to_be_sent_20_minutes_before_an_empty_overview_is_over_10_minutes_after_it() -> None:
    notes = DictNotes()
    assert over_at(notes, 0, EMPTY) == (None, LOOKED)
    assert over_at(notes, 9.9) == (None, [])
    assert over_at(notes, 10, overview(1)) == (-20, LOOKED)


def test_an_overview_that_never_empties_says_nothing_and_is_read_no_oftener_than_four_times_a_minute() -> None:
    notes = DictNotes()
    calls = [over_at(notes, second / 60, overview(1)) for second in (0, 14, 15, 29, 30)]
    assert calls == [(None, LOOKED), (None, []), (None, LOOKED), (None, []), (None, LOOKED)]


def test_a_newer_empty_overview_takes_over_only_when_it_lies_back_far_enough() -> None:
    notes = DictNotes()
    over_at(notes, 0, EMPTY)
    assert over_at(notes, 30, EMPTY) == (-20, LOOKED)
    assert over_at(notes, 39.9) == (-20, [])
    assert over_at(notes, 40, EMPTY) == (10, LOOKED)
    assert over_at(notes, 50, overview(3)) == (20, LOOKED)
    assert over_at(notes, 500, overview(3)) == (20, LOOKED)


@pytest.mark.parametrize("unreadable", [[reply(404, {})], [reply(200, [])], [reply(403, {}), reply(403, {})]])
def test_an_overview_that_cannot_be_read_shows_nothing_to_be_over(unreadable: Sequence[Reply]) -> None:
    notes = DictNotes()
    assert over_at(notes, 0, *unreadable)[0] is None
    assert notes.kept == {}


@pytest.mark.parametrize(("answer", "problem"), [(reply(503), Transient), (reply(402), ConnectionProblem)])
def test_trouble_while_the_overview_is_read_is_trouble(answer: Reply, problem: type[Exception]) -> None:
    with pytest.raises(problem):
        over_at(DictNotes(), 0, answer)
