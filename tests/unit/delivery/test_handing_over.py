"""When two profiles turn out to be one person, what one was told passes to the other, and nobody leaves on the way."""

from datetime import timedelta

import pytest

from relay.domain.problems import Rejection, RejectionKind, Transient
from relay.domain.runs import Outcome, RunState
from relay.stores import gates
from tests.fakes.delivery_bench import LAPSED, VIP, Bench, Crash, Lost, person

ANN, BOB = "ann@x.example", "bob@x.example"
OLD, SURVIVOR = 8, 3
"""Of different shards: whoever looks at one may be overtaken by whoever looks at the other."""


def bench_with(*, imports: bool = False, **values: str) -> Bench:
    """Return a bench in which the profile was delivered that will become an alias."""
    bench = Bench(imports=imports, segments=(VIP, LAPSED) if imports else (VIP,))
    bench.store(OLD, email=ANN, name="Ann", **values)
    bench.deliver(OLD)
    bench.work_off()
    bench.tool.calls_made.clear()
    bench.clock.advance(60)
    return bench


def look_at(bench: Bench, *numbers: int) -> None:
    """Look at profiles as route asks for it, and at whoever is woken."""
    assert bench.consume(bench.look(*numbers)) == []
    bench.work_off()


def is_with_the_survivor(bench: Bench, email: str) -> bool:
    told = [told.identity for told in bench.delivery(SURVIVOR).told.values()]
    return (
        email in told and bench.delivery(OLD).is_empty and bench.claim(email).claimants == {f"main/{person(SURVIVOR)}"}
    )


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_an_identity_passes_to_the_survivor_without_a_call(imports: bool) -> None:
    bench = bench_with(imports=imports)
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert bench.tool.holds() == {ANN: {"name": "Ann"}}
    assert is_with_the_survivor(bench, ANN)


@pytest.mark.parametrize("order", [(OLD, SURVIVOR), (SURVIVOR, OLD)])
def test_what_the_survivor_knows_better_is_sent_and_what_it_does_not_want_leaves(order: tuple[int, int]) -> None:
    bench = bench_with()
    bench.store(SURVIVOR, email=BOB)
    bench.join(OLD, SURVIVOR)
    for number in order:
        look_at(bench, number)
    assert bench.tool.holds() == {BOB: {"name": "Ann"}}
    assert sorted(step for call in bench.sent for step in call) == [f"-{ANN}", BOB]
    assert is_with_the_survivor(bench, BOB)


def test_a_profile_that_left_takes_the_identity_along_when_nobody_else_wants_it() -> None:
    bench = bench_with()
    bench.clock.advance(10)
    bench.store(SURVIVOR, inside=(), outside=(VIP,))
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == [[f"-{ANN}"]]
    assert bench.tool.holds() == {}
    assert bench.delivery(OLD).is_empty
    assert bench.delivery(SURVIVOR).is_empty


def test_two_that_were_told_of_one_identity_become_one() -> None:
    bench = bench_with()
    bench.store(SURVIVOR, email=ANN, name="Ann")
    bench.deliver(SURVIVOR)
    bench.work_off()
    bench.tool.calls_made.clear()
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert is_with_the_survivor(bench, ANN)


def test_somebody_else_with_that_identity_goes_on_to_wait_behind_the_survivor() -> None:
    bench = bench_with()
    bench.store(5, email=ANN, name="Another Ann")
    bench.deliver(5)
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "Another Ann"}}
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.tool.holds() == {ANN: {"name": "Ann"}}
    bench.leave(SURVIVOR)
    look_at(bench, SURVIVOR)
    assert bench.tool.holds() == {ANN: {"name": "Another Ann"}}


def test_a_chain_of_aliases_hands_over_to_its_end() -> None:
    bench = bench_with()
    bench.store(5)
    bench.join(OLD, 5)
    bench.store(SURVIVOR)
    bench.join(5, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert is_with_the_survivor(bench, ANN)


def test_a_lost_call_of_the_alias_is_waited_out() -> None:
    bench = bench_with()
    bench.store(OLD, name="New name")
    bench.tool.script = [Lost()]
    with pytest.raises(Transient):
        bench.deliver(OLD)
    bench.join(OLD, SURVIVOR)
    bench.store(SURVIVOR, name="Newest name")
    look_at(bench, OLD)
    look_at(bench, SURVIVOR)
    assert bench.tool.holds() == {ANN: {"name": "Newest name"}}
    assert bench.tool.complaints == []
    assert [f"-{ANN}"] not in bench.sent
    assert is_with_the_survivor(bench, ANN)


def test_an_open_import_of_the_alias_is_waited_for() -> None:
    bench = bench_with(imports=True)
    bench.store(OLD, name="New name")
    bench.deliver(OLD)
    bench.join(OLD, SURVIVOR)
    bench.store(SURVIVOR, name="Newest name")
    assert bench.consume(bench.look(OLD, SURVIVOR)) == []
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "Newest name"}}
    assert is_with_the_survivor(bench, ANN)


def test_what_the_destination_refused_of_the_alias_does_not_stand_in_the_way() -> None:
    bench = bench_with()
    bench.tool.refuses = frozenset({ANN})
    bench.tool.rejection = Rejection(RejectionKind.DESTINATION, "busy", "not now")
    bench.leave(OLD)
    bench.deliver(OLD)
    bench.clock.advance(60)
    bench.store(OLD)
    bench.join(OLD, SURVIVOR)
    bench.tool.refuses = frozenset()
    look_at(bench, OLD)
    assert bench.tool.holds() == {ANN: {"name": "Ann"}}
    assert is_with_the_survivor(bench, ANN)


