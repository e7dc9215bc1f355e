"""An export that is about to be deleted takes everybody out by its `only_if`, once somebody has confirmed it."""

import pytest

from relay.domain.runs import RunState
from tests.fakes.bench import MINUTE, Bench


@pytest.mark.parametrize("streams", [True, False])
def test_everybody_is_taken_out_once_that_is_confirmed(streams: bool) -> None:
    bench = Bench(streams=streams)
    for number in (2, 4, 6):
        bench.store(number, email=f"{number}@x.example")
    bench.tick(after=MINUTE)
    if not streams:
        bench.start()
    bench.work_off()
    assert len(bench.tool.held) == 3

    bench.edit(only_if="`false`")
    bench.reconcile(2, 4, 6)
    bench.clock.time += MINUTE
    run = bench.full_run()
    assert (run.state, len(bench.tool.held)) == (RunState.NEEDS_CONFIRMATION, 3)

    assert bench.ask("confirm", run=run.id)["done"]
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.tool.held == {}
    assert [bench.assigned(number) for number in (2, 4, 6)] == [set()] * 3
