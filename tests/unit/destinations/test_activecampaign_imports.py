"""Queueing a bulk import: what its answer means for the call and for each row."""

from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION
from relay.destinations.activecampaign.client import BULK, BULK_SINGLE
from relay.destinations.activecampaign.errors import ANSWERED_IMPORT
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, Transient
from tests.contract.activecampaign_replies import (
    FORBIDDEN,
    NEVER_ON,
    NOBODY,
    TOO_MANY_IMPORTS,
    account,
    asked,
    codes,
    export,
    queued,
    rows_refused,
    step,
    steps,
    synced,
)
from tests.fakes.scripted_caller import LOGIN_PAGE, asked_of, reply

TWO = [step(), step("b@example.com")]
REFUSED = reply(400, {})


def test_queued_is_not_delivered() -> None:
    the_account = account(queued())
    answer = DESTINATION.send(the_account, export(), TWO)
    assert (answer.import_id, answer.queued, answer.refused, answer.evidence) == ("b-1", 2, {}, {})
    (call,) = asked_of(the_account)
    assert (call.method, call.url) == ("POST", "https://acme.api-us1.com/api/3/import/bulk_import")
    assert call.headers["Api-Token"] == "s3cret"
    assert call.quota == BULK


@pytest.mark.parametrize(("said", "counted"), [(2, 2), ("1", 1), (None, None), ("many", None), (True, None)])
def test_how_many_were_queued_where_it_is_said(said: Any, counted: int | None) -> None:
    assert DESTINATION.send(account(queued(said)), export(), TWO).queued == counted


def test_named_rows_counted_from_1_are_dropped_and_the_rest_sent_once_more() -> None:
    the_account = account(rows_refused(1), queued(1))
    answer = DESTINATION.send(the_account, export(), TWO)
    assert codes(answer.refused) == {0: "malformed"}
    assert [len(call.json["contacts"]) for call in asked_of(the_account)] == [2, 1]
    assert asked_of(the_account)[1].json["contacts"][0]["email"] == "b@example.com"


def test_a_rest_of_one_contact_has_the_quota_of_single_imports() -> None:
    the_account = account(rows_refused(1), queued(1))
    DESTINATION.send(the_account, export(), TWO)
    assert [call.quota for call in asked_of(the_account)] == [BULK, BULK_SINGLE]


@pytest.mark.parametrize("row", [0, 3, "x", None, -1, True])
def test_a_row_out_of_range_is_not_believed_and_the_rows_are_halved(row: Any) -> None:
    answer = DESTINATION.send(account(rows_refused(row), queued(2), queued("1", "b-2")), export(), TWO)
    assert (answer.import_id, answer.queued, answer.refused) == ("b-1,b-2", 3, {})


def test_one_row_out_of_range_spoils_the_others_too() -> None:
    answers = (rows_refused(1, 9), queued(1), queued(1, "b-2"))
    assert DESTINATION.send(account(*answers), export(), TWO).refused == {}


def test_halves_of_which_one_does_not_say_how_many_say_nothing() -> None:
    answer = DESTINATION.send(account(REFUSED, queued(1), queued(None, "b-2")), export(), TWO)
    assert (answer.import_id, answer.queued) == ("b-1,b-2", None)


def test_a_bad_row_nobody_names_is_found_by_halving() -> None:
    answers = [REFUSED, queued(2), REFUSED, REFUSED, queued(1, "b-2")]
    answer = DESTINATION.send(account(*answers), export(), steps(4))
    assert (codes(answer.refused), answer.import_id) == ({2: "malformed"}, "b-1,b-2")


def test_every_row_refused_queues_nothing() -> None:
    answer = DESTINATION.send(account(rows_refused(1, 2)), export(), TWO)
    assert (codes(answer.refused), answer.import_id) == ({0: "malformed", 1: "malformed"}, None)


def test_when_nothing_at_all_is_accepted_nobody_is_blamed() -> None:
    with pytest.raises(ExportProblem, match="all_refused"):
        DESTINATION.send(account(*[REFUSED] * 100), export(), steps(100))


@pytest.mark.parametrize("status", [413, 422])
def test_other_refusals_of_the_content_are_taken_apart_too(status: int) -> None:
    answer = DESTINATION.send(account(reply(status), queued(1), queued(1, "b-2")), export(), TWO)
    assert (answer.import_id, answer.queued, answer.refused) == ("b-1,b-2", 2, {})


def test_the_imports_own_rate_limit() -> None:
    with pytest.raises(Transient, match="rate_limited") as caught:
        DESTINATION.send(account(TOO_MANY_IMPORTS), export(), TWO)
    assert (caught.value.taken, caught.value.retry_after) == (False, timedelta(seconds=60))


