"""The Checks queue: what became of imports."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.contract import Account, ImportReport, OpenImport, Step
from relay.domain.exports import Export
from relay.domain.identity import UNKNOWN
from relay.domain.problems import (
    UNCONFIRMED,
    Busy,
    ConnectionProblem,
    ExportProblem,
    Rejection,
    RejectionKind,
    SettingsProblem,
)
from relay.domain.runs import Run, RunState
from relay.messages import CheckImport
from relay.queues import Message
from relay.stores import breakers, imports
from relay.workers.import_checks import MOST_TRIES, ORPHANED
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench import CONNECTION, Bench, person
from tests.fakes.bench_destination import DOWN, TOO_MANY, UNKNOWN_USER
from tests.fakes.crashing import die_at_every_step, meet_at_every_step, trouble_at_every_write
from tests.fakes.memory_database import Trouble

ANN, BOB, CY = "ann@x.example", "bob@x.example", "cy@x.example"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOT_FOUND = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "looked up, not found", is_certain=False)
BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")


def queued(*emails: str, streams: bool = False) -> tuple[Bench, Run, Message]:
    """Return a run whose one import is queued, and the message that checks it. Profiles are 0, 2, 4, ..."""
    bench = Bench(imports=True, call_size=10, streams=streams)
    for place, email in enumerate(emails or (ANN,)):
        bench.store(2 * place, email=email, name="A")
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            assert bench.consume(message) == []
    [check] = bench.checks.take()
    return bench, run, check


def stop(bench: Bench) -> None:
    breaker = breakers.load_one(bench.database, CONNECTION, None)
    breakers.stop(bench.database, breaker, BAD_KEY, bench.clock.now())


def reporting(
    bench: Bench, report: Callable[[ImportReport, Sequence[Step]], ImportReport]
) -> list[tuple[int | None, int]]:
    """Change what the destination reports; return how many contacts and steps it is asked about, each time."""
    asked: list[tuple[int | None, int]] = []
    plain = bench.tool.import_report

    def changed(account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]) -> ImportReport:
        asked.append((queued.contacts, len(steps)))
        return report(plain(account, export, queued, steps), steps)

    bench.tool.import_report = changed  # type: ignore[method-assign]
    return asked


def refused(bench: Bench) -> list[str]:
    return [email for email in (ANN, BOB, CY) if bench.record(email).refused is not None]


# While it is open.


def test_an_import_that_is_not_finished_is_looked_at_later_and_later() -> None:
    bench, run, check = queued()
    pauses: list[float] = []
    for _ in range(14):
        assert bench.check(check) == []
        [check] = bench.checks.take()
        pauses.append(check.delay.total_seconds())
    assert pauses[0] == 5
    assert pauses == sorted(pauses)
    assert pauses[-1] == 300
    assert bench.counts(run) == {"selected": 1, "outstanding": 1}


def test_a_look_that_was_made_already_is_not_made_again() -> None:
    """Given a check that comes twice, and one that the clock sends beside it, Then one goes on."""
    bench, _, check = queued()
    for _ in range(3):
        assert bench.check(check) == []
    bench.clock.time += STALLED_AFTER + MINUTE
    bench.tick()
    assert bench.check(check) == []
    both = [message for message in bench.checks.take() if message.body["kind"] == "import"]
    assert [message.body["number"] for message in both] == [1, 1]
    for message in both:
        assert bench.check(message) == []
    assert [task.number for task in bench.checks.tasks if isinstance(task, CheckImport)] == [2]


def test_a_look_whose_next_message_was_lost_is_made_again() -> None:
    bench, _, check = queued()
    bench.checks.failures.append(DOWN)
    assert bench.check(check) == ["m0"]
    assert bench.check(check) == []
    assert [task.number for task in bench.checks.tasks if isinstance(task, CheckImport)] == [1]


def test_with_too_little_time_left_a_message_goes_back() -> None:
    bench, _, check = queued()
    assert bench.check(check, seconds_left=44.0) == ["m0"]
    assert bench.checks.hidden == [("m0", 0)]


def test_an_unreadable_message_and_one_of_another_queue_fail_alone() -> None:
    bench, run, check = queued()
    bench.tool.land()
    assert bench.check(Message({}), bench.look(0), check) == ["m0", "m1"]
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


# When it has ended.


def test_a_finished_import_is_settled_and_the_run_ends() -> None:
    bench, run, check = queued(ANN, BOB)
    bench.tool.land()
    assert bench.check(check) == []
    assert bench.record(ANN).open is None
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.run(run).state is RunState.FINISHED
    assert imports.all_open(bench.database, CONNECTION) == []
    assert bench.checks.messages == []


def test_a_check_that_is_repeated_moves_the_ledger_once() -> None:
    bench, run, check = queued(ANN, BOB)
    bench.tool.land()
    for _ in range(3):
        assert bench.check(check, check) == []
    assert bench.counts(run) == {"selected": 2, "delivered": 2}


def test_what_an_import_refused_is_rejected_with_its_reason_and_no_other() -> None:
    bench, run, check = queued(ANN, BOB, CY)
    bench.tool.refuses = {BOB}
    bench.tool.jobs[0].refused = {1: UNKNOWN_USER}
    bench.tool.land()
    assert bench.check(check) == []
    assert refused(bench) == [BOB]
    assert bench.counts(run) == {"selected": 3, "delivered": 2, "rejected": 1, "rejected:unknown_user": 1}


def test_a_refusal_beside_rows_that_are_still_open_is_of_its_own_row() -> None:
    bench, run, check = queued(ANN, BOB, CY)
    bench.tool.land()
    reporting(bench, lambda report, steps: ImportReport(True, {1: UNKNOWN_USER}, frozenset({0})))
    assert bench.check(check) == []
    assert refused(bench) == [BOB]
    assert bench.counts(run) == {
        "selected": 3,
        "delivered": 1,
        "outstanding": 1,
        "rejected": 1,
        "rejected:unknown_user": 1,
    }


def test_a_refusal_of_a_later_look_is_of_its_own_row_whatever_is_to_be_sent_again() -> None:
    """Given a look after which two rows are to be sent again, When the next one refuses the second of the others."""
    emails = [f"{number}@x.example" for number in range(5)]
    bench, run, check = queued(*emails)
    bench.tool.undone = {emails[0], emails[1]}
    bench.tool.land()
    bench.tool.undone = set()
    looks = iter(
        [
            ImportReport(True, open=frozenset({2, 3, 4}), again=frozenset({0, 1})),
            ImportReport(True, {1: UNKNOWN_USER}),
        ]
    )
    reporting(bench, lambda report, steps: next(looks, report))
    assert bench.check(check) == []
    assert bench.check(*bench.checks.take()) == []
    assert [email for email in emails if bench.record(email).refused is not None] == [emails[3]]
    bench.work_off()
    bench.pass_time(6 * MINUTE)
    assert bench.counts(run) == {"selected": 5, "delivered": 4, "rejected": 1, "rejected:unknown_user": 1}


def test_what_was_not_looked_up_yet_is_asked_for_again_by_itself() -> None:
    """Given an import of three of which one look tells two, Then those are settled, and the third after the next."""
    bench, run, check = queued(ANN, BOB, CY)
    bench.tool.land()
    asked = reporting(bench, lambda report, steps: replace(report, open=frozenset(range(2, len(steps))), note="page 2"))
    assert bench.check(check) == []
    assert bench.counts(run) == {"selected": 3, "delivered": 2, "outstanding": 1}
    [rest] = bench.checks.take()
    assert bench.check(check) == []
    assert bench.checks.take() == [], "looked at twice"
    assert bench.check(rest) == []
    assert asked[-1] == (None, 1)
    assert bench.counts(run) == {"selected": 3, "delivered": 3}
    assert bench.run(run).state is RunState.FINISHED


def test_what_a_look_asked_to_be_told_is_told_to_the_next_one() -> None:
    bench, _, check = queued(ANN, BOB, CY)
    bench.tool.land()
    notes: list[str | None] = []
    plain = bench.tool.import_report

    def counting(account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]) -> ImportReport:
        notes.append(queued.note)
        report = plain(account, export, queued, steps)
        return replace(report, open=frozenset(range(1, len(steps))), note=f"after {len(notes)}")

    bench.tool.import_report = counting  # type: ignore[method-assign]
    work = [check]
    while work:
        assert bench.check(*work) == []
        work = bench.checks.take()
    assert notes == [None, "after 1", "after 2"]


def test_an_import_that_many_looks_take_apart_ends_with_all_of_it() -> None:
    emails = [f"{number}@x.example" for number in range(10)]
    bench, run, check = queued(*emails)
    bench.tool.jobs[0].refused = {7: UNKNOWN_USER}
    bench.tool.land()
    asked = reporting(
        bench,
        lambda report, steps: replace(
            report, open=frozenset(range(3, len(steps))), refused={p: r for p, r in report.refused.items() if p < 3}
        ),
    )
    work = [check]
    while work:
        assert bench.check(*work) == []
        work = bench.checks.take()
    assert [number for _, number in asked] == [10, 7, 4, 1]
    assert bench.counts(run) == {"selected": 10, "delivered": 9, "rejected": 1, "rejected:unknown_user": 1}
    assert bench.record(emails[7]).refused is not None


def test_an_unconfirmed_row_leaves_open_what_the_destination_holds() -> None:
    bench, _, check = queued(ANN, BOB)
    bench.tool.land()
    reporting(bench, lambda report, steps: replace(report, refused={1: NOT_FOUND}))
    bench.check(check)
    assert bench.record(BOB).acknowledged is UNKNOWN
    assert bench.record(ANN).acknowledged is not UNKNOWN


def test_a_change_during_the_import_is_sent_after_it_and_the_run_counts_the_profile_once() -> None:
    bench, run, check = queued(ANN, BOB)
    bench.store(0, name="B")
    assert bench.consume(bench.look(0)) == []
    assert len(bench.sent) == 1
    bench.tool.land()
    assert bench.check(check) == []
    bench.work_off()
    bench.pass_time(10 * MINUTE)
    assert bench.tool.holds() == {ANN: {"name": "B"}, BOB: {"name": "A"}}
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.run(run).state is RunState.FINISHED


# An import that never ends.


def test_an_import_that_never_ends_is_over_at_its_bound_with_nothing_confirmed() -> None:
    bench, run, check = queued(ANN, BOB)
    bench.clock.time += bench.tool.import_bound + timedelta(seconds=1)
    assert bench.check(check) == []
    assert bench.counts(run) == {"selected": 2, "rejected": 2, f"rejected:{UNCONFIRMED}": 2}
    assert bench.record(ANN).open is None
    assert bench.run(run).state is RunState.MANY_REJECTED


def test_it_is_over_at_its_bound_however_often_it_was_looked_at() -> None:
    bench, run, check = queued()
    begun = bench.clock.now()
    work: list[Message] = [check]
    while work and bench.clock.now() - begun <= bench.tool.import_bound + 10 * MINUTE:
        assert bench.check(*work) == []
        bench.clock.time += 5 * MINUTE
        work = bench.checks.take()
    assert bench.counts(run) == {"selected": 1, "rejected": 1, f"rejected:{UNCONFIRMED}": 1}


@pytest.mark.parametrize("problem", [DOWN, KeyError("a defect")])
def test_trouble_at_the_bound_ends_it_too(problem: Exception) -> None:
    bench, run, check = queued()
    bench.clock.time += bench.tool.import_bound + timedelta(seconds=1)
    bench.tool.script = [problem]
    assert bench.check(check) == []
    assert bench.counts(run) == {"selected": 1, "rejected": 1, f"rejected:{UNCONFIRMED}": 1}


def test_our_own_limit_ends_no_import_whatever_its_age() -> None:
    bench, run, check = queued()
    bench.tool.land()
    bench.clock.time += bench.tool.import_bound + timedelta(seconds=1)
    bench.tool.script = [Busy("pace", "no slot is free", taken=False)]
    assert bench.check(check) == ["m0"]
    assert bench.counts(run) == {"selected": 1, "outstanding": 1}
    assert bench.check(check) == []
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


def test_a_change_never_overtakes_an_import_that_was_given_up_and_may_still_come() -> None:
    bench = Bench(imports=True, streams=False)
    bench.tool.lost_answer_bound = 24 * HOUR
    bench.store(0, email=ANN)
    bench.store(2, email=BOB)
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    [job] = bench.tool.jobs
    reporting(bench, lambda report, steps: ImportReport(True, dict.fromkeys(range(2), NOT_FOUND), may_come=True))
    assert bench.check(*bench.checks.take()) == []
    assert bench.run(run).state is RunState.MANY_REJECTED
    bench.store(0, name="Bea")
    bench.reconcile(0)
    assert len(bench.sent) == 1
    bench.tool._land(job)
    assert bench.tool.holds()[ANN] == {}

    del bench.tool.import_report
    bench.clock.time += bench.tool.lost_answer_bound + HOUR
    bench.reconcile(0)
    bench.work_off()
    assert bench.tool.holds()[ANN] == {"name": "Bea"}


def test_what_was_never_confirmed_is_taken_out_when_the_profile_leaves() -> None:
    bench, _, check = queued(ANN, BOB)
    bench.clock.time += bench.tool.import_bound + timedelta(seconds=1)
    bench.check(check)
    bench.tool.land()
    bench.leave(0)
    bench.full_run()
    bench.full_run()
    assert bench.tool.holds() == {BOB: {"name": "A"}}


# Settings that change meanwhile.


def test_an_import_of_an_export_that_is_gone_is_forgotten_when_it_can_do_nothing_any_more() -> None:
    bench, _, check = queued()
    bench.settings.delete(bench.export.key)
    assert bench.check(check) == []
    assert len(imports.all_open(bench.database, CONNECTION)) == 1
    [later] = bench.checks.take()
    bench.clock.time += ORPHANED
    assert bench.check(later) == []
    assert imports.all_open(bench.database, CONNECTION) == []
    assert bench.checks.messages == []


def test_an_import_outlives_an_export_that_is_deleted_and_made_again() -> None:
    """Nothing is sent past it, and the newer values are the last to arrive."""
    bench, _, check = queued(ANN, BOB)
    export = bench.export
    bench.settings.delete(export.key)
    bench.check(check)
    bench.settings.save(replace(export, version=export.version + 1))
    bench.store(0, name="new")
    bench.clock.time += 10 * MINUTE
    bench.reconcile(0)
    assert len(bench.sent) == 1
    bench.work_off()
    bench.full_run()
    assert bench.tool.holds() == {ANN: {"name": "new"}, BOB: {"name": "A"}}


def test_an_import_whose_settings_are_invalid_waits_until_they_are_corrected() -> None:
    bench, run, check = queued()
    bench.tool.land()
    bench.settings.problems[bench.export.key] = SettingsProblem("mapping", "is missing", field="mapping")
    assert bench.check(check) == []
    bench.settings.problems.clear()
    [later] = bench.checks.take()
    bench.check(later)
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


# Trouble.


def test_while_the_connection_is_stopped_nobody_asks_it() -> None:
    bench, _, check = queued()
    stop(bench)
    bench.tool.script = [AssertionError("asked")]
    assert bench.check(check) == []
    assert len(bench.checks.messages) == 1
    assert bench.tool.script


def test_an_account_error_stops_the_connection_and_the_import_is_looked_at_later() -> None:
    bench, _, check = queued()
    bench.tool.script = [BAD_KEY]
    assert bench.check(check) == []
    stopped = breakers.load_one(bench.database, CONNECTION, None).stop
    assert stopped is not None
    assert stopped.code == "unauthorised"
    assert len(bench.checks.messages) == 1


def test_with_a_new_secret_it_is_asked_once_more_before_anything_stops() -> None:
    bench, run, check = queued()
    bench.tool.land()
    bench.tool.script = [BAD_KEY]
    bench.settings.fresh_secrets[CONNECTION] = "second secret"
    assert bench.check(check) == []
    assert breakers.load_one(bench.database, CONNECTION, None).stop is None
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


def test_trouble_of_the_export_stops_it_alone_and_the_import_is_looked_at_later() -> None:
    bench, _, check = queued()
    bench.tool.script = [ExportProblem("list_gone", "there is no list 7")]
    assert bench.check(check) == []
    of_connection, of_export = breakers.load(bench.database, CONNECTION, "main")
    assert (of_connection.stop is None, of_export.stop is None) == (True, False)
    assert len(bench.checks.messages) == 1


def test_passing_trouble_burns_no_receives_and_obeys_retry_after() -> None:
    bench, _, check = queued()
    bench.tool.script = [TOO_MANY]
    assert bench.check(check) == []
    [later] = bench.checks.take()
    assert later.delay.total_seconds() == 30.0
    assert breakers.load_one(bench.database, CONNECTION, None).failures is not None
    assert bench.check(later) == []
    assert breakers.load_one(bench.database, CONNECTION, None).failures is None


def test_half_an_hour_of_it_stops_the_connection_and_the_import_waits() -> None:
    bench, run, check = queued()
    for _ in range(9):
        bench.tool.script = [DOWN]
        assert bench.check(check) == []
        bench.clock.time += 5 * MINUTE
        [check] = bench.checks.take()
    assert breakers.load_one(bench.database, CONNECTION, None).stop is not None
    assert bench.counts(run)["outstanding"] == 1


# Deaths, races, throttled writes.

made: list[tuple[Run, Message]] = []


def landed() -> Bench:
    """Return a bench whose import of three has ended: one was refused, two have one address."""
    bench, run, check = queued(ANN, BOB, CY, ANN)
    bench.tool.jobs[0].refused = {1: UNKNOWN_USER}
    bench.tool.land()
    made[:] = [(run, check)]
    return bench


def look(bench: Bench, receives: int) -> bool:
    return bench.check(made[0][1], receives=receives) == []


def assert_settled_once(bench: Bench) -> None:
    bench.work_off()
    bench.tick(after=STALLED_AFTER + MINUTE)
    bench.work_off()
    [(run, _)] = made
    assert bench.counts(run) == {
        "selected": 4,
        "delivered": 2,
        "duplicate": 1,
        "rejected": 1,
        "rejected:unknown_user": 1,
    }
    assert bench.run(run).state is RunState.FINISHED
    assert sorted(bench.tool.holds()) == [ANN, CY]
    assert imports.all_open(bench.database, CONNECTION) == []


def test_a_check_that_dies_anywhere_moves_the_ledger_once() -> None:
    def act(bench: Bench, receives: int) -> None:
        assert look(bench, receives)

    assert die_at_every_step(landed, act, assert_settled_once) >= 6


@pytest.mark.parametrize("trouble", Trouble)
def test_a_single_write_of_a_check_that_is_throttled_or_lost_does_no_harm(trouble: Trouble) -> None:
    assert trouble_at_every_write(landed, look, trouble, assert_settled_once) >= 5


def test_a_check_that_comes_twice_at_once_moves_the_ledger_once() -> None:
    met = meet_at_every_step(landed, look, lambda bench: look(bench, 1), assert_settled_once)
    assert met > 8


def test_the_clock_may_settle_the_same_profiles_at_any_step_of_a_check() -> None:
    def prepare() -> Bench:
        bench = landed()
        bench.clock.time += 6 * MINUTE
        return bench

    assert meet_at_every_step(prepare, look, lambda bench: bench.tick(), assert_settled_once) > 8


def test_a_claimant_may_come_at_any_step_of_a_check() -> None:
    def come(bench: Bench) -> None:
        bench.store(1, email=CY, name="smaller")
        bench.consume(bench.look(1))

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(20 * MINUTE)
        assert bench.tool.holds() == {ANN: {"name": "A"}, CY: {"name": "smaller"}}
        assert bench.run(made[0][0]).state is RunState.FINISHED

    assert meet_at_every_step(landed, look, come, check) > 8


# Imports that come to nothing.


def failing(times: int, *emails: str, streams: bool = False) -> tuple[Bench, Run]:
    """Return a bench whose next imports fail as a whole, and a run of it."""
    bench = Bench(imports=True, call_size=10, streams=streams)
    for place, email in enumerate(emails):
        bench.store(2 * place, email=email, name="A")
    land, left = bench.tool._land, [times]

    def land_badly(job: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            job.landed, job.undone = True, frozenset(range(len(job.steps)))
        else:
            land(job)

    bench.tool._land = land_badly  # type: ignore[method-assign]
    return bench, bench.start()


def hand_over_pages(bench: Bench) -> None:
    while messages := bench.queue.take():
        for message in messages:
            assert bench.consume(message) == []


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("times", [1, 2])
def test_an_import_that_came_to_nothing_is_sent_again_within_the_run(times: int, streams: bool) -> None:
    bench, run = failing(times, ANN, BOB, ANN, streams=streams)
    bench.work_off()
    bench.pass_time(6 * MINUTE)
    assert sorted(bench.tool.holds()) == [ANN, BOB]
    assert bench.counts(run) == {"selected": 3, "delivered": 2, "duplicate": 1}
    assert bench.run(run).state is RunState.FINISHED
    assert bench.sent == [[ANN, BOB]] * (times + 1)


def test_after_a_few_tries_it_is_unconfirmed_and_the_run_ends() -> None:
    bench, run = failing(100, ANN, BOB)
    bench.work_off()
    bench.pass_time(6 * MINUTE)
    assert len(bench.sent) == MOST_TRIES
    assert bench.counts(run) == {"selected": 2, "rejected": 2, f"rejected:{UNCONFIRMED}": 2}
    assert bench.run(run).state is RunState.MANY_REJECTED


def test_how_often_somebody_was_sent_in_vain_counts_for_nobody_else_in_a_batch() -> None:
    bench = Bench(imports=True, call_size=10)
    for place, email in enumerate((ANN, BOB)):
        bench.store(2 * place, email=email, name="A")
    bench.tool.undone = {ANN, BOB}
    assert bench.consume(bench.look(0, tries=MOST_TRIES - 1), bench.look(2)) == []
    bench.tool.land()
    assert bench.check(*bench.checks.take()) == []
    assert refused(bench) == [ANN]
    bench.tool.undone = set()
    bench.work_off()
    assert sorted(bench.tool.holds()) == [BOB]


def test_only_those_that_were_not_done_are_sent_again() -> None:
    bench, run, check = queued(ANN, BOB, CY)
    bench.tool.undone = {BOB}
    bench.tool.land()
    bench.tool.undone = set()
    assert bench.check(check) == []
    bench.work_off()
    bench.pass_time(6 * MINUTE)
    assert bench.sent == [[ANN, BOB, CY], [BOB]]
    assert bench.counts(run) == {"selected": 3, "delivered": 3}


def test_those_to_be_sent_again_wait_until_all_were_looked_at_and_go_together() -> None:
    emails = [f"{number}@x.example" for number in range(6)]
    bench, run, check = queued(*emails)
    bench.tool.undone = {emails[0], emails[3], emails[5]}
    bench.tool.land()
    bench.tool.undone = set()
    reporting(
        bench,
        lambda report, steps: replace(
            report, open=frozenset(range(2, len(steps))), again=frozenset(p for p in report.again if p < 2)
        ),
    )
    work = [check]
    while work:
        assert len(bench.sent) == 1
        assert bench.check(*work) == []
        work = bench.checks.take()
    bench.work_off()
    bench.pass_time(6 * MINUTE)
    assert [sorted(call) for call in bench.sent[1:]] == [[emails[0], emails[3], emails[5]]]
    assert bench.counts(run) == {"selected": 6, "delivered": 6}


def test_a_row_that_was_refused_before_and_is_sent_again_has_its_chance() -> None:
    bench, _, check = queued(ANN, BOB)
    bench.tool.jobs[0].refused = {0: UNKNOWN_USER}
    bench.tool.land()
    bench.check(check)
    bench.clock.time += 25 * HOUR
    bench.tool.undone = {ANN}
    again = bench.start()
    hand_over_pages(bench)
    bench.tool.land()
    bench.tool.undone = set()
    bench.work_off()
    bench.pass_time(6 * MINUTE)
    assert bench.counts(again) == {"assigned": 2, "selected": 2, "delivered": 1, "unchanged": 1}


def test_a_check_that_dies_while_it_has_them_sent_again_loses_nobody() -> None:
    def prepare() -> Bench:
        bench, run = failing(1, ANN, BOB, ANN)
        hand_over_pages(bench)
        [check] = bench.checks.take()
        bench.tool.land()
        made[:] = [(run, check)]
        return bench

    def act(bench: Bench, receives: int) -> None:
        assert look(bench, receives)

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(20 * MINUTE)
        [(run, _)] = made
        assert sorted(bench.tool.holds()) == [ANN, BOB]
        assert bench.counts(run) == {"selected": 3, "delivered": 2, "duplicate": 1}
        assert bench.run(run).state is RunState.FINISHED

    assert die_at_every_step(prepare, act, check) >= 4


@pytest.mark.parametrize("how", ["cancelled", "paused"])
def test_while_the_export_rests_nothing_is_sent_again(how: str) -> None:
    """Given an export that acts only in its runs, and a run that was cancelled, Then the next run sends it."""
    bench, run = failing(1, ANN)
    hand_over_pages(bench)
    if how == "paused":
        bench.settings.save(replace(bench.export, active=False))
    else:
        assert bench.stack.starter.cancel(run.id, "an operator")
    bench.tool.land()
    assert bench.check(*bench.checks.take()) == []
    bench.work_off()
    assert len(bench.sent) == 1
    found = bench.record(ANN).refused
    assert found is not None
    assert found.code == UNCONFIRMED
    bench.settings.save(replace(bench.export, active=True))
    if how == "paused":
        assert bench.run(run).state is RunState.MANY_REJECTED
    again = bench.full_run()
    assert bench.counts(again)["delivered"] == 1
    assert sorted(bench.tool.holds()) == [ANN]


def test_a_change_that_waits_for_such_an_import_is_the_one_that_is_sent() -> None:
    bench, run = failing(1, ANN, BOB)
    hand_over_pages(bench)
    bench.store(0, name="B")
    assert bench.consume(bench.look(0)) == []
    bench.work_off()
    bench.pass_time(6 * MINUTE)
    assert bench.tool.holds() == {ANN: {"name": "B"}, BOB: {"name": "A"}}
    assert bench.run(run).state is RunState.FINISHED


def test_a_profile_of_two_identities_in_two_imports_is_settled_by_the_last_of_them() -> None:
    bench = Bench(imports=True, call_size=1, streams=False)
    bench.store(0, email=[ANN, BOB])
    bench.store(2, email=CY)
    run = bench.start()
    hand_over_pages(bench)
    checks = bench.checks.take()
    assert len(checks) == 3
    bench.tool.land()
    bench.check(checks[0])
    assert bench.counts(run) == {"selected": 2, "outstanding": 2}
    bench.check(checks[1])
    assert bench.counts(run) == {"selected": 2, "outstanding": 1, "delivered": 1}
    bench.check(checks[2])
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.run(run).state is RunState.FINISHED
    assert {pair.identity for pair in bench.assigned(0)} == {ANN, BOB}
    assert bench.record(BOB).winner == person(0)
