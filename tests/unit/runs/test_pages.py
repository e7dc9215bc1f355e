"""Runs: pages that fill one call, phases, and a ledger that adds up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain import ledger
from relay.domain.problems import Rejection, RejectionKind
from relay.domain.runs import Phase, Run, RunState
from relay.messages import Page, from_json
from relay.queues import Message
from relay.runs import candidates
from relay.runs.ending import BOUND, EDITED
from relay.runs.settlement import ASKED_AGAIN
from relay.stores import assignments, breakers, outstanding, runs
from tests.fakes.bench import CONNECTION, LAPSED, OTHER_CONNECTION, VIP, Bench, person
from tests.fakes.bench_destination import DOWN, UNKNOWN_USER, Lost

EVENS = range(0, 256, 2)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def mail(number: int) -> str:
    return f"{number}@x.example"


def bench_with(members: Sequence[int], *, imports: bool = False, call_size: int = 3, scan: int | None = None) -> Bench:
    """Return a bench with these members, whose export does not stream; even numbers are in shard 0."""
    bench = Bench(imports=imports, call_size=call_size, scan=scan, streams=False)
    for number in members:
        bench.store(number, email=mail(number))
    return bench


def delivered(members: Sequence[int], *, imports: bool = False, scan: int | None = None) -> Bench:
    bench = bench_with(members, imports=imports, call_size=200, scan=scan)
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.clock.time += HOUR
    return bench


def begun(bench: Bench, phase: Phase = Phase.DELIVER) -> Run:
    """Return a run whose pages of a phase are queued."""
    bench.clock.time += MINUTE
    run = bench.start()
    while bench.run(run).phase < phase:
        messages = bench.queue.take()
        assert messages
        for message in messages:
            assert bench.consume(message) == []
    return run


def next_page(bench: Bench, shard: int = 0) -> Message:
    """Take the newest page of a shard off the queue."""
    [message] = [m for m in bench.queue.messages if m.body["kind"] == "page" and m.body["shard"] == shard]
    bench.queue.messages.remove(message)
    return message


def cursor(bench: Bench, run: Run, phase: Phase = Phase.DELIVER, index: int = 0) -> tuple[str, bool]:
    found = runs.shard(bench.database, run.id, phase, index)
    assert found is not None
    return found.after, found.done


@both
def test_a_run_brings_every_member_once_and_finishes(imports: bool) -> None:
    bench = bench_with(range(10), imports=imports)
    bench.store(11, inside=(LAPSED,), email=mail(11))
    run = bench.full_run()
    assert sorted(bench.tool.holds()) == sorted(mail(number) for number in range(10))
    assert bench.counts(run) == {"selected": 10, "delivered": 10}
    assert (run.state, run.ended_at) == (RunState.FINISHED, bench.clock.now())
    assert runs.active(bench.database, bench.export.key) is None


@both
def test_the_same_run_again_makes_no_call(imports: bool) -> None:
    bench = delivered(range(10), imports=imports)
    run = bench.full_run()
    assert bench.sent == []
    assert bench.counts(run) == {"selected": 10, "unchanged": 10, "assigned": 10}


def test_runs_of_two_connections_are_each_their_own() -> None:
    bench = bench_with(range(4))
    bench.store(5, inside=(LAPSED,), email=mail(5))
    first, second = bench.full_run(), bench.full_run(bench.other_export)
    assert bench.counts(first) == {"selected": 4, "delivered": 4}
    assert bench.counts(second) == {"selected": 1, "delivered": 1}
    assert runs.newest(bench.database, f"{OTHER_CONNECTION}/main") == second


def test_a_page_fills_one_call_and_goes_on_behind_it() -> None:
    bench = bench_with((0, 2, 4, 6, 8, 10, 12), call_size=3)
    run = begun(bench)

    assert bench.consume(next_page(bench)) == []

    assert [len(call) for call in bench.sent] == [3]
    assert cursor(bench, run) == (person(4), False)
    expected = Page(CONNECTION, "main", bench.export.version, run.id, 0, Phase.DELIVER, person(4))
    assert from_json(next_page(bench).body) == expected


def test_unchanged_profiles_cost_no_part_of_a_call() -> None:
    bench = delivered(EVENS[:20])
    bench.tool.call_size = 3
    for number in (4, 20, 30, 38):
        bench.store(number, name="new")
    run = bench.full_run()
    assert [len(call) for call in bench.sent] == [3, 1]
    assert bench.counts(run) == {"selected": 20, "delivered": 4, "unchanged": 16, "assigned": 20}


@pytest.mark.parametrize("leaves", [False, True])
def test_a_page_over_unchanged_data_ends_at_its_bound(leaves: bool) -> None:
    bench = delivered(EVENS, scan=50)
    if leaves:
        bench.leave(2)
    run = begun(bench, Phase.REMOVE if leaves else Phase.DELIVER)
    assert bench.consume(next_page(bench)) == []
    assert cursor(bench, run, Phase.REMOVE if leaves else Phase.DELIVER) == (person(EVENS[49]), False)


def test_more_than_one_listing_page_of_a_bucket_is_read() -> None:
    numbers = [256 * place for place in range(30)]
    bench = bench_with(numbers, call_size=4, scan=7)
    run = bench.full_run()
    assert bench.counts(run) == {"selected": 30, "delivered": 30}
    assert bench.counts(bench.full_run()) == {"selected": 30, "unchanged": 30, "assigned": 30}


def test_a_listing_reads_on_page_by_page_within_one_page_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "LISTING", 4)
    monkeypatch.setattr(assignments, "PAGE", 3)
    bench = bench_with([256 * place for place in range(30)], call_size=100)
    assert bench.counts(bench.full_run()) == {"selected": 30, "delivered": 30}
    assert bench.counts(bench.full_run()) == {"selected": 30, "unchanged": 30, "assigned": 30}
    assert [len(call) for call in bench.sent] == [30]


def test_members_of_several_segments_are_looked_at_once() -> None:
    bench = Bench(segments=(VIP, LAPSED), streams=False)
    for number in range(6):
        bench.store(number, inside=(VIP, LAPSED) if number % 2 else (LAPSED,), email=mail(number))
    run = bench.full_run()
    assert bench.counts(run) == {"selected": 6, "delivered": 6}
    assert len(bench.tool.held) == 9


@both
def test_leavers_are_counted_in_one_phase_and_taken_out_in_the_next(imports: bool) -> None:
    bench = delivered(range(10), imports=imports)
    bench.leave(2)
    bench.leave(3)
    bench.store(12, email=mail(12))
    run = begun(bench, Phase.REMOVE)
    assert bench.sent == [[mail(12)]]
    counts = bench.counts(run)
    assert (counts["selected"], counts["unchanged"], counts["leaving"], counts["assigned"]) == (9, 8, 2, 10)

    bench.work_off()
    assert not {mail(2), mail(3)} & set(bench.tool.holds())
    assert bench.counts(run) == {
        "selected": 9,
        "delivered": 1,
        "unchanged": 8,
        "assigned": 10,
        "leaving": 2,
        "removed": 2,
    }
    assert bench.run(run).state is RunState.FINISHED


def test_one_who_changed_since_the_run_began_is_left_to_the_next_one() -> None:
    bench = delivered((0, 2, 4))
    bench.leave(2)
    run = begun(bench, Phase.REMOVE)
    bench.clock.time += MINUTE
    bench.leave(4)
    bench.work_off()
    assert sorted(bench.tool.holds()) == [mail(0), mail(4)]
    assert bench.counts(run)["removed"] == 1
    bench.full_run()
    assert sorted(bench.tool.holds()) == [mail(0)]


def test_leavers_who_changed_just_before_a_run_are_counted_and_left_to_the_next_one() -> None:
    bench = Bench(streams=False)
    for number in (0, 2, 4):
        bench.store(number, email=mail(number))
    bench.full_run()
    bench.clock.time += MINUTE
    run = bench.start()
    bench.leave(2)
    bench.leave(4)
    bench.work_off()
    counts = bench.counts(run)
    assert (counts.get("leaving", 0), counts["left_to_next_run"]) == (0, 2)
    assert sorted(bench.tool.holds()) == [mail(0), mail(2), mail(4)]
    again = bench.counts(bench.full_run())
    assert (again["removed"], again.get("left_to_next_run", 0)) == (2, 0)


def test_one_who_comes_back_during_the_run_stays() -> None:
    bench = delivered((0, 2, 4))
    bench.leave(2)
    bench.leave(4)
    run = begun(bench, Phase.REMOVE)
    bench.clock.time += MINUTE
    bench.store(4, name="back")
    bench.work_off()
    assert sorted(bench.tool.holds()) == [mail(0), mail(4)]
    counts = bench.counts(run)
    assert (counts["leaving"], counts["removed"], ledger.returned(counts)) == (2, 1, 1)


def test_whoever_moves_from_one_segment_to_another_leaves_the_one_in_the_last_phase() -> None:
    bench = Bench(segments=(VIP, LAPSED), streams=False)
    for number in range(4):
        bench.store(number, outside=(LAPSED,), email=mail(number))
    bench.full_run()
    bench.store(2, inside=(LAPSED,), outside=(VIP,))
    run = bench.full_run()
    assert bench.counts(run) == {
        "selected": 4,
        "delivered": 1,
        "unchanged": 3,
        "assigned": 4,
        "leaving": 1,
        "removed": 1,
    }
    assert (f"segment/{LAPSED}", mail(2)) in bench.tool.held
    assert (f"segment/{VIP}", mail(2)) not in bench.tool.held


@both
def test_a_leaver_whom_the_destination_keeps_is_counted_as_kept(imports: bool) -> None:
    bench = delivered((0, 2, 4), imports=imports)
    bench.leave(2)
    bench.leave(4)
    bench.tool.refuses = {mail(2)}
    bench.tool.rejection = Rejection(RejectionKind.DATA, "malformed", "it does not like it")
    run = bench.full_run()
    counts = bench.counts(run)
    assert (counts["leaving"], counts["removed"], counts["kept"]) == (2, 1, 1)
    assert run.state is RunState.FINISHED
    bench.tool.refuses = set()
    bench.clock.time += 25 * HOUR
    assert bench.counts(bench.full_run())["removed"] == 1
    assert sorted(bench.tool.holds()) == [mail(0)]


def test_refusals_and_bad_profiles_are_counted_with_their_reasons() -> None:
    bench = bench_with((0, 2, 4))
    bench.store(6, email="nonsense")
    bench.store(8, email=None)
    bench.store(10, email=mail(0))
    bench.tool.refuses = {mail(4)}
    run = bench.full_run()
    assert bench.counts(run) == {
        "selected": 6,
        "delivered": 2,
        "duplicate": 1,
        "rejected": 3,
        "rejected:unknown_user": 1,
        "rejected:malformed_email": 1,
        "rejected:no_email": 1,
    }


def test_the_calls_of_a_run_are_counted() -> None:
    bench = bench_with((0, 1, 2, 4, 6), call_size=2)
    run = bench.full_run()
    counts = ledger.total(shard.counts for shard in runs.shards(bench.database, run.id))
    assert counts["calls"] == len(bench.sent) == 3


# What comes twice, late, or not at all.


def test_a_continuation_lost_to_a_crash_is_sent_again_by_the_redelivery() -> None:
    bench = bench_with((0, 2, 4, 6), call_size=2)
    run = begun(bench)
    page = next_page(bench)
    bench.queue.failures.append(DOWN)

    assert bench.consume(page) == ["m0"]
    assert [message.body["shard"] for message in bench.queue.take()] == [1]
    assert bench.consume(page, receives=2) == []

    assert next_page(bench).body["after"] == person(2)
    assert len(bench.sent) == 1
    assert bench.counts(run)["selected"] == 2


def test_a_stale_double_of_a_page_is_dropped() -> None:
    bench = bench_with((0, 2, 4, 6), call_size=2)
    run = begun(bench)
    page = next_page(bench)
    bench.consume(page)
    bench.queue.take()
    counts = bench.counts(run)
    assert bench.consume(page) == []
    assert bench.queue.messages == []
    assert bench.counts(run) == counts
    assert len(bench.sent) == 1


def test_a_page_of_a_phase_that_is_over_is_dropped() -> None:
    bench = delivered((0, 2, 4))
    bench.leave(2)
    begun(bench)
    pages = bench.queue.take()
    for page in pages:
        bench.consume(page)
    last = bench.queue.take()
    for page in pages:
        assert bench.consume(page, receives=2) == []
    assert bench.queue.messages == []
    for page in last:
        assert bench.consume(page) == []
    assert sorted(bench.tool.holds()) == [mail(0), mail(4)]


def test_a_page_of_a_run_that_is_over_or_unknown_is_dropped() -> None:
    bench = bench_with((0, 2), call_size=1)
    run = begun(bench)
    page = next_page(bench)
    bench.stack.starter.cancel(run.id, "an operator")
    assert bench.consume(page) == []
    assert bench.consume(replace(page, body={**page.body, "run": "never"})) == []
    assert bench.sent == []


def test_a_page_whose_answer_was_lost_is_repeated_and_counted_once() -> None:
    bench = bench_with((0, 2), call_size=2)
    run = begun(bench)
    bench.tool.script = [Lost()]
    page = next_page(bench)
    assert bench.consume(page) == ["m0"]
    assert bench.counts(run) == {}
    assert bench.consume(page, receives=2) == []
    bench.work_off()
    # Nobody was assigned before the run: its own first try must not make the guard think so.
    assert bench.counts(run) == {"selected": 2, "delivered": 2}


def test_a_run_keeps_the_shards_it_began_with_when_a_deploy_changes_their_number() -> None:
    bench = bench_with((2, 3), imports=True)
    run = begun(bench)
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    bench.tool.shards = 4
    bench.work_off()
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.run(run).state is RunState.FINISHED


# Settings that change.


def test_settings_edited_in_mid_run_stop_the_run_and_request_another() -> None:
    bench = bench_with((0, 2, 4, 6), call_size=2)
    run = begun(bench)
    assert bench.consume(next_page(bench)) == []
    bench.edit(mapping={"email": "attributes.email", "name": "attributes.other"})
    bench.store(0, other="new")

    assert bench.consume(next_page(bench)) == []

    found = bench.run(run)
    assert (found.state, found.reason) == (RunState.STOPPED, EDITED)
    assert breakers.load_one(bench.database, CONNECTION, "main").resync
    bench.tick()
    bench.work_off()
    assert bench.tool.holds() == {mail(0): {"name": "new"}, mail(2): {}, mail(4): {}, mail(6): {}}


def test_settings_edited_between_the_phases_take_nobody_out() -> None:
    bench = delivered(range(10))
    bench.leave(2)
    run = begun(bench, Phase.REMOVE)
    bench.edit(mapping={"email": "attributes.emial"})
    for message in bench.queue.take():
        assert bench.consume(message) == []
    assert bench.run(run).state is RunState.STOPPED
    assert len(bench.tool.holds()) == 10


# Whoever is outstanding.


def records(bench: Bench, run: Run) -> list[tuple[str, ...]]:
    return [record.profiles for record in outstanding.of_run(bench.database, run.id)]


def test_a_run_ends_only_when_nobody_is_outstanding() -> None:
    bench = bench_with((0, 2, 3), imports=True)
    run = begun(bench)
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    assert bench.counts(run) == {"selected": 3, "outstanding": 3}
    assert records(bench, run) == [(person(0), person(2)), (person(3),)]
    assert bench.run(run).state is RunState.RUNNING
    bench.work_off()
    assert bench.counts(run) == {"selected": 3, "delivered": 3}
    assert records(bench, run) == []
    assert bench.run(run).state is RunState.FINISHED


def test_very_many_that_are_outstanding_are_counted_each_once() -> None:
    """Imports from before the run that are still open, for more profiles than one record names."""
    numbers = range(0, 600, 2)
    bench = bench_with(numbers, imports=True, call_size=1000)
    bench.reconcile(*numbers)
    run = begun(bench)
    assert bench.consume(*bench.queue.take()) == []
    assert len(bench.sent) == 1
    assert [len(found) for found in records(bench, run)] == [250, 50]
    bench.work_off()
    bench.pass_time(ASKED_AGAIN + MINUTE)
    assert bench.counts(run) == {"assigned": 300, "selected": 300, "delivered": 300}
    assert bench.run(run).state is RunState.FINISHED


def test_a_run_waits_for_a_profile_whose_lost_call_says_something_else_by_now() -> None:
    bench = bench_with((0, 2))
    run = begun(bench)
    bench.tool.script = [Lost()]
    page = next_page(bench)
    assert bench.consume(page) == ["m0"]
    bench.store(0, name="changed")
    assert bench.consume(page, receives=2) == []
    assert records(bench, run) == [(person(0),)]
    assert bench.counts(run) == {"selected": 2, "delivered": 1, "outstanding": 1}
    bench.work_off()
    bench.pass_time(15 * MINUTE)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.tool.holds()[mail(0)] == {"name": "changed"}


def test_an_outstanding_member_that_leaves_meanwhile_is_no_duplicate_of_anybody() -> None:
    """Given a lost call and other values, so that a run waits, When the profile leaves before that is over."""
    bench = bench_with([2, 4])
    bench.edit(stream=True)
    bench.full_run()
    bench.store(2, name="lost")
    bench.tool.script = [Lost()]
    assert bench.consume(bench.look(2)) == ["m0"]
    bench.store(2, name="new")
    bench.clock.time += MINUTE
    run = bench.full_run()
    assert bench.counts(run)["outstanding"] == 1
    bench.leave(2)
    bench.tool.script = [Lost()]
    bench.clock.time += 2 * bench.tool.lost_answer_bound
    assert bench.consume(bench.look(2)) == ["m0"]
    bench.pass_time(20 * MINUTE)
    assert list(bench.tool.holds()) == [mail(4)]
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 2, "unchanged": 2, "assigned": 2}


def test_a_run_waits_for_leavers_whose_lost_call_has_to_end_first() -> None:
    bench = delivered((0, 2, 4))
    bench.tool.lost_answer_bound = 3 * HOUR
    bench.store(2, name="changed")
    bench.tool.script = [Lost()]
    with pytest.raises(Lost):
        bench.reconcile(2)
    bench.leave(2)
    run = bench.full_run()
    assert run.state is RunState.RUNNING
    counts = bench.counts(run)
    assert (counts["leaving"], counts["leaving_outstanding"]) == (1, 1)
    bench.pass_time(4 * HOUR)
    assert bench.run(run).state is RunState.FINISHED
    counts = bench.counts(run)
    assert (counts["leaving"], counts["removed"]) == (1, 1)
    assert sorted(bench.tool.holds()) == [mail(0), mail(4)]


def test_a_run_that_took_somebody_out_under_one_address_goes_on_to_the_new_one() -> None:
    """Given lost calls for an old and a new address, When both are over, Then neither is forgotten."""
    bench = bench_with((0, 2), imports=True)
    bench.tool.lost_answer_bound = 24 * HOUR
    bench.tool.script = [DOWN]
    run = begun(bench)
    page = next_page(bench)
    assert bench.consume(page) == ["m0"]
    bench.store(2, email="new@x.example", name="A")
    assert bench.consume(page, receives=2) == []
    bench.work_off()
    for _ in range(30):
        bench.pass_time(HOUR)
    assert bench.run(run).state in (RunState.FINISHED, RunState.MANY_REJECTED)
    bench.full_run()
    assert bench.tool.holds() == {mail(0): {}, "new@x.example": {"name": "A"}}


def test_what_is_open_beyond_the_bound_ends_a_run_that_says_so() -> None:
    bench = bench_with((0, 2), imports=True)
    bench.tool.import_bound = 10 * BOUND
    bench.tool.land = lambda: None  # type: ignore[method-assign]
    run = begun(bench)
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    bench.clock.time += BOUND - 5 * MINUTE
    bench.tick()
    assert bench.run(run).state is RunState.RUNNING
    for _ in range(3):
        bench.tick(after=5 * MINUTE)
    found = bench.run(run)
    assert (found.state, found.reason) == (RunState.FINISHED, "what became of 2 was still open after 26 hours")
    assert bench.counts(run) == {"selected": 2, "outstanding": 2}


def test_a_new_address_refused_at_once_while_the_old_one_leaves_by_an_import_is_counted_once() -> None:
    bench = delivered((0, 2), imports=True)
    bench.store(2, email="new@x.example")
    send = bench.tool.send
    bench.tool.send = lambda account, export, steps: replace(  # type: ignore[method-assign]
        send(account, export, steps),
        refused={place: UNKNOWN_USER for place, step in enumerate(steps) if step.identity == "new@x.example"},
    )
    run = bench.full_run()
    assert run.state is RunState.FINISHED
    assert bench.counts(run) == {
        "selected": 2,
        "unchanged": 1,
        "rejected": 1,
        "rejected:unknown_user": 1,
        "assigned": 2,
        "leaving": 1,
        "removed": 1,
    }


def test_a_streaming_look_that_is_faster_than_the_page_counts_as_delivered_by_the_run() -> None:
    bench = bench_with((0, 2, 4))
    run = begun(bench)
    bench.clock.time += MINUTE
    assert bench.consume(bench.look(2)) == []
    bench.work_off()
    assert bench.counts(run) == {"selected": 3, "delivered": 3}


def test_lost_waits_of_a_run_matter_no_longer_than_some_minutes() -> None:
    """Whoever is outstanding is asked about again, whether anybody told of them or not."""
    bench = bench_with((0, 1))
    bench.tool.script = [Lost()]
    with pytest.raises(Lost):
        bench.reconcile(0)
    bench.store(0, name="changed")
    run = begun(bench)
    for message in sorted(bench.queue.take(), key=lambda message: str(message.group)):
        assert bench.consume(message) == []
        bench.clock.time += 2 * MINUTE
    assert records(bench, run) == [(person(0),)]
    bench.queue.take()
    bench.checks.take()
    bench.pass_time(30 * MINUTE)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"assigned": 1, "selected": 2, "delivered": 2}
