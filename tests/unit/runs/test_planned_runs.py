"""A run that was planned: who agreed to a plan need not confirm the run, as long as no more leave."""

import pytest

from relay.domain.runs import Run, RunState
from tests.fakes.bench import Bench
from tests.unit.runs.test_guard import delivered


def planned(bench: Bench, leaving: int) -> Run:
    bench.clock.time += bench.stack.starter.settings_age
    run = bench.stack.starter.start(bench.export, "test", planned_leaving=leaving)
    assert run is not None
    bench.work_off()
    return bench.run(run)


def leavers(count: int) -> Bench:
    bench = delivered(150)
    for number in range(count):
        bench.leave(number)
    return bench


@pytest.mark.parametrize("plan", [120, 121])
def test_as_many_as_planned_or_fewer_leave_without_a_confirmation(plan: int) -> None:
    bench = leavers(120)
    run = planned(bench, plan)
    assert (run.state, run.confirmed_by) == (RunState.FINISHED, "a plan")
    assert len(bench.tool.holds()) == 30


@pytest.mark.parametrize(("gone", "plan"), [(120, 119), (5, 4), (1, 0)])
def test_more_than_planned_wait_for_a_person_even_where_the_guard_would_let_them_go(gone: int, plan: int) -> None:
    bench = leavers(gone)
    run = planned(bench, plan)
    assert run.state is RunState.NEEDS_CONFIRMATION
    assert run.reason == f"{gone} would leave, and the plan has {plan}: confirm the run or mend the data"
    assert len(bench.tool.holds()) == 150
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    assert len(bench.tool.holds()) == 150 - gone


def test_where_nobody_leaves_a_plan_changes_nothing() -> None:
    bench = delivered(3)
    run = planned(bench, 0)
    assert (run.state, run.confirmed_by) == (RunState.FINISHED, None)


def test_a_plan_of_one_run_says_nothing_of_the_next() -> None:
    bench = leavers(0)
    planned(bench, 150)
    for number in range(120):
        bench.leave(number)
    assert bench.full_run().state is RunState.NEEDS_CONFIRMATION
