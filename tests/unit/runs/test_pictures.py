"""What is shown of one run: how far it got over time, what the vendor allows, the runs before, what codes mean."""

from datetime import timedelta
from typing import Any

from relay.breaker.pace import Pace
from relay.domain.runs import Run
from relay.runs.pictures import MOST_POINTS, details, picture, thinned
from tests.fakes.bench import CONNECTION, MINUTE, Bench
from tests.fakes.bench_destination import QUOTA


def bench_of(members: int, **options: Any) -> Bench:
    bench = Bench(streams=False, **options)
    for number in range(members):
        bench.store(number, email=f"{number}@x.example")
    return bench


def shown(bench: Bench, run: Run) -> dict[str, Any]:
    return details(bench.database, bench.run(run), bench.clock.now())


def test_a_run_under_way_says_how_far_it_is_and_when_it_was_where() -> None:
    bench = bench_of(12)
    bench.clock.time += MINUTE
    run = bench.start()
    for _ in range(3):
        bench.clock.time += MINUTE
        for message in bench.queue.take():
            assert bench.consume(message) == []
    found = shown(bench, run)
    assert 0 < found["share"] < 1
    assert found["seconds"] == 180
    assert [done for _, done in found["progress"]] == [0, 6, 12]
    assert found["progress"][-1][0] == "2026-03-01T12:04:00.000000Z"


def test_a_run_that_is_over_took_as_long_as_it_took_and_is_shown_beside_those_before() -> None:
    bench = bench_of(3)
    first = bench.full_run()
    run = bench.full_run()
    bench.clock.time += timedelta(hours=5)
    found = shown(bench, run)
    assert (found["seconds"], found["share"]) == (0, 1)
    assert [one["run"] for one in found["previous"]] == [first.id]
    assert found["previous"][0]["counts"]["delivered"] == 3
    assert shown(bench, first)["previous"] == []


def test_what_the_vendor_allows_is_shown_once_calls_were_made() -> None:
    bench = bench_of(1)
    run = bench.full_run()
    assert shown(bench, run)["limits"] == []
    Pace(bench.database, bench.clock)(CONNECTION, QUOTA)
    assert shown(bench, run)["limits"] == [
        {"what": "calls", "calls": 60_000_000, "seconds": 60, "a_day": None, "used_today": None}
    ]


def test_a_long_series_is_thinned_and_its_end_stays() -> None:
    progress = tuple((second, 2 * second) for second in range(1000))
    found = thinned(progress)
    assert len(found) <= MOST_POINTS
    assert found[-1] == (999, 1998)
    assert thinned(progress[:5]) == progress[:5]


def test_a_picture_says_whether_a_run_is_full_and_what_was_planned() -> None:
    bench = bench_of(1)
    run = bench.stack.starter.start(bench.export, "test", full=True, planned_leaving=3)
    assert run is not None
    found = picture(bench.database, run)
    assert (found["full"], found["planned_leaving"]) == (True, 3)
