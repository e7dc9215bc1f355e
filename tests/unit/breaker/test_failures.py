"""The one table of failures, and the page that prints it."""

import ast
import inspect
from datetime import timedelta

import pytest

from local import what_happens_on
from relay.breaker import failures
from relay.breaker.failures import (
    LONGEST_BACKOFF,
    MOST_RECEIVES,
    PATIENCE,
    TABLE,
    Do,
    Kind,
    Paused,
    Stopped,
    When,
    kind_of,
    pause_before_retry,
    row_for,
)
from relay.domain import problems
from relay.domain.problems import (
    DEFECT,
    UNCONFIRMED,
    Busy,
    Conflict,
    ConnectionProblem,
    ExportProblem,
    Problem,
    Rejection,
    RejectionKind,
    SettingsProblem,
    StaleSettings,
    Transient,
)
from relay.settings.names import UnknownConnection, UnknownExport
from relay.stores.breakers import Breaker
from tests.examples import example
from tests.fakes.breaker_world import BreakerWorld

DOWN = Transient("unavailable", "has a problem of its own")


def stopped() -> Stopped:
    return Stopped(BreakerWorld().main, Breaker("letters", "main"))


def test_what_is_done_about_a_problem_that_is_met_for_the_first_time() -> None:
    table: list[tuple[BaseException | Rejection, Do]] = [
        (DOWN, Do.RETRY),
        (Busy("pace", "the quota is used up"), Do.RETRY),
        (Conflict("contention", "others kept writing"), Do.RETRY_SOON),
        (StaleSettings("settings", "newer settings were acted on"), Do.RETRY_SOON),
        (ConnectionProblem("unpaid", "refuses"), Do.STOP_CONNECTION),
        (ExportProblem("list_gone", "gone"), Do.STOP_EXPORT),
        (SettingsProblem("missing", "is missing", field="mapping"), Do.RESYNC),
        (UnknownExport("unknown_export", "none", field="export"), Do.DROP),
        (UnknownConnection("unknown_connection", "none", field="connection"), Do.DROP),
        (stopped(), Do.RESYNC),
        (Paused(BreakerWorld().main), Do.RESYNC),
        (KeyError("defect"), Do.DEAD_LETTER),
        (problems.Unexpected("defect", "was met"), Do.DEAD_LETTER),
        (Rejection(RejectionKind.DATA, "no_address", ""), Do.REJECT),
        (Rejection(RejectionKind.DESTINATION, "bounced", ""), Do.REJECT),
    ]
    for problem, do in table:
        with example(problem, do):
            assert row_for(problem).do is do


@pytest.mark.parametrize(
    ("code", "kind"), [("bounced", Kind.REFUSED), (UNCONFIRMED, Kind.UNCONFIRMED), (DEFECT, Kind.SET_ASIDE)]
)
def test_a_rejection_is_known_by_its_code_where_that_says_more(code: str, kind: Kind) -> None:
    assert kind_of(Rejection(RejectionKind.DESTINATION, code, "")) is kind


def test_half_an_hour_of_nothing_but_failures_stops_the_connection_and_nothing_shorter_does() -> None:
    assert row_for(DOWN, failing=PATIENCE).do is Do.STOP_CONNECTION
    assert row_for(DOWN, failing=PATIENCE - timedelta(seconds=1)).do is Do.RETRY
    # Our own limits say nothing of the destination.
    assert row_for(Busy("pace", "used up"), failing=PATIENCE).do is Do.RETRY
    assert failures.tells_of_destination(DOWN)
    assert not failures.tells_of_destination(Busy("pace", "used up"))


@pytest.mark.parametrize("problem", [DOWN, Busy("a", "b"), Conflict("a", "b"), StaleSettings("a", "b")])
def test_passing_trouble_of_a_message_that_came_too_often_is_left_to_a_run(problem: Problem) -> None:
    assert row_for(problem, receives=MOST_RECEIVES).do is Do.RESYNC
    assert row_for(problem, receives=MOST_RECEIVES - 1).do in (Do.RETRY, Do.RETRY_SOON)


def test_a_stop_goes_before_giving_up_a_message() -> None:
    assert row_for(DOWN, receives=MOST_RECEIVES, failing=PATIENCE).do is Do.STOP_CONNECTION


