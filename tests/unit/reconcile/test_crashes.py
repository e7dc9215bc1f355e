"""Deaths between any two steps of a look: the message comes back, and all is as if nobody had died."""

from datetime import timedelta

import pytest

from relay.domain.identity import OUT, Record
from relay.queues import Message
from relay.stores import imports
from tests.fakes.bench import CONNECTION, MINUTE, Bench, Crash, person
from tests.fakes.bench_destination import Lost
from tests.fakes.crashing import die_at_every_step

pytestmark = pytest.mark.exhaustive

ANN, BOB, CY, NEW = (f"{name}@x.example" for name in ("ann", "bob", "cy", "new"))
HOUR = timedelta(hours=1)
DEADLINE = timedelta(minutes=10)

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def changed(*, imports: bool) -> Bench:
    """Return a bench where one joins, one leaves, one has another address and one other values; two share Cy's."""
    bench = Bench(imports=imports, streams=False)
    bench.store(2, email=ANN)
    bench.store(4, email=BOB)
    bench.store(6, email="dan@x.example", name="D")
    bench.store(8, email=CY, name="first")
    bench.store(10, email=CY, name="second")
    bench.full_run()
    bench.clock.time += HOUR
    bench.tool.calls_made.clear()
    bench.store(2, email=NEW, name="N")
    bench.leave(4)
    bench.store(6, name="E")
    bench.leave(8)
    bench.store(12, email="eve@x.example")
    return bench


ALL = (2, 4, 6, 8, 12)
WANTED = {
    NEW: {"name": "N"},
    "dan@x.example": {"name": "E"},
    CY: {"name": "second"},
    "eve@x.example": {},
}


def look(bench: Bench, receives: int) -> None:
    assert bench.consume(bench.look(*ALL), receives=receives) == []


def is_at_rest(record: Record) -> bool:
    """Return whether nothing is open but calls that bring about what is acknowledged."""
    return record.open is None or (record.open.id is None and record.open.content == record.acknowledged)


def assert_all_is_well(bench: Bench) -> None:
    bench.work_off()
    bench.pass_time(2 * MINUTE)
    assert bench.tool.holds() == WANTED
    assert bench.tool.complaints == []
    for email in (ANN, BOB):
        record = bench.record(email)
        assert (record.responsible, record.acknowledged, is_at_rest(record)) == (None, OUT, True)
    for email, number in ((NEW, 2), (CY, 10), ("eve@x.example", 12)):
        assert (bench.record(email).winner, is_at_rest(bench.record(email))) == (person(number), True)
        assert email in {pair.identity for pair in bench.assigned(number)}
    assert imports.all_open(bench.database, CONNECTION) == []
    before = bench.database.snapshot(), len(bench.sent)
    bench.reconcile(*ALL, 10)
    bench.reconcile(*ALL, 10)
    assert len(bench.sent) == before[1]


@both
def test_whoever_dies_at_any_step_leaves_what_the_next_one_brings_to_its_end(imports: bool) -> None:
    assert die_at_every_step(lambda: changed(imports=imports), look, assert_all_is_well) > 15


@both
def test_whoever_dies_twice_does_so_too(imports: bool) -> None:
    for first in range(1, 12, 3):
        for second in range(1, 12, 3):
            bench = changed(imports=imports)
            for receives, steps in enumerate((first, second), 1):
                bench.crash_at = bench.steps + steps
                try:
                    bench.consume(bench.look(*ALL), receives=receives)
                except Crash:
                    bench.restart()
            bench.crash_at = None
            look(bench, 3)
            assert_all_is_well(bench)


@both
def test_other_values_that_come_after_the_death_are_what_the_destination_holds_in_the_end(imports: bool) -> None:
    """Between the death and the next try everybody changed once more: what was sent may still take effect."""

    def act(bench: Bench, receives: int) -> None:
        if receives == 2:
            bench.store(2, email=NEW, name="newest")
            bench.store(12, email="eve@x.example", name="newest")
        look(bench, receives)

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(DEADLINE)
        if bench.tool.holds() == WANTED:
            return
        assert bench.tool.holds() == {**WANTED, NEW: {"name": "newest"}, "eve@x.example": {"name": "newest"}}
        assert bench.tool.complaints == []

    die_at_every_step(lambda: changed(imports=imports), act, check)


# The crash points of docs/how-it-works.md, one by one.


def died(bench: Bench, step: str, number: int = 0, *, look: Message | None = None) -> Message:
    """Let a look die right before a step of this name that comes after so many others; return its message."""
    message = bench.look(2) if look is None else look
    left = [number]

    def die(name: str) -> None:
        if name.startswith(step):
            if left[0] == 0:
                raise Crash(name)
            left[0] -= 1

    bench.database.before = die
    bench.tool.step = die
    with pytest.raises(Crash):
        bench.consume(message)
    bench.database.before = lambda name: None
    bench.tool.step = bench.step
    bench.restart()
    return message


