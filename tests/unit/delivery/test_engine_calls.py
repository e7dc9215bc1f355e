"""Calls that fail, and imports: what is known afterwards, and what waits for what."""

from datetime import timedelta

import pytest

from relay.delivery import settling
from relay.delivery.cases import Result
from relay.delivery.consuming import ENOUGH_TIME
from relay.domain.problems import Busy, ConnectionProblem, StaleSettings, Transient
from relay.domain.runs import Outcome
from relay.stores import flights, gates, runs
from relay.stores.gates import Gate
from tests.fakes.delivery_bench import CONNECTION, DOWN, TOO_MANY, Bench, Lost, person

ANN, BOB = "ann@x.example", "bob@x.example"


def test_after_a_call_that_was_certainly_not_taken_another_payload_goes_at_once() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [TOO_MANY]
    with pytest.raises(Transient):
        bench.deliver(2)
    bench.store(2, name="B")

    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    assert bench.tool.holds() == {ANN: {"name": "B"}}


def test_after_a_lost_answer_the_same_payload_goes_at_once_with_the_same_time() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [Lost()]
    with pytest.raises(Transient):
        bench.deliver(2)
    bench.clock.advance(20)

    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    first, second = bench.tool.calls_made
    assert first == second


def test_after_a_lost_answer_another_payload_waits_for_the_bound_and_wakes_itself() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [DOWN]
    with pytest.raises(Transient):
        bench.deliver(2)
    lost_at = bench.clock.now()
    bench.store(2, name="B")

    assert bench.deliver(2) == {2: Result(Outcome.WAITING)}
    assert len(bench.sent) == 1
    [wake] = bench.checks.tasks
    assert (wake.profiles, wake.due) == ((person(2),), lost_at + bench.tool.lost_answer_bound)

    bench.work_off()
    assert bench.clock.now() >= wake.due
    assert bench.tool.holds() == {ANN: {"name": "B"}}


def lost_and_changed() -> Bench:
    """Return a bench on which a call was lost at 12:00 and 20 minutes later something else is wished."""
    bench = Bench()
    bench.tool.lost_answer_bound = timedelta(hours=24)
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [DOWN]
    with pytest.raises(Transient):
        bench.deliver(2)
    bench.clock.advance(1200)
    bench.store(2, name="B")
    return bench


def test_after_a_lost_answer_another_payload_goes_once_the_destination_shows_that_it_is_over() -> None:
    bench = lost_and_changed()
    bench.tool.cleared = bench.clock.now() - timedelta(seconds=1201)
    assert bench.deliver(2) == {2: Result(Outcome.WAITING)}
    bench.tool.cleared = bench.clock.now() - timedelta(seconds=1200)
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    assert bench.tool.holds() == {ANN: {"name": "B"}}


@pytest.mark.parametrize("same_again_first", [False, True])
def test_after_an_answer_that_says_nothing_another_payload_waits_as_long_as_the_answer_lets_expect(
    same_again_first: bool,
) -> None:
    bench = Bench()
    bench.tool.lost_answer_bound = timedelta(hours=24)
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [Transient("server_error", "500", effect_within=timedelta(minutes=10))]
    with pytest.raises(Transient):
        bench.deliver(2)
    answered_at = bench.clock.now()
    if same_again_first:
        assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    bench.clock.advance(60)
    bench.store(2, name="B")

    assert bench.deliver(2) == {2: Result(Outcome.WAITING)}
    [wake] = bench.checks.tasks
    assert wake.due == answered_at + timedelta(minutes=10)
    bench.work_off()
    assert bench.clock.now() - answered_at < timedelta(minutes=11)
    assert bench.tool.holds() == {ANN: {"name": "B"}}


def test_after_an_answer_after_which_nothing_can_happen_another_payload_goes_at_once() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [Transient("server_error", "500", effect_within=timedelta())]
    with pytest.raises(Transient):
        bench.deliver(2)
    bench.store(2, name="B")
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}


def test_an_answer_never_makes_a_call_last_longer_than_no_answer_would() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [Transient("server_error", "500", effect_within=timedelta(hours=5))]
    with pytest.raises(Transient):
        bench.deliver(2)
    begun = bench.clock.now()
    bench.store(2, name="B")
    bench.deliver(2)
    [wake] = bench.checks.tasks
    assert wake.due == begun + bench.tool.lost_answer_bound


