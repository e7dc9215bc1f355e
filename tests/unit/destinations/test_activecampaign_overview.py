"""The account's overview of open imports, which saves asking about each: 97 imports a minute can come later."""

from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.contract import Reply
from tests.contract.activecampaign_replies import account, asked, export, import_info, opened, overview, step
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
