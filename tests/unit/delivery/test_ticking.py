"""Every minute: probes, debts, activation, and what stalled."""

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
from relay.delivery.messages import CheckImport, Cursor, LookAgain
from relay.delivery.probing import PROBE_EVERY
from relay.delivery.stopping import Stopping
from relay.delivery.ticking import SETTLING, STALLED_AFTER
from relay.stores.gates import CONNECTION as WHOLE
from relay.stores.gates import Gate, scope_of
from tests.fakes.delivery_bench import CONNECTION, DOWN, VIP, Bench, as_settings, person

from relay.destinations.contract import Finding, Level
from relay.domain.exports import Export
from relay.domain.problems import Actor, Busy, ConnectionProblem, ExportProblem, SettingsProblem, Transient, Unexpected
from relay.domain.runs import RunState
from relay.schedules import Schedule, Timetable
from relay.stores import gates, ledger, runs
from relay.stores.directory import Directory, Entry

MINUTE = timedelta(minutes=1)


def causes(bench: Bench) -> list[str]:
    return [run.cause for run in reversed(runs.latest(bench.database, bench.export.key))]


def stopped(bench: Bench, scope: str = WHOLE, owed: bool = True) -> None:
    gates.close(bench.database, CONNECTION, Gate(scope), "code", "reason", bench.clock.now())
    if owed:
        gates.owe_always(bench.database, CONNECTION, "main")


def quiet(*, imports: bool = False, members: Sequence[int] = (2,)) -> Bench:
    """Return a bench that has nothing to do: not streaming, everything told."""
    bench = Bench(streams=False, imports=imports)
    for number in members:
        bench.store(number, email=f"{number}@x.example")
    return bench


# What is stopped.


def test_a_stopped_connection_is_probed_only_every_few_minutes() -> None:
    bench = quiet()
    stopped(bench)
    bench.tool.probe_script = [DOWN] * 10
    for _ in range(10):
        bench.tick(after=MINUTE)
    assert len(bench.tool.probes) == 10 * MINUTE // PROBE_EVERY
    assert causes(bench) == []


def test_when_the_probe_passes_the_connection_opens_and_the_owed_run_starts_once() -> None:
    bench = quiet()
    stopped(bench)
    bench.tick(after=PROBE_EVERY)

    connection, export = gates.load(bench.database, CONNECTION, "main")
    assert not connection.closed
    assert export.owed == 0
    assert causes(bench) == ["owed"]
    bench.work_off()
    bench.tick(after=MINUTE)
    assert causes(bench) == ["owed"]


@pytest.mark.parametrize("problem", [DOWN, ConnectionProblem("unauthorised", "the key is refused")])
def test_while_the_probe_fails_it_stays_stopped(problem: Exception) -> None:
    bench = quiet()
    stopped(bench)
    bench.tool.probe_script = [problem]
    bench.tick(after=PROBE_EVERY)
    assert gates.load(bench.database, CONNECTION, "main")[0].closed


def test_a_finding_about_the_account_keeps_the_connection_stopped() -> None:
    bench = quiet()
    stopped(bench)
    bench.tool.findings = [Finding("connection", Level.ERROR, "the plan is unpaid")]
    bench.tick(after=PROBE_EVERY)
    assert gates.load(bench.database, CONNECTION, "main")[0].closed


def test_an_export_that_is_broken_does_not_keep_its_connection_stopped() -> None:
    """Given a connection that stopped in an outage, and one export whose list is gone, When the outage is over, Then
    the connection opens for the others."""
    bench = quiet()
    stopped(bench)
    bench.edit("broken", options="8")
    bench.tool.missing = "8"
    bench.tick(after=PROBE_EVERY)
    assert not gates.load(bench.database, CONNECTION, "main")[0].closed
    assert causes(bench) == ["owed"]


def test_a_stopped_export_is_probed_by_itself_and_the_others_go_on() -> None:
    bench = quiet()
    stopped(bench, scope_of("main"))
    bench.edit("other", options="8", segments=("shop/lapsed",))
    gates.owe_always(bench.database, CONNECTION, "other")
    bench.tool.probe_script = [DOWN]
    bench.store(4, inside=("shop/lapsed",), email="4@x.example")

    bench.tick(after=PROBE_EVERY)

    assert bench.tool.probes == [[bench.export.key]]
    assert causes(bench) == []
    assert len(runs.latest(bench.database, f"{CONNECTION}/other")) == 1


