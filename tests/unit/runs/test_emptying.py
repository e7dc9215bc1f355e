"""An export that is about to be deleted takes everybody out, once somebody has confirmed it."""

import json

import pytest

from relay.domain.problems import SettingsProblem
from relay.domain.runs import RunState
from relay.settings.doors import Parameter
from relay.settings.exports import read_export
from tests.fakes.bench import MINUTE, Bench


def parameter(state: str) -> Parameter:
    text = {"state": state, "segments": ["shop/vip"], "mapping": {"email": "attributes.email"}}
    return Parameter(json.dumps(text), 1)


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

    bench.edit(emptying=True)
    bench.reconcile(2, 4, 6)
    bench.clock.time += MINUTE
    run = bench.full_run()
    assert (run.state, len(bench.tool.held)) == (RunState.NEEDS_CONFIRMATION, 3)

    assert bench.ask("confirm", run=run.id)["done"]
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.tool.held == {}
    assert [bench.assigned(number) for number in (2, 4, 6)] == [set()] * 3


def test_an_export_is_active_paused_or_emptying() -> None:
    read = {state: read_export(parameter(state)) for state in ("active", "paused", "emptying")}
    assert {state: (one.active, one.emptying) for state, one in read.items()} == {
        "active": (True, False),
        "paused": (False, False),
        "emptying": (True, True),
    }
    with pytest.raises(SettingsProblem, match="must be 'active', 'paused' or 'emptying'"):
        read_export(parameter("gone"))
