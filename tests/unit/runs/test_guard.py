"""The guard: a run that would take out very many waits for a person."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain import ledger
from relay.domain.runs import Phase, Run, RunState
from relay.runs.ending import BOUND
from relay.stores import breakers, runs
from tests.fakes.bench import CONNECTION, MINUTE, Bench
from tests.fakes.crashing import die_at_every_step, meet_at_every_step

HOUR = timedelta(hours=1)


def delivered(members: int, *, imports: bool = False, streams: bool = False) -> Bench:
    bench = Bench(imports=imports, streams=streams, call_size=200)
    for number in range(members):
        bench.store(number, email=f"{number}@x.example")
    bench.full_run()
    bench.clock.time += HOUR
    bench.tool.calls_made.clear()
    return bench


def guarded(*, imports: bool = False, streams: bool = False) -> tuple[Bench, Run]:
    """Return a run in which more leave than the guard lets go without a person's word."""
    bench = delivered(120, imports=imports, streams=streams)
    for number in range(101):
        bench.leave(number)
    return bench, bench.full_run()


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_when_too_many_would_leave_nobody_is_taken_out_before_a_person_confirms(imports: bool) -> None:
    bench, run = guarded(imports=imports)
    assert run.state is RunState.NEEDS_CONFIRMATION
    assert run.reason == "101 of 120 assigned would leave: confirm the run or mend the data"
    assert len(bench.tool.holds()) == 120
    assert bench.sent == []
    assert bench.counts(run) == {"selected": 19, "unchanged": 19, "assigned": 120, "leaving": 101}

    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()

    assert len(bench.tool.holds()) == 19
    assert bench.counts(run) == {"selected": 19, "unchanged": 19, "assigned": 120, "leaving": 101, "removed": 101}
    found = bench.run(run)
    assert (found.state, found.confirmed_by, found.reason) == (RunState.FINISHED, "an operator", None)
    assert not bench.stack.starter.confirm(bench.export, run.id, "an operator")


def test_cancelling_takes_nobody_out_and_frees_the_export() -> None:
    bench, run = guarded()
    assert bench.stack.starter.cancel(run.id, "an operator")
    bench.work_off()
    assert len(bench.tool.holds()) == 120
    found = bench.run(run)
    assert (found.state, found.reason) == (RunState.CANCELLED, "cancelled by an operator")
    assert not bench.stack.starter.confirm(bench.export, run.id, "an operator")
    assert not bench.stack.starter.cancel(run.id, "an operator")
    assert not bench.stack.starter.cancel("never", "an operator")
    assert runs.active(bench.database, bench.export.key) is None


def test_what_streams_while_it_waits_goes_on() -> None:
    bench, run = guarded(streams=True)
    bench.store(200, email="200@x.example")
    bench.leave(110)
    assert bench.consume(bench.look(200, 110)) == []
    assert "200@x.example" in bench.tool.holds()
    assert "110@x.example" not in bench.tool.holds()
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION


def test_what_was_counted_under_other_settings_cannot_be_confirmed() -> None:
    bench, run = guarded()
    bench.edit(options="8")
    assert not bench.stack.starter.confirm(bench.export, run.id, "an operator")


def test_a_new_run_takes_the_place_of_one_that_waits_and_counts_afresh() -> None:
    bench, old = guarded()
    for number in range(50):
        bench.store(number)
    new = bench.full_run()
    assert (bench.run(old).state, new.state) == (RunState.CANCELLED, RunState.FINISHED)
    assert len(bench.tool.holds()) == 69


def test_a_run_that_makes_up_for_something_does_not_take_the_place_of_one_that_waits() -> None:
    bench, old = guarded()
    assert bench.stack.starter.start(bench.export, "resync", supersede=False) is None
    assert bench.run(old).state is RunState.NEEDS_CONFIRMATION
    # One under other settings cannot be confirmed any more.
    bench.edit(mapping={"email": "attributes.email"})
    assert bench.stack.starter.start(bench.export, "resync", supersede=False) is not None
    assert bench.run(old).state is RunState.CANCELLED


@pytest.mark.parametrize("members", [2, 90, 150])
def test_a_mistake_in_the_mapping_empties_no_list_of_any_size(members: int) -> None:
    bench = delivered(members)
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.full_run()
    assert run.state is RunState.NEEDS_CONFIRMATION
    assert len(bench.tool.holds()) == members
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    assert bench.tool.holds() == {}


