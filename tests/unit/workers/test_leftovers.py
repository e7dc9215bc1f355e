"""After an export or a connection is deleted, nothing of a person stays behind, after a while."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.exports import Export
from relay.domain.problems import SettingsProblem
from relay.domain.runs import RunState
from relay.settings.names import UnknownConnection
from relay.stores import assignments, defects, identities, imports, runs
from relay.stores.database import Key, Put, Table, Update, Write
from relay.stores.defects import Defect
from relay.workers.leftovers import EXPORT_DELETED, KEPT, Leftovers
from tests.fakes.bench import CONNECTION, KEYED, OTHER_CONNECTION, VIP, Bench, Crash, person
from tests.fakes.bench_destination import Lost
from tests.fakes.memory_database import Trouble

DAY = timedelta(days=1)
MAIN, OTHER = f"{CONNECTION}/main", f"{CONNECTION}/other"
LEFT = ("run#", "runs#", "waits#")
GONE = UnknownConnection("unknown_connection", "there is none", field="connection")


@pytest.fixture
def bench() -> Bench:
    """Three people on list 7 by `main` and on list 8 by `other`; everything is delivered."""
    bench = Bench(streams=False, imports=True)
    bench.edit("other", options="8")
    for number in (2, 3, 300):
        bench.store(number, email=f"{number}@x.example")
    bench.tick()
    for name in ("main", "other"):
        bench.start(bench.settings.saved[f"{CONNECTION}/{name}"])
    bench.work_off()
    return bench


def delete(bench: Bench, name: str = "main") -> None:
    bench.settings.delete(f"{CONNECTION}/{name}")
    bench.tick()


def traces(bench: Bench, word: str) -> list[str]:
    """Return which items, other than those of profiles, still speak of something.

    Runs and waits go by themselves; who owned a target is known as long as the connection is there.
    """
    return [
        f"{item['pk']!s} {item.get('sk', '')!s}"
        for table in (Table.ASSIGNMENTS, Table.IDENTITIES, Table.CONTROL)
        for item in bench.database.items(table)
        if word in json.dumps({key: value for key, value in item.items() if not isinstance(value, bytes)})
        and not str(item["pk"]).startswith(LEFT)
        and OTHER_CONNECTION not in str(item)
        and (word == CONNECTION or not str(item["pk"]).startswith("owners#"))
    ]


def partitions(bench: Bench) -> set[str]:
    return {str(item["pk"]).split("#", 1)[0] for item in bench.database.items(Table.CONTROL)}


def records(bench: Bench) -> int:
    return len(list(bench.database.items(Table.IDENTITIES)))


def assigned(bench: Bench, name: str) -> int:
    items = bench.database.items(Table.ASSIGNMENTS)
    return sum(str(item["pk"]).startswith(f"{CONNECTION}/{name}#") for item in items)


def test_what_a_deleted_export_left_is_kept_for_a_while_and_then_removed(bench: Bench) -> None:
    delete(bench)
    bench.tick(after=KEPT - DAY)
    assert assigned(bench, "main") == 3
    bench.tick(after=DAY)
    assert assigned(bench, "main") == 0
    assert traces(bench, "main") == []
    assert (assigned(bench, "other"), records(bench)) == (3, 3)


@pytest.mark.parametrize("table", [Table.ASSIGNMENTS, Table.IDENTITIES])
def test_an_item_that_cannot_be_read_keeps_nothing_else_behind(bench: Bench, table: Table) -> None:
    """Given an unreadable item of one profile, and one that was set aside, When the export is deleted."""
    place = Key(Table.IDENTITIES, identities.key_of(KEYED, CONNECTION, "list/7", "3@x.example"))
    broken = place if table is Table.IDENTITIES else assignments.key_of(MAIN, person(3))
    bench.database.write([Put(broken, {"doc": "{", "version": 1})])
    defects.note(bench.database, MAIN, [Defect(person(2), "KeyError", ("a.py:1 b",), "c0de", bench.clock.now())])
    delete(bench)
    bench.tick(after=KEPT)
    assert (assigned(bench, "main"), assigned(bench, "other")) == (0, 3)
    # Of an assignment that cannot be read nobody knows which identity records it named.
    assert [trace for trace in traces(bench, "main") if trace.split()[0] != place.pk] == []
    assert [line["profile"] for line in bench.logged() if line["message"].startswith("removed without")] == [person(3)]


def test_nobody_is_taken_out_at_the_destination(bench: Bench) -> None:
    before, sent = bench.tool.holds(), len(bench.sent)
    delete(bench)
    for _ in range(3):
        bench.tick(after=KEPT)
    bench.work_off()
    assert (bench.tool.holds(), len(bench.sent)) == (before, sent)


def test_an_export_that_comes_back_meanwhile_goes_on_where_it_was(bench: Bench) -> None:
    export = bench.export
    delete(bench)
    bench.tick(after=KEPT - DAY)
    bench.settings.save(export)
    bench.tick(after=2 * DAY)
    assert assigned(bench, "main") == 3
    sent = len(bench.sent)
    bench.full_run()
    assert len(bench.sent) == sent
    # The time begins again when it is deleted again.
    delete(bench)
    bench.tick(after=KEPT - DAY)
    assert assigned(bench, "main") == 3


def test_an_export_that_comes_back_afterwards_begins_from_nothing(bench: Bench) -> None:
    export = bench.export
    delete(bench)
    bench.tick(after=KEPT)
    bench.settings.save(export)
    run = bench.full_run()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run)["delivered"] == 3


def test_an_invalid_or_paused_export_is_not_deleted(bench: Bench) -> None:
    bench.edit("other", active=False)
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is missing", field="mapping")
    for _ in range(3):
        bench.tick(after=KEPT)
    assert (assigned(bench, "main"), assigned(bench, "other")) == (3, 3)


def test_an_identity_that_another_export_has_taken_over_keeps_its_record(bench: Bench) -> None:
    """Given a list that passed from one export to another, When the first is deleted, Then the second goes on."""
    bench.settings.delete(MAIN)
    taken = bench.edit("successor", options="7")
    bench.restart()
    bench.full_run(taken)
    # Until then somebody may still act for the one that is gone.
    bench.pass_time(timedelta(minutes=3))
    bench.tick(after=KEPT)
    for number in (2, 3, 300):
        record = bench.record(f"{number}@x.example", "list/7")
        assert (record.winner, record.authority.export) == (person(number), "successor")
    assert (assigned(bench, "main"), assigned(bench, "successor")) == (0, 3)
    bench.work_off()
    sent = len(bench.sent)
    bench.full_run(taken)
    assert len(bench.sent) == sent


def test_what_another_export_has_yet_to_take_over_is_kept(bench: Bench) -> None:
    """Given a list that passed to an export whose run has not come, Then whoever left is taken out all the same."""
    bench.leave(2)
    bench.settings.delete(MAIN)
    taken = bench.edit("successor", options="7")
    bench.restart()
    bench.stack.ownership.own(taken)
    bench.edit("successor", active=False)
    bench.tick()
    bench.tick(after=KEPT)
    assert assigned(bench, "main") == 3

    back = bench.edit("successor", active=True)
    run = bench.full_run(back)
    assert bench.run(run).state is RunState.FINISHED
    assert ("list/7", "2@x.example") not in bench.tool.held
    bench.full_run(back)
    bench.tick(after=KEPT)
    assert (assigned(bench, "main"), assigned(bench, "successor")) == (0, 2)


def test_what_a_successor_that_is_gone_too_had_yet_to_take_over_is_removed(bench: Bench) -> None:
    bench.settings.delete(MAIN)
    bench.stack.ownership.own(bench.edit("successor", options="7"))
    bench.tick()
    delete(bench, "successor")
    bench.tick(after=KEPT)
    assert assigned(bench, "main") == 0


def test_of_several_claimants_only_those_of_the_deleted_export_leave(bench: Bench) -> None:
    """Given two profiles with one address, of which the second has no assignment that can be read, When the export is
    deleted, Then the record goes on naming that one alone."""
    bench.store(4, email="2@x.example")
    bench.full_run()
    assert bench.record("2@x.example", "list/7").names(person(4))
    bench.database.write([Put(assignments.key_of(MAIN, person(4)), {"doc": "{", "version": 1})])
    delete(bench)
    bench.tick(after=KEPT)
    record = bench.record("2@x.example", "list/7")
    assert (record.names(person(2)), record.names(person(4))) == (False, True)


def test_one_tick_removes_a_bounded_number(bench: Bench) -> None:
    delete(bench)
    bench.clock.time += KEPT
    left = []
    stack = bench.stack
    parts = stack.settings, stack.directory, stack.keyed, stack.clock, stack.observe
    leftovers = Leftovers(bench.database, *parts, at_a_time=2)
    for _ in range(4):
        leftovers.step(bench.settings.exports())
        left.append(assigned(bench, "main"))
    assert left == [1, 0, 0, 0]
    assert traces(bench, "main") == []


def test_a_deleted_connection_is_forgotten_with_its_last_export(bench: Bench) -> None:
    bench.settings.problems[CONNECTION] = GONE
    bench.tick()
    bench.tick(after=KEPT)
    assert traces(bench, CONNECTION) == []
    assert list(bench.database.items(Table.ASSIGNMENTS)) == []
    assert list(bench.database.items(Table.IDENTITIES)) == []
    # Its parameters may lie there for ever.
    bench.tick(after=KEPT)
    assert traces(bench, CONNECTION) == []


def test_a_connection_that_is_there_keeps_its_records_without_exports(bench: Bench) -> None:
    bench.stop()
    delete(bench)
    delete(bench, "other")
    bench.tick(after=KEPT)
    assert bench.breaker().stop is not None
    assert CONNECTION in bench.stack.directory.read()
    assert list(bench.database.items(Table.IDENTITIES)) == []


def test_a_connection_whose_secret_waits_for_its_deletion_counts_as_deleted(bench: Bench) -> None:
    bench.settings.problems[CONNECTION] = SettingsProblem("pending_deletion", "is scheduled", field="secret")
    bench.tick()
    bench.tick(after=KEPT)
    assert traces(bench, CONNECTION) == []


def test_an_import_that_nobody_asked_about_any_more_is_forgotten() -> None:
    """Its rows hold identities and values in clear: they go by themselves."""
    bench = Bench(streams=False, imports=True)
    bench.store(2, email="2@x.example")
    bench.start()
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    bench.checks.take()
    bench.tick()
    [opened] = imports.all_open(bench.database, CONNECTION)
    assert imports.rows(bench.database, KEYED, opened)
    assert all("expires_at" in item for item in bench.database.items(Table.CONTROL, f"import#{opened.call}"))
    delete(bench)
    bench.checks.take()
    bench.tick(after=KEPT)
    assert imports.all_open(bench.database, CONNECTION) == []
    assert traces(bench, "main") == []
    assert runs.active(bench.database, MAIN) is None


def steps_of_a_removal() -> Iterator[int]:
    """Yield how many steps a removal has, by doing one."""
    counting = prepared()
    before = counting.steps
    counting.tick()
    yield counting.steps - before


def prepared() -> Bench:
    bench = Bench(streams=False, imports=True)
    bench.settings.connections["aaa"] = "tool"
    bench.settings.save(Export("aaa", "main", "tool", True, False, (VIP,), bench.export.mapping, "9", 1))
    for number in (2, 3):
        bench.store(number, email=f"{number}@x.example")
    bench.tick()
    bench.start()
    bench.work_off()
    bench.settings.problems[CONNECTION] = GONE
    bench.tick()
    bench.clock.time += KEPT
    return bench


@pytest.mark.exhaustive
def test_a_crash_at_any_step_leaves_nothing_behind_in_the_end() -> None:
    (steps,) = steps_of_a_removal()
    for step in range(1, steps + 1, 3):
        bench = prepared()
        bench.crash_at = bench.steps + step
        with pytest.raises(Crash):
            bench.tick()
        bench.crash_at = None
        bench.tick()
        assert traces(bench, CONNECTION) == [], step
        assert list(bench.database.items(Table.ASSIGNMENTS)) == []
        assert list(bench.database.items(Table.IDENTITIES)) == []


def test_a_record_that_somebody_writes_meanwhile_is_left_to_the_next_tick(bench: Bench) -> None:
    delete(bench)
    bench.clock.time += KEPT
    place = Key(Table.IDENTITIES, bench.key("2@x.example", "list/7"))
    write: Write = Update(place, {"version": 77})
    bench.database.interrupt("write identities", lambda: bench.database.write([write]))
    bench.tick()
    assert assigned(bench, "main") == 3
    bench.tick()
    assert traces(bench, "main") == []
    assert place not in bench.database


def test_when_an_export_was_first_missed_counts_not_when_it_was_last_seen(bench: Bench) -> None:
    """Given a tick that did not run for months, When it runs again, Then a deleted export still has its time."""
    bench.settings.delete(MAIN)
    bench.tick(after=5 * KEPT)
    assert assigned(bench, "main") == 3
    bench.tick(after=KEPT)
    assert assigned(bench, "main") == 0


@pytest.mark.parametrize("imports_", [False, True])
def test_the_run_of_a_deleted_export_ends_and_made_again_it_gets_another(imports_: bool) -> None:
    """Whatever the run waits for: nobody goes on with it, and nothing asks about it for ever."""
    bench = Bench(imports=imports_, streams=False)
    bench.store(2, email="ann@x.example")
    run = bench.start()
    while messages := bench.queue.take():
        bench.tool.script = [] if imports_ else [Lost()]
        for message in messages:
            bench.consume(message)
    bench.tick()
    assert bench.run(run).state is RunState.RUNNING
    export = bench.export
    delete(bench)
    assert (bench.run(run).state, bench.run(run).reason) == (RunState.STOPPED, EXPORT_DELETED)

    bench.settings.save(replace(export, version=export.version + 1))
    bench.pass_time(timedelta(minutes=30))
    made_up = bench.stack.starter.start(bench.export, "test")
    assert made_up is not None
    bench.work_off()
    newest = runs.newest(bench.database, MAIN)
    assert newest is not None
    assert (newest.state, newest.id != run.id) == (RunState.FINISHED, True)
    assert list(bench.tool.holds()) == ["ann@x.example"]


def test_a_tick_that_dies_while_it_ends_a_run_is_made_up_for(bench: Bench) -> None:
    bench.clock.time += DAY
    run = bench.start()
    bench.settings.delete(MAIN)
    for step in range(1, 400):
        bench.crash_at = bench.steps + step
        try:
            bench.tick()
        except Crash:
            continue
        break
    bench.crash_at = None
    assert bench.run(run).state is RunState.STOPPED
    assert bench.breaker("main").resync


def test_while_the_database_is_at_its_limit_nothing_is_given_up_and_the_next_tick_goes_on(bench: Bench) -> None:
    delete(bench)
    bench.clock.time += KEPT
    bench.database.trouble = lambda write: Trouble.THROTTLED if write.key.table is Table.IDENTITIES else None
    bench.tick()
    assert assigned(bench, "main") == 3
    assert "removed without its identity records" not in {line["message"] for line in bench.logged()}
    bench.database.trouble = lambda _: None
    bench.tick()
    assert traces(bench, "main") == []


def test_an_import_of_another_export_is_still_asked_about() -> None:
    """Given two exports with an import each, When one export is deleted, Then only its own import is forgotten."""
    bench = Bench(streams=False, imports=True)
    bench.edit("other", options="8")
    bench.store(2, email="2@x.example")
    bench.tick()
    for name in ("main", "other"):
        bench.start(bench.settings.saved[f"{CONNECTION}/{name}"])
    while messages := bench.queue.take():
        assert bench.consume(*messages) == []
    assert {opened.export for opened in imports.all_open(bench.database, CONNECTION)} == {"main", "other"}
    delete(bench)
    bench.checks.take()
    bench.tick(after=KEPT)
    assert {opened.export for opened in imports.all_open(bench.database, CONNECTION)} == {"other"}
