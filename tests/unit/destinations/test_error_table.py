from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.api import part
from relay.destinations.contract import Reply
from relay.destinations.error_table import DEFAULT_TABLE, MAX_RETRY_AFTER, Outcome, Refused, Row, result_of, retry_after
from relay.domain.problems import Actor, ConnectionProblem, ExportProblem, Transient
from tests.examples import example
from tests.fakes.scripted_caller import LOGIN_PAGE, reply


def number_in(answer: Reply) -> int:
    """Read a success of which a number is wanted."""
    return part(answer.body, "number", int)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_is_what_can_be_read_out_of_it(status: int) -> None:
    assert result_of(reply(status, {"number": 7}), DEFAULT_TABLE, number_in) == 7


@pytest.mark.parametrize("body", [{}, [], {"number": "7"}, {"number": True}, {"number": None}])
def test_json_of_another_shape_is_none_and_nobody_knows_what_was_done(body: Any) -> None:
    with pytest.raises(Transient, match="unexpected_answer") as caught:
        result_of(reply(200, body), DEFAULT_TABLE, number_in)
    assert caught.value.taken is None


def test_no_row_of_a_table_says_what_a_success_is() -> None:
    """Whatever statuses a row names, and however a table begins."""
    table = (Row(range(100, 600), Outcome.SPLIT, "refused", "refused"), *DEFAULT_TABLE)
    assert result_of(reply(200, {"number": 7}), table, number_in) == 7
    with pytest.raises(Transient, match="unexpected_answer"):
        result_of(reply(200, {}), table, number_in)


@pytest.mark.parametrize(
    ("status", "taken"), [(408, None), (429, False), (500, None), (502, None), (503, None), (504, None), (599, None)]
)
def test_transient_statuses(status: int, taken: bool | None) -> None:
    with pytest.raises(Transient) as caught:
        result_of(reply(status), DEFAULT_TABLE, number_in)
    assert caught.value.taken is taken
    assert str(status) in str(caught.value)


def test_statuses_that_stop_the_connection() -> None:
    table: list[int] = [301, 302, 307, 401, 402, 403, 404, 405, 410, 418, 451, 100, 600]
    for status in table:
        with example(status), pytest.raises(ConnectionProblem):
            result_of(reply(status), DEFAULT_TABLE, number_in)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_content_is_left_to_who_makes_the_call(status: int) -> None:
    with pytest.raises(Refused) as caught:
        result_of(reply(status, {}), DEFAULT_TABLE, number_in)
    assert caught.value.row.outcome is Outcome.SPLIT
    assert caught.value.row.outcome.actor is Actor.US


def test_a_page_is_no_success_and_nobody_knows_what_was_done() -> None:
    with pytest.raises(ConnectionProblem, match="not_json") as caught:
        result_of(LOGIN_PAGE, DEFAULT_TABLE, number_in)
    assert caught.value.taken is None


def test_a_destination_overrides_rows_not_code() -> None:
    table = (Row((404,), Outcome.EXPORT, "gone", "the list is gone"), *DEFAULT_TABLE)
    with pytest.raises(ExportProblem, match="the list is gone"):
        result_of(reply(404), table, number_in)


def test_retry_after() -> None:
    table: list[tuple[str, timedelta | None]] = [
        ("30", timedelta(seconds=30)),
        (" 1 ", timedelta(seconds=1)),
        ("0", timedelta(0)),
        ("999999", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        ("Sun, 06 Nov 1994 08:50:37 GMT", timedelta(minutes=1)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", timedelta(0)),
        ("Tue, 06 Dec 2094 08:00:00 GMT", MAX_RETRY_AFTER),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("Sun, 99 Nov 1994 08:50:37 GMT", None),
    ]
    for given, expected in table:
        with example(given, expected):
            answer = reply(429, None, {"retry-after": given, "date": "Sun, 06 Nov 1994 08:49:37 GMT"})
            assert retry_after(answer) == expected


def test_retry_after_date_without_the_answers_own_date() -> None:
    assert retry_after(reply(503, None, {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"})) == timedelta(0)


def test_retry_after_reaches_the_exception_and_beats_the_rows_own_wait() -> None:
    table = (Row((429,), Outcome.TRANSIENT, "slow", "slow down", least_wait=timedelta(seconds=60)),)
    with pytest.raises(Transient) as caught:
        result_of(reply(429, None, {"retry-after": "7"}), table, number_in)
    assert caught.value.retry_after == timedelta(seconds=7)
    with pytest.raises(Transient) as caught:
        result_of(reply(429), table, number_in)
    assert caught.value.retry_after == timedelta(seconds=60)
