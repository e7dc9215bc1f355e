"""A run is bound to one version of its export's settings: it gives way to an edit, wherever it stands."""

from __future__ import annotations

from datetime import timedelta

from relay.domain.runs import Phase, RunState
from relay.runs import ending
from tests.fakes.bench import Bench
from tests.fakes.bench_destination import Lost

MINUTE = timedelta(minutes=1)


def test_a_run_that_waits_for_what_is_outstanding_gives_way_to_an_edit() -> None:
    """Nobody sends any more what was wanted under the old settings: the run would wait for its bound, others for it."""
    bench = Bench(streams=False)
    bench.store(2, email="ann@x.example", name="Ann")
    bench.store(4, email="bob@x.example", name="Bob")
    bench.tool.script = [Lost()]
    run = bench.start()
    [message] = bench.queue.take()
    bench.consume(message)
    first = next(one for one in bench.queue.take() if one.group == "letters#0")
    bench.consume(first)
    # While the first call may still arrive, both want to be sent with other values.
    bench.store(2, email="ann@x.example", name="Anna")
    bench.store(4, email="bob@x.example", name="Rob")
    bench.consume(first, receives=2)
    bench.tick(after=timedelta(minutes=16))
    bench.queue.messages = [one for one in bench.queue.messages if one.body["kind"] == "page"]
    bench.work_off()
    assert bench.run(run).phase is Phase.DELIVER
    assert bench.counts(run)["outstanding"] == 2

    bench.edit(mapping={"email": "attributes.email"})
    bench.tick(after=MINUTE)
    stopped = bench.run(run)
    assert (stopped.state, stopped.reason) == (RunState.STOPPED, ending.EDITED)
    bench.pass_time(10 * MINUTE)
    assert bench.breaker("main").resync == ""
    assert bench.tool.holds() == {"ann@x.example": {}, "bob@x.example": {}}


def test_one_whose_last_answer_comes_after_the_edit_ends_as_usual() -> None:
    bench = Bench(imports=True)
    bench.store(2, email="ann@x.example")
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            assert bench.consume(message) == []
    assert bench.counts(run)["outstanding"] == 1
    bench.edit(mapping={"email": "attributes.email"})
    bench.tool.land()
    for message in bench.checks.take():
        assert bench.check(message) == []
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run)["delivered"] == 1
