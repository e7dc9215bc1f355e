"""The bench itself: both destinations, a full run of each, a stream, and what comes due."""

from datetime import timedelta

import pytest

from relay.domain.runs import RunState
from tests.fakes.bench import LAPSED, OTHER_CONNECTION, Bench, person


@pytest.mark.parametrize("imports", [False, True])
def test_a_run_of_each_destination_brings_its_members(imports: bool) -> None:
    bench = Bench(imports=imports)
    for number in range(8):
        bench.store(number, email=f"{number}@x.example", name="Ann")
    bench.store(9, inside=(LAPSED,), email="9@x.example")

    first, second = bench.full_run(), bench.full_run(bench.other_export)

    assert first.state is second.state is RunState.FINISHED
    assert bench.counts(first) == {"selected": 8, "delivered": 8}
    assert bench.counts(second) == {"selected": 1, "delivered": 1}
    assert sorted(bench.tool.holds()) == [f"{number}@x.example" for number in range(8)]
    assert bench.tool.holds()["7@x.example"] == {"name": "Ann"}
    assert list(bench.other.holds()) == ["9@x.example"]
    assert bench.assignment(9, f"{OTHER_CONNECTION}/main").pairs

    calls = len(bench.sent)
    assert bench.counts(bench.full_run()) == {"selected": 8, "assigned": 8, "unchanged": 8}
    assert len(bench.sent) == calls


@pytest.mark.parametrize("imports", [False, True])
def test_a_stream_brings_and_takes(imports: bool) -> None:
    bench = Bench(imports=imports)
    bench.store(2, email="2@x.example")
    bench.tick(after=timedelta(minutes=1))
    bench.work_off()
    assert list(bench.tool.holds()) == ["2@x.example"]

    bench.leave(2)
    bench.store(3, email="3@x.example")
    assert bench.consume(bench.look(2), bench.look(3)) == []
    bench.work_off()

    assert list(bench.tool.holds()) == ["3@x.example"]
    assert bench.record("2@x.example").winner is None
    assert bench.record("3@x.example").winner == person(3)
    bench.pass_time(timedelta(minutes=10))
    assert list(bench.tool.holds()) == ["3@x.example"]
    assert not bench.tool.complaints
