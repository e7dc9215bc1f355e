"""Pages of runs that die, meet others, or are throttled at any step: each profile is counted once."""

from datetime import timedelta
from functools import partial

import pytest

from relay.domain.runs import Phase, Run, RunState
from relay.queues import Message
from relay.stores import runs
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench import MINUTE, Bench
from tests.fakes.crashing import die_at_every_step, meet_at_every_step, trouble_at_every_write
from tests.fakes.memory_database import Trouble

pytestmark = pytest.mark.exhaustive

HOUR = timedelta(hours=1)
SHARED = "shared@x.example"

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
phases = pytest.mark.parametrize("phase", [Phase.DELIVER, Phase.REMOVE], ids=["deliver", "remove"])

made: list[tuple[Run, list[Message]]] = []


def mail(number: int) -> str:
    return f"{number}@x.example"


def prepare(phase: Phase, *, imports: bool) -> Bench:
    """Return a bench whose run has its pages of a phase queued, and the run with those pages in `made`.

    2 has another address, 4 leaves, 6 joins, 8 is refused, 10 and 11 share an address that the smaller one leaves.
    """
    bench = Bench(imports=imports, streams=False)
    for number in (2, 4, 14):
        bench.store(number, email=mail(number))
    bench.store(10, email=SHARED, name="first")
    bench.store(11, email=SHARED, name="second")
    bench.full_run()
    bench.clock.time += HOUR
    bench.tool.refuses = {mail(8)}
    bench.store(2, email="new@x.example")
    bench.leave(4)
    bench.leave(10)
    bench.store(6, email=mail(6))
    bench.store(8, email=mail(8))
    bench.clock.time += MINUTE
    run = bench.start()
    while bench.run(run).phase < phase:
        for message in bench.queue.take():
            assert bench.consume(message) == []
    made[:] = [(run, sorted(bench.queue.take(), key=lambda message: str(message.group)))]
    return bench


def consume(bench: Bench, receives: int) -> bool:
    """Hand over all pages; return whether none of them is kept."""
    return not [page for page in made[0][1] if bench.consume(page, receives=receives)]


def act(bench: Bench, receives: int) -> None:
    assert consume(bench, receives)


def assert_each_is_counted_once(bench: Bench, *, may_be_looked_at: bool = False) -> None:
    bench.work_off()
    bench.pass_time(STALLED_AFTER + 2 * MINUTE)
    [(run, _)] = made
    assert bench.run(run).state is RunState.FINISHED
    counts = bench.counts(run)
    assert [counts[name] for name in ("selected", "leaving", "rejected", "assigned")] == [5, 3, 1, 5]
    # Whoever is looked at between the phases is taken out by that look.
    assert counts["removed"] == 3 or (may_be_looked_at and counts["removed"] == 2)
    assert counts["delivered"] + counts.get("unchanged", 0) + counts.get("duplicate", 0) == 4
    assert counts["delivered"] >= 2
    assert bench.tool.holds() == {
        "new@x.example": {},
        mail(6): {},
        mail(14): {},
        SHARED: {"name": "second"},
    }
    assert bench.tool.complaints == []


@both
@phases
def test_a_page_that_dies_at_any_step_and_comes_back(phase: Phase, imports: bool) -> None:
    assert die_at_every_step(lambda: prepare(phase, imports=imports), act, assert_each_is_counted_once) > 8


@both
@phases
def test_a_page_that_dies_at_any_step_and_is_lost_is_sent_again_by_the_clock(phase: Phase, imports: bool) -> None:
    def lose(bench: Bench, receives: int) -> None:
        if receives == 1:
            act(bench, receives)

    assert die_at_every_step(lambda: prepare(phase, imports=imports), lose, assert_each_is_counted_once) > 8


@both
@phases
def test_a_leaver_that_comes_back_after_its_page_died_is_counted_once(phase: Phase, imports: bool) -> None:
    def come_back(bench: Bench, receives: int) -> None:
        if receives == 2:
            bench.clock.time += MINUTE
            bench.store(4)
        act(bench, receives)

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(STALLED_AFTER + 2 * MINUTE)
        [(run, _)] = made
        assert bench.run(run).state is RunState.FINISHED
        counts = bench.counts(run)
        # It came before it was counted as leaving, or after.
        assert counts["leaving"] in ((2, 3) if phase is Phase.DELIVER else (3,))
        assert counts.get("leaving_outstanding", 0) == counts.get("outstanding", 0) == 0
        bench.store(4)
        bench.full_run()
        bench.pass_time(10 * MINUTE)
        assert sorted(bench.tool.holds()) == sorted(["new@x.example", mail(4), mail(6), mail(14), SHARED])

    assert die_at_every_step(lambda: prepare(phase, imports=imports), come_back, check) > 8


@both
@phases
@pytest.mark.parametrize("trouble", Trouble)
def test_a_single_write_that_is_throttled_or_lost(phase: Phase, imports: bool, trouble: Trouble) -> None:
    def play() -> Bench:
        return prepare(phase, imports=imports)

    assert trouble_at_every_write(play, consume, trouble, assert_each_is_counted_once) > 4


@both
@phases
def test_two_workers_on_one_page_count_it_once(phase: Phase, imports: bool) -> None:
    """A message whose visibility ran out too early."""

    def play() -> Bench:
        return prepare(phase, imports=imports)

    met = meet_at_every_step(
        play, consume, lambda bench: consume(bench, 2), assert_each_is_counted_once, ("write ", "transact ")
    )
    assert met > 4


@both
@phases
def test_the_clock_may_come_at_any_step(phase: Phase, imports: bool) -> None:
    def tick(bench: Bench) -> None:
        bench.tick(after=STALLED_AFTER + MINUTE)

    def play() -> Bench:
        return prepare(phase, imports=imports)

    # A page in which a quarter of an hour passes has its calls made by looks.
    check = partial(assert_each_is_counted_once, may_be_looked_at=True)
    met = meet_at_every_step(play, consume, tick, check, ("write ", "transact "))
    assert met > 4


@both
@phases
def test_cancelling_at_any_step_leaves_nothing_half_counted(phase: Phase, imports: bool) -> None:
    def cancel(bench: Bench) -> None:
        bench.stack.starter.cancel(made[0][0].id, "an operator")

    def check(bench: Bench) -> None:
        bench.work_off()
        [(run, _)] = made
        assert bench.run(run).state in (RunState.CANCELLED, RunState.FINISHED)
        bench.counts(run)
        assert runs.active(bench.database, bench.export.key) is None
        again = bench.full_run()
        if again.state is RunState.NEEDS_CONFIRMATION:
            # Somebody who cancels while leavers go has seen that some should not.
            assert (bench.run(run).state, phase) == (RunState.CANCELLED, Phase.REMOVE)
            assert bench.stack.starter.confirm(bench.export, again.id, "an operator")
            bench.work_off()
            again = bench.run(again)
        assert again.state is RunState.FINISHED
        bench.pass_time(10 * MINUTE)
        assert sorted(bench.tool.holds()) == sorted(["new@x.example", mail(6), mail(14), SHARED])

    def play() -> Bench:
        return prepare(phase, imports=imports)

    assert meet_at_every_step(play, consume, cancel, check, ("write ", "transact ")) > 4
