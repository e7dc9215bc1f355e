"""Calls that fail or whose answer is lost: what is known afterwards, and what waits for what."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from relay.breaker.failures import MOST_RECEIVES
from relay.destinations.contract import Account, Answer
from relay.domain.identity import CLOCK_MARGIN, OUT, UNKNOWN
from relay.domain.problems import Busy, Conflict, ConnectionProblem, Rejection, RejectionKind, Transient
from relay.reconcile.reconciler import FIRST_WAIT
from relay.reconcile.verdict import DELIVERED, OUTSTANDING, UNCHANGED
from relay.stores import breakers, imports, waits
from relay.stores.waits import IdentityWait, Wait
from relay.workers.consumer import ENOUGH_TIME
from tests.fakes.bench import CONNECTION, KEYED, LAPSED, VIP, Bench, person
from tests.fakes.bench_destination import DOWN, TOO_MANY, UNKNOWN_USER, Lost

ANN, BOB = "ann@x.example", "bob@x.example"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")


def bench_with(*numbers: int, **options: object) -> Bench:
    bench = Bench(**options)  # type: ignore[arg-type]
    for number in numbers:
        bench.store(number, email=f"{number}@x.example", name="A")
    return bench


def lose(bench: Bench, *numbers: int, problem: Exception = DOWN) -> None:
    """Let the next call for these profiles fail."""
    bench.tool.script = [problem]
    with pytest.raises(type(problem)):
        bench.reconcile(*numbers)


def wait_of(bench: Bench) -> Wait:
    """Return the only wait there is."""
    [found] = [wait for part in waits.due(bench.database, bench.clock.now() + 30 * DAY) for wait in part]
    return found


def lost_and_changed(bound: timedelta = DAY) -> Bench:
    """Return a bench on which a call was lost 20 minutes ago, and something else is desired since."""
    bench = Bench()
    bench.tool.lost_answer_bound = bound
    bench.store(2, email=ANN, name="A")
    lose(bench, 2)
    bench.clock.time += 20 * MINUTE
    bench.store(2, name="B")
    return bench


# What is known after a call.


def test_after_a_call_that_was_certainly_not_taken_other_values_go_at_once() -> None:
    bench = bench_with(2)
    lose(bench, 2, problem=TOO_MANY)
    assert (bench.record("2@x.example").open, bench.record("2@x.example").acknowledged) == (None, OUT)
    bench.store(2, name="B")
    assert bench.reconcile(2) == {2: DELIVERED}
    assert bench.tool.holds() == {"2@x.example": {"name": "B"}}


def test_while_nobody_knows_what_a_call_did_the_record_says_so() -> None:
    bench = bench_with(2, 4)
    lose(bench, 2, 4, problem=Lost())
    for number in (2, 4):
        record = bench.record(f"{number}@x.example")
        assert record.open is not None
        assert (record.open.content, record.acknowledged) == (record.desired.digest, OUT)  # type: ignore[union-attr]


def test_after_a_lost_answer_the_same_values_go_at_once_with_the_same_time() -> None:
    bench = bench_with(2)
    lose(bench, 2, problem=Lost())
    bench.clock.time += MINUTE / 3
    assert bench.reconcile(2) == {2: DELIVERED}
    first, second = bench.tool.calls_made
    assert first == second


def test_after_a_lost_answer_other_values_wait_for_the_deadline_and_are_sent_then() -> None:
    bench = bench_with(2)
    lose(bench, 2)
    open_call = bench.record("2@x.example").open
    assert open_call is not None
    assert open_call.deadline == open_call.send_by + bench.tool.lost_answer_bound + CLOCK_MARGIN
    bench.store(2, name="B")

    assert bench.reconcile(2) == {2: OUTSTANDING}
    assert len(bench.sent) == 1
    due = min(open_call.deadline, open_call.send_by + FIRST_WAIT)
    assert wait_of(bench) == IdentityWait(due, CONNECTION, bench.key("2@x.example"))

    bench.pass_time(open_call.deadline - bench.clock.now() - MINUTE)
    assert len(bench.sent) == 1
    bench.pass_time(2 * MINUTE)
    assert bench.tool.holds() == {"2@x.example": {"name": "B"}}


def test_a_lost_call_that_nothing_waits_for_is_unknown_in_the_end_and_sent_again_by_the_next_look() -> None:
    bench = bench_with(2)
    bench.reconcile(2)
    bench.store(2, name="B")
    lose(bench, 2)
    bench.clock.time += DAY
    assert bench.reconcile(2) == {2: DELIVERED}
    assert bench.tool.holds() == {"2@x.example": {"name": "B"}}


@pytest.mark.parametrize("problem", [TOO_MANY, UNKNOWN_USER], ids=["not taken", "refused"])
def test_whoever_leaves_after_a_late_answer_to_a_retry_is_taken_out(problem: Exception | Rejection) -> None:
    """Given a lost call, and a retry before its deadline that is answered after it: nobody knows what the first did."""
    bench = bench_with(2, 4)
    bench.full_run()
    bench.store(6, email=ANN)
    lose(bench, 6, problem=Lost())
    first = bench.record(ANN).open
    assert first is not None
    bench.clock.time = first.deadline - timedelta(seconds=1)
    if isinstance(problem, Exception):
        bench.tool.script = [problem]
    else:
        bench.tool.refuses, bench.tool.rejection = {ANN}, problem
    send = bench.tool.send

    def slowly(*parts: Any) -> Answer:
        bench.clock.time += MINUTE
        return send(*parts)

    bench.tool.send = slowly  # type: ignore[assignment,method-assign]
    bench.consume(bench.look(6))
    bench.tool.send = send  # type: ignore[method-assign]
    bench.tool.refuses = set()
    assert ANN in bench.tool.holds()
    bench.leave(6)
    assert bench.consume(bench.look(6), receives=2) == []
    bench.pass_time(HOUR)
    assert sorted(bench.tool.holds()) == ["2@x.example", "4@x.example"]


def test_what_was_lost_is_taken_out_when_the_profile_leaves() -> None:
    bench = bench_with(2, 4)
    bench.full_run()
    bench.clock.time += HOUR
    bench.store(2, name="B")
    lose(bench, 2, problem=Lost())
    bench.leave(2)
    assert bench.reconcile(2) == {}
    bench.pass_time(HOUR)
    assert list(bench.tool.holds()) == ["4@x.example"]
    assert bench.record("2@x.example").acknowledged is OUT


@pytest.mark.parametrize("same_again_first", [False, True])
def test_after_an_answer_that_says_nothing_other_values_wait_as_long_as_the_answer_lets_expect(
    same_again_first: bool,
) -> None:
    bench = bench_with(2)
    bench.tool.lost_answer_bound = DAY
    lose(bench, 2, problem=Transient("server_error", "500", effect_within=10 * MINUTE))
    answered_at = bench.clock.now()
    if same_again_first:
        assert bench.reconcile(2) == {2: DELIVERED}
    bench.clock.time += MINUTE
    bench.store(2, name="B")

    assert bench.reconcile(2) == {2: OUTSTANDING}
    open_call = bench.record("2@x.example").open
    assert open_call is not None
    assert open_call.deadline == answered_at + 10 * MINUTE + CLOCK_MARGIN
    assert wait_of(bench).due <= open_call.deadline
    bench.pass_time(11 * MINUTE)
    assert bench.tool.holds() == {"2@x.example": {"name": "B"}}


def test_after_an_answer_after_which_nothing_can_happen_other_values_go_as_soon_as_clocks_allow() -> None:
    bench = bench_with(2)
    lose(bench, 2, problem=Transient("server_error", "500", effect_within=timedelta()))
    bench.store(2, name="B")
    bench.clock.time += CLOCK_MARGIN
    assert bench.reconcile(2) == {2: DELIVERED}


def test_an_answer_never_makes_a_call_last_longer_than_no_answer_would() -> None:
    bench = bench_with(2)
    lose(bench, 2, problem=Transient("server_error", "500", effect_within=5 * HOUR))
    open_call = bench.record("2@x.example").open
    assert open_call is not None
    assert open_call.deadline == open_call.send_by + bench.tool.lost_answer_bound + CLOCK_MARGIN


def test_an_answer_after_which_something_may_come_shortens_the_wait_of_its_own_call_alone() -> None:
    """The first call's answer was lost: it may take effect until its own deadline, whatever the second one's says."""
    bench = bench_with(2)
    lose(bench, 2, problem=Lost())
    first = bench.record("2@x.example").open
    assert first is not None
    bench.clock.time += MINUTE
    lose(bench, 2, problem=Transient("server_error", "500", effect_within=timedelta()))
    second = bench.record("2@x.example").open
    assert second is not None
    assert second.deadline == first.deadline


def test_a_third_call_that_was_taken_leaves_open_what_the_first_may_still_do() -> None:
    bench = bench_with(2)
    bench.tool.lost_answer_bound = DAY
    lose(bench, 2, problem=Lost())
    first = bench.record("2@x.example").open
    bench.clock.time += MINUTE
    lose(bench, 2, problem=TOO_MANY)
    bench.clock.time += MINUTE
    assert bench.reconcile(2) == {2: DELIVERED}
    bench.store(2, name="B")
    assert bench.reconcile(2) == {2: OUTSTANDING}
    rest = bench.record("2@x.example").open
    assert first is not None
    assert rest is not None
    assert (rest.id, rest.deadline) == (None, first.deadline)


def test_the_calls_after_one_that_failed_are_known_not_to_have_been_made() -> None:
    bench = bench_with(2, 4, 6, call_size=1)
    lose(bench, 2, 4, 6)
    assert len(bench.sent) == 1
    for number in (2, 4, 6):
        bench.store(number, name="B")
    assert bench.reconcile(2, 4, 6) == {2: OUTSTANDING, 4: DELIVERED, 6: DELIVERED}


def test_what_was_answered_before_a_call_failed_is_recorded() -> None:
    bench = bench_with(2, 4, 6, call_size=1)
    bench.tool.script = [None, BAD_KEY]
    with pytest.raises(ConnectionProblem):
        bench.reconcile(2, 4, 6)
    assert bench.reconcile(2) == {2: UNCHANGED}
    assert len(bench.sent) == 2
    assert list(bench.tool.holds()) == ["2@x.example"]
    # The account refused the second call, so it did nothing.
    assert [bench.record(f"{number}@x.example").open for number in (4, 6)] == [None, None]


NO_NEWS = Transient("server_error", "500", effect_within=10 * MINUTE)


@pytest.mark.parametrize("problem", [TOO_MANY, DOWN, Lost(), NO_NEWS], ids=["refused", "lost", "taken", "answered"])
def test_a_call_that_failed_makes_no_message_beside_the_one_that_stays(problem: Exception) -> None:
    """Else each failure would add one, and an outage of some hours a flood."""
    bench = bench_with(2, 4, 6, call_size=1)
    bench.tool.script = [problem] * 3
    for receives in (1, 2, 3):
        assert bench.consume(bench.look(2, 4, 6), receives=receives) == ["m0"]
        assert bench.queue.messages == []
        bench.clock.time += MINUTE
    assert bench.consume(bench.look(2, 4, 6), receives=4) == []
    assert len(bench.tool.holds()) == 3


def test_somebody_who_came_while_a_call_failed_goes_on_with_the_next_try() -> None:
    bench = Bench()
    bench.store(4, email=ANN, name="second")
    bench.store(2, email=ANN, name="first")
    send = bench.tool.send

    def come_and_fail(*parts: Any) -> Any:
        bench.tool.send = send  # type: ignore[method-assign]
        assert bench.consume(bench.look(2)) == []
        raise TOO_MANY

    bench.tool.send = come_and_fail  # type: ignore[method-assign,assignment]
    assert bench.consume(bench.look(4)) == ["m0"]
    assert bench.consume(bench.look(4), receives=2) == []
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "first"}}


def test_what_the_destination_gave_back_comes_with_the_next_call_for_the_identity() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.full_run()
    bench.clock.time += HOUR
    bench.tool.evidence = "left by us"
    bench.leave(2)
    bench.reconcile(2)
    bench.tool.evidence = None
    bench.store(4, email=ANN)
    bench.reconcile(4)
    bench.store(4, name="A")
    bench.reconcile(4)
    assert [step.evidence for [step] in bench.tool.calls_made] == [None, None, "left by us", None]


@pytest.mark.parametrize("problem", [Lost(), TOO_MANY], ids=["lost", "not taken"])
def test_a_refusal_comes_with_the_calls_for_the_identity_until_one_is_taken(problem: Exception) -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.tool.refuses = {ANN}
    bench.reconcile(2)
    bench.reconcile(4)
    bench.tool.refuses = set()
    bench.store(2, name="A")
    lose(bench, 2, problem=problem)
    bench.reconcile(2)
    bench.clock.time += 2 * DAY
    bench.store(2, name="B")
    bench.reconcile(2)
    bench.store(4, name="B")
    bench.reconcile(4)
    calls = [(step.identity, step.last_refusal) for [step] in bench.tool.calls_made]
    assert [code for identity, code in calls if identity == BOB] == [None, None]
    first, *tries, last = [code for identity, code in calls if identity == ANN]
    assert (first, set(tries), last) == (None, {"unknown_user"}, None)
    assert len(tries) == 2


@pytest.mark.parametrize("problem", [None, Lost(), TOO_MANY], ids=["refused", "lost", "not taken"])
def test_only_a_call_that_was_taken_replaces_what_was_given_back(problem: Exception | None) -> None:
    bench = Bench()
    bench.tool.evidence = "left by us"
    bench.store(2, email=ANN)
    bench.reconcile(2)
    bench.tool.evidence = "never said"
    bench.store(2, name="A")
    if problem is None:
        bench.tool.refuses = {ANN}
        bench.reconcile(2)
    else:
        lose(bench, 2, problem=problem)
    assert bench.record(ANN).evidence == "left by us"


def test_a_time_that_is_sent_never_falls_and_no_clock_ahead_is_believed() -> None:
    bench = Bench()
    now = bench.clock.now()
    bench.clock.time = now + 2 * HOUR
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.clock.time = now
    bench.full_run()
    bench.leave(2)
    bench.clock.time += MINUTE
    bench.reconcile(2)
    steps = [step for call in bench.tool.calls_made for step in call]
    assert [(step.identity, step.joins) for step in steps] == [(ANN, True), (BOB, True), (ANN, False)]
    assert [step.at for step in steps] == [now + MINUTE, now + MINUTE, now + MINUTE + timedelta(milliseconds=1)]
    assert bench.tool.complaints == []


# What shows earlier that a call is over.


def test_other_values_go_once_the_destination_shows_that_the_lost_call_is_over() -> None:
    bench = lost_and_changed()
    open_call = bench.record(ANN).open
    assert open_call is not None
    bench.tool.cleared = open_call.send_by - timedelta(milliseconds=1)
    assert bench.reconcile(2) == {2: OUTSTANDING}
    bench.tool.cleared = open_call.send_by
    assert bench.reconcile(2) == {2: DELIVERED}
    assert bench.tool.holds() == {ANN: {"name": "B"}}


@pytest.mark.exhaustive
@pytest.mark.parametrize("shows", ["nothing yet", "nothing ever", "trouble"])
def test_it_is_asked_again_less_and_less_often(shows: str) -> None:
    bench = lost_and_changed()
    open_call = bench.record(ANN).open
    assert open_call is not None
    begun = open_call.send_by
    shown: dict[str, datetime | Exception | None] = {
        "nothing yet": begun - MINUTE,
        "nothing ever": None,
        "trouble": DOWN,
    }
    bench.tool.cleared = shown[shows]
    asked: list[timedelta] = []
    cleared_before = bench.tool.cleared_before

    def noting(account: Account, now: datetime) -> datetime | None:
        asked.append(now - begun)
        return cleared_before(account, now)

    bench.tool.cleared_before = noting  # type: ignore[method-assign]
    bench.reconcile(2)
    bench.pass_time(20 * HOUR)
    pauses = [later - earlier for earlier, later in pairwise(asked)][1:]
    assert MINUTE < pauses[0] < 20 * MINUTE
    assert pauses == sorted(pauses)
    assert len(asked) < 15
    assert list(bench.tool.holds()) == []
    bench.tool.cleared = None
    bench.pass_time(5 * HOUR)
    assert bench.tool.holds() == {ANN: {"name": "B"}}


def test_whoever_waits_is_sent_soon_after_it_shows() -> None:
    bench = lost_and_changed()
    bench.tool.cleared = bench.clock.now() - HOUR
    bench.reconcile(2)
    bench.tool.cleared = bench.clock.now()
    bench.pass_time(21 * MINUTE)
    assert bench.tool.holds() == {ANN: {"name": "B"}}


def test_it_is_asked_only_while_somebody_waits() -> None:
    bench = bench_with(2)
    bench.tool.cleared = AssertionError("nobody asked")
    lose(bench, 2)
    assert bench.reconcile(2) == {2: DELIVERED}


def test_while_it_cannot_be_asked_whoever_waits_waits_on_and_the_others_are_sent() -> None:
    bench = lost_and_changed()
    bench.store(4, email=BOB)
    bench.tool.cleared = DOWN
    assert bench.reconcile(2, 4) == {2: OUTSTANDING, 4: DELIVERED}


def test_asking_does_not_prove_that_the_destination_is_well() -> None:
    bench = lost_and_changed()
    breakers.note_failure(bench.database, breakers.load_one(bench.database, CONNECTION, None), bench.clock.now())
    bench.tool.cleared_takes_a_call = True
    assert bench.consume(bench.look(2)) == []
    assert breakers.load_one(bench.database, CONNECTION, None).failures is not None
    bench.store(4, email=BOB)
    assert bench.consume(bench.look(2, 4)) == []
    assert breakers.load_one(bench.database, CONNECTION, None).failures is None


def test_a_refused_key_while_asking_stops_the_connection() -> None:
    bench = lost_and_changed()
    bench.tool.cleared = BAD_KEY
    with pytest.raises(ConnectionProblem):
        bench.reconcile(2)


def test_what_was_shown_to_be_over_need_not_be_asked_about_again() -> None:
    bench = lost_and_changed()
    bench.tool.cleared = bench.clock.now()
    assert bench.reconcile(2) == {2: DELIVERED}
    bench.tool.cleared = AssertionError("asked again")
    bench.store(2, name="C")
    assert bench.reconcile(2) == {2: DELIVERED}


# Waits.


def test_looks_at_whoever_waits_do_not_multiply_waits() -> None:
    bench = lost_and_changed()
    for _ in range(4):
        assert bench.consume(bench.look(2)) == []
        bench.clock.time += MINUTE
    assert isinstance(wait_of(bench), IdentityWait)
    assert bench.checks.messages == []


def test_a_profile_that_waits_at_its_second_record_is_looked_at_when_that_is_over() -> None:
    bench = Bench(segments=(VIP, LAPSED))
    bench.store(4, inside=(LAPSED,), email=ANN, name="second")
    lose(bench, 4, problem=Lost())
    bench.store(2, inside=(VIP, LAPSED), email=ANN, name="first")
    assert bench.reconcile(2) == {2: OUTSTANDING}
    assert bench.tool.held[f"segment/{VIP}", ANN] == {"name": "first"}
    bench.pass_time(HOUR)
    assert bench.tool.held[f"segment/{LAPSED}", ANN] == {"name": "first"}


def test_a_wait_that_is_due_for_a_record_at_rest_wakes_nobody() -> None:
    bench = lost_and_changed()
    bench.edit(stream=False)
    bench.reconcile(2)
    bench.store(2, name="A")
    bench.reconcile(2)
    bench.clock.time += 2 * DAY
    bench.tick()
    assert bench.queue.messages == []
    assert list(waits.due(bench.database, bench.clock.now() + DAY)) == []


def test_whoever_reads_a_record_that_somebody_else_has_to_go_on_with_asks_for_that() -> None:
    """The writer of the record died before it could ask."""
    bench = Bench()
    bench.store(2, email=ANN, name="first")
    bench.store(4, email=ANN, name="second")
    bench.full_run()
    bench.clock.time += HOUR
    bench.leave(2)
    asked = bench.queue.take
    bench.reconcile(2)
    asked()
    assert bench.record(ANN).winner == person(4)
    bench.store(6, email=ANN, name="third")
    bench.reconcile(6)
    assert [task.profiles for task in bench.queue.tasks] == [(person(4),)]  # type: ignore[union-attr]
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "second"}}


# The function's time.


def test_no_call_begins_when_the_functions_time_is_nearly_over_and_the_rest_is_known_not_to_have_begun() -> None:
    bench = bench_with(2, 4, 6, call_size=1)
    bench.tool.answered = lambda: bench.clock.advance(10)
    with pytest.raises(Conflict):
        bench.reconcile(2, 4, 6, seconds=15)
    assert len(bench.sent) == 2
    assert bench.record("6@x.example").open is None
    bench.store(6, name="B")
    assert bench.reconcile(6) == {6: DELIVERED}


def test_the_next_message_goes_on_where_the_time_ran_out() -> None:
    bench = bench_with(2, 4, 6, call_size=1)
    bench.tool.answered = lambda: bench.clock.advance(10)
    assert bench.consume(bench.look(2, 4, 6), seconds_left=ENOUGH_TIME + 15) == []
    assert len(bench.sent) == 2
    assert bench.consume(*bench.queue.take()) == []
    assert len(bench.sent) == len(bench.tool.holds()) == 3


def test_a_call_that_was_taken_but_could_not_be_recorded_is_not_forgotten() -> None:
    bench = bench_with(2, 4)
    bench.full_run()
    bench.store(2, name="B")
    trouble = iter([False, True])
    write = bench.database.write

    def write_once(writes: object) -> list[bool]:
        if bench.tool.calls_made[-1][0].values == {"name": "B"} and next(trouble, False):
            raise Busy("throttled", "too many writes")
        return write(writes)  # type: ignore[arg-type]

    bench.database.write = write_once  # type: ignore[method-assign]
    bench.consume(bench.look(2))
    bench.leave(2)
    bench.reconcile(2)
    bench.pass_time(HOUR)
    assert list(bench.tool.holds()) == ["4@x.example"]


def test_after_many_receives_passing_trouble_is_left_to_a_run() -> None:
    bench = bench_with(2)
    bench.tool.script, bench.tool.probe_script = [DOWN, DOWN], [DOWN, DOWN]
    assert bench.consume(bench.look(2), receives=MOST_RECEIVES - 1) == ["m0"]
    assert bench.consume(bench.look(2), receives=MOST_RECEIVES) == []
    assert breakers.load_one(bench.database, CONNECTION, "main").resync
    bench.tick()
    bench.work_off()
    assert bench.tool.holds() == {"2@x.example": {"name": "A"}}


# Leaving that is refused.


def refused_leaver() -> Bench:
    bench = bench_with(2, 4)
    bench.full_run()
    bench.clock.time += HOUR
    bench.tool.rejection = Rejection(RejectionKind.DATA, "malformed", "it does not like it")
    bench.tool.refuses = {"2@x.example"}
    bench.leave(2)
    bench.reconcile(2)
    bench.tool.refuses = set()
    assert "2@x.example" in bench.tool.holds()
    return bench


def test_whoever_may_not_leave_keeps_nobody_else_out() -> None:
    bench = refused_leaver()
    bench.store(6, email="2@x.example", name="B")
    assert bench.reconcile(6) == {6: DELIVERED}
    assert bench.tool.holds()["2@x.example"] == {"name": "B"}


def test_whoever_may_not_leave_is_taken_out_by_a_run_a_day_later() -> None:
    bench = refused_leaver()
    bench.full_run()
    assert "2@x.example" in bench.tool.holds()
    bench.clock.time += DAY
    bench.full_run()
    assert list(bench.tool.holds()) == ["4@x.example"]
    assert bench.assigned(2) == set()


# Imports.


def test_an_import_is_outstanding_until_it_is_checked_and_is_not_sent_twice() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=ANN)
    assert bench.reconcile(2) == {2: OUTSTANDING}
    assert bench.reconcile(2) == {2: OUTSTANDING}
    bench.clock.time += bench.tool.lost_answer_bound + HOUR
    assert bench.reconcile(2) == {2: OUTSTANDING}
    assert len(bench.sent) == 1
    assert len(imports.all_open(bench.database, CONNECTION)) == 1
    bench.work_off()
    assert bench.reconcile(2) == {2: UNCHANGED}
    assert bench.tool.holds() == {ANN: {}}
    assert len(bench.sent) == 1


def test_while_an_import_is_open_nothing_else_is_sent_and_its_end_goes_on() -> None:
    bench = Bench(imports=True)
    bench.store(4, email=ANN, name="second")
    bench.reconcile(4)
    bench.store(2, email=ANN, name="first")
    assert bench.reconcile(2) == {2: OUTSTANDING}
    bench.clock.time += HOUR
    assert bench.reconcile(2) == {2: OUTSTANDING}
    assert len(bench.sent) == 1
    assert list(waits.due(bench.database, bench.clock.now() + DAY)) == []
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "first"}}


def test_while_several_imports_are_open_nothing_else_is_sent_for_any_of_their_rows() -> None:
    bench = bench_with(2, 4, 6, imports=True, call_size=1)
    bench.reconcile(2, 4, 6)
    assert len(imports.all_open(bench.database, CONNECTION)) == 3
    for number in (2, 4, 6):
        bench.store(number, name="B")
    assert bench.reconcile(2, 4, 6) == {2: OUTSTANDING, 4: OUTSTANDING, 6: OUTSTANDING}
    bench.clock.time += bench.tool.lost_answer_bound + HOUR
    assert bench.reconcile(2, 4, 6) == {2: OUTSTANDING, 4: OUTSTANDING, 6: OUTSTANDING}
    assert len(bench.sent) == 3
    assert list(waits.due(bench.database, bench.clock.now() + DAY)) == []
    bench.work_off()
    assert bench.tool.holds() == {f"{number}@x.example": {"name": "B"} for number in (2, 4, 6)}


def test_whoever_leaves_while_the_import_is_open_is_taken_out_after_it() -> None:
    bench = Bench(imports=True)
    bench.store(4, email=BOB)
    bench.full_run()
    bench.clock.time += HOUR
    bench.store(2, email=ANN)
    bench.reconcile(2)
    bench.leave(2)
    assert bench.reconcile(2) == {}
    bench.work_off()
    assert list(bench.tool.holds()) == [BOB]
    assert bench.record(ANN).winner is None


def test_a_row_refused_when_its_import_is_queued_is_rejected_and_no_other() -> None:
    bench = bench_with(2, 4, 6, imports=True)
    send = bench.tool.send
    bench.tool.send = lambda *parts: replace(send(*parts), refused={1: UNKNOWN_USER}, queued=2)  # type: ignore[method-assign]
    stands = bench.reconcile(2, 4, 6)
    assert {number: stands[number].column.value for number in stands} == {
        2: "outstanding",
        4: "rejected",
        6: "outstanding",
    }
    [opened] = imports.all_open(bench.database, CONNECTION)
    assert [row.profile for row in imports.rows(bench.database, KEYED, opened)] == [person(2), person(6)]
    bench.work_off()
    assert bench.record("4@x.example").refused is not None
    assert bench.record("6@x.example").acknowledged not in (OUT, UNKNOWN)