def test_what_got_on_before_its_time_ran_out_is_no_failed_try() -> None:
    out_of_time = Conflict("out_of_time", "the function's time is nearly over")
    assert row_for(out_of_time, receives=MOST_RECEIVES, got_on=True).do is Do.GO_ON
    assert row_for(out_of_time).do is Do.RETRY_SOON
    in_the_middle = Busy("out_of_time", "the function's time is nearly over")
    assert row_for(in_the_middle, receives=MOST_RECEIVES, got_on=True).do is Do.GO_ON
    assert row_for(in_the_middle).do is Do.RETRY


def test_a_defect_stays_a_defect_however_often_it_is_met() -> None:
    assert row_for(KeyError(), receives=100, failing=PATIENCE, got_on=True).do is Do.DEAD_LETTER


def test_the_table_is_closed() -> None:
    """Every kind has rows that end with one that always holds; no row can never be reached."""
    for kind in Kind:
        rows = [row for row in TABLE if row.kind is kind]
        assert [row.when for row in rows].count(When.ALWAYS) == 1
        assert rows[-1].when is When.ALWAYS
        assert len({row.when for row in rows}) == len(rows)
    assert {row.do for row in TABLE} == set(Do)


def test_every_problem_of_ours_has_a_kind_or_reaches_no_message() -> None:
    """Given the closed set of problems, Then only those that no message meets are taken for defects."""
    tree = ast.parse(inspect.getsource(problems))
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    classes = [getattr(problems, name) for name in names]
    ours = [one for one in classes if isinstance(one, type) and issubclass(one, Problem) and one is not Problem]
    unexpected = {one.__name__ for one in ours if kind_of(one.__new__(one)) is Kind.UNEXPECTED}
    told_to_people = {"RunProblem", "InputProblem", "ImportProblem", "EventProblem", "QuestionProblem"}
    assert unexpected == {"Unexpected", *told_to_people}


# Pauses.


def test_pauses_grow_with_full_jitter_up_to_a_quarter_of_an_hour() -> None:
    longest = [pause_before_retry(Do.RETRY, receives, chance=lambda: 1.0) for receives in (1, 2, 3, 9, 1000)]
    assert longest == [*(timedelta(seconds=s) for s in (5, 10, 20)), LONGEST_BACKOFF, LONGEST_BACKOFF]
    assert pause_before_retry(Do.RETRY, 9, chance=lambda: 0.0) == timedelta()


def test_a_pause_is_at_least_what_the_destination_asked_for_and_never_longer_than_sqs_hides_a_message() -> None:
    minute = timedelta(minutes=1)
    assert pause_before_retry(Do.RETRY, 1, minute, lambda: 1.0) == minute
    assert pause_before_retry(Do.RETRY, 9, minute, lambda: 1.0) == LONGEST_BACKOFF
    assert pause_before_retry(Do.RETRY, 1, timedelta(days=2)) == failures.LONGEST_HIDDEN


def test_what_is_over_in_a_moment_waits_a_moment_and_what_is_not_tried_again_waits_not_at_all() -> None:
    for chance, seconds in ((0.0, 1), (1.0, 5)):
        assert pause_before_retry(Do.RETRY_SOON, 9, chance=lambda chance=chance: chance) == timedelta(seconds=seconds)  # type: ignore[misc]
    for do in set(Do) - {Do.RETRY, Do.RETRY_SOON}:
        assert pause_before_retry(do, 9) == timedelta()


# The page.


def test_the_page_says_what_the_code_does() -> None:
    """If this fails: `make pages`."""
    text = what_happens_on.PAGE.read_text()
    assert what_happens_on.on_page(text) == what_happens_on.printed()
    assert what_happens_on.written(text) == text


def test_the_page_names_what_operators_look_for() -> None:
    table: list[str] = [
        "429",
        "401",
        "402",
        "404",
        "5xx",
        "a time-out",
        "a lost answer",
        "HTML, or no JSON, with 200",
        "a defect of ours",
    ]
    for answer in table:
        with example(answer):
            lines = [line for line in what_happens_on.printed() if line.startswith(f"| {answer}")]
            assert len(lines) == 1
            assert all(cell.strip() for cell in lines[0].strip("|").split("|"))