def simple() -> Bench:
    bench = Bench(streams=False)
    bench.store(14, email="other@x.example")
    bench.full_run()
    bench.clock.time += HOUR
    bench.store(2, email=ANN, name="A")
    return bench


def test_after_the_assignment_one_look_finds_a_pair_whose_record_does_not_name_the_profile() -> None:
    bench = simple()
    message = died(bench, "write identities")
    assert {pair.identity for pair in bench.assigned(2)} == {ANN}
    assert bench.record(ANN).winner is None
    assert bench.consume(message, receives=2) == []
    assert bench.tool.holds()[ANN] == {"name": "A"}


def test_after_the_assignment_whoever_left_since_leaves_nothing_behind() -> None:
    bench = simple()
    message = died(bench, "write identities")
    bench.leave(2)
    assert bench.consume(message, receives=2) == []
    assert bench.assigned(2) == set()
    assert ANN not in bench.tool.holds()


def test_after_the_record_with_the_call_open_the_same_values_are_sent_at_once() -> None:
    bench = simple()
    message = died(bench, "before call")
    assert bench.record(ANN).open is not None
    assert bench.consume(message, receives=2) == []
    assert bench.tool.holds()[ANN] == {"name": "A"}


def test_after_the_record_with_the_call_open_other_values_wait_for_the_deadline() -> None:
    bench = simple()
    message = died(bench, "before call")
    bench.store(2, name="B")
    assert bench.consume(message, receives=2) == []
    assert ANN not in bench.tool.holds()
    bench.pass_time(DEADLINE)
    assert bench.tool.holds()[ANN] == {"name": "B"}


def test_after_the_call_the_same_values_are_sent_again_and_other_values_wait() -> None:
    for name in ("A", "B"):
        bench = simple()
        message = died(bench, "after call")
        assert bench.tool.holds()[ANN] == {"name": "A"}
        bench.store(2, name=name)
        assert bench.consume(message, receives=2) == []
        assert len([call for call in bench.sent if ANN in call]) == (2 if name == "A" else 1)
        bench.pass_time(DEADLINE)
        assert bench.tool.holds()[ANN] == {"name": name}
        assert bench.tool.complaints == []


def test_after_the_answer_whoever_has_to_go_on_is_asked_by_whoever_reads_the_record() -> None:
    """Given the winner's leave that is written, and a death before anybody was asked to go on."""
    bench = simple()
    bench.store(4, email=ANN, name="second")
    bench.reconcile(2, 4)
    bench.leave(2)
    bench.queue.failures.append(Lost())
    message = bench.look(2)
    assert bench.consume(message) == ["m0"]
    assert bench.record(ANN).winner == person(4)
    assert bench.queue.messages == []
    assert bench.consume(message, receives=2) == []
    bench.work_off()
    assert bench.tool.holds()[ANN] == {"name": "second"}


def test_after_the_rows_of_an_import_without_its_header_the_same_is_queued_once_more() -> None:
    bench = Bench(imports=True, streams=True)
    bench.store(2, email=ANN)
    message = died(bench, "write control", 2)
    assert len(bench.tool.jobs) == 1
    assert imports.all_open(bench.database, CONNECTION) == []
    assert bench.consume(message, receives=2) == []
    assert len(bench.tool.jobs) == 2
    bench.work_off()
    assert bench.tool.holds() == {ANN: {}}
    assert is_at_rest(bench.record(ANN))


def test_after_the_header_of_an_import_nothing_is_sent_again_and_the_clock_sends_its_check() -> None:
    bench = Bench(imports=True, streams=True)
    bench.store(2, email=ANN)
    bench.checks.failures.append(Lost())
    message = bench.look(2)
    assert bench.consume(message) == ["m0"]
    assert len(imports.all_open(bench.database, CONNECTION)) == 1
    assert bench.consume(message, receives=2) == []
    assert len(bench.tool.jobs) == 1
    assert bench.checks.messages == []
    bench.pass_time(20 * MINUTE)
    assert bench.tool.holds() == {ANN: {}}
    assert imports.all_open(bench.database, CONNECTION) == []


def test_an_assignment_that_was_to_be_reduced_is_reduced_by_the_next_look() -> None:
    bench = simple()
    bench.reconcile(2)
    bench.leave(2)
    message = died(bench, "write assignments")
    assert ANN not in bench.tool.holds()
    assert {pair.identity for pair in bench.assigned(2)} == {ANN}
    assert bench.consume(message, receives=2) == []
    assert bench.assigned(2) == set()
