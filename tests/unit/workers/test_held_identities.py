"""An identity that more profiles want than are kept by name: when those leave, a run asks the others."""

from __future__ import annotations

from relay.domain.identity import MOST_CLAIMANTS, Rest, Unwanted
from tests.fakes.bench import MINUTE, Bench, person

ANN = "ann@x.example"
EVERYBODY = range(2, 2 * MOST_CLAIMANTS + 6, 2)
KEPT, OTHERS = EVERYBODY[:MOST_CLAIMANTS], EVERYBODY[MOST_CLAIMANTS:]


def crowded() -> Bench:
    """Return a bench on which all want one address; an export's first run has been."""
    bench = Bench()
    for number in EVERYBODY:
        bench.store(number, email=ANN)
    bench.tick(after=MINUTE)
    bench.work_off()
    assert bench.record(ANN).turned_away_at is not None
    bench.pass_time(2 * MINUTE)
    return bench


def test_when_all_that_are_known_leave_a_run_starts_by_itself_and_the_others_take_over() -> None:
    bench = crowded()
    for number in KEPT:
        bench.leave(number)
    assert bench.consume(bench.look(*KEPT)) == []
    desired = bench.record(ANN).desired
    assert isinstance(desired, Unwanted)
    assert desired.rest is Rest.HOLD
    assert ANN in bench.tool.holds()

    bench.pass_time(3 * MINUTE)

    assert bench.record(ANN).winner == person(OTHERS[0])
    assert ANN in bench.tool.holds()
    assert ["-" + ANN] not in bench.sent


def test_when_the_others_have_left_too_it_leaves() -> None:
    bench = crowded()
    for number in EVERYBODY:
        bench.leave(number)
    assert bench.consume(bench.look(*EVERYBODY)) == []
    bench.pass_time(5 * MINUTE)
    assert bench.tool.holds() == {}
    assert bench.assigned(KEPT[0]) == set()
