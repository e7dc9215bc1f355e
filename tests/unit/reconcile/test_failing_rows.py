"""One row at which the destination fails, again and again, holds up nobody else."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from relay.destinations.contract import Account, Answer, Step
from relay.domain.exports import Export
from relay.domain.problems import UNCONFIRMED, Transient
from relay.domain.runs import RunState
from relay.queues import Message
from relay.reconcile.reconciler import WHOLE_CALLS
from tests.fakes.bench import Bench
from tests.fakes.bench_destination import BenchDestination

DAY = timedelta(days=1)
MANY = 12

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


class Failing(BenchDestination):
    """Answers 500 to every call with one of some identities in it, and then does nothing."""

    fails_at: frozenset[str] = frozenset()
    taken: bool | None = None

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        if any(step.identity in self.fails_at for step in steps):
            raise Transient("unavailable", "has a problem of its own (HTTP 500)", taken=self.taken)
        return super().send(account, export, steps)


def mail(number: int) -> str:
    return f"{number}@x.example"


def failing(*numbers: int, imports: bool = False, taken: bool | None = None) -> Bench:
    bench = Bench(imports=imports, call_size=10)
    bench.tool.__class__ = Failing
    bench.tool.fails_at = frozenset(map(mail, numbers))  # type: ignore[attr-defined]
    bench.tool.taken = taken  # type: ignore[attr-defined]
    for number in range(0, 2 * MANY, 2):
        bench.store(number, email=mail(number))
    return bench


def come_back(bench: Bench, message: Message, most: int = 20) -> int:
    """Give a message to the consumer until it is done; return how often that was."""
    for receives in range(1, most + 1):
        if not bench.consume(message, receives=receives):
            return receives
        bench.clock.time += timedelta(minutes=1)
    return most + 1


def work_off(bench: Bench) -> None:
    for _ in range(100):
        messages = bench.queue.take()
        if not messages:
            break
        for message in messages:
            assert come_back(bench, message) <= WHOLE_CALLS + 4
    bench.work_off()


@both
@pytest.mark.parametrize("taken", [None, False])
def test_a_run_brings_all_the_others_and_rejects_the_one(imports: bool, taken: bool | None) -> None:
    bench = failing(4, imports=imports, taken=taken)
    run = bench.start()
    work_off(bench)
    assert set(bench.tool.holds()) == {mail(number) for number in range(0, 2 * MANY, 2)} - {mail(4)}
    assert bench.counts(run) == {
        "selected": MANY,
        "delivered": MANY - 1,
        "rejected": 1,
        f"rejected:{UNCONFIRMED}": 1,
    }
    assert bench.breaker().stop is None

    bench.tool.fails_at = frozenset()  # type: ignore[attr-defined]
    bench.clock.time += DAY
    assert bench.full_run().state is RunState.FINISHED
    assert mail(4) in bench.tool.holds()
    assert bench.tool.complaints == []


def test_a_look_at_the_one_alone_is_done_when_the_account_is_well() -> None:
    bench = failing(4)
    assert come_back(bench, bench.look(4)) == WHOLE_CALLS + 1
    assert bench.record(mail(4)).refused is not None


def test_one_that_leaves_is_kept_and_the_others_go() -> None:
    bench = failing()
    bench.full_run()
    bench.tool.fails_at = frozenset({mail(4)})  # type: ignore[attr-defined]
    bench.clock.time += timedelta(hours=1)
    for number in (2, 4, 6):
        bench.leave(number)
    assert come_back(bench, bench.look(2, 4, 6)) <= WHOLE_CALLS + 3
    assert {mail(2), mail(4), mail(6)} & set(bench.tool.holds()) == {mail(4)}


def test_during_an_outage_nobody_is_rejected() -> None:
    everybody = range(0, 2 * MANY, 2)
    bench = failing(*everybody)
    down = Transient("unavailable", "has a problem of its own (HTTP 500)")
    bench.tool.probe_script = [down] * 20
    calls = len(bench.sent)
    assert come_back(bench, bench.look(*everybody), most=8) == 9
    assert all(bench.record(mail(number)).refused is None for number in everybody)
    assert len(bench.sent) == calls
    bench.tool.fails_at = frozenset()  # type: ignore[attr-defined]
    bench.consume(bench.look(*everybody), receives=9)
    assert set(bench.tool.holds()) == set(map(mail, everybody))
