"""What only Newsletter Tool does; all that destinations have in common is in the contract suite."""

from __future__ import annotations

import pytest

from relay.domain.problems import ExportProblem
from scaffold.model.subject import NewsletterToolSubject


@pytest.fixture
def subject() -> NewsletterToolSubject:
    return NewsletterToolSubject()


def test_a_list_is_found_by_its_number_and_filled_under_its_key(subject: NewsletterToolSubject) -> None:
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    assert subject.state() == {"7": {subject.identity(1): "word", subject.identity(2): "word"}, "8": {}}


def test_the_key_of_a_list_is_looked_for_once(subject: NewsletterToolSubject) -> None:
    for number in range(3):
        subject.deliver([subject.step(number)])
    assert subject.counters()["operations"] == {"GET /v2/lists": 1, "POST /v2/lists/<key>/members": 3}


@pytest.mark.parametrize("joins", [True, False])
def test_a_list_that_has_another_key_by_now_is_found_again(subject: NewsletterToolSubject, joins: bool) -> None:
    subject.deliver([subject.step(1)])
    subject.account_under_test.change({"lists": {7: "m-again"}})
    for number in (1, 2):
        assert subject.deliver([subject.step(number, joins=joins)]) == {}
    assert subject.members("list/7") == ({subject.identity(1), subject.identity(2)} if joins else set())
    assert subject.counters()["operations"]["GET /v2/lists"] == 2


def test_a_list_that_is_gone_stops_the_export_and_nothing_was_done(subject: NewsletterToolSubject) -> None:
    subject.spoil()
    with pytest.raises(ExportProblem) as stopped:
        subject.deliver([subject.step(1)])
    assert (stopped.value.code, stopped.value.taken) == ("list_gone", False)
    assert subject.members("list/7") == set()
