"""Runs that cannot end as they began: they give way, and another begins that can."""

from dataclasses import replace
from datetime import timedelta

from relay.domain.runs import Phase, Run, RunState
from relay.runs.ending import EDITED, NEW_OWNER
from relay.stores import owners, runs
from tests.fakes.bench import CONNECTION, Bench, person
from tests.fakes.bench_destination import Lost

MINUTE = timedelta(minutes=1)
GOLD = "shop/gold"


def waiting_for_a_leaver() -> tuple[Bench, Run]:
    """Return a run that waits for a leaver, because a call with its last values may still arrive."""
    bench = Bench(streams=False)
    for number in (2, 4):
        bench.store(number, email=f"{number}@x.example", name="Ann")
    bench.full_run()
    bench.store(2, name="Bea")
    bench.tool.script = [Lost()]
    bench.consume(bench.look(2))
    bench.leave(2)
    run = bench.full_run()
    assert (run.state, run.phase) == (RunState.RUNNING, Phase.REMOVE)
    return bench, run


def is_over(bench: Bench, run: Run, reason: str) -> None:
    """The run has given way, and a later one has taken the leaver out."""
    bench.pass_time(15 * MINUTE)
    assert (bench.run(run).state, bench.run(run).reason) == (RunState.STOPPED, reason)
    assert list(bench.tool.holds()) == ["4@x.example"]


def test_a_run_that_only_waits_gives_way_to_an_edit() -> None:
    bench, run = waiting_for_a_leaver()
    bench.edit(mapping={"email": "attributes.email"}, version=bench.export.version + 1)
    is_over(bench, run, EDITED)


def test_a_run_that_only_waits_gives_way_when_its_export_takes_a_target_meanwhile() -> None:
    """Until another run has taken over what the former owner had, looks take nobody out."""
    bench, run = waiting_for_a_leaver()
    bench.clock.time += MINUTE
    seen = owners.load(bench.database, CONNECTION, [bench.target()])[bench.target()]
    for name in ("somebody", "main"):
        taken = owners.take(bench.database, CONNECTION, bench.target(), name, seen, bench.clock.now())
        assert taken is not None
        seen = taken
    bench.restart()
    is_over(bench, run, NEW_OWNER)


def test_what_a_former_owner_still_does_after_its_target_was_taken_is_taken_over() -> None:
    """An invocation that opened the export before it was deleted works on for some seconds."""
    bench = Bench(imports=True, streams=False)
    bench.store(2, email="2@x.example")
    bench.store(4, inside=(GOLD,), email="4@x.example")
    bench.full_run()
    new = bench.edit("new", segments=(GOLD,), options="7")
    bench.store(6, email="6@x.example")
    bench.clock.time += timedelta(hours=1)
    job = bench.job()
    bench.settings.delete(f"{CONNECTION}/main")
    bench.restart()
    bench.full_run(new)
    bench.clock.time += timedelta(seconds=20)
    bench.stack.reconciler.look(replace(job, until=bench.clock.now() + MINUTE), [person(6)])
    bench.work_off()
    assert (bench.target(new), "6@x.example") in bench.tool.held

    bench.pass_time(10 * MINUTE)
    run = runs.active(bench.database, new.key)
    if run is not None:
        # All who were there leave: an operator has to confirm it.
        assert bench.stack.starter.confirm(new, run.id, "an operator")
    bench.pass_time(10 * MINUTE)
    assert list(bench.tool.holds()) == ["4@x.example"]