# What is told of a stop is true now.


def told(bench: Bench, scope: str = WHOLE) -> tuple[str, str, str]:
    gate = gates.load_one(bench.database, CONNECTION, scope)
    assert gate.closed
    return gate.code, gate.reason, gate.actor.value


@pytest.mark.parametrize(
    "problem",
    [
        ConnectionProblem("unauthorised", "the key is refused"),
        SettingsProblem("missing", "is missing", field="api_key"),
        Transient("timeout", "no answer within 30 s"),
    ],
)
def test_a_probe_that_finds_another_reason_keeps_it(problem: Transient) -> None:
    bench = quiet()
    stopped(bench)
    bench.tool.probe_script = [problem]
    bench.tick(after=PROBE_EVERY)
    assert told(bench) == (problem.code, problem.what, problem.actor.value)
    [line] = [line for line in bench.logged() if line["message"] == "needs attention"]
    assert (line["subject"], line["code"], line["reason"], line["actor"]) == (f"connection {CONNECTION}", *told(bench))


def test_a_finding_of_a_probe_is_the_reason_from_then_on() -> None:
    bench = quiet()
    stopped(bench, scope_of("main"))
    bench.tool.missing = "7"
    bench.tick(after=PROBE_EVERY)
    assert told(bench, scope_of("main")) == ("not_ready", "the list is gone", "administrator")


def test_our_own_limits_are_no_reason() -> None:
    bench = quiet()
    stopped(bench)
    bench.tool.probe_script = [Busy("pace", "the quota is used up")]
    bench.tick(after=PROBE_EVERY)
    assert told(bench) == ("code", "reason", "administrator")


def test_who_must_act_is_kept_with_the_stop() -> None:
    bench = quiet()
    problem = ExportProblem("daily_budget", "used up")
    problem.actor = Actor.WAIT
    stopping = Stopping(bench.database, as_settings(bench.settings), bench.clock, bench.observe)
    stopping.export(CONNECTION, "main", problem)
    assert told(bench, scope_of("main")) == ("daily_budget", "used up", "wait")


def test_a_probe_of_a_stop_that_was_lifted_meanwhile_changes_nothing() -> None:
    bench = quiet()
    stopped(bench)
    seen = gates.load_one(bench.database, CONNECTION, WHOLE)
    gates.reopen(bench.database, CONNECTION, seen, bench.clock.now())
    gates.restate(bench.database, CONNECTION, seen, ConnectionProblem("unauthorised", "the key is refused"))
    gate = gates.load_one(bench.database, CONNECTION, WHOLE)
    assert (gate.closed, gate.reason) == (False, "")


# What stops again though its probes pass.


def stops_again(bench: Bench, scope: str = WHOLE, code: str = "code", after: timedelta = MINUTE) -> timedelta:
    """Close an open gate again, and return how long it takes until a tick, one a minute, opens it."""
    bench.clock.time += after
    gate = gates.load_all(bench.database, CONNECTION).get(scope, Gate(scope))
    gates.close(bench.database, CONNECTION, gate, code, "reason", bench.clock.now())
    stopped_at = bench.clock.now()
    while gates.load_all(bench.database, CONNECTION)[scope].closed:
        bench.tick(after=MINUTE)
    return (bench.clock.now() - stopped_at) // MINUTE * MINUTE


