"""The Checks queue: what became of imports, and wake-ups whose time has come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from relay.delivery.import_checks import MOST_TRIES, ORPHANED
from relay.delivery.messages import CheckImport, WakeLater
from relay.delivery.ticking import STALLED_AFTER
from relay.destinations.contract import ImportReport
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
from relay.queues import Message
from relay.stores import flights, gates
from relay.stores.gates import Gate
from tests.fakes.delivery_bench import CONNECTION, DOWN, TOO_MANY, Bench, Crash, person

ANN, BOB = "ann@x.example", "bob@x.example"
ROOT = Path(__file__).resolve().parents[3]
NOT_FOUND = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "looked up, not found", is_certain=False)


def importing(*emails: str) -> tuple[Bench, Run, Message]:
    """Return a run whose one import is queued, and the message that checks it."""
    bench = Bench(imports=True, call_size=10)
    for place, email in enumerate(emails or (ANN,)):
        bench.store(2 * place, email=email)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    [check] = bench.checks.take()
    return bench, run, check


def land(bench: Bench) -> None:
    bench.tool.land_some(everything=True)


def test_an_import_that_is_not_finished_is_looked_at_later_and_later() -> None:
    bench, run, check = importing()
    pauses: list[float] = []
    for _ in range(14):
        assert bench.check(check) == []
        [check] = bench.checks.take()
        pauses.append(check.delay.total_seconds())
    assert pauses[0] == 5
    assert pauses == sorted(pauses)
    assert pauses[-1] == 300
    assert bench.counts(run)["outstanding"] == 1


def test_a_look_that_was_made_already_is_not_made_again() -> None:
    """Given a check that comes twice, and one the clock sends beside it, Then one goes on."""
    bench, _, check = importing()
    for _ in range(3):
        assert bench.check(check) == []
    bench.clock.advance(STALLED_AFTER.total_seconds() + 1)
    bench.ticker()._imports(CONNECTION)
    assert bench.check(check) == []
    both = bench.checks.take()
    assert [(task.body["attempt"]) for task in both] == [1, 1]
    for message in both:
        assert bench.check(message) == []
    assert [task.attempt for task in bench.checks.tasks] == [2]


def test_a_look_whose_next_message_was_lost_is_made_again() -> None:
    bench, _, check = importing()
    bench.checks.failures.append(DOWN)
    assert bench.check(check) == ["m0"]
    assert bench.check(check) == []
    assert [task.attempt for task in bench.checks.tasks] == [1]


def test_a_finished_import_is_settled_and_the_run_ends() -> None:
    bench, run, check = importing()
    land(bench)

    assert bench.check(check) == []

    assert bench.claim(ANN).flight is None
    assert bench.counts(run) == {"selected": 1, "delivered": 1}
    assert bench.run(run).state is RunState.FINISHED
    assert flights.open_imports(bench.database, CONNECTION) == []
    assert bench.checks.messages == []


def test_a_check_that_is_repeated_moves_the_ledger_once() -> None:
    bench, run, check = importing()
    land(bench)
    for _ in range(3):
        assert bench.check(check, check) == []
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


@pytest.mark.parametrize("crash_at", range(1, 40))
def test_a_check_that_dies_anywhere_and_comes_back_moves_the_ledger_once(crash_at: int) -> None:
    bench, run, check = importing(ANN, "bob@x.example", ANN)
    land(bench)
    bench.crash_at = bench.steps + crash_at
    try:
        bench.check(check)
    except Crash:
        bench.crash_at = None
        assert bench.check(check, receives=2) == []
    bench.crash_at = None
    bench.work_off()
    bench.tick()

    assert bench.counts(run) == {"selected": 3, "delivered": 2, "duplicate": 1}
    assert bench.run(run).state is RunState.FINISHED
    assert sorted(bench.tool.holds()) == [ANN, "bob@x.example"]


def test_what_an_import_refused_is_rejected_with_its_reason() -> None:
    bench = Bench(imports=True)
    bench.tool.refuses = frozenset({ANN})
    bench.store(2, email=ANN)
    bench.store(4, email="bob@x.example")
    run = bench.start()
    bench.work_off()

    assert bench.counts(run) == {"selected": 2, "delivered": 1, "rejected": 1, "rejected:refused": 1}
    [refusal] = bench.delivery(2).refusals.values()
    assert refusal.rejection.code == "refused"


def test_an_import_that_never_ends_is_over_at_its_bound_with_nothing_confirmed() -> None:
    bench, run, check = importing()
    bench.clock.time += bench.tool.import_bound + timedelta(seconds=1)

    assert bench.check(check) == []

    assert bench.counts(run) == {"selected": 1, "rejected": 1, f"rejected:{UNCONFIRMED}": 1}
    assert bench.claim(ANN).flight is None
    assert bench.run(run).state is RunState.MANY_REJECTED


def test_a_change_never_overtakes_an_import_that_was_given_up_and_may_still_come() -> None:
    bench, run, check = importing()
    [job] = bench.tool.imports
    given_up = ImportReport(finished=True, refused={0: NOT_FOUND}, may_come=True)
    bench.tool.import_report = lambda *_: given_up  # type: ignore[method-assign]
    assert bench.check(check) == []
    assert bench.run(run).state is RunState.MANY_REJECTED
    bench.store(0, name="Bea")
    bench.deliver(0)
    bench.tool._land(job)
    assert bench.tool.holds() == {ANN: {}}

    bench.clock.time += bench.tool.import_bound
    bench.deliver(0)
    bench.tool.land_some(everything=True)
    assert bench.tool.holds() == {ANN: {"name": "Bea"}}


def test_our_own_limit_ends_no_import_whatever_its_age() -> None:
    bench, run, check = importing()
    land(bench)
    bench.clock.time += bench.tool.import_bound + timedelta(seconds=1)
    bench.tool.script = [Busy("pace", "no slot is free", taken=False)]

    assert bench.check(check) == ["m0"]
    assert bench.counts(run) == {"selected": 1, "outstanding": 1}
    assert bench.check(check) == []
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


def test_what_was_never_confirmed_is_taken_back_when_the_profile_leaves() -> None:
    """Given an import nobody confirmed, When it arrives all the same and the profile leaves, Then it is taken out."""
    bench, _, check = importing()
    bench.clock.time += bench.tool.import_bound + timedelta(seconds=1)
    bench.check(check)
    land(bench)
    bench.leave(0)
    bench.deliver(0)
    bench.work_off()
    assert bench.tool.holds() == {}


def test_an_import_of_an_export_that_is_gone_is_forgotten_when_it_can_do_nothing_any_more() -> None:
    bench, _, check = importing()
    del bench.settings.saved[bench.export.key]
    assert bench.check(check) == []
    assert len(flights.open_imports(bench.database, CONNECTION)) == 1
    [later] = bench.checks.take()

    bench.clock.time += ORPHANED
    assert bench.check(later) == []
    assert flights.open_imports(bench.database, CONNECTION) == []
    assert bench.checks.messages == []


def test_a_run_that_waits_for_an_import_of_a_deleted_export_stops_and_blocks_no_new_one() -> None:
    bench, run, check = importing()
    export = bench.export
    del bench.settings.saved[export.key]
    bench.check(check)
    assert bench.run(run).state is RunState.RUNNING
    bench.clock.time += ORPHANED
    assert bench.check(*bench.checks.take()) == []

    assert (bench.run(run).state, bench.run(run).reason) == (RunState.STOPPED, "its export was deleted")
    bench.settings.save(replace(export, version=1))
    again = bench.start()
    bench.work_off()
    assert bench.run(again).state is RunState.FINISHED


@pytest.mark.parametrize("crash_at", range(1, 12))
def test_a_check_that_dies_while_it_forgets_leaves_no_run_waiting(crash_at: int) -> None:
    bench, run, check = importing()
    del bench.settings.saved[bench.export.key]
    bench.clock.time += ORPHANED
    bench.crash_at = bench.steps + crash_at
    try:
        bench.check(check)
    except Crash:
        bench.crash_at = None
        assert bench.check(check, receives=2) == []
    bench.crash_at = None
    assert bench.run(run).state is RunState.STOPPED
    assert flights.open_imports(bench.database, CONNECTION) == []


def test_an_import_outlives_an_export_that_is_deleted_and_made_again() -> None:
    """Given an import still queued when its export is deleted and made again with other values, Then nothing is sent
    past it, and the newer values are the last to arrive."""
    bench = Bench(imports=True)
    bench.store(2, email=ANN, name="old")
    bench.deliver(2)
    export = bench.export
    del bench.settings.saved[export.key]
    bench.check(*bench.checks.take())
    bench.settings.save(replace(export, version=export.version + 1))
    bench.store(2, name="new")
    bench.clock.advance(10 * 60)

    bench.deliver(2)
    assert len(bench.sent) == 1
    bench.work_off()

    assert bench.tool.holds() == {ANN: {"name": "new"}}


def test_an_import_whose_settings_are_invalid_waits_until_they_are_corrected() -> None:
    bench, run, check = importing()
    land(bench)
    bench.settings.problems[bench.export.key] = SettingsProblem("mapping", "is missing", field="mapping")
    assert bench.check(check) == []
    bench.settings.problems.clear()
    [later] = bench.checks.take()
    bench.check(later)
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


def test_while_the_connection_is_stopped_nobody_asks_it() -> None:
    bench, _, check = importing()
    gates.close(bench.database, CONNECTION, Gate("connection"), "code", "reason", bench.clock.now())
    bench.tool.script = [AssertionError("asked")]
    assert bench.check(check) == []
    assert len(bench.checks.messages) == 1
    assert bench.tool.script


def test_an_account_error_stops_the_connection_and_the_import_is_looked_at_later() -> None:
    bench, _, check = importing()
    bench.tool.script = [ConnectionProblem("unauthorised", "the key is refused")]
    assert bench.check(check) == []
    assert gates.load(bench.database, CONNECTION, "main")[0].closed
    assert len(bench.checks.messages) == 1


def test_trouble_of_the_export_only_puts_the_look_off() -> None:
    bench, _, check = importing()
    bench.tool.script = [ExportProblem("list_gone", "there is no list 7")]
    assert bench.check(check) == []
    assert len(bench.checks.messages) == 1


def test_transient_trouble_burns_no_receives_and_obeys_retry_after() -> None:
    bench, _, check = importing()
    bench.tool.script = [TOO_MANY]
    assert bench.check(check) == []
    [later] = bench.checks.take()
    assert later.delay.total_seconds() == 30.0
    assert gates.load_all(bench.database, CONNECTION)[gates.CONNECTION].failing_since is not None


def test_half_an_hour_of_it_stops_the_connection_and_the_import_waits() -> None:
    bench, run, check = importing()
    for _ in range(9):
        bench.tool.script = [DOWN]
        assert bench.check(check) == []
        bench.clock.time += timedelta(minutes=5)
        [check] = bench.checks.take()
    assert gates.load_all(bench.database, CONNECTION)[gates.CONNECTION].closed
    assert bench.counts(run)["outstanding"] == 1


def test_what_was_not_looked_up_yet_is_asked_for_again_by_itself() -> None:
    """Given an import of three of which one look tells two, Then those are settled, and the third after the next."""
    bench, run, check = importing("a@x.example", "b@x.example", "c@x.example")
    land(bench)
    asked: list[tuple[int | None, int]] = []
    whole = bench.tool.import_report

    def two_at_a_time(account: Any, export: Any, queued: Any, steps: Sequence[Any]) -> Any:
        asked.append((queued.contacts, len(steps)))
        report = whole(account, export, queued, steps)
        return replace(report, open=frozenset(range(2, len(steps))))

    bench.tool.import_report = two_at_a_time  # type: ignore[method-assign]
    assert bench.check(check) == []
    assert bench.counts(run) == {"selected": 3, "delivered": 2, "outstanding": 1}
    [rest] = bench.checks.take()
    assert bench.check(check) == []
    assert asked == [(3, 3)], "looked at twice"
    assert bench.check(rest) == []
    assert asked == [(3, 3), (None, 1)]
    assert bench.counts(run) == {"selected": 3, "delivered": 3}
    assert bench.run(run).state is RunState.FINISHED


def test_an_unreadable_message_and_a_defect_fail_alone() -> None:
    bench, run, check = importing()
    land(bench)
    assert bench.check(Message({}), bench.look(0), check) == ["m0", "m1"]
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


def test_with_too_little_time_left_a_message_goes_back() -> None:
    bench, _, check = importing()
    assert bench.check(check, seconds_left=14.0) == ["m0"]
    assert bench.hidden == [("m0", 0)]


def test_an_unconfirmed_row_leaves_open_what_the_destination_holds() -> None:
    bench = Bench(imports=True)
    bench.tool.refuses = frozenset({ANN})
    bench.tool.rejection = NOT_FOUND
    bench.store(2, email=ANN)
    bench.deliver(2)
    bench.work_off()
    assert bench.claim(ANN).sent == "?"


# Imports that come to nothing.


def failing(times: int, *emails: str, **more: Any) -> tuple[Bench, Run]:
    """Return a bench whose next imports fail as a whole, and a run of it."""
    bench = Bench(imports=True, call_size=10, **more)
    for place, email in enumerate(emails):
        bench.store(2 * place, email=email, name="A")
    bench.tool.failing_imports = times
    return bench, bench.start()


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("times", [1, 2])
def test_an_import_that_came_to_nothing_is_sent_again_within_the_run(times: int, streams: bool) -> None:
    bench, run = failing(times, ANN, "bob@x.example", ANN, streams=streams)
    bench.work_off()
    assert sorted(bench.tool.holds()) == [ANN, "bob@x.example"]
    assert bench.counts(run) == {"selected": 3, "delivered": 2, "duplicate": 1}
    assert bench.run(run).state is RunState.FINISHED
    assert bench.sent == [[ANN, "bob@x.example"]] * (times + 1)


def test_after_a_few_tries_it_is_unconfirmed_and_the_run_ends() -> None:
    bench, run = failing(100, ANN)
    bench.checks.messages.clear()
    for _ in range(40):
        bench.tool.land_some(everything=True)
        for message in bench.queue.take():
            assert bench.consume(message) == []
        for message in bench.checks.take():
            assert bench.check(message) == []
    assert len(bench.sent) == MOST_TRIES
    assert bench.counts(run) == {"selected": 1, "rejected": 1, f"rejected:{UNCONFIRMED}": 1}
    assert bench.run(run).state is RunState.MANY_REJECTED


def test_only_those_that_were_not_done_are_sent_again() -> None:
    bench, run, check = importing(ANN, "bob@x.example", "cem@x.example")
    [job] = bench.tool.imports
    bench.tool._land(job)
    job.undone = frozenset({1})
    bench.tool.held.pop((job.steps[1].target, job.steps[1].identity))
    assert bench.check(check) == []
    bench.work_off()
    assert [len(call) for call in bench.sent] == [3, 1]
    assert bench.counts(run) == {"selected": 3, "delivered": 3}


@pytest.mark.parametrize("crash_at", range(1, 60))
def test_a_check_that_dies_while_it_has_them_sent_again_loses_nobody(crash_at: int) -> None:
    bench, run = failing(1, ANN, "bob@x.example", ANN)
    for message in bench.queue.take():
        bench.consume(message)
    [check] = bench.checks.take()
    land(bench)
    bench.crash_at = bench.steps + crash_at
    try:
        bench.check(check)
    except Crash:
        bench.crash_at = None
        assert bench.check(check, receives=2) == []
    bench.crash_at = None
    bench.work_off()
    bench.tick(after=STALLED_AFTER + timedelta(seconds=1))
    bench.work_off()
    assert sorted(bench.tool.holds()) == [ANN, "bob@x.example"]
    counts = bench.counts(run)
    # Where the message died after all was written, the run finds the profile done by another look.
    assert counts["selected"] == 3
    assert counts["delivered"] + counts.get("unchanged", 0) == 2
    assert bench.run(run).state is RunState.FINISHED


def test_while_the_export_rests_nothing_is_sent_again() -> None:
    """Given an export that acts only in its runs, and a run that was cancelled, Then the next run sends it."""
    bench, run = failing(1, ANN, streams=False)
    for message in bench.queue.take():
        bench.consume(message)
    assert bench.starter.cancel(run.id, "operator", bench.export)
    land(bench)
    assert bench.check(*bench.checks.take()) == []
    assert len(bench.sent) == 1
    [refusal] = bench.delivery(0).refusals.values()
    assert refusal.rejection.code == UNCONFIRMED
    bench.clock.advance(1)
    again = bench.start()
    bench.work_off()
    assert bench.counts(again)["delivered"] == 1
    assert sorted(bench.tool.holds()) == [ANN]


def test_a_change_that_waits_for_such_an_import_is_the_one_that_is_sent() -> None:
    bench, run = failing(1, ANN)
    for message in bench.queue.take():
        bench.consume(message)
    bench.store(0, name="B")
    assert bench.consume(bench.look(0)) == []
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "B"}}
    assert bench.run(run).state is RunState.FINISHED


# What is unconfirmed is looked at again.


def unconfirmed(*, streams: bool = True) -> tuple[Bench, Run, list[float]]:
    """Return a bench with one unconfirmed contact, its run, and the hours after which it is looked at again."""
    bench = Bench(imports=True, streams=streams)
    bench.tool.rejection = NOT_FOUND
    bench.tool.refuses = frozenset({ANN})
    bench.store(2, email=ANN, name="A")
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    land(bench)
    assert bench.check(*bench.checks.take()) == []
    begun, looks = bench.clock.now(), list[float]()
    look_up = bench.tool.confirm

    def noting(*parts: Any) -> Any:
        looks.append((bench.clock.now() - begun) / timedelta(hours=1))
        return look_up(*parts)

    bench.tool.confirm = noting  # type: ignore[method-assign,assignment]
    return bench, run, looks


def wait(bench: Bench, hours: float) -> None:
    """Let some hours pass with the messages of the Checks queue coming and going as SQS lets them."""
    waiting: list[tuple[datetime, Message]] = []
    end = bench.clock.now() + timedelta(hours=hours)
    while bench.clock.now() < end:
        waiting += [(bench.clock.now() + message.delay, message) for message in bench.checks.take()]
        due = [message for moment, message in waiting if moment <= bench.clock.now()]
        waiting = [(moment, message) for moment, message in waiting if moment > bench.clock.now()]
        for message in due:
            assert bench.check(message) == []
        if not due:
            bench.clock.advance(60)
    bench.checks.messages += [message for _, message in waiting]


def test_an_unconfirmed_contact_is_looked_up_after_1_4_and_12_hours() -> None:
    bench, run, looks = unconfirmed()
    wait(bench, 30)
    assert [round(hours, 1) for hours in looks] == [1.0, 4.0, 12.0]
    assert bench.counts(run)[f"rejected:{UNCONFIRMED}"] == 1
    assert (len(bench.sent), bench.checks.messages) == (1, [])


def test_a_defect_met_with_one_unconfirmed_contact_keeps_no_other_from_being_found() -> None:
    bench = Bench(imports=True)
    bench.tool.rejection = NOT_FOUND
    bench.tool.refuses = frozenset({ANN, BOB})
    bench.store(2, email=ANN, name="A")
    bench.store(4, email=BOB, name="B")
    bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    land(bench)
    assert bench.check(*bench.checks.take()) == []
    target = f"list/{bench.export.options}"
    bench.tool.held |= {(target, ANN): {"name": "A"}, (target, BOB): {"name": "B"}}
    look_up = bench.tool.confirm

    def tripping(account: Any, export: Any, steps: Any) -> Any:
        if any(step.identity == ANN for step in steps):
            raise ZeroDivisionError
        return look_up(account, export, steps)

    bench.tool.confirm = tripping  # type: ignore[method-assign]
    wait(bench, 2)
    assert bench.delivery(4).refusals == {}
    assert [refusal.rejection.code for refusal in bench.delivery(2).refusals.values()] == [UNCONFIRMED]


@pytest.mark.parametrize("hours", [1, 4, 12])
def test_one_that_is_found_as_wanted_by_then_needs_no_other_call(hours: int) -> None:
    bench, _, looks = unconfirmed()
    wait(bench, hours - 0.5)
    bench.tool.held[f"list/{bench.export.options}", ANN] = {"name": "A"}
    wait(bench, 20)
    assert len(looks) == [1, 4, 12].index(hours) + 1
    assert bench.delivery(2).refusals == {}
    again = bench.start()
    bench.work_off()
    assert bench.counts(again) == {"told": 1, "selected": 1, "unchanged": 1}
    assert len(bench.sent) == 1
    # And who leaves is taken out.
    bench.tool.refuses = frozenset()
    bench.leave(2)
    bench.deliver(2)
    bench.work_off()
    assert bench.tool.holds() == {}


def test_the_function_that_looks_may_read_and_write_what_it_does() -> None:
    """What it does to the tables over a run with imports, waiting included, is what the template lets it do."""
    bench, _, _ = unconfirmed()
    bench.database.steps.clear()
    wait(bench, 20)
    role = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["ImportChecksRole"]
    allowed: dict[str, set[str]] = {}
    for statement in role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]:
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                table = str(resource).rpartition("${Prefix}-")[2].strip("'}")
                allowed.setdefault(table, set()).add(action)
    needed = {"get": "dynamodb:BatchGetItem", "query": "dynamodb:Query", "write": "dynamodb:PutItem"}
    for step in set(bench.database.steps):
        operation, tables = step.split(" ")
        for table in tables.split("+"):
            assert needed[operation] in allowed.get(table, set()), step


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_one_that_changed_meanwhile_is_no_business_of_the_look() -> None:
    bench, _, looks = unconfirmed()
    bench.store(2, name="B")
    bench.tool.refuses = frozenset()
    bench.deliver(2)
    bench.tool.held[f"list/{bench.export.options}", ANN] = {"name": "A"}
    wait(bench, 2)
    assert looks == []
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "B"}}


def test_one_that_is_sent_while_it_is_looked_at_is_left_to_the_call() -> None:
    bench, _, _ = unconfirmed()
    look_up = bench.tool.confirm

    def meanwhile(*parts: Any) -> Any:
        bench.tool.refuses = frozenset()
        bench.start()
        for message in bench.queue.take():
            bench.consume(message)
        return look_up(*parts)

    bench.tool.confirm = meanwhile  # type: ignore[method-assign,assignment]
    bench.tool.held[f"list/{bench.export.options}", ANN] = {"name": "A"}
    wait(bench, 1.1)
    assert bench.claim(ANN).flight is not None
    bench.tool.confirm = look_up  # type: ignore[method-assign]
    bench.work_off()
    assert bench.claim(ANN).flight is None
    assert bench.delivery(2).refusals == {}


@pytest.mark.parametrize("problem", [DOWN, TOO_MANY, ConnectionProblem("not_authorised", "the key is refused")])
def test_trouble_with_looking_stops_nothing_and_the_look_is_made_later(problem: Exception) -> None:
    bench, _, looks = unconfirmed()
    look_up = bench.tool.confirm

    def in_trouble(*parts: Any) -> Any:
        if bench.clock.now() < trouble_ends:
            raise problem
        return look_up(*parts)

    trouble_ends = bench.clock.now() + timedelta(hours=3)
    bench.tool.confirm = in_trouble  # type: ignore[method-assign,assignment]
    wait(bench, 30)
    # The later looks keep their distance.
    assert [round(hours) for hours in looks] == [3, 6, 14]
    gate = gates.load(bench.database, CONNECTION, "main")[0]
    assert (gate.closed, gate.failing_since) == (False, None)


def test_those_there_was_no_time_for_are_looked_at_soon() -> None:
    bench, _, looks = unconfirmed()
    look_up, in_time = bench.tool.confirm, [False, False, True]

    def some(*parts: Any) -> Any:
        return look_up(*parts) if not in_time or in_time.pop(0) else {}

    bench.tool.confirm = some  # type: ignore[method-assign,assignment]
    bench.tool.held[f"list/{bench.export.options}", ANN] = {"name": "A"}
    wait(bench, 1.5)
    assert len(looks) == 1
    assert bench.delivery(2).refusals == {}


def test_an_export_that_is_gone_or_stopped_is_not_looked_at() -> None:
    bench, _, looks = unconfirmed()
    gates.close(bench.database, CONNECTION, Gate("connection"), "code", "reason", bench.clock.now())
    wait(bench, 2)
    assert (looks, bench.checks.messages) == ([], [])
    bench, _, looks = unconfirmed()
    del bench.settings.saved[bench.export.key]
    wait(bench, 2)
    assert (looks, bench.checks.messages) == ([], [])


# Wake-ups.


def wake(bench: Bench, after: timedelta, numbers: Sequence[int] = (2,)) -> WakeLater:
    ids = tuple(person(number) for number in numbers)
    return WakeLater(CONNECTION, "main", bench.export.version, ids, bench.clock.now() + after, "run-1")


def test_a_wake_up_that_is_not_due_is_put_off_no_longer_than_a_queue_can() -> None:
    bench = Bench()
    far = wake(bench, timedelta(hours=2))
    assert bench.check(Message(far.to_json())) == []
    [later] = bench.checks.messages
    assert (later.body, later.delay) == (far.to_json(), timedelta(minutes=15))
    assert bench.queue.messages == []


def test_a_wake_up_for_a_lost_call_comes_as_soon_as_the_call_is_known_to_be_over() -> None:
    bench = Bench()
    bench.tool.lost_answer_bound = timedelta(hours=24)
    begun = bench.clock.now()
    early = Message(wake(bench, bench.tool.lost_answer_bound).to_json())
    bench.clock.advance(900)
    for cleared in (begun - timedelta(microseconds=1), None, DOWN):
        bench.tool.cleared = cleared
        assert bench.check(early) == []
        assert bench.queue.messages == []
        assert [message.body for message in bench.checks.take()] == [early.body]
    bench.tool.cleared = begun
    assert bench.check(early) == []
    assert [(look.profiles, look.run) for look in bench.queue.tasks] == [((person(2),), "run-1")]
    assert bench.checks.messages == []


def test_while_the_connection_is_stopped_nobody_asks_whether_a_lost_call_is_over() -> None:
    bench = Bench()
    gates.close(bench.database, CONNECTION, Gate("connection"), "code", "reason", bench.clock.now())
    bench.tool.cleared = AssertionError("nobody asked")
    assert bench.check(Message(wake(bench, bench.tool.lost_answer_bound).to_json())) == []
    assert len(bench.checks.messages) == 1


def test_a_wake_up_that_is_due_looks_again_thoroughly_and_for_its_run() -> None:
    bench = Bench()
    assert bench.check(Message(wake(bench, timedelta(), (2, 3)).to_json())) == []
    assert [(look.profiles, look.thorough, look.run) for look in bench.queue.tasks] == [
        ((person(2),), True, "run-1"),
        ((person(3),), True, "run-1"),
    ]


def test_a_wake_up_for_an_export_that_is_gone_is_dropped() -> None:
    bench = Bench()
    gone = replace(wake(bench, timedelta()), export="gone")
    assert bench.check(Message(gone.to_json())) == []
    assert bench.queue.messages == []


def test_a_queue_that_takes_nothing_keeps_the_message() -> None:
    bench, _, check = importing()
    bench.checks.failures.append(DOWN)
    assert bench.check(check) == ["m0"]
    task = CheckImport.from_json(check.body)
    assert task.attempt == 0