def test_what_is_over_is_asked_for_only_while_somebody_waits_for_it() -> None:
    bench = Bench()
    bench.tool.cleared = AssertionError("nobody asked")
    bench.store(2, email=ANN, name="A")
    bench.tool.script = [DOWN]
    with pytest.raises(Transient):
        bench.deliver(2)
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}


def test_while_what_is_over_cannot_be_asked_whoever_waits_waits_on_and_the_others_are_sent() -> None:
    bench = lost_and_changed()
    bench.store(4, email=BOB)
    bench.tool.cleared = DOWN
    assert bench.deliver(2, 4) == {2: Result(Outcome.WAITING), 4: Result(Outcome.DELIVERED)}


def test_asking_what_is_over_does_not_prove_that_the_destination_is_well() -> None:
    bench = lost_and_changed()
    gates.note_failure(bench.database, CONNECTION, Gate("connection"), bench.clock.now())
    bench.tool.asks = True
    assert bench.consume(bench.look(2)) == []
    assert gates.load(bench.database, CONNECTION, "main")[0].failing_since is not None
    bench.store(4, email=BOB)
    assert bench.consume(bench.look(2, 4)) == []
    assert gates.load(bench.database, CONNECTION, "main")[0].failing_since is None


def test_a_refused_key_while_asking_what_is_over_stops_the_connection() -> None:
    bench = lost_and_changed()
    bench.tool.cleared = ConnectionProblem("unauthorised", "the key is refused")
    with pytest.raises(ConnectionProblem):
        bench.deliver(2)


def test_once_known_to_be_over_a_lost_call_need_not_be_asked_about_again() -> None:
    bench = lost_and_changed()
    bench.store(2, name="A")
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    bench.store(2, name="B")
    bench.tool.cleared = bench.clock.now()
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}
    bench.tool.cleared = AssertionError("asked again")
    bench.store(2, name="C")
    assert bench.deliver(2) == {2: Result(Outcome.DELIVERED)}


def test_looks_for_a_run_that_waits_do_not_multiply_wake_ups() -> None:
    """Given a lost call whose bound is far, When the run looks again and again, Then one wake-up is under way."""
    bench = lost_and_changed()
    run = bench.start()
    for message in bench.queue.take():
        assert bench.consume(message) == []
    for _ in range(3):
        assert bench.consume(bench.look(2, thorough=True, run=run.id)) == []
    [wake] = bench.checks.tasks
    assert wake.profiles == (person(2),)

    bench.clock.time = wake.due - timedelta(minutes=15)
    assert bench.consume(bench.look(2, thorough=True, run=run.id)) == []
    assert len(bench.checks.tasks) == 2


def test_what_a_cancelled_run_has_not_told_is_left_to_the_next_one_where_nothing_streams() -> None:
    bench = lost_and_changed()
    bench.edit(stream=False)
    run = bench.start()
    for message in bench.queue.take():
        assert bench.consume(message) == []
    assert runs.waiting(bench.database, run.id) == [person(2)]
    assert bench.starter.cancel(run.id, "an operator", bench.export)
    assert bench.queue.messages == []


def test_after_the_run_has_ended_whoever_it_waited_for_has_wake_ups_of_their_own() -> None:
    bench = lost_and_changed()
    run = bench.start()
    for message in bench.queue.take():
        assert bench.consume(message) == []
    bench.checks.take()
    assert bench.starter.cancel(run.id, "an operator", bench.export)
    [look] = bench.queue.take()
    assert (look.body["profiles"], look.body["run"]) == ([person(2)], None)
    for late in (look, bench.look(2, thorough=True, run=run.id)):
        assert bench.consume(late) == []
        assert [wake.run for wake in bench.checks.tasks] == [None]
        bench.checks.take()


def test_the_calls_after_one_that_failed_are_known_not_to_have_been_made() -> None:
    bench = Bench(call_size=1)
    for number in (2, 4, 6):
        bench.store(number, email=f"{number}@x.example", name="A")
    bench.tool.script = [DOWN]
    with pytest.raises(Transient):
        bench.deliver(2, 4, 6)
    assert len(bench.sent) == 1

    for number in (2, 4, 6):
        bench.store(number, name="B")
    results = bench.deliver(2, 4, 6)

    assert {number: result.outcome for number, result in results.items()} == {
        2: Outcome.WAITING,
        4: Outcome.DELIVERED,
        6: Outcome.DELIVERED,
    }


