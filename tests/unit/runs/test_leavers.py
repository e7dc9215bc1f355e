"""Who is counted as leaving by a run, and what became of them, whatever happens between its passes."""

from datetime import timedelta

from relay.domain import ledger
from relay.domain.assignment import Pair
from relay.domain.runs import Phase, Run, RunState
from relay.messages import Page, from_json
from relay.queues import Message
from relay.stores import assignments
from tests.fakes.bench import CONNECTION, Bench, person
from tests.fakes.memory_database import Trouble

MAIN = f"{CONNECTION}/main"


def delivered(*numbers: int) -> Bench:
    """Return a bench whose profiles are delivered, each with an address of its own."""
    bench = Bench(streams=False, call_size=1)
    for number in numbers:
        bench.store(number, email=f"{number}@x.example")
    bench.full_run()
    bench.clock.time += timedelta(minutes=1)
    return bench


def begun(bench: Bench) -> Run:
    """Return a run that begins a minute from now."""
    bench.clock.time += timedelta(minutes=1)
    return bench.start()


def work(bench: Bench, until: Phase | None = None) -> None:
    """Hand over pages, those that are kept once more, and stop before the first one of a phase; looks wait."""
    waiting: list[Message] = []
    while messages := bench.queue.take():
        for message in messages:
            task = from_json(message.body)
            if isinstance(task, Page) and (until is None or task.phase < until):
                while bench.consume(message):
                    pass
            else:
                waiting.append(message)
    bench.queue.messages += waiting


def also_assigned(bench: Bench, number: int, *pairs: Pair) -> None:
    """Assign a profile pairs that no record knows of, as a look does that dies right after."""
    stored = assignments.load(bench.database, MAIN, [person(number)])[person(number)]
    grown = stored.assignment._replace(pairs=stored.assignment.pairs.union(pairs))
    bench.database.write([assignments.save(MAIN, person(number), grown, stored.version)])


def test_a_page_that_is_done_once_more_counts_those_whom_it_took_out_before() -> None:
    bench = delivered(2, 4)
    bench.leave(2)
    run = begun(bench)
    work(bench, until=Phase.REMOVE)
    troubles = [Trouble.THROTTLED]
    bench.database.trouble = lambda write: troubles.pop() if troubles and "run#" in write.key.pk else None
    work(bench)
    assert bench.sent[-1] == ["-2@x.example"]
    assert not troubles
    counts = bench.counts(run)
    assert (counts["leaving"], counts["removed"]) == (1, 1)


def test_one_who_is_assigned_in_vain_does_not_leave_because_somebody_else_does() -> None:
    bench = delivered(2, 4)
    also_assigned(bench, 4, Pair(bench.target(), "2@x.example"))
    bench.leave(2)
    run = begun(bench)
    work(bench)
    counts = bench.counts(run)
    assert (counts["leaving"], counts["removed"]) == (1, 1)
    assert bench.assigned(4) == {Pair(bench.target(), "4@x.example")}
    assert list(bench.tool.holds()) == ["4@x.example"]


def test_what_a_survivor_takes_over_during_a_run_is_not_taken_out_by_it() -> None:
    bench = delivered(2, 4, 6, 8)
    bench.join(6, 2)
    bench.store(2, email="2@x.example")
    bench.leave(4)
    bench.clock.time += timedelta(minutes=1)
    run = begun(bench)
    work(bench)
    counts = bench.counts(run)
    assert (counts["leaving"], counts["removed"]) == (1, 1)
    assert sorted(bench.tool.holds()) == ["2@x.example", "6@x.example", "8@x.example"]
    assert (bench.run(run).state, ledger.returned(counts)) == (RunState.FINISHED, 0)
    bench.work_off()
    assert sorted(bench.tool.holds()) == ["2@x.example", "8@x.example"]


def test_a_leaver_who_changed_just_before_a_run_of_a_streaming_export_is_taken_out_by_it() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example")
    bench.store(4, email="4@x.example")
    bench.full_run()
    bench.edit(mapping={"email": "attributes.email"})
    bench.leave(2)
    run = bench.start()
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert list(bench.tool.holds()) == ["4@x.example"]
    assert "leaving" not in bench.counts(run)
