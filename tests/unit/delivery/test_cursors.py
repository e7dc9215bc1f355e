"""Runs: pages, passes, the guard, and a ledger that adds up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.delivery import cursors
from relay.delivery.messages import Cursor, from_json
from relay.destinations.contract import Account, Finding, Level
from relay.domain.exports import Export
from relay.domain.runs import Run, RunState
from relay.queues import Message
from relay.stores import gates, runs
from tests.fakes.delivery_bench import CONNECTION, DOWN, Bench, Crash, Lost, person

EVENS = range(0, 256, 2)


def bench_with(members: Sequence[int], *, imports: bool = False, call_size: int = 3, scan: int = 4000) -> Bench:
    """Return a bench with these members; even numbers are in shard 0."""
    bench = Bench(imports=imports, call_size=call_size, scan=scan)
    for number in members:
        bench.store(number, email=f"{number}@x.example")
    return bench


def told(members: Sequence[int], *, call_size: int = 200, scan: int = 4000) -> Bench:
    bench = bench_with(members, call_size=call_size, scan=scan)
    bench.start()
    bench.work_off()
    bench.tool.calls_made.clear()
    bench.clock.advance(60)
    return bench


def next_cursor(bench: Bench, shard: int = 0) -> Message:
    """Take the newest cursor of a shard off the queue."""
    [message] = [m for m in bench.queue.messages if m.body["kind"] == "run" and m.body["shard"] == shard]
    bench.queue.messages.remove(message)
    return message


def shard(bench: Bench, run: Run, index: int = 0) -> tuple[int, str, bool]:
    found = runs.shard(bench.database, run.id, index)
    assert found is not None
    return found.phase, found.after, found.done


def test_a_run_tells_every_member_once_and_finishes() -> None:
    bench = bench_with(range(10))
    run = bench.start()
    bench.work_off()

    assert sorted(bench.tool.holds()) == sorted(f"{number}@x.example" for number in range(10))
    assert bench.counts(run) == {"selected": 10, "delivered": 10}
    assert bench.run(run).state is RunState.FINISHED
    assert runs.active(bench.database, bench.export.key) is None


def test_the_same_run_again_makes_no_call() -> None:
    bench = told(range(10))
    run = bench.start()
    bench.work_off()

    assert bench.sent == []
    assert bench.counts(run) == {"selected": 10, "unchanged": 10, "told": 10}


def test_a_page_fills_one_call_and_goes_on_behind_it() -> None:
    bench = bench_with((0, 2, 4, 6, 8, 10, 12), call_size=3)
    run = bench.start()

    bench.consume(next_cursor(bench))

    assert [len(call) for call in bench.sent] == [3]
    assert shard(bench, run) == (1, person(4), False)
    assert from_json(next_cursor(bench).body) == Cursor(
        CONNECTION, "main", bench.export.version, run.id, 0, 1, person(4)
    )


def test_unchanged_profiles_cost_no_part_of_a_call() -> None:
    bench = told(EVENS[:20])
    bench.tool.call_size = 3
    for number in (4, 20, 30, 38):
        bench.store(number, name="new")
    run = bench.start()

    bench.work_off()

    assert [len(call) for call in bench.sent] == [3, 1]
    assert bench.counts(run) == {"selected": 20, "delivered": 4, "unchanged": 16, "told": 20}


def test_a_page_over_unchanged_data_ends_at_its_bound() -> None:
    bench = told(EVENS, scan=50)
    run = bench.start()

    bench.consume(next_cursor(bench))

    assert shard(bench, run) == (1, person(EVENS[49]), False)


def test_the_second_pass_keeps_to_the_bound_although_few_leave() -> None:
    bench = told(EVENS, scan=50)
    bench.leave(2)
    run = bench.start()
    while bench.run(run).phase == 1:
        bench.consume(bench.queue.messages.pop(0))
    bench.queue.messages = [m for m in bench.queue.messages if m.body["phase"] == 2]

    bench.consume(next_cursor(bench))

    assert shard(bench, run) == (2, person(EVENS[49]), False)


def test_leavers_are_counted_in_the_first_pass_and_removed_in_the_second() -> None:
    bench = told(range(10))
    bench.leave(2)
    bench.leave(3)
    bench.store(12, email="12@x.example")
    bench.clock.advance(1)
    run = bench.start()

    first = bench.queue.take()
    for message in first:
        bench.consume(message)
    assert bench.sent == [["12@x.example"]]
    assert bench.counts(run) == {
        "selected": 11,
        "delivered": 1,
        "unchanged": 8,
        "outstanding": 2,
        "leaving": 2,
        "told": 10,
    }
    assert bench.run(run).phase == 2

    bench.work_off()
    assert "2@x.example" not in bench.tool.holds()
    assert bench.counts(run) == {"selected": 11, "delivered": 3, "unchanged": 8, "told": 10}
    assert bench.run(run).state is RunState.FINISHED


def test_one_who_changed_since_the_run_began_is_left_to_its_own_message() -> None:
    bench = told((0, 2, 4))
    bench.leave(2)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    bench.clock.advance(1)
    bench.leave(4)

    bench.work_off()

    assert sorted(bench.tool.holds()) == ["0@x.example", "4@x.example"]
    assert bench.counts(run)["delivered"] == 1


# The guard.


def guarded(members: int = 120) -> tuple[Bench, Run]:
    """Return a run in which more leave than the guard lets go without a person's word."""
    bench = told(range(members))
    for number in range(101):
        bench.leave(number)
    bench.clock.advance(1)
    run = bench.start()
    bench.work_off()
    return bench, run


