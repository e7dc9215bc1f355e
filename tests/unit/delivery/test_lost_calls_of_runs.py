"""What a run waits for, and calls that nobody will ever answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.delivery.consuming import MOST_RECEIVES
from relay.delivery.messages import LookAgain, WakeLater
from relay.destinations.contract import Account, Answer, Step
from relay.domain.exports import Export
from relay.domain.problems import Rejection, RejectionKind, Transient
from relay.domain.runs import Outcome, RunState
from relay.stores import gates, runs
from tests.fakes.delivery_bench import CONNECTION, DOWN, LAPSED, VIP, Bench, Lost, person

ANN = "ann@x.example"


def bench_with(*numbers: int) -> Bench:
    """Return a bench with these members; even numbers are in shard 0."""
    bench = Bench(call_size=2)
    for number in numbers:
        bench.store(number, email=f"{number}@x.example")
    return bench


def test_a_run_waits_for_a_profile_whose_lost_call_says_something_else_by_now() -> None:
    """Given a lost call of the run and another wish since, Then the run waits, and ends with the new values."""
    bench = bench_with(0, 2)
    run = bench.start()
    bench.tool.script = [Lost()]
    cursor, other = sorted(bench.queue.take(), key=lambda message: message.body["shard"])
    assert bench.consume(cursor) == ["m0"]
    assert bench.consume(other) == []
    bench.store(0, name="changed")

    assert bench.consume(cursor, receives=2) == []
    assert runs.waiting(bench.database, run.id) == [person(0)]
    bench.work_off()

    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.tool.holds()["0@x.example"] == {"name": "changed"}


def test_a_run_that_took_somebody_out_under_one_address_goes_on_to_the_new_one() -> None:
    """Given lost calls for an old and a new address, When only the first is over, Then the second is not forgotten."""
    bench = Bench(imports=True, streams=False)
    bench.tool.lost_answer_bound = timedelta(hours=24)
    first_call = bench.clock.now()
    bench.store(2, email=ANN, name="A")
    lose_the_first_call(bench)
    bench.work_off()
    bench.clock.advance(600)
    bench.store(2, email="bob@x.example")
    run = bench.start()
    for message in bench.queue.take():
        assert bench.consume(message) == []
    assert bench.run(run).phase == 2
    lose_the_first_call(bench, then=lambda: bench.store(2, name="B"))
    [due] = {task.due for task in bench.checks.tasks if isinstance(task, WakeLater)}
    assert due == first_call + timedelta(hours=24)

    bench.tool.cleared = first_call
    pass_time(bench, 900)
    bench.tool.cleared = None
    for _ in range(100):
        pass_time(bench, 900)
        bench.tick()

    assert bench.tool.holds() == {"bob@x.example": {"name": "B"}}
    assert bench.run(run).state is RunState.FINISHED


def lose_the_first_call(bench: Bench, then: Callable[[], object] = lambda: None) -> None:
    """Start a run unless one is active; the answer to its first call is lost, and its page comes again."""
    if runs.active(bench.database, bench.export.key) is None:
        bench.start()
    bench.tool.script = [DOWN]
    cursor, other = sorted(bench.queue.take(), key=lambda message: message.body["shard"])
    assert bench.consume(cursor) == ["m0"]
    bench.clock.advance(5)
    then()
    assert bench.consume(cursor, receives=2) == []
    assert bench.consume(other) == []


def pass_time(bench: Bench, seconds: float) -> None:
    """Let time pass, imports land, and hand over what is queued: all look-agains of a destination in one batch."""
    bench.clock.advance(seconds)
    for _ in range(3):
        bench.tool.land_some(everything=True)
        for message in bench.checks.take():
            assert bench.check(message) == []
        if batch := bench.queue.take():
            assert bench.consume(*batch) == []


def test_lost_wake_ups_of_a_run_are_sent_again_however_far_apart_its_shards_ended() -> None:
    bench = bench_with(0, 1)
    bench.tool.script = [Lost()]
    with pytest.raises(Transient):
        bench.deliver(0)
    bench.store(0, name="changed")
    run = bench.start()
    for message in sorted(bench.queue.take(), key=lambda message: message.body["shard"]):
        assert bench.consume(message) == []
        bench.clock.advance(120)
    assert runs.waiting(bench.database, run.id) == [person(0)]
    bench.checks.take()

    for _ in range(30):
        bench.tick(timedelta(minutes=1))
        bench.work_off()
    assert bench.run(run).state is RunState.FINISHED


def test_a_profile_that_waits_at_its_second_claim_is_woken_with_its_run() -> None:
    bench = Bench(segments=(VIP, LAPSED))
    bench.store(2, inside=(LAPSED,), email="ann@x.example")
    bench.tool.script = [Lost()]
    with pytest.raises(Transient):
        bench.deliver(2)
    bench.store(0, inside=(VIP, LAPSED), email="ann@x.example")
    run = bench.start()
    for message in bench.queue.take():
        assert bench.consume(message) == []

    woken = [task for task in bench.queue.tasks if isinstance(task, LookAgain) and task.profiles == (person(0),)]
    assert {task.run for task in woken} == {run.id}
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED


def test_after_many_receives_passing_trouble_is_left_to_a_run() -> None:
    """Given a message no call ever gets through for, Then it is acknowledged before it dies, and a run is owed."""
    bench = bench_with(2)
    bench.tool.script = [DOWN, DOWN]
    assert bench.consume(bench.look(2), receives=MOST_RECEIVES - 1) == ["m0"]
    assert bench.consume(bench.look(2), receives=MOST_RECEIVES) == []

    _, gate = gates.load(bench.database, CONNECTION, "main")
    assert gate.owed
    bench.tick()
    bench.work_off()
    assert bench.tool.holds() == {"2@x.example": {}}


# Goodbyes the destination refuses.


def refused_goodbye(bench: Bench) -> None:
    bench.tool.rejection = Rejection(RejectionKind.DATA, "malformed", "it does not like it")
    bench.tool.refuses = frozenset({ANN})
    bench.leave(2)
    assert bench.deliver(2)[2].outcome is Outcome.REJECTED
    bench.tool.refuses = frozenset()


def test_a_refused_goodbye_keeps_nobody_else_out() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="A")
    bench.deliver(2)
    refused_goodbye(bench)

    bench.store(4, email=ANN, name="B")
    assert bench.deliver(4)[4].outcome is Outcome.DELIVERED
    assert bench.tool.holds() == {ANN: {"name": "B"}}


def test_a_refused_goodbye_is_said_again_by_a_run_a_day_later_whatever_its_kind() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.deliver(2)
    refused_goodbye(bench)
    bench.clock.advance(timedelta(days=1).total_seconds())

    run = bench.start()
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.tool.holds() == {}
    assert bench.delivery(2).told == {}


# Profiles with several calls.


def test_a_new_address_refused_at_once_while_the_old_one_leaves_by_an_import_is_counted_once() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=ANN)
    bench.start()
    bench.work_off()
    refusal = Rejection(RejectionKind.DATA, "malformed", "it does not like it")
    whole = bench.tool.send

    def all_but_the_new_one(account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        refused = {index: refusal for index, step in enumerate(steps) if step.identity == "new@x.example"}
        answer = whole(account, export, [step for index, step in enumerate(steps) if index not in refused])
        return replace(answer, refused=refused)

    bench.tool.send = all_but_the_new_one  # type: ignore[method-assign]
    bench.store(2, email="new@x.example")
    run = bench.start()
    bench.work_off()

    assert bench.run(run).state is RunState.MANY_REJECTED
    assert bench.counts(run) == {"selected": 1, "rejected": 1, "rejected:malformed": 1, "told": 1}
    assert bench.tool.holds() == {}
