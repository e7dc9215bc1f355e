"""Calls whose answer is lost: nothing else is sent while they may still arrive."""

from datetime import timedelta

from tests.fakes.bench import Bench
from tests.fakes.bench_destination import Lost

TURN = timedelta(seconds=20)
"""The longest that a call waits for its turn."""


def test_a_lost_call_that_had_waited_for_its_turn_may_arrive_so_much_later() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example", name="Ann")
    bench.full_run()
    bench.store(2, email="2@x.example", name="Bea")
    bench.tool.script = [Lost()]
    bench.tool.answered = lambda: bench.clock.sleep(TURN.total_seconds())
    bench.consume(bench.look(2), seconds_left=31)
    left = bench.clock.now()
    bench.tool.answered = lambda: None
    assert len(bench.sent) == 2

    bench.store(2, email="2@x.example", name="Cy")
    bench.clock.time = left + bench.tool.lost_answer_bound - timedelta(seconds=1)
    bench.consume(bench.look(2))
    assert len(bench.sent) == 2

    bench.clock.time = left + bench.tool.lost_answer_bound + timedelta(minutes=1)
    bench.consume(bench.look(2))
    assert len(bench.sent) == 3
    assert bench.tool.holds() == {"2@x.example": {"name": "Cy"}}