def test_when_too_many_would_leave_nobody_is_removed_before_a_person_confirms() -> None:
    bench, run = guarded()

    found = bench.run(run)
    assert found.state is RunState.NEEDS_CONFIRMATION
    assert found.reason == "101 of 120 told would leave: confirm the run or mend the data"
    assert len(bench.tool.holds()) == 120
    assert bench.sent == []
    assert bench.counts(run)["outstanding"] == 101


def test_confirming_removes_them() -> None:
    bench, run = guarded()

    assert bench.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()

    assert len(bench.tool.holds()) == 19
    assert bench.counts(run) == {"selected": 120, "delivered": 101, "unchanged": 19, "told": 120}
    found = bench.run(run)
    assert (found.state, found.confirmed_by) == (RunState.FINISHED, "an operator")
    assert not bench.starter.confirm(bench.export, run.id, "an operator")


def test_cancelling_removes_nobody_and_frees_the_export() -> None:
    bench, run = guarded()

    assert bench.starter.cancel(run.id, "an operator", bench.export)
    bench.work_off()

    assert len(bench.tool.holds()) == 120
    assert bench.run(run).state is RunState.CANCELLED
    assert not bench.starter.confirm(bench.export, run.id, "an operator")
    assert not bench.starter.cancel(run.id, "an operator", bench.export)
    assert runs.active(bench.database, bench.export.key) is None


def test_what_was_confirmed_under_other_settings_does_not_count() -> None:
    bench, run = guarded()
    bench.edit(options="7")
    assert not bench.starter.confirm(bench.export, run.id, "an operator")


def test_a_new_run_takes_the_place_of_one_that_waits_for_confirmation_and_counts_afresh() -> None:
    bench, old = guarded()
    new = bench.start()
    bench.work_off()

    assert (bench.run(old).state, bench.run(new).state) == (RunState.CANCELLED, RunState.NEEDS_CONFIRMATION)
    assert len(bench.tool.holds()) == 120


def test_a_slip_in_the_mapping_empties_no_list() -> None:
    """Given 150 told, When the mapping names an attribute nobody has, Then all are kept until a person confirms."""
    bench = told(range(150))
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.start()
    bench.work_off()

    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    assert len(bench.tool.holds()) == 150


@pytest.mark.parametrize("members", [2, 90])
def test_a_slip_in_the_mapping_empties_no_small_list_either(members: int) -> None:
    bench = told(range(members))
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.start()
    bench.work_off()

    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    assert len(bench.tool.holds()) == members
    assert bench.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    assert bench.tool.holds() == {}


def test_a_small_list_that_everybody_leaves_under_settings_known_to_be_good_is_emptied() -> None:
    bench = told(range(90))
    for number in range(90):
        bench.leave(number)
    bench.clock.advance(1)
    run = bench.start()
    bench.work_off()

    assert bench.run(run).state is RunState.FINISHED
    assert bench.tool.holds() == {}


