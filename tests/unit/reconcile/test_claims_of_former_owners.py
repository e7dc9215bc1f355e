"""What a former owner of a target claimed there leaves with it, whatever happens before the new owner takes it over."""

from datetime import timedelta

import pytest

from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.runs import RunState
from relay.stores import owners
from tests.fakes.bench import CONNECTION, LAPSED, VIP, Bench, person

NEW = f"{CONNECTION}/new"
ANN, BOB = "ann@x.example", "bob@x.example"
TARGET = f"segment/{VIP}"
OLD, SURVIVOR, OTHER = 8, 3, 12
HOUR = timedelta(hours=1)


def bench_with(*, streams: bool = True) -> Bench:
    """Return a bench whose export `main` has brought Ann and Bob into the target of VIP, some time ago."""
    bench = Bench(streams=streams)
    bench.store(OLD, email=ANN)
    bench.store(OTHER, email=BOB)
    bench.full_run()
    bench.clock.time += HOUR
    return bench


def pass_on(bench: Bench) -> None:
    """Give the target to the export `new`."""
    bench.edit(segments=(LAPSED,))
    bench.edit("new", segments=(VIP,))
    bench.clock.time += HOUR


def run_new(bench: Bench) -> None:
    export: Export = bench.settings.saved[NEW]
    run = bench.full_run(export)
    if run.state is RunState.NEEDS_CONFIRMATION:
        assert bench.stack.starter.confirm(export, run.id, "an operator")
        bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    bench.counts(run)


def held(bench: Bench) -> set[str]:
    return {identity for target, identity in bench.tool.held if target == TARGET}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("former_looks", [False, True])
@pytest.mark.parametrize("wants", [False, True])
def test_an_alias_that_a_former_owner_had_there(streams: bool, former_looks: bool, wants: bool) -> None:
    """The survivor stands for what the alias stood for, whichever export meets the alias first."""
    bench = bench_with(streams=streams)
    pass_on(bench)
    if wants:
        bench.store(SURVIVOR, email=ANN)
    else:
        bench.store(SURVIVOR, inside=(LAPSED,), outside=(VIP,), email=ANN)
        bench.leave(OLD)
    bench.join(OLD, SURVIVOR)
    bench.clock.time += HOUR
    if former_looks:
        bench.consume(bench.look(OLD))
    for _ in range(2):
        # An export that does not stream leaves to its next run what is handed over during one.
        run_new(bench)
    assert held(bench) == ({ANN, BOB} if wants else {BOB})
    assert bench.assigned(OLD) | bench.assigned(OLD, NEW) == set()
    assert bench.assigned(SURVIVOR, NEW) == ({Pair(TARGET, ANN)} if wants else set())
    if wants:
        assert bench.record(ANN, TARGET).winner == person(SURVIVOR)


def test_a_target_that_the_new_owner_gives_up_before_it_took_it_over() -> None:
    bench = bench_with()
    pass_on(bench)
    bench.job(NEW)
    assert owners.load(bench.database, CONNECTION, [TARGET])[TARGET].export == "new"
    bench.edit("new", segments=("shop/gold",))
    bench.store(14, inside=("shop/gold",), email="di@x.example")
    bench.clock.time += HOUR
    bench.restart()
    run_new(bench)
    assert held(bench) == set()
    assert {identity for _, identity in bench.tool.held} == {"di@x.example"}
