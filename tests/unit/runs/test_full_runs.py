"""A full run sends every member once more, and nothing else changes: consent, refusals and open calls count."""

from datetime import timedelta

import pytest

from relay.domain.identity import UNKNOWN
from relay.domain.runs import RETRY_ALL, Run, RunState
from relay.stores import runs
from relay.stores.database import Key, Put, Table
from tests.fakes.bench import MINUTE, Bench, Crash
from tests.fakes.bench_destination import Lost

ANN, BOB, CY = "ann@x.example", "bob@x.example", "cy@x.example"
HOUR = timedelta(hours=1)

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def delivered(*, imports: bool = False, streams: bool = False, refuses: str = "") -> Bench:
    """Return a bench whose first run has delivered Ann, Bob and Cy, but for whom the destination refuses."""
    bench = Bench(imports=imports, streams=streams)
    bench.tool.refuses = {refuses}
    for number, email in ((2, ANN), (4, BOB), (6, CY)):
        bench.store(number, email=email)
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.clock.time += HOUR
    return bench


def begin_full(bench: Bench, retry: str | None = None) -> Run:
    run = bench.stack.starter.start(bench.export, "test", full=True, retry=retry)
    assert run is not None
    return run


def send_all(bench: Bench, retry: str | None = None) -> Run:
    bench.clock.time += MINUTE
    run = begin_full(bench, retry)
    bench.work_off()
    return bench.run(run)


def sent(bench: Bench) -> list[str]:
    return sorted(identity for call in bench.sent for identity in call)


@both
def test_every_member_is_sent_once_more_and_counts_as_delivered(imports: bool) -> None:
    bench = delivered(imports=imports)
    run = send_all(bench)
    assert (run.state, run.full) == (RunState.FINISHED, True)
    assert bench.counts(run) == {"assigned": 3, "selected": 3, "delivered": 3}
    assert sent(bench) == [ANN, BOB, CY]


@both
def test_the_run_after_it_sends_nothing(imports: bool) -> None:
    bench = delivered(imports=imports)
    send_all(bench)
    bench.tool.calls_made.clear()
    assert bench.counts(bench.full_run()) == {"assigned": 3, "selected": 3, "unchanged": 3}
    assert sent(bench) == []


@both
def test_what_was_lost_at_the_destination_is_there_again(imports: bool) -> None:
    bench = delivered(imports=imports)
    bench.tool.held.clear()
    send_all(bench)
    assert sorted(bench.tool.holds()) == [ANN, BOB, CY]


@both
def test_pages_that_come_again_send_nobody_twice(imports: bool) -> None:
    bench = delivered(imports=imports)
    begin_full(bench)
    pages = []
    while messages := bench.queue.take():
        pages += messages
        for message in messages:
            assert bench.consume(message) == []
    for message in pages:
        assert bench.consume(message, receives=2) == []
    bench.work_off()
    assert sent(bench) == [ANN, BOB, CY]


@pytest.mark.parametrize("step", range(1, 40))
def test_whoever_dies_leaves_nobody_unsent_and_a_ledger_that_adds_up(step: int) -> None:
    bench = delivered()
    run = begin_full(bench)
    bench.crash_at = bench.steps + step
    try:
        bench.work_off()
    except Crash:
        bench.crash_at = None
        bench.restart()
        bench.pass_time(2 * HOUR)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"assigned": 3, "selected": 3, "delivered": 3}
    assert set(sent(bench)) == {ANN, BOB, CY}


def test_a_refusal_still_holds_unless_the_run_is_asked_to_try_it_again() -> None:
    bench = delivered(refuses=BOB)
    bench.tool.refuses = set()
    run = send_all(bench)
    assert bench.counts(run) == {
        "assigned": 3, "selected": 3, "delivered": 2, "rejected": 1, "rejected:unknown_user": 1,
    }  # fmt: skip
    assert sent(bench) == [ANN, CY]
    bench.tool.calls_made.clear()
    assert bench.counts(send_all(bench, RETRY_ALL)) == {"assigned": 3, "selected": 3, "delivered": 3}
    assert sent(bench) == [ANN, BOB, CY]


def test_whom_the_destination_refuses_now_is_rejected_and_nobody_says_that_it_is_held() -> None:
    bench = delivered()
    bench.tool.refuses = {BOB}
    run = send_all(bench)
    assert bench.counts(run)["rejected:unknown_user"] == 1
    assert bench.record(BOB).acknowledged is UNKNOWN
    # The next one tries again by the rule for all refusals: a day later.
    bench.tool.refuses = set()
    bench.clock.time += 25 * HOUR
    assert bench.counts(bench.full_run()) == {"assigned": 3, "selected": 3, "delivered": 1, "unchanged": 2}


def test_an_import_under_way_with_the_same_values_is_waited_for_and_not_sent_besides() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=ANN)
    bench.consume(bench.look(2))
    bench.clock.time += MINUTE
    run = send_all(bench)
    assert bench.counts(run) == {"assigned": 1, "selected": 1, "delivered": 1}
    assert sent(bench) == [ANN]


def test_a_call_whose_answer_was_lost_is_made_again() -> None:
    bench = delivered()
    bench.tool.script = [Lost()]
    run = begin_full(bench)
    taken = [message for _ in range(3) for message in bench.queue.take() if bench.consume(message)]
    assert bench.counts(run) == {}
    for message in taken:
        assert bench.consume(message, receives=2) == []
    bench.work_off()
    assert bench.counts(run)["delivered"] == 3


def test_profiles_with_one_identity_are_sent_as_one() -> None:
    bench = delivered()
    bench.store(8, email=ANN)
    bench.full_run()
    bench.tool.calls_made.clear()
    run = send_all(bench)
    assert bench.counts(run) == {"assigned": 4, "selected": 4, "delivered": 3, "duplicate": 1}
    assert sent(bench) == [ANN, BOB, CY]


def test_leavers_are_taken_out_as_in_any_run_and_those_who_left_before_are_left_alone() -> None:
    bench = delivered()
    bench.leave(2)
    bench.full_run()
    bench.leave(4)
    bench.tool.calls_made.clear()
    run = send_all(bench)
    assert bench.counts(run) == {"assigned": 2, "selected": 1, "delivered": 1, "leaving": 1, "removed": 1}
    assert sent(bench) == [f"-{BOB}", CY]


def test_looks_beside_it_send_nobody_again() -> None:
    bench = delivered(streams=True)
    send_all(bench)
    bench.tool.calls_made.clear()
    bench.reconcile(2, 4, 6)
    assert sent(bench) == []


def test_the_record_of_a_run_before_there_were_full_ones_can_be_read() -> None:
    bench = delivered()
    run = bench.start()
    key = Key(Table.CONTROL, f"run#{run.id}", "header")
    item = {name: value for name, value in bench.database[key].items() if name not in ("full", "planned_leaving")}
    bench.database.write([Put(key, {name: value for name, value in item.items() if name not in ("pk", "sk")})])
    found = runs.load(bench.database, run.id)
    assert found is not None
    assert (found.full, found.planned_leaving) == (False, None)