def test_while_edited_settings_wait_for_confirmation_what_streams_empties_no_list_either() -> None:
    """Given a slip in the mapping whose run waits for confirmation, When the platform sends all profiles again, Then
    those who would leave by the slip alone are still kept."""
    bench = told(range(150))
    bench.edit(mapping={"email": "attributes.emial"})
    bench.start()
    bench.work_off()

    for number in range(150):
        bench.store(number, name="sent again")
    bench.consume(bench.look(*range(150)))

    assert len(bench.tool.holds()) == 150


def test_a_run_the_destination_says_cannot_go_stops_its_export_before_anything_is_sent() -> None:
    """Given a list that is gone, When a run begins, Then nobody is imported, and the export says why and owes a run."""
    bench = bench_with((0, 2, 4, 6), call_size=2)
    bench.tool.trouble_before_run = [Finding("main", Level.ERROR, "there is no list 7")]
    bench.start()
    cursor = next_cursor(bench)

    assert bench.consume(cursor) == ["m0"]

    _, gate = gates.load(bench.database, CONNECTION, "main")
    assert (gate.closed, gate.code, gate.reason) == (True, "not_ready", "there is no list 7")
    assert bench.consume(cursor) == []
    assert bench.tool.holds() == {}
    _, gate = gates.load(bench.database, CONNECTION, "main")
    assert gate.owed == 1


def asked(bench: Bench) -> list[str]:
    """Let the bench's destination note for whom it is asked before runs."""
    exports: list[str] = []
    ask = bench.tool.check_before_run

    def note(account: Account, export: Export) -> list[Finding]:
        exports.append(export.key)
        return ask(account, export)

    bench.tool.check_before_run = note  # type: ignore[method-assign]
    return exports


def test_the_account_is_asked_once_before_a_run_not_once_per_shard() -> None:
    bench = bench_with(range(8), call_size=2)
    exports = asked(bench)
    run = bench.start()
    assert run.shards > 1
    bench.work_off()
    assert exports == [bench.export.key]
    assert bench.counts(run) == {"selected": 8, "delivered": 8}


def test_a_shard_that_begins_while_another_asks_waits_for_it() -> None:
    """Given two shards that begin at the same moment, When one asks the account, Then the other one sends nothing."""
    bench = bench_with((0, 1))
    real, waited = bench.tool.check_before_run, []
    run = bench.start()
    first, second = bench.queue.take()

    def ask(account: Account, export: Export) -> list[Finding]:
        bench.tool.check_before_run = real  # type: ignore[method-assign]
        waited.extend(bench.consume(second))
        assert bench.sent == []
        return real(account, export)

    bench.tool.check_before_run = ask  # type: ignore[method-assign]
    assert bench.consume(first) == []
    assert waited == ["m0"]
    assert bench.consume(second, receives=2) == []
    bench.work_off()
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.run(run).state is RunState.FINISHED


@pytest.mark.parametrize("trouble", [DOWN, KeyError("a defect")])
def test_an_account_that_did_not_answer_is_asked_again_by_whoever_comes_next(trouble: Exception) -> None:
    bench = bench_with((0, 1))
    real, script = bench.tool.check_before_run, [trouble]

    def ask(account: Account, export: Export) -> list[Finding]:
        if script:
            raise script.pop()
        return real(account, export)

    bench.tool.check_before_run = ask  # type: ignore[method-assign]
    run = bench.start()
    first, second = bench.queue.take()
    assert bench.consume(first) == ["m0"]
    assert bench.consume(second) == []
    assert bench.consume(first, receives=2) == []
    bench.work_off()
    assert bench.counts(run) == {"selected": 2, "delivered": 2}


def test_who_dies_while_asking_holds_nobody_up() -> None:
    """Given a shard that dies while it asks, Then it asks again when it comes back, and others do in a while."""
    bench = bench_with((0, 1))
    real = bench.tool.check_before_run

    def die(account: Account, export: Export) -> list[Finding]:
        bench.tool.check_before_run = real  # type: ignore[method-assign]
        raise Crash

    for comes_back in (True, False):
        bench.tool.check_before_run = die  # type: ignore[method-assign]
        run = bench.start()
        first, second = bench.queue.take()
        with pytest.raises(Crash):
            bench.consume(first)
        assert bench.consume(second) == ["m0"]
        if comes_back:
            assert bench.consume(first, receives=2) == []
        bench.clock.time += runs.ASKS_FOR + timedelta(seconds=1)
        assert bench.consume(second, receives=2) == []
        bench.consume(first, receives=3)
        bench.work_off()
        assert bench.run(run).state is RunState.FINISHED
        assert bench.counts(run)["selected"] == 2