@pytest.mark.parametrize("scope", [WHOLE, scope_of("main")])
def test_a_gate_that_closes_again_soon_is_opened_less_and_less_often(scope: str) -> None:
    bench = quiet()
    waits = [stops_again(bench, scope) // MINUTE for _ in range(8)]
    assert waits == [3, 6, 12, 24, 48, 60, 60, 60]


def test_after_a_quiet_quarter_of_an_hour_probes_come_every_few_minutes_again() -> None:
    bench = quiet()
    assert [stops_again(bench) for _ in range(3)][-1] == 4 * PROBE_EVERY
    assert stops_again(bench, after=gates.QUIET) == PROBE_EVERY
    assert stops_again(bench) == 2 * PROBE_EVERY


def test_another_reason_to_stop_is_probed_every_few_minutes() -> None:
    bench = quiet()
    assert [stops_again(bench) for _ in range(3)][-1] == 4 * PROBE_EVERY
    assert stops_again(bench, code="other") == PROBE_EVERY


def test_a_failure_no_probe_can_see_does_not_start_runs_for_ever() -> None:
    """Given a call that is refused in every run while every probe passes, Then a day has some 25 runs, not 480."""
    bench = quiet()
    gates.owe_always(bench.database, CONNECTION, "main")
    for _ in range(24 * 60):
        bench.tool.script = [ConnectionProblem("forbidden", "the plan has no lists")]
        bench.tick(after=MINUTE)
        for message in bench.queue.take():
            for receives in (1, 2):
                bench.consume(message, receives=receives)
    assert 24 <= len(bench.sent) <= 30
    bench.tool.script = []
    for _ in range(61):
        bench.tick(after=MINUTE)
        bench.work_off()
    assert bench.tool.holds() == {"2@x.example": {}}


# Debts.


def test_a_paused_exports_debt_is_kept_until_it_is_active_again() -> None:
    bench = quiet()
    gates.owe_always(bench.database, CONNECTION, "main")
    bench.edit(active=False)
    bench.tick()
    assert causes(bench) == []
    bench.edit(active=True)
    bench.tick()
    assert causes(bench) == ["owed"]


def test_a_debt_is_not_forgiven_while_another_run_is_under_way() -> None:
    bench = quiet()
    bench.start()
    gates.owe_always(bench.database, CONNECTION, "main")
    bench.tick()
    assert gates.load(bench.database, CONNECTION, "main")[1].owed == 1
    bench.work_off()
    bench.tick()
    assert causes(bench) == ["test", "owed"]


# Activation.


def test_a_new_streaming_export_gets_a_run_and_another_when_everybody_has_seen_it() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example")
    for _ in range(5):
        bench.tick(after=SETTLING / 3)
        bench.work_off()
    assert causes(bench) == ["activated", "settings seen everywhere"]
    assert bench.tool.holds() == {"2@x.example": {}}


def test_an_edited_streaming_export_gets_a_run_again() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example", backup="b@x.example")
    bench.tick()
    bench.work_off()
    bench.edit(mapping={"email": "attributes.backup"})
    bench.tick(after=MINUTE)
    bench.work_off()
    assert causes(bench) == ["activated", "activated"]
    assert bench.tool.holds() == {"b@x.example": {}}


def test_saving_an_export_that_does_not_stream_sends_nothing() -> None:
    bench = quiet()
    bench.edit(options="8")
    for _ in range(5):
        bench.tick(after=MINUTE)
        bench.work_off()
    assert causes(bench) == []
    assert bench.sent == []


def test_an_activated_export_with_an_unseen_segment_is_refused_once_and_runs_when_it_is_seen() -> None:
    bench = Bench()
    for _ in range(3):
        bench.tick(after=MINUTE)
    [refused] = runs.latest(bench.database, bench.export.key)
    assert (refused.state, refused.reason) == (RunState.REFUSED, f"segments never seen: {VIP}")
    bench.store(2, email="2@x.example")
    bench.tick(after=MINUTE)
    assert runs.latest(bench.database, bench.export.key)[0].state is RunState.RUNNING


# What stalled.


def test_a_lost_cursor_is_sent_again_after_a_while_and_not_every_minute() -> None:
    bench = quiet(members=(2, 3))
    run = bench.start()
    bench.queue.take()
    bench.tick(after=STALLED_AFTER)
    assert bench.queue.tasks == []
    bench.tick(after=MINUTE)
    assert [(task.run, task.shard) for task in bench.queue.tasks if isinstance(task, Cursor)] == [
        (run.id, 0),
        (run.id, 1),
    ]
    bench.tick(after=MINUTE)
    assert len(bench.queue.messages) == 2
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED


def test_a_lost_import_check_is_sent_again() -> None:
    bench = quiet(imports=True)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    bench.checks.take()
    bench.tick(after=STALLED_AFTER + MINUTE)
    assert [type(task) for task in bench.checks.tasks] == [CheckImport]
    bench.work_off()
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


def test_a_run_whose_end_was_missed_is_ended() -> None:
    """Given a check that settled the last import and died before it could end the run."""
    bench = quiet(imports=True)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    bench.tool.land_some(everything=True)
    check = bench.checks.take()
    bench.database.after = lambda step: die_after_settling(step)

    class Death(BaseException): ...

    def die_after_settling(step: str) -> None:
        if step == "write claims+control+deliveries":
            bench.database.after = bench.step
            raise Death

    with pytest.raises(Death):
        bench.check(*check)
    bench.check(*check, receives=2)
    bench.tick(after=MINUTE)
    assert bench.run(run).state is RunState.FINISHED


def test_a_lost_wake_up_a_run_waits_for_is_sent_again() -> None:
    bench = quiet(imports=True)
    bench.deliver(2)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    assert runs.waiting(bench.database, run.id) == [person(2)]
    bench.tool.land_some(everything=True)
    bench.check(*bench.checks.take())
    assert [task.run for task in bench.queue.tasks if isinstance(task, LookAgain)] == [run.id]
    bench.queue.take()

    bench.tick(after=STALLED_AFTER + MINUTE)
    bench.work_off()

    assert runs.waiting(bench.database, run.id) == []
    assert bench.run(run).state is RunState.FINISHED


# Harming no other.


def two_connections() -> Bench:
    bench = Bench(streams=False)
    bench.settings.save(Export("aaa", "main", "tool", True, False, (VIP,), bench.export.mapping, "9", 1))
    bench.store(2, email="2@x.example")
    gates.owe_always(bench.database, CONNECTION, "main")
    return bench


def test_a_connection_whose_secret_is_gone_harms_no_other() -> None:
    bench = two_connections()
    gates.close(bench.database, "aaa", Gate(WHOLE), "code", "reason", bench.clock.now())
    bench.settings.problems["aaa"] = SettingsProblem("missing", "is missing", field="api_key")
    bench.tick(after=PROBE_EVERY)
    assert causes(bench) == ["owed"]


def test_a_defect_in_one_connections_part_harms_no_other() -> None:
    bench = two_connections()
    gates.close(bench.database, "aaa", Gate(WHOLE), "code", "reason", bench.clock.now())
    bench.tool.probe_script = [KeyError("a defect")]
    with pytest.raises(Unexpected):
        bench.tick(after=PROBE_EVERY)
    assert causes(bench) == ["owed"]
    assert [line["error"] for line in bench.logged() if line["message"] == "tick"] == ["KeyError"]


def test_invalid_exports_are_reported_with_field_and_reason() -> None:
    bench = two_connections()
    bench.settings.problems["aaa/main"] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    bench.tick()
    [line] = [line for line in bench.logged() if line["message"] == "needs attention"]
    assert (line["subject"], line["reason"]) == ("export aaa/main", "mapping.emial: is not known")
    assert causes(bench) == ["owed"]


def test_the_tick_keeps_the_directory_that_route_reads() -> None:
    bench = two_connections()
    bench.tick()
    entries = Directory(bench.database, bench.clock).read()
    assert entries == {name: Entry("tool", False, 2) for name in ("aaa", CONNECTION)}


# What waits for a person is counted, for the alarm.


def alarms(capsys: pytest.CaptureFixture[str]) -> int:
    """Return what was counted as stopped since the last time."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return sum(sum(line["ConnectionStopped"]) for line in lines if "ConnectionStopped" in line)


def test_what_is_well_is_not_counted_as_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    bench = quiet()
    bench.tick()
    bench.start()
    bench.tick()
    bench.work_off()
    bench.tick()
    assert alarms(capsys) == 0


def test_every_tick_counts_what_is_stopped_and_each_invalid_setting(capsys: pytest.CaptureFixture[str]) -> None:
    bench = two_connections()
    bench.settings.problems["aaa/main"] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    stopped(bench)
    for _ in range(2):
        bench.tick()
        assert alarms(capsys) == 2


def test_a_run_that_waits_for_confirmation_is_counted_until_it_is_confirmed(capsys: pytest.CaptureFixture[str]) -> None:
    bench = quiet(members=(2, 4))
    bench.start()
    bench.work_off()
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.start()
    bench.work_off()
    for _ in range(2):
        bench.tick()
        assert alarms(capsys) == 1

    assert bench.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    bench.edit(mapping={"email": "attributes.email"})
    bench.clock.advance(1)
    bench.start()
    bench.work_off()
    bench.tick()
    assert alarms(capsys) == 0


def test_everybody_rejected_is_counted_until_a_later_run_goes_well(capsys: pytest.CaptureFixture[str]) -> None:
    """Given a mapping that yields nobody's address, Then the alarm lasts while the next run is under way, too."""
    bench = quiet(members=(2, 3))
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.start()
    bench.work_off()
    assert (bench.run(run).state, bench.run(run).reason) == (
        RunState.MANY_REJECTED,
        "nobody was taken: 2 rejected, 2 of them for no_email",
    )
    bench.edit(mapping={"email": "attributes.email"})
    bench.clock.advance(1)
    well = bench.start()
    bench.tick()
    assert alarms(capsys) == 1
    bench.work_off()
    bench.tick()
    assert bench.run(well).state is RunState.FINISHED
    assert alarms(capsys) == 0


def test_a_source_that_finds_nobody_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    bench = quiet()
    lines = [ledger.Line(f"b{n}", "shop", ledger.Counts(rejected=1), nobody=True) for n in range(3)]
    ledger.record(bench.database, lines, bench.clock.now())
    bench.tick()
    assert alarms(capsys) == 1
    [line] = [line for line in bench.logged() if line["message"] == "needs attention"]
    assert (line["subject"], line["code"]) == ("source shop", "nobody_identified")
    ledger.record(bench.database, [ledger.Line("b9", "shop", ledger.Counts(merged=1))], bench.clock.now())
    bench.tick()
    assert alarms(capsys) == 0


# Exports that no schedule will ever start.


def unscheduled(capsys: pytest.CaptureFixture[str]) -> int:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return sum(sum(line["ExportsUnscheduled"]) for line in lines if "ExportsUnscheduled" in line)


def test_an_export_that_no_schedule_will_ever_start_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Given a default schedule that is disabled, Then exports with a schedule of their own, that stream, or that are
    paused are not counted."""
    bench = quiet()
    bench.edit("own", options="8")
    bench.edit("streaming", options="9", stream=True)
    bench.edit("paused", options="10", active=False)
    bench.tick()
    assert unscheduled(capsys) == 0
    disabled = Schedule("relay-default", None, "is disabled")
    bench.scheduled_now = Timetable([Schedule("letters.own", "letters/own")], disabled)
    bench.tick()
    assert unscheduled(capsys) == 1
    lines = [line for line in bench.logged() if line["message"] == "no schedule will start it"]
    assert [line["export"] for line in lines] == [bench.export.key]


def test_a_refused_run_is_counted_until_one_goes_well_or_the_export_is_paused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench = Bench(streams=False)
    assert bench.start().state is RunState.REFUSED
    for _ in range(2):
        bench.tick()
        assert alarms(capsys) == 1
    bench.edit(active=False)
    bench.tick()
    assert alarms(capsys) == 0

    bench.edit(active=True)
    bench.store(2, email="2@x.example")
    bench.clock.advance(1)
    bench.start()
    bench.tick()
    assert alarms(capsys) == 0


def test_an_export_that_could_not_be_read_gets_one_run_when_it_can_be_again() -> None:
    """Given a parameter that may not be decrypted for a while, and changes that route could not pass on meanwhile."""
    bench = quiet()
    bench.settings.problems[bench.export.key] = SettingsProblem("unreadable", "may not be decrypted", field="export")
    for _ in range(3):
        bench.tick(after=MINUTE)
    assert causes(bench) == []

    del bench.settings.problems[bench.export.key]
    bench.tick(after=MINUTE)
    bench.work_off()
    bench.tick(after=MINUTE)

    assert causes(bench) == ["owed"]
    assert bench.tool.holds() == {"2@x.example": {}}