@pytest.mark.parametrize("then", [TOO_MANY_IMPORTS, reply(402), reply(500), LOGIN_PAGE])
def test_trouble_after_one_half_was_queued_is_an_unknown_outcome(then: Any) -> None:
    with pytest.raises(Problem) as caught:
        DESTINATION.send(account(rows_refused(9), queued(1), then), export(), TWO)
    assert caught.value.taken is None


# How long what was perhaps queued may still take effect.

MINUTES = ANSWERED_IMPORT
"""Reckoned from the answer; `cleared_before` then cuts it short, ten minutes after the overview showed nothing."""


@pytest.mark.parametrize(
    ("answer", "lasts"),
    [
        (reply(500, {}), MINUTES),
        (reply(503), MINUTES),
        (reply(503, None, {"Retry-After": "1"}), MINUTES),
        (reply(200, {"Success": 1}), MINUTES),
        (reply(502), None),
        (reply(504), None),
        (reply(520), None),
        (reply(524), None),
        (reply(408), None),
        (Transient("timeout", "no answer arrived in time"), None),
    ],
    ids=["500", "503", "503 for 429", "no id", "502", "504", "520", "524", "408", "time-out"],
)
def test_what_answered_by_itself_does_no_more_than_the_overview_shows(answer: Any, lasts: timedelta | None) -> None:
    """502, 504 and 520 and more come from a proxy, which does not know what goes on behind it."""
    for answers in ((answer,), (rows_refused(9), queued(1), answer)):
        with pytest.raises(Transient) as caught:
            DESTINATION.send(account(*answers), export(), TWO)
        assert (caught.value.taken, caught.value.effect_within) == (None, lasts)


def test_what_was_queued_before_the_rest_was_refused_does_no_more_either() -> None:
    with pytest.raises(Transient) as caught:
        DESTINATION.send(account(rows_refused(9), queued(1), TOO_MANY_IMPORTS), export(), TWO)
    assert (caught.value.taken, caught.value.effect_within) == (None, MINUTES)


@pytest.mark.parametrize(
    ("answer", "lasts"), [(reply(500, {}), timedelta()), (reply(429), timedelta()), (reply(502), None)]
)
def test_a_single_contact_whose_writing_was_answered_does_nothing_later(answer: Any, lasts: timedelta | None) -> None:
    with pytest.raises(Transient) as caught:
        DESTINATION.send(account(NOBODY, synced(), NEVER_ON, answer), export(), TWO[:1])
    assert (caught.value.taken, caught.value.effect_within) == (None, lasts)


def test_a_wrong_key_answers_200_with_a_page() -> None:
    with pytest.raises(ConnectionProblem, match="check the address and the key") as caught:
        DESTINATION.send(account(LOGIN_PAGE), export(), TWO)
    assert "s3cret" not in str(caught.value)


def test_an_empty_200_is_no_success() -> None:
    with pytest.raises(ConnectionProblem):
        DESTINATION.send(account(reply(200)), export(), TWO)


@pytest.mark.parametrize("body", [{}, [], {"success": 1}, {"batchId": None}, {"batchId": 17}, [{"batchId": "b-1"}]])
def test_json_of_another_shape_is_no_success(body: Any) -> None:
    with pytest.raises(Transient, match="unexpected_answer") as caught:
        DESTINATION.send(account(reply(200, body)), export(), TWO)
    assert caught.value.taken is None


@pytest.mark.parametrize("nameless", ["", " "])
def test_an_empty_id_of_an_import_is_no_success(nameless: str) -> None:
    with pytest.raises(Transient, match="unexpected_answer") as caught:
        DESTINATION.send(account(queued(2, nameless)), export(), TWO)
    assert caught.value.taken is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_refused_once_is_asked_about_once_more(status: int) -> None:
    the_account = account(reply(status, {}), queued())
    assert DESTINATION.send(the_account, export(), TWO).import_id == "b-1"
    assert asked(the_account) == ["POST import/bulk_import"] * 2


@pytest.mark.parametrize("answers", [(FORBIDDEN, FORBIDDEN), (reply(401), reply(403))])
def test_a_key_refused_twice_stops_the_connection(answers: Any) -> None:
    the_account = account(*answers)
    with pytest.raises(ConnectionProblem, match="not_authorised"):
        DESTINATION.send(the_account, export(), TWO)
    assert len(asked(the_account)) == 2


def test_other_refusals_are_not_asked_about_again() -> None:
    the_account = account(reply(402, {}))
    with pytest.raises(ConnectionProblem, match="unpaid"):
        DESTINATION.send(the_account, export(), TWO)
    assert len(asked(the_account)) == 1