# Edits, crashes, duplicates.


def test_settings_edited_in_mid_run_stop_the_run_and_owe_one() -> None:
    bench = bench_with((0, 2, 4, 6), call_size=2)
    run = bench.start()
    bench.consume(next_cursor(bench))
    bench.edit(mapping={"email": "attributes.email"})

    bench.consume(next_cursor(bench))

    found = bench.run(run)
    assert (found.state, found.reason) == (RunState.STOPPED, cursors.EDITED)
    _, gate = gates.load(bench.database, CONNECTION, "main")
    assert gate.owed == 1
    bench.tick()
    bench.work_off()
    assert len(bench.tool.holds()) == 4


def test_a_continuation_lost_to_a_crash_is_sent_again_by_the_redelivery() -> None:
    bench = bench_with((0, 2, 4, 6), call_size=2)
    bench.start()
    cursor = next_cursor(bench)
    bench.queue.failures.append(DOWN)

    assert bench.consume(cursor) == ["m0"]
    assert [message.body["shard"] for message in bench.queue.take()] == [1]
    assert bench.consume(cursor, receives=2) == []

    assert next_cursor(bench).body["after"] == person(2)
    assert len(bench.sent) == 1


def test_a_stale_duplicate_of_a_cursor_is_dropped() -> None:
    bench = bench_with((0, 2, 4, 6), call_size=2)
    run = bench.start()
    cursor = next_cursor(bench)
    bench.consume(cursor)
    bench.queue.take()
    counts = bench.counts(run)

    assert bench.consume(cursor) == []

    assert bench.queue.messages == []
    assert bench.counts(run) == counts
    assert len(bench.sent) == 1


def test_a_cursor_of_a_run_that_is_over_or_unknown_is_dropped() -> None:
    bench = bench_with((0, 2), call_size=1)
    run = bench.start()
    cursor = next_cursor(bench)
    bench.starter.cancel(run.id, "an operator", bench.export)

    assert bench.consume(cursor) == []
    assert bench.consume(replace(cursor, body={**cursor.body, "run": "never"})) == []
    assert bench.sent == []


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
@pytest.mark.parametrize("crash_at", range(1, 90, 2))
def test_a_page_that_dies_anywhere_and_comes_back_counts_each_profile_once(imports: bool, crash_at: int) -> None:
    bench = bench_with((0, 2, 4, 6, 8), imports=imports, call_size=3)
    run = bench.start()
    cursor = next_cursor(bench)

    bench.crash_at = bench.steps + crash_at
    try:
        bench.consume(cursor)
    except Crash:
        bench.crash_at = None
        bench.consume(cursor, receives=2)
    bench.crash_at = None
    bench.work_off()

    counts = bench.counts(run)
    assert len(bench.tool.holds()) == 5
    assert (counts["selected"], counts["delivered"]) == (5, 5)
    assert bench.run(run).state is RunState.FINISHED


@pytest.mark.parametrize("crash_at", range(1, 15))
def test_leavers_who_come_back_after_their_page_died_are_counted_once(crash_at: int) -> None:
    """Given a page that dies while it takes out leavers, When they change before its retry, Then the run adds up."""
    bench = bench_with((0, 2, 4), imports=True)
    bench.deliver(0, 2, 4)
    bench.work_off()
    for number in (0, 2):
        bench.leave(number)
    run = bench.start()
    for message in bench.queue.take():
        assert bench.consume(message) == []
    cursor = next_cursor(bench)
    assert cursor.body["phase"] == 2

    bench.tool.answered = lambda: setattr(bench, "crash_at", bench.steps + crash_at)
    try:
        bench.consume(cursor)
    except Crash:
        bench.tool.answered = lambda: None
        bench.crash_at = None
        bench.clock.advance(1)
        bench.store(0)
        bench.consume(cursor, receives=2)
    bench.crash_at = None
    bench.work_off()

    assert bench.run(run).state is RunState.FINISHED
    counts = bench.counts(run)
    assert counts.get("outstanding", 0) == counts.get("leaving", 0) == 0


