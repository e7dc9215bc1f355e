"""After an export or a connection is deleted, nothing of a person stays behind, after a while."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from relay.delivery.removing import KEPT
from relay.delivery.wishes import claim_key
from relay.domain.exports import Export
from relay.domain.problems import SettingsProblem
from relay.domain.runs import RunState
from relay.settings.names import UnknownConnection
from relay.stores import defects, deliveries, gates, runs
from relay.stores.database import Key, Put, Table
from relay.stores.defects import Defect
from relay.stores.directory import Directory
from tests.fakes.delivery_bench import CONNECTION, KEYED, VIP, Bench, Crash, person

DAY = timedelta(days=1)
MAIN, OTHER = f"{CONNECTION}/main", f"{CONNECTION}/other"
GONE = UnknownConnection("unknown_connection", "there is none", field="connection")


@pytest.fixture
def bench() -> Bench:
    """Three people on list 7 by `main` and on list 8 by `other`; everything is told."""
    bench = Bench(streams=False, imports=True)
    bench.edit("other", options="8")
    for number in (2, 3, 300):
        bench.store(number, email=f"{number}@x.example")
    bench.tick()
    for name in ("main", "other"):
        bench.starter.start(bench.settings.saved[f"{CONNECTION}/{name}"], "test")
    bench.work_off()
    return bench


def delete(bench: Bench, name: str = "main") -> None:
    del bench.settings.saved[f"{CONNECTION}/{name}"]
    bench.tick()


def traces(bench: Bench, word: str) -> list[str]:
    """Return what of the delivery tables and the control table still speaks of an export, runs apart."""
    return [
        f"{item['pk']!s} {item.get('sk', '')!s}"
        for table in (Table.DELIVERIES, Table.CLAIMS, Table.CONTROL)
        for item in bench.database.items(table)
        if word in json.dumps({key: value for key, value in item.items() if not isinstance(value, bytes)})
        and not str(item["pk"]).startswith(("run#", "runs#"))
    ]


def partitions(bench: Bench) -> set[str]:
    return {str(item["pk"]).split("#", 1)[0] for item in bench.database.items(Table.CONTROL)}


def claims(bench: Bench) -> int:
    return len(list(bench.database.items(Table.CLAIMS)))


def assignments(bench: Bench, name: str) -> int:
    items = bench.database.items(Table.DELIVERIES)
    return sum(str(item["pk"]).startswith(f"{CONNECTION}/{name}#") for item in items)


def test_what_a_deleted_export_left_is_kept_for_a_while_and_then_removed(bench: Bench) -> None:
    delete(bench)
    bench.tick(after=KEPT - DAY)
    assert assignments(bench, "main") == 3
    bench.tick(after=DAY)
    assert assignments(bench, "main") == 0
    assert traces(bench, "main") == []
    assert (assignments(bench, "other"), claims(bench)) == (3, 3)


@pytest.mark.parametrize("table", [Table.DELIVERIES, Table.CLAIMS])
def test_an_item_that_cannot_be_read_keeps_nothing_else_behind(bench: Bench, table: Table) -> None:
    """Given an unreadable item of one profile, and one that was set aside, When the export is deleted."""
    place = Key(Table.CLAIMS, claim_key(KEYED, CONNECTION, "list/7", "3@x.example"))
    broken = place if table is Table.CLAIMS else deliveries.key_of(MAIN, person(3))
    bench.database.write([[Put(broken, {"doc": "{", "version": 1})]])
    defects.note(bench.database, MAIN, [Defect(person(2), "KeyError", ("a.py:1 b",), "c0de", bench.clock.now())])
    delete(bench)
    bench.tick(after=KEPT)
    assert (assignments(bench, "main"), assignments(bench, "other")) == (0, 3)
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
    assert assignments(bench, "main") == 3
    bench.start()
    sent = len(bench.sent)
    bench.work_off()
    assert len(bench.sent) == sent
    # The time begins again when it is deleted again.
    delete(bench)
    bench.tick(after=KEPT - DAY)
    assert assignments(bench, "main") == 3


def test_an_export_that_comes_back_afterwards_begins_anew(bench: Bench) -> None:
    export = bench.export
    delete(bench)
    bench.tick(after=KEPT)
    bench.settings.save(export)
    run = bench.start()
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run)["delivered"] == 3


def test_an_invalid_or_paused_export_is_not_deleted(bench: Bench) -> None:
    bench.edit("other", active=False)
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is missing", field="mapping")
    for _ in range(3):
        bench.tick(after=KEPT)
    assert (assignments(bench, "main"), assignments(bench, "other")) == (3, 3)


def test_an_identity_that_another_export_has_taken_over_keeps_its_record(bench: Bench) -> None:
    """Given a list that passed from one export to another, When the first is deleted, Then only its names go."""
    taken = bench.edit("successor", options="7")
    del bench.settings.saved[MAIN]
    bench.opener = bench.new_opener()
    bench.starter.start(taken, "test")
    bench.work_off()
    emails = ("2@x.example", "3@x.example")
    bench.tick()
    bench.tick(after=KEPT)
    left = [name for email in emails for name in bench.claim(email, "list/7").claimants]
    assert [name.split("/")[0] for name in left] == ["successor", "successor"]
    assert assignments(bench, "main") == 0
    bench.starter.start(taken, "test")
    bench.work_off()
    assert set(emails) <= bench.tool.holds().keys()


def test_one_tick_removes_a_bounded_number(bench: Bench) -> None:
    directory = Directory(bench.database, bench.clock)
    delete(bench)
    bench.clock.time += KEPT
    left = []
    for _ in range(4):
        bench.remover(directory, at_a_time=2).step(bench.settings.exports())
        left.append(assignments(bench, "main"))
    assert left == [1, 0, 0, 0]
    assert traces(bench, "main") == []


def test_a_deleted_connection_is_forgotten_with_its_last_export(bench: Bench) -> None:
    bench.settings.problems[CONNECTION] = GONE
    bench.tick()
    bench.tick(after=KEPT)
    assert traces(bench, CONNECTION) == []
    assert list(bench.database.items(Table.DELIVERIES)) == []
    assert list(bench.database.items(Table.CLAIMS)) == []
    # Its parameters may lie there for ever.
    bench.tick(after=KEPT)
    assert traces(bench, CONNECTION) == []


def test_a_connection_that_is_there_keeps_its_records_without_exports(bench: Bench) -> None:
    gates.close(bench.database, CONNECTION, gates.Gate("connection"), "unpaid", "is unpaid", bench.clock.now())
    delete(bench)
    delete(bench, "other")
    bench.tick(after=KEPT)
    assert gates.load_one(bench.database, CONNECTION, "connection").closed
    assert CONNECTION in Directory(bench.database, bench.clock).read()
    assert list(bench.database.items(Table.CLAIMS)) == []


def test_a_connection_whose_secret_waits_for_its_deletion_counts_as_deleted(bench: Bench) -> None:
    bench.settings.problems[CONNECTION] = SettingsProblem("pending_deletion", "is scheduled", field="secret")
    bench.tick()
    bench.tick(after=KEPT)
    assert traces(bench, CONNECTION) == []


def test_an_import_that_nobody_asked_about_any_more_is_forgotten() -> None:
    """Its rows hold identities and values in clear."""
    bench = Bench(streams=False, imports=True)
    bench.store(2, email="2@x.example")
    bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    bench.checks.take()
    bench.tick()
    assert "flight" in partitions(bench)
    delete(bench)
    bench.checks.take()
    bench.tick(after=KEPT)
    assert not partitions(bench) & {"flight", "flights", "gates", "activation", "active", "exports"}
    assert runs.active(bench.database, MAIN) is None


def steps_of_a_removal() -> Iterator[int]:
    """Yield how many steps a removal has, by doing one."""
    counting = prepared()
    before = counting.steps
    counting.tick()
    yield counting.steps - before


def prepared() -> Bench:
    bench = Bench(streams=False, imports=True)
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


def test_a_crash_at_any_step_leaves_nothing_behind_in_the_end() -> None:
    (steps,) = steps_of_a_removal()
    for step in range(1, steps + 1, 7):
        bench = prepared()
        bench.crash_at = bench.steps + step
        with pytest.raises(Crash):
            bench.tick()
        bench.crash_at = None
        bench.tick()
        assert traces(bench, CONNECTION) == [], step
        assert list(bench.database.items(Table.DELIVERIES)) == []
        assert list(bench.database.items(Table.CLAIMS)) == []


def test_a_record_that_somebody_writes_meanwhile_is_left_to_the_next_tick(bench: Bench) -> None:
    delete(bench)
    bench.clock.time += KEPT
    real = bench.database.write
    raced: list[bool] = []

    def lose_first(groups):  # type: ignore[no-untyped-def]
        if not raced and any(write.key.table is Table.CLAIMS for group in groups for write in group):
            raced.append(True)
            return [False, *real(groups[1:])]
        return real(groups)

    bench.database.write = lose_first  # type: ignore[method-assign]
    bench.tick()
    assert assignments(bench, "main") > 0
    bench.tick()
    assert traces(bench, "main") == []


def test_when_an_export_was_first_missed_counts_not_when_it_was_last_seen(bench: Bench) -> None:
    """Given a tick that did not run for months, When it runs again, Then a deleted export still has its time."""
    del bench.settings.saved[MAIN]
    bench.tick(after=5 * KEPT)
    assert assignments(bench, "main") == 3
    bench.tick(after=KEPT)
    assert assignments(bench, "main") == 0
