"""Starting runs: the account is asked first, one at a time, never while something is stopped, paused or just edited."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.contract import Account, Finding, Level
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem
from relay.domain.runs import Phase, Run, RunState
from relay.stores import breakers, runs
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench import CONNECTION, LAPSED, MINUTE, VIP, Bench, Crash
from tests.fakes.bench_destination import DOWN
from tests.fakes.crashing import die_at_every_step, meet_at_every_step, trouble_at_every_write
from tests.fakes.memory_database import Trouble

BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")


def bench_with(*numbers: int, call_size: int = 3, **options: Any) -> Bench:
    bench = Bench(streams=False, call_size=call_size, **options)
    for number in numbers:
        bench.store(number, email=f"{number}@x.example")
    return bench


def stop(bench: Bench, export: str | None) -> None:
    breaker = breakers.load_one(bench.database, CONNECTION, export)
    problem = BAD_KEY if export is None else ExportProblem("list_gone", "there is no list 7")
    breakers.stop(bench.database, breaker, problem, bench.clock.now())


def resync(bench: Bench) -> bool:
    return bool(breakers.load_one(bench.database, CONNECTION, "main").resync)


def try_to_start(bench: Bench, **options: Any) -> Run | None:
    return bench.stack.starter.start(bench.export, "test", **options)


# Where a run may start.


def test_a_run_begins_with_one_page_that_asks() -> None:
    bench = bench_with(0, 1)
    run = bench.start()
    assert (run.state, run.phase, run.shards, run.settings) == (RunState.RUNNING, Phase.ASK, 2, bench.export.version)
    assert [(message.body["shard"], message.body["phase"]) for message in bench.queue.messages] == [(0, 0)]


def test_one_run_of_an_export_goes_on_at_a_time() -> None:
    bench = bench_with(0, 1)
    bench.edit("second", segments=(LAPSED,))
    bench.store(3, inside=(LAPSED,), email="3@x.example")
    first = bench.start()
    assert try_to_start(bench) is None
    assert bench.start(bench.settings.saved[f"{CONNECTION}/second"]).state is RunState.RUNNING
    bench.work_off()
    assert bench.run(first).state is RunState.FINISHED
    bench.clock.time += MINUTE
    assert try_to_start(bench) is not None


@pytest.mark.parametrize("export", [None, "main"])
def test_while_something_is_stopped_a_run_is_requested_for_later(export: str | None) -> None:
    bench = bench_with(0)
    stop(bench, export)
    assert try_to_start(bench) is None
    assert resync(bench)
    assert runs.latest(bench.database, bench.export.key) == []


def test_a_paused_export_has_no_run() -> None:
    bench = bench_with(0)
    bench.edit(active=False)
    assert try_to_start(bench) is None
    assert not resync(bench)


def test_no_run_begins_before_an_edit_is_seen_everywhere() -> None:
    bench = bench_with(0)
    age = timedelta(seconds=60)
    bench.stack.settings_age = age
    bench.edit(version=round(moments_of(bench)))
    assert try_to_start(bench) is None
    assert resync(bench)
    bench.clock.time += age + CLOCK_MARGIN
    assert try_to_start(bench) is not None


def moments_of(bench: Bench) -> float:
    now = bench.clock.now()
    milliseconds = now.timestamp() * 1000
    assert moments.from_milliseconds(round(milliseconds)) == now
    return milliseconds


def test_a_segment_nobody_has_ever_seen_is_a_mistake_and_no_empty_set() -> None:
    bench = bench_with()
    bench.edit(segments=(LAPSED, VIP))
    run = bench.start()
    assert (run.state, run.reason) == (RunState.REFUSED, f"segments never seen: {LAPSED}, {VIP}")
    assert bench.queue.messages == []
    # Said once, however often it is tried.
    assert bench.start() == bench.run(run)
    assert len(runs.latest(bench.database, bench.export.key)) == 1
    bench.store(2, email="2@x.example")
    bench.clock.time += MINUTE
    again = bench.start()
    assert again.reason == f"segments never seen: {LAPSED}"
    bench.edit(segments=(VIP,))
    assert bench.start().state is RunState.RUNNING


# Asking the account.


def asking(bench: Bench, *script: Exception | type[BaseException]) -> list[str]:
    """Let the destination note for whom it is asked before runs, and fail as the script says."""
    exports: list[str] = []
    left = list(script)

    def ask(account: Account, export: Export) -> list[Finding]:
        exports.append(export.key)
        if left:
            raise left.pop(0)
        return bench.tool.findings_before_run

    bench.tool.check_before_run = ask  # type: ignore[method-assign]
    return exports


def test_the_account_is_asked_once_before_a_run_and_not_by_each_shard() -> None:
    bench = bench_with(*range(8), call_size=2)
    exports = asking(bench)
    run = bench.full_run()
    assert run.shards > 1
    assert exports == [bench.export.key]
    assert bench.counts(run) == {"selected": 8, "delivered": 8}


def test_a_run_that_cannot_go_stops_its_export_before_anything_is_sent() -> None:
    """Given a list that is gone, Then nobody is imported, and the export says why and gets a run when it is mended."""
    bench = bench_with(0, 2, 4, 6)
    bench.tool.findings_before_run = [
        Finding("connection", Level.OK, "the key works"),
        Finding("main", Level.WARNING, "the list is large"),
        Finding("main", Level.ERROR, "there is no list 7"),
    ]
    run = bench.start()
    bench.work_off()
    stopped = breakers.load_one(bench.database, CONNECTION, "main").stop
    assert stopped is not None
    assert (stopped.code, stopped.reason) == ("not_ready", "there is no list 7")
    assert breakers.load_one(bench.database, CONNECTION, None).stop is None
    assert bench.tool.holds() == {}
    assert resync(bench)
    assert (bench.run(run).state, bench.run(run).reason) == (RunState.STOPPED, "there is no list 7")
    bench.tool.findings_before_run = []
    bench.pass_time(timedelta(minutes=10))
    assert len(bench.tool.holds()) == 4


def test_warnings_stop_nothing() -> None:
    bench = bench_with(0)
    bench.tool.findings_before_run = [Finding("main", Level.WARNING, "the list is large")]
    assert bench.full_run().state is RunState.FINISHED


@pytest.mark.parametrize("trouble", [DOWN, KeyError("a defect")])
def test_an_account_that_did_not_answer_is_asked_again(trouble: Exception) -> None:
    bench = bench_with(0, 1)
    exports = asking(bench, trouble)
    run = bench.start()
    [page] = bench.queue.take()
    assert bench.consume(page) == ["m0"]
    assert bench.sent == []
    assert bench.consume(page, receives=2) == []
    bench.work_off()
    assert len(exports) == 2
    assert bench.counts(run) == {"selected": 2, "delivered": 2}


def test_whoever_dies_while_asking_holds_nobody_up() -> None:
    bench = bench_with(0, 1)
    asking(bench, Crash)
    run = bench.start()
    [page] = bench.queue.take()
    with pytest.raises(Crash):
        bench.consume(page)
    # The message is lost for good: the clock sends it again.
    bench.pass_time(STALLED_AFTER + 2 * MINUTE)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 2, "delivered": 2}


# Deaths, races, throttled writes.

began: list[Run] = []


def members() -> Bench:
    bench = bench_with(0, 1, 2)
    bench.full_run()
    bench.clock.time += MINUTE
    bench.store(4, email="4@x.example")
    bench.tool.calls_made.clear()
    return bench


def assert_one_run_was_made(bench: Bench) -> None:
    bench.work_off()
    bench.pass_time(STALLED_AFTER + 2 * MINUTE)
    first, *_ = runs.latest(bench.database, bench.export.key)
    assert first.state is RunState.FINISHED
    assert len(bench.tool.holds()) == 4
    assert bench.sent == [["4@x.example"]]
    assert runs.active(bench.database, bench.export.key) is None
    for run in runs.latest(bench.database, bench.export.key):
        bench.counts(run)


def test_whoever_dies_while_starting_leaves_a_run_that_goes_on_or_none() -> None:
    def act(bench: Bench, receives: int) -> None:
        bench.clock.time += MINUTE
        bench.stack.starter.start(bench.export, "test")

    assert die_at_every_step(members, act, assert_one_run_was_made) >= 3


@pytest.mark.parametrize("trouble", Trouble)
def test_a_single_write_of_a_start_that_is_throttled_or_lost_does_no_harm(trouble: Trouble) -> None:
    def act(bench: Bench, receives: int) -> bool:
        bench.clock.time += MINUTE
        with suppress(Busy):
            bench.stack.starter.start(bench.export, "test")
            return True
        return False

    assert trouble_at_every_write(members, act, trouble, assert_one_run_was_made) >= 3


def test_of_two_who_start_at_once_one_does() -> None:
    def act(bench: Bench, receives: int) -> bool:
        bench.stack.starter.start(bench.export, "test")
        return True

    def start_another(bench: Bench) -> None:
        bench.stack.starter.start(bench.export, "another")

    def check(bench: Bench) -> None:
        assert_one_run_was_made(bench)
        assert len(runs.latest(bench.database, bench.export.key)) == 2

    assert meet_at_every_step(members, act, start_another, check) > 3


def test_of_two_runs_of_one_second_the_later_is_the_newest() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example")
    ids = iter("fedcba")
    bench.stack.__dict__["starter"] = replace(bench.stack.starter, new_id=lambda: next(ids))
    for _ in range(3):
        run = bench.start()
        assert runs.newest(bench.database, run.export) == bench.run(run)
        assert bench.stack.starter.cancel(run.id, "an operator")
        bench.clock.time += timedelta(milliseconds=20)