def test_a_page_whose_answer_was_lost_is_repeated_and_counted_once() -> None:
    bench = bench_with((0, 2), call_size=2)
    run = bench.start()
    bench.tool.script = [Lost()]
    cursor = next_cursor(bench)

    assert bench.consume(cursor) == ["m0"]
    assert bench.counts(run) == {}
    bench.consume(cursor, receives=2)
    bench.work_off()

    # Nobody was told before the run: its own first try must not make the guard think so.
    assert bench.counts(run) == {"selected": 2, "delivered": 2}


def test_more_profiles_that_wait_than_one_transaction_records_end_the_page_early() -> None:
    """Given imports in flight for 90 profiles from before the run, Then the run waits for all of them, in two pages."""
    members = EVENS[:90]
    bench = bench_with(members, imports=True, call_size=200)
    bench.deliver(*members)
    run = bench.start()

    bench.consume(next_cursor(bench))
    assert len(runs.waiting(bench.database, run.id)) == cursors.MOST_WAITING
    bench.work_off()

    assert runs.waiting(bench.database, run.id) == []
    assert bench.counts(run) == {"selected": 90, "unchanged": 90, "told": 90}
    assert bench.run(run).state is RunState.FINISHED


def test_a_run_keeps_the_shards_it_began_with_when_a_deploy_changes_their_number() -> None:
    """Given a run of 2 shards that waits for a profile, When there are 4 shards, Then its own shard gets the count."""
    bench = bench_with((2,), imports=True)
    bench.deliver(2)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    bench.tool.shards = 4
    bench.work_off()

    assert bench.counts(run) == {"selected": 1, "unchanged": 1, "told": 1}
    assert bench.run(run).state is RunState.FINISHED


def test_a_run_ends_only_when_no_import_is_open() -> None:
    bench = bench_with((0, 2), imports=True)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    assert bench.counts(run) == {"selected": 2, "outstanding": 2}
    assert bench.run(run).state is RunState.RUNNING

    bench.work_off()
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.run(run).state is RunState.FINISHED


def test_refusals_and_bad_profiles_are_counted_with_their_reasons() -> None:
    bench = bench_with((0, 2, 4))
    bench.store(6, email="nonsense")
    bench.store(8, email=None)
    bench.store(10, email="0@x.example")
    bench.tool.refuses = frozenset({"4@x.example"})
    run = bench.start()
    bench.work_off()

    assert bench.counts(run) == {
        "selected": 6,
        "delivered": 2,
        "duplicate": 1,
        "rejected": 3,
        "rejected:refused": 1,
        "rejected:malformed_email": 1,
        "rejected:no_email": 1,
    }


def test_the_calls_of_a_run_are_counted() -> None:
    bench = bench_with((0, 2, 4, 6), call_size=2)
    run = bench.start()
    bench.work_off()
    assert bench.launcher().picture(bench.run(run))["counts"]["calls"] == 2
    assert bench.clock.now() - bench.run(run).started_at < timedelta(hours=1)


def test_a_leaver_whose_page_died_after_its_import_is_counted_once_though_its_delivery_is_gone() -> None:
    """Given a second pass that dies between its import and its count, When the import is settled and a streaming look
    finds nothing left of the leaver, Then the page that comes back does not count it once more."""
    bench = bench_with((2,), imports=True)
    bench.start()
    bench.work_off()
    bench.leave(2)
    bench.clock.advance(60)
    run = bench.start()
    while bench.run(run).phase == 1:
        bench.consume(bench.queue.messages.pop(0))
    cursor = next_cursor(bench)

    def die_before_counting(step: str) -> None:
        if step == "write control" and bench.checks.messages:
            bench.database.before = bench.step
            raise Crash

    bench.database.before = die_before_counting
    with pytest.raises(Crash):
        bench.consume(cursor)
    bench.tool.land_some(everything=True)
    bench.check(*bench.checks.take())
    bench.consume(bench.look(2))
    bench.consume(cursor, receives=2)
    bench.work_off()

    assert bench.counts(run) == {"selected": 1, "delivered": 1, "told": 1}
    assert bench.run(run).state is RunState.FINISHED