def test_a_small_list_that_everybody_leaves_under_settings_known_to_be_good_is_emptied() -> None:
    bench = delivered(90)
    for number in range(90):
        bench.leave(number)
    assert bench.full_run().state is RunState.FINISHED
    assert bench.tool.holds() == {}


def test_while_edited_settings_wait_for_confirmation_what_streams_empties_no_list_either() -> None:
    """The platform sends all profiles again. Those who would leave by the mistake alone are still kept."""
    bench = delivered(150, streams=True)
    bench.edit(mapping={"email": "attributes.emial"})
    bench.full_run()
    for number in range(150):
        bench.store(number, name="sent again")
    assert bench.consume(bench.look(*range(150))) == []
    assert len(bench.tool.holds()) == 150


def test_whoever_is_held_back_requests_a_run() -> None:
    bench = delivered(3, streams=True)
    bench.edit(mapping={"email": "attributes.email"})
    bench.leave(0)
    assert bench.consume(bench.look(0)) == []
    assert len(bench.tool.holds()) == 3
    assert breakers.load_one(bench.database, CONNECTION, "main").resync
    bench.tick()
    bench.work_off()
    assert len(bench.tool.holds()) == 2


def test_imports_that_end_while_it_waits_are_settled() -> None:
    bench = delivered(120, imports=True)
    for number in range(101):
        bench.leave(number)
    bench.store(200, email="200@x.example")
    bench.tool.land = lambda: None  # type: ignore[method-assign]
    bench.clock.time += MINUTE
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            assert bench.consume(message) == []
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    assert bench.counts(run)["outstanding"] == 1
    del bench.tool.land
    bench.work_off()
    assert bench.counts(run)["delivered"] == 1
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED


def test_a_run_that_was_confirmed_days_later_waits_for_what_its_leavers_come_to() -> None:
    bench = delivered(120, imports=True)
    for number in range(101):
        bench.leave(number)
    run = bench.full_run()
    assert run.state is RunState.NEEDS_CONFIRMATION
    bench.clock.time += 3 * BOUND
    bench.tool.land = lambda: None  # type: ignore[method-assign]
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    while messages := bench.queue.take():
        for message in messages:
            assert bench.consume(message) == []
    assert bench.run(run).state is RunState.RUNNING
    assert bench.counts(run)["leaving_outstanding"] == 101
    del bench.tool.land
    bench.work_off()
    assert bench.counts(run)["removed"] == 101
    assert bench.run(run).state is RunState.FINISHED


# Deaths and races.

waiting: list[Run] = []


def prepare() -> Bench:
    bench = delivered(3)
    bench.edit(mapping={"email": "attributes.emial"})
    waiting[:] = [bench.full_run()]
    assert waiting[0].state is RunState.NEEDS_CONFIRMATION
    return bench


def test_whoever_dies_while_confirming_is_asked_again_or_the_clock_goes_on() -> None:
    def act(bench: Bench, receives: int) -> None:
        confirmed = bench.stack.starter.confirm(bench.export, waiting[0].id, "an operator")
        assert confirmed or receives == 2

    def check(bench: Bench) -> None:
        bench.pass_time(17 * MINUTE)
        bench.work_off()
        assert bench.run(waiting[0]).state is RunState.MANY_REJECTED
        assert bench.tool.holds() == {}

    assert die_at_every_step(prepare, act, check) >= 3


def test_of_one_who_confirms_and_one_who_cancels_at_once_one_has_their_way() -> None:
    def act(bench: Bench, receives: int) -> bool:
        bench.stack.starter.confirm(bench.export, waiting[0].id, "an operator")
        return True

    def cancel(bench: Bench) -> None:
        bench.stack.starter.cancel(waiting[0].id, "another operator")

    def check(bench: Bench) -> None:
        bench.work_off()
        state = bench.run(waiting[0]).state
        assert (state, len(bench.tool.holds())) in ((RunState.CANCELLED, 3), (RunState.MANY_REJECTED, 0))

    assert meet_at_every_step(prepare, act, cancel, check) > 3


def test_a_run_is_confirmed_once() -> None:
    def act(bench: Bench, receives: int) -> bool:
        bench.stack.starter.confirm(bench.export, waiting[0].id, "an operator")
        return True

    def again(bench: Bench) -> None:
        bench.stack.starter.confirm(bench.export, waiting[0].id, "another operator")

    def check(bench: Bench) -> None:
        bench.work_off()
        found = bench.run(waiting[0])
        assert (found.state, found.phase) == (RunState.MANY_REJECTED, Phase.REMOVE)
        assert bench.counts(found)["removed"] == 3

    assert meet_at_every_step(prepare, act, again, check) > 3