def test_what_was_answered_before_a_call_failed_is_recorded() -> None:
    bench = Bench(call_size=1)
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.tool.script = [TOO_MANY]
    with pytest.raises(Transient):
        bench.deliver(2, 4)
    bench.deliver(2)
    bench.tool.script = [ConnectionProblem("unauthorised", "the key is refused")]
    with pytest.raises(ConnectionProblem):
        bench.deliver(2, 4)

    assert bench.deliver(2) == {2: Result(Outcome.UNCHANGED)}
    assert bench.tool.holds() == {ANN: {}}


def test_a_call_that_was_taken_but_could_not_be_recorded_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    with monkeypatch.context() as patch:
        patch.setattr(settling, "ATTEMPTS", 0)
        with pytest.raises(Busy):
            bench.deliver(2)
    bench.leave(2)
    bench.deliver(2)
    bench.work_off()

    assert bench.tool.holds() == {}


def test_a_delivery_written_under_newer_settings_is_not_touched() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    old = bench.job()
    bench.edit(mapping={"email": "attributes.email"})
    bench.deliver(2)

    with pytest.raises(StaleSettings) as raised:
        bench.engine.deliver(old, [person(2)])
    assert raised.value.version == bench.export.version


def test_no_call_begins_when_the_functions_time_is_nearly_over_and_the_next_one_goes_on() -> None:
    bench = Bench(call_size=1)
    for number in (2, 4, 6):
        bench.store(number, email=f"{number}@x.example")
    bench.tool.answered = lambda: bench.clock.advance(10)

    assert bench.consume(bench.look(2, 4, 6), seconds_left=ENOUGH_TIME + 15) == []
    assert len(bench.sent) == 2

    assert bench.consume(*bench.queue.take()) == []
    assert [call for call in bench.sent if call == ["6@x.example"]] == [["6@x.example"]]
    assert len(bench.tool.holds()) == 3


def test_what_the_destination_asked_to_remember_comes_back_with_the_next_step_for_the_identity() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.tool.memo = "left by us"
    bench.leave(2)
    bench.deliver(2)
    bench.tool.memo = None
    bench.store(4, email=ANN)
    bench.deliver(4)
    bench.store(4, name="A")
    bench.deliver(4)

    assert [step.memo for [step] in bench.tool.calls_made] == [None, None, "left by us", None]


def test_what_was_refused_leaves_the_memo_as_it_was() -> None:
    bench = Bench()
    bench.tool.memo = "left by us"
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.tool.refuses = frozenset({ANN})
    bench.tool.memo = "never said"
    bench.store(2, name="A")
    assert bench.deliver(2)[2].outcome is Outcome.REJECTED
    assert bench.claim(ANN).memo == "left by us"


# Imports.


def test_an_import_is_outstanding_until_it_is_checked_and_is_not_sent_twice() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=ANN)

    assert bench.deliver(2) == {2: Result(Outcome.OUTSTANDING)}
    assert bench.deliver(2) == {2: Result(Outcome.OUTSTANDING)}

    assert len(bench.sent) == 1
    assert len(flights.open_imports(bench.database, "letters")) == 1


def test_while_an_import_is_in_flight_nobody_sends_and_its_end_wakes_who_waits() -> None:
    bench = Bench(imports=True)
    bench.store(4, email=ANN, name="second")
    bench.deliver(4)
    bench.store(2, email=ANN, name="first")

    assert bench.deliver(2) == {2: Result(Outcome.WAITING)}
    bench.clock.advance(timedelta(hours=1).total_seconds())
    assert bench.deliver(2) == {2: Result(Outcome.WAITING)}
    assert len(bench.sent) == 1

    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "first"}}


def test_one_who_leaves_while_the_import_is_in_flight_is_taken_out_after_it() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.leave(2)

    assert bench.deliver(2) == {2: Result(Outcome.WAITING)}
    bench.work_off()

    assert bench.tool.holds() == {}
    assert bench.claim(ANN).claimants == frozenset()
