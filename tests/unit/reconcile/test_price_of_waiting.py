"""What waiting costs: one small item for each record that waits, written once and read once, when it is due."""

from datetime import timedelta

from relay.messages import Look
from relay.stores.database import Table, size_of
from tests.fakes.bench import MINUTE, Bench
from tests.fakes.bench_destination import Lost

EVERYBODY = range(2, 62, 2)
BOUND = timedelta(minutes=4)


def mail(number: int) -> str:
    return f"{number}@x.example"


def waiting() -> Bench:
    """Return a bench on which the call for everybody is lost, and they have other values now."""
    bench = Bench(call_size=100, streams=False)
    bench.tool.lost_answer_bound = BOUND
    for number in EVERYBODY:
        bench.store(number, email=mail(number), name="A")
    bench.full_run()
    bench.tick()
    for number in EVERYBODY:
        bench.store(number, name="B")
    bench.tool.script = [Lost()]
    assert bench.consume(bench.look(*EVERYBODY)) == ["m0"]
    for number in EVERYBODY:
        bench.store(number, name="C")
    return bench


def waits(bench: Bench) -> int:
    return sum(str(item["pk"]).startswith("waits#") for item in bench.database.items(Table.CONTROL))


def test_a_wait_is_one_small_item_and_nobody_reads_it_before_it_is_due() -> None:
    bench = waiting()
    bench.database.forget_units()
    assert bench.consume(bench.look(*EVERYBODY), receives=2) == []
    assert waits(bench) == len(EVERYBODY)
    assert bench.database.write_units[Table.CONTROL] == len(EVERYBODY)
    assert max(size_of(i) for i in bench.database.items(Table.CONTROL) if str(i["pk"]).startswith("waits#")) < 200

    bench.database.forget_units()
    for _ in range(3):
        bench.tick(after=MINUTE)
        assert bench.queue.messages == []
    assert bench.database.read_units[Table.IDENTITIES] == 0
    assert bench.database.write_units.total() == 0
    assert waits(bench) == len(EVERYBODY)


def test_when_it_is_due_it_is_read_once_and_gone() -> None:
    bench = waiting()
    assert bench.consume(bench.look(*EVERYBODY), receives=2) == []
    bench.clock.time += 2 * BOUND
    bench.database.forget_units()
    bench.tick()
    assert bench.database.read_units[Table.IDENTITIES] == len(EVERYBODY)
    assert bench.database.write_units[Table.CONTROL] == len(EVERYBODY)
    assert waits(bench) == 0
    assert [len(task.profiles) for task in bench.queue.tasks if isinstance(task, Look)] == [len(EVERYBODY)]
    bench.work_off()
    assert bench.tool.holds() == {mail(number): {"name": "C"} for number in EVERYBODY}

    bench.database.forget_units()
    bench.tick(after=MINUTE)
    assert bench.database.read_units[Table.IDENTITIES] == 0
    assert bench.queue.messages == []


def test_a_message_whose_profiles_wait_is_done_and_does_not_come_back() -> None:
    """Nothing hides a message until the wait is over: none was put back, none was sent again."""
    bench = waiting()
    bench.queue.hidden.clear()
    assert bench.consume(bench.look(*EVERYBODY), receives=2) == []
    assert bench.queue.hidden == []
    assert bench.queue.messages == []
    assert bench.checks.messages == []