@pytest.mark.parametrize("written", [0, 60, 150])
def test_a_mistake_in_the_mapping_empties_no_list_whose_profiles_are_written_meanwhile(written: int) -> None:
    bench = delivered(150, streams=True)
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.start()
    bench.clock.time += MINUTE
    for number in range(written):
        bench.store(number, last_seen="today")
    bench.work_off()
    found = bench.run(run)
    assert found.state is RunState.NEEDS_CONFIRMATION
    assert found.reason == "150 of 150 assigned would leave: confirm the run or mend the data"
    assert len(bench.tool.holds()) == 150


@pytest.mark.parametrize("streams", [False, True])
def test_who_has_exited_leaves_though_the_profile_is_written_before_a_person_confirms(streams: bool) -> None:
    bench, run = guarded(streams=streams)
    bench.clock.time += HOUR
    for number in range(101):
        bench.store(number, inside=(), last_seen="today")
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    assert len(bench.tool.holds()) == 19
    assert ledger.adds_up(bench.counts(run))


def test_exits_of_profiles_that_are_written_while_a_run_goes_are_confirmed_too() -> None:
    """Given a feed that writes everybody as the run begins, Then those who have exited are counted by the guard."""
    bench = delivered(120)
    for number in range(101):
        bench.leave(number)
    bench.clock.time += HOUR
    run = bench.start()
    for number in range(101):
        bench.store(number, inside=(), last_seen="today")
    bench.work_off()
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    assert len(bench.tool.holds()) == 120


def test_whom_the_destination_keeps_makes_no_later_run_wait() -> None:
    bench, run = guarded()
    bench.tool.refuses = {f"{number}@x.example" for number in range(101)}
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    bench.clock.time += timedelta(days=1)
    bench.leave(110)
    again = bench.full_run()
    assert again.state is RunState.FINISHED
    assert bench.counts(again)["kept_before"] == bench.counts(again)["kept"] == 101
    assert "110@x.example" not in bench.tool.holds()


def a_few_left() -> tuple[Bench, Run]:
    """Cancel a confirmed run when one of two shards is through, and the guard would let the rest go."""
    bench = delivered(200)
    for number in range(150):
        bench.leave(number)
    run = bench.full_run()
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    assert bench.consume(bench.queue.take()[0]) == []
    bench.queue.take()
    assert bench.stack.starter.cancel(run.id, "an operator")
    assert len(bench.tool.holds()) == 125
    bench.clock.time += HOUR
    return bench, bench.run(run)


def test_whom_a_cancelled_run_has_left_is_confirmed_again_however_few_they_are() -> None:
    bench, cancelled = a_few_left()
    held = bench.tool.holds()
    for _ in range(2):
        # A newer run that takes the place of one that waits waits as well.
        run = bench.full_run()
        assert run.state is RunState.NEEDS_CONFIRMATION
        assert run.reason == (
            f"run {cancelled.id} was cancelled while it took leavers out, and 75 are left: confirm the run"
        )
        assert bench.tool.holds() == held
        bench.clock.time += HOUR
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    assert len(bench.tool.holds()) == 50
    # What was confirmed is over: a few more may go by themselves.
    bench.clock.time += HOUR
    bench.leave(199)
    assert bench.full_run().state is RunState.FINISHED
    assert len(bench.tool.holds()) == 49


def test_where_those_who_were_left_are_members_again_nothing_is_to_be_confirmed() -> None:
    bench, _ = a_few_left()
    for number in range(150):
        bench.store(number)
    assert bench.full_run().state is RunState.FINISHED
    bench.clock.time += HOUR
    bench.leave(0)
    assert bench.full_run().state is RunState.FINISHED


def test_many_runs_that_were_refused_meanwhile_make_nobody_forget_that_one_was_cancelled() -> None:
    bench, cancelled = a_few_left()
    for number in range(45):
        bench.clock.time += MINUTE
        refused = replace(cancelled, id=f"{bench.clock.now():%Y%m%dT%H%M%S}-{number}", state=RunState.REFUSED)
        runs.refuse(bench.database, replace(refused, phase=Phase.ASK))
    bench.clock.time += HOUR
    assert bench.full_run().state is RunState.NEEDS_CONFIRMATION