def test_more_than_one_transaction_holds_passes_in_parts() -> None:
    bench = Bench(segments=[f"shop/{number}" for number in range(90)], call_size=200)
    everywhere = bench.export.segments
    bench.store(OLD, email=ANN, inside=everywhere)
    bench.deliver(OLD)
    bench.tool.calls_made.clear()
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert len(bench.delivery(SURVIVOR).told) == 90
    assert bench.delivery(OLD).is_empty


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
@pytest.mark.parametrize("crash_at", range(1, 45))
def test_a_crash_at_any_step_then_a_redelivery_loses_nothing_and_nobody_leaves(imports: bool, crash_at: int) -> None:
    bench = bench_with(imports=imports)
    bench.store(SURVIVOR, email=ANN, name="Ann B")
    bench.join(OLD, SURVIVOR)
    look = bench.look(OLD)
    bench.crash_at = bench.steps + crash_at
    try:
        assert bench.consume(look) == []
    except Crash:
        bench.crash_at = None
        assert bench.consume(look, receives=2) == []
    bench.crash_at = None
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "Ann B"}}
    assert all(not step.startswith("-") for call in bench.sent for step in call)
    assert is_with_the_survivor(bench, ANN)
    assert not bench.claim(ANN).look_again


MANY = range(0, 256, 2)


def joined_run(*, imports: bool = False) -> tuple[Bench, dict[str, int], RunState]:
    """Return a bench in which everybody turned out to be somebody else, who was never delivered; and its run."""
    bench = Bench(imports=imports, call_size=50)
    for number in MANY:
        bench.store(number + 256, email=f"{number}@x.example")
    bench.start()
    bench.work_off()
    bench.tool.calls_made.clear()
    bench.clock.advance(60)
    for number in MANY:
        bench.join(number + 256, number)
    bench.clock.advance(60)
    run = bench.start()
    bench.work_off()
    return bench, bench.counts(run), bench.run(run).state


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_a_run_counts_survivors_and_nobody_as_leaving(imports: bool) -> None:
    bench, counts, state = joined_run(imports=imports)
    assert state is RunState.FINISHED
    assert counts["selected"] == len(MANY)
    assert counts.get("leaving", 0) == 0
    assert all(not step.startswith("-") for call in bench.sent for step in call)
    assert sorted(bench.tool.holds()) == sorted(f"{number}@x.example" for number in MANY)
    assert all(bench.delivery(number + 256).is_empty or not bench.delivery(number + 256).told for number in MANY)
    # The next run finds everything as it should be.
    bench.tool.calls_made.clear()
    again = bench.start()
    bench.work_off()
    assert bench.sent == []
    assert bench.counts(again) == {"selected": len(MANY), "unchanged": len(MANY), "told": len(MANY)}


def test_an_alias_that_waits_for_its_own_lost_call_is_counted_by_one_pass() -> None:
    bench = bench_with()
    bench.store(10, email=BOB)
    bench.deliver(10)
    bench.clock.advance(60)
    bench.store(OLD, name="New name")
    bench.tool.script = [Lost()]
    with pytest.raises(Transient):
        bench.deliver(OLD)
    bench.join(OLD, SURVIVOR)
    # Somebody leaves, so there is a second pass.
    bench.leave(10)
    bench.clock.advance(60)
    run = bench.start()
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run).get("outstanding", 0) == 0
    assert bench.tool.holds() == {ANN: {"name": "New name"}}


def test_an_alias_is_not_selected_when_it_has_handed_over() -> None:
    bench = bench_with()
    bench.join(OLD, SURVIVOR)
    bench.clock.advance(1)
    assert {number: result.outcome for number, result in bench.deliver(OLD).items()} == {OLD: Outcome.ABSENT}
    bench.work_off()
    assert {number: result.outcome for number, result in bench.deliver(OLD, SURVIVOR).items()} == {
        OLD: Outcome.ABSENT,
        SURVIVOR: Outcome.UNCHANGED,
    }


def test_the_guard_of_edited_settings_holds_for_what_the_survivor_took_over() -> None:
    bench = bench_with()
    gates.pass_guard(bench.database, "letters", "main", bench.export.version)
    bench.edit(mapping={"email": "attributes.slip"})
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.tool.holds() == {ANN: {"name": "Ann"}}


def test_where_leaving_is_not_told_nobody_is_told_to_leave() -> None:
    bench = bench_with()
    bench.tool.keeps = True
    bench.clock.advance(10)
    bench.store(SURVIVOR, inside=(), outside=(VIP,))
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert bench.tool.holds() == {ANN: {"name": "Ann"}}
    assert bench.delivery(OLD).is_empty


def test_a_time_from_a_clock_that_runs_ahead_is_not_sent() -> None:
    bench = Bench()
    now = bench.clock.now()
    bench.clock.time = now + timedelta(hours=2)
    bench.store(OLD, email=ANN)
    bench.store(SURVIVOR, email=BOB)
    bench.clock.time = now
    bench.deliver(OLD, SURVIVOR)
    bench.clock.time = now + timedelta(hours=2, minutes=1)
    bench.leave(OLD)
    bench.clock.time = now + timedelta(minutes=1)
    bench.deliver(OLD)
    steps = [step for call in bench.tool.calls_made for step in call]
    assert [(step.identity, step.joins) for step in steps] == [(BOB, True), (ANN, True), (ANN, False)]
    assert [step.at for step in steps] == [now, now, now + timedelta(minutes=1)]
