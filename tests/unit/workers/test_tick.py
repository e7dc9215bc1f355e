"""Every minute: probes, resyncs, activation, waits, what stalled, and what waits for somebody."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.breaker.failures import PATIENCE
from relay.destinations.contract import Finding, Level
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem, Problem, SettingsProblem, Unexpected
from relay.domain.runs import Phase, RunState
from relay.messages import CheckImport, Page
from relay.schedules import Schedule, Timetable
from relay.stores import breakers, receipts, runs, waits
from relay.stores.breakers import LONGEST_PROBE_PAUSE, PROBE_EVERY, RELAPSE_WITHIN, Breaker
from relay.stores.database import Key, Table
from relay.stores.directory import Directory, Entry
from relay.stores.receipts import Counts
from relay.stores.waits import ConfirmWait, IdentityWait, OutstandingWait
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench import CONNECTION, LAPSED, OTHER, OTHER_CONNECTION, TOOL, VIP, Bench, Crash, person
from tests.fakes.bench_destination import DOWN, Lost
from tests.fakes.crashing import die_at_every_step, trouble_at_every_write
from tests.fakes.memory_database import Trouble
from tests.fakes.observing import counted

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")
NO_LIST = ExportProblem("list_gone", "there is no list 7")


def causes(bench: Bench, name: str = "main", connection: str = CONNECTION) -> list[str]:
    return [run.cause for run in reversed(runs.latest(bench.database, f"{connection}/{name}"))]


def breaker(bench: Bench, export: str | None = None, connection: str = CONNECTION) -> Breaker:
    return breakers.load_one(bench.database, connection, export)


def stop(bench: Bench, export: str | None = None, problem: Problem = BAD_KEY, *, connection: str = CONNECTION) -> None:
    """Stop a connection or an export, for which a run of `main` is requested."""
    seen = breaker(bench, export, connection)
    assert breakers.stop(bench.database, seen, problem, bench.clock.now())
    breakers.request_resync(bench.database, connection, "main" if export is None else export)


def quiet(*, imports: bool = False, members: Sequence[int] = (2,)) -> Bench:
    """Return a bench where nothing streams, with members; a second export of the connection has one, too."""
    bench = Bench(streams=False, imports=imports)
    for number in members:
        bench.store(number, email=f"{number}@x.example")
    bench.store(9, inside=(LAPSED,), email="9@x.example")
    return bench


# What is stopped.


def test_a_stopped_connection_is_probed_only_every_few_minutes() -> None:
    bench = quiet()
    stop(bench)
    bench.tool.probe_script = [DOWN] * 10
    for _ in range(10):
        bench.tick(after=MINUTE)
    assert len(bench.tool.probes) == 10 * MINUTE // PROBE_EVERY
    assert causes(bench) == []


def test_when_the_probe_passes_the_connection_goes_on_and_one_run_starts() -> None:
    bench = quiet()
    stop(bench)
    bench.tick(after=PROBE_EVERY)
    assert breaker(bench).stop is None
    assert breaker(bench, "main").resync == ""
    assert causes(bench) == ["resync"]
    bench.work_off()
    bench.tick(after=MINUTE)
    assert causes(bench) == ["resync"]
    assert list(bench.tool.holds()) == ["2@x.example"]


@pytest.mark.parametrize("problem", [DOWN, BAD_KEY])
def test_while_the_probe_fails_it_stays_stopped(problem: Exception) -> None:
    bench = quiet()
    stop(bench)
    bench.tool.probe_script = [problem]
    bench.tick(after=PROBE_EVERY)
    assert breaker(bench).stop is not None


def test_one_error_among_findings_keeps_what_is_stopped() -> None:
    for export, subject in ((None, "connection"), ("main", "main")):
        bench = quiet()
        stop(bench, export, NO_LIST if export else BAD_KEY)
        bench.tool.findings = [
            Finding("connection", Level.OK, "the key works"),
            Finding(subject, Level.ERROR, "the plan is unpaid"),
            Finding("main", Level.WARNING, "the list is large"),
        ]
        bench.tick(after=PROBE_EVERY)
        stopped = breaker(bench, export).stop
        assert stopped is not None
        assert stopped.reason == "the plan is unpaid"


def test_an_export_that_is_broken_does_not_keep_its_connection_stopped() -> None:
    """Given a connection that stopped in an outage, and one export whose list is gone, Then the others go on."""
    bench = quiet()
    stop(bench)
    bench.edit("broken", options="8", segments=(LAPSED,))
    bench.tool.missing = "8"
    bench.tick(after=PROBE_EVERY)
    assert breaker(bench).stop is None
    assert causes(bench) == ["resync"]


def test_a_stopped_export_is_probed_by_itself_and_the_others_go_on() -> None:
    bench = quiet()
    stop(bench, "main", NO_LIST)
    bench.edit("second", options="8", segments=(LAPSED,))
    breakers.request_resync(bench.database, CONNECTION, "second")
    bench.tool.probe_script = [DOWN]
    bench.tick(after=PROBE_EVERY)
    assert bench.tool.probes == [[bench.export.key]]
    assert causes(bench) == []
    assert causes(bench, "second") == ["resync"]


def test_what_stopped_it_last_is_the_reason_from_then_on() -> None:
    bench = quiet()
    stop(bench)
    problem = SettingsProblem("missing", "is missing", field="api_key")
    bench.tool.probe_script = [problem]
    bench.tick(after=PROBE_EVERY)
    stopped = breaker(bench).stop
    assert stopped is not None
    assert stopped[:2] == (problem.code, problem.what)
    [line] = [line for line in bench.logged() if line["message"] == "needs attention"]
    assert (line["subject"], line["code"], line["reason"]) == (f"connection {CONNECTION}", *stopped[:2])


def test_our_own_limits_are_no_reason() -> None:
    bench = quiet()
    stop(bench)
    bench.tool.probe_script = [Busy("pace", "the quota is used up")]
    bench.tick(after=PROBE_EVERY)
    stopped = breaker(bench).stop
    assert stopped is not None
    assert stopped.code == "unauthorised"


def stops_again(bench: Bench, export: str | None = None, after: timedelta = MINUTE) -> timedelta:
    """Stop what goes on again, and return how long it takes until a tick, one a minute, lets it go on."""
    bench.clock.time += after
    stop(bench, export)
    stopped_at = bench.clock.now()
    while breaker(bench, export).stop is not None:
        bench.tick(after=MINUTE)
        bench.work_off()
    return (bench.clock.now() - stopped_at) // MINUTE * MINUTE


@pytest.mark.parametrize("export", [None, "main"])
def test_what_stops_again_soon_goes_on_less_and_less_often(export: str | None) -> None:
    bench = quiet()
    pauses = [stops_again(bench, export) // MINUTE for _ in range(7)]
    assert pauses[:5] == [3, 6, 12, 24, 48]
    assert max(pauses[5:]) <= LONGEST_PROBE_PAUSE / MINUTE


def test_after_a_quiet_quarter_of_an_hour_probes_come_every_few_minutes_again() -> None:
    bench = quiet()
    assert [stops_again(bench) for _ in range(3)][-1] == 4 * PROBE_EVERY
    assert stops_again(bench, after=RELAPSE_WITHIN) == PROBE_EVERY
    assert stops_again(bench) == 2 * PROBE_EVERY


@pytest.mark.exhaustive
def test_a_failure_that_no_probe_can_see_does_not_start_runs_for_ever() -> None:
    """Given a call that is refused in every run while every probe passes, Then a day has some 25 runs, not 480."""
    bench = quiet()
    breakers.request_resync(bench.database, CONNECTION, "main")
    for _ in range(24 * 60 // 5):
        bench.tool.script = [ConnectionProblem("forbidden", "the plan has no lists")]
        for _ in range(5):
            bench.tick(after=MINUTE)
        while messages := bench.queue.take():
            for message in messages:
                assert bench.consume(message) == []
    assert 20 <= len(bench.sent) <= 30
    bench.tool.script = []
    bench.pass_time(2 * HOUR)
    assert bench.tool.holds() == {"2@x.example": {}}


def test_an_outage_of_a_day_is_made_up_for_by_one_run() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example")
    bench.pass_time(MINUTE)
    bench.tool.script = [DOWN] * 3
    bench.tool.probe_script = [DOWN] * 1000
    for number in range(4, 60, 2):
        bench.store(number, email=f"{number}@x.example")
        bench.consume(bench.look(number), receives=3)
        bench.tick(after=PATIENCE)
        bench.queue.take()
    assert breaker(bench).stop is not None
    assert len(bench.tool.holds()) == 1
    bench.tool.script = []
    bench.tool.probe_script = []
    before = causes(bench)
    bench.pass_time(2 * LONGEST_PROBE_PAUSE)
    assert causes(bench)[len(before) :] == ["resync"]
    assert len(bench.tool.holds()) == 29


# Requested runs.


def test_a_paused_exports_request_is_kept_until_it_is_active_again() -> None:
    bench = quiet()
    breakers.request_resync(bench.database, CONNECTION, "main")
    bench.edit(active=False)
    bench.tick()
    assert causes(bench) == []
    bench.edit(active=True)
    bench.tick()
    assert causes(bench) == ["resync"]


def test_a_request_is_kept_while_another_run_is_under_way() -> None:
    bench = quiet()
    bench.start()
    breakers.request_resync(bench.database, CONNECTION, "main")
    bench.tick()
    assert breaker(bench, "main").resync
    bench.work_off()
    bench.tick(after=MINUTE)
    assert causes(bench) == ["test", "resync"]


def test_what_is_requested_while_the_requested_run_starts_gets_a_run_of_its_own() -> None:
    bench = quiet()
    breakers.request_resync(bench.database, CONNECTION, "main")
    bench.database.interrupt("transact", lambda: breakers.request_resync(bench.database, CONNECTION, "main"))
    bench.tick()
    assert breaker(bench, "main").resync
    bench.work_off()
    bench.tick(after=MINUTE)
    assert causes(bench) == ["resync", "resync"]


# Activation.


def test_a_new_streaming_export_gets_a_run_and_only_one() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example")
    for _ in range(5):
        bench.tick(after=MINUTE)
        bench.work_off()
    assert causes(bench) == ["activated"]
    assert bench.tool.holds() == {"2@x.example": {}}


def test_an_edited_streaming_export_gets_a_run_again() -> None:
    bench = Bench()
    bench.store(2, email="2@x.example", backup="b@x.example")
    bench.store(4, email="4@x.example", backup="d@x.example")
    bench.store(6, email="6@x.example", backup="6@x.example")
    bench.pass_time(MINUTE)
    bench.edit(mapping={"email": "attributes.backup"})
    bench.pass_time(2 * MINUTE)
    assert causes(bench) == ["activated", "activated"]
    assert sorted(bench.tool.holds()) == ["6@x.example", "b@x.example", "d@x.example"]


def test_saving_an_export_that_does_not_stream_sends_nothing() -> None:
    bench = quiet()
    bench.edit(options="8")
    bench.pass_time(5 * MINUTE)
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


def test_lost_pages_are_sent_again_after_a_while_and_not_every_minute() -> None:
    bench = quiet(members=(2, 3))
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    assert len(bench.queue.take()) == 2
    bench.tick(after=STALLED_AFTER)
    assert bench.queue.tasks == []
    bench.tick(after=MINUTE)
    pages = [(task.run, task.shard, task.phase) for task in bench.queue.tasks if isinstance(task, Page)]
    assert pages == [(run.id, 0, Phase.DELIVER), (run.id, 1, Phase.DELIVER)]
    bench.tick(after=MINUTE)
    assert len(bench.queue.messages) == 2
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED


def test_a_shard_that_gets_on_is_not_sent_again_beside_one_that_does_not() -> None:
    bench = quiet(members=(0, 2, 4, 6, 1))
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    bench.clock.time += 10 * MINUTE
    [first, _] = sorted(bench.queue.take(), key=lambda message: str(message.group))
    assert bench.consume(first) == []
    bench.queue.take()
    bench.tick(after=6 * MINUTE)
    assert [task.shard for task in bench.queue.tasks if isinstance(task, Page)] == [1]
    bench.tick(after=10 * MINUTE)
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 5, "delivered": 5}


def test_a_lost_import_check_is_sent_again() -> None:
    bench = quiet(imports=True)
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    bench.checks.take()
    bench.tick(after=STALLED_AFTER)
    assert bench.checks.tasks == []
    bench.tick(after=MINUTE)
    assert [type(task) for task in bench.checks.tasks] == [CheckImport]
    bench.tick(after=MINUTE)
    assert len(bench.checks.messages) == 1
    bench.work_off()
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


def test_a_run_whose_end_was_missed_is_ended() -> None:
    """Given a check that settled the last import and died before it could end the run."""
    bench = quiet(imports=True)
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            bench.consume(message)
    bench.tool.land()
    check = bench.checks.take()
    for steps in range(1, 30):
        if runs.active(bench.database, bench.export.key) is None:
            break
        bench.crash_at = bench.steps + steps
        try:
            assert bench.check(*check) == []
        except Crash:
            bench.restart()
    bench.crash_at = None
    bench.tick(after=MINUTE)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 1, "delivered": 1}


# Waits.


def waiting(bench: Bench) -> list[waits.Wait]:
    return [wait for part in waits.due(bench.database, bench.clock.now() + 30 * DAY) for wait in part]


def lost(bench: Bench, number: int, email: str) -> None:
    """Let a call be lost and something else be desired since: the profile waits."""
    bench.store(number, email=email, name="A")
    bench.tool.script = [Lost()]
    with pytest.raises(Lost):
        bench.reconcile(number)
    bench.store(number, name="B")
    bench.reconcile(number)


def test_waits_that_are_due_are_done_and_dropped_and_others_stay() -> None:
    bench = Bench()
    lost(bench, 2, "2@x.example")
    [first] = waiting(bench)
    bench.clock.time += 3 * MINUTE
    lost(bench, 4, "4@x.example")
    assert len(waiting(bench)) == 2
    bench.clock.time = first.due
    bench.tick(after=timedelta(seconds=10))
    assert [task.profiles for task in bench.queue.tasks if not isinstance(task, Page)] == [(person(2),)]  # type: ignore[union-attr]
    assert len(waiting(bench)) == 1
    bench.work_off()
    bench.pass_time(10 * MINUTE)
    assert bench.tool.holds() == {"2@x.example": {"name": "B"}, "4@x.example": {"name": "B"}}
    assert [wait for wait in waiting(bench) if isinstance(wait, IdentityWait)] == []


def test_a_wait_is_done_only_when_it_is_over_by_every_clock() -> None:
    """A worker whose clock is behind would write the wait once more, and this tick would drop it."""
    bench = Bench()
    lost(bench, 2, "2@x.example")
    [wait] = waiting(bench)
    bench.clock.time = wait.due + CLOCK_MARGIN - timedelta(milliseconds=1)
    bench.tick()
    assert wait in waiting(bench)
    bench.tick(after=timedelta(milliseconds=1))
    assert wait not in waiting(bench)


def test_waits_of_profiles_of_one_export_make_one_message() -> None:
    bench = Bench()
    for number in range(0, 12, 2):
        lost(bench, number, f"{number}@x.example")
    bench.clock.time += HOUR
    bench.tick()
    looks = [task for task in bench.queue.tasks if not isinstance(task, Page)]
    assert [len(look.profiles) for look in looks] == [6]  # type: ignore[union-attr]


def test_a_wait_of_what_is_gone_is_dropped() -> None:
    bench = quiet()
    now = bench.clock.now() - MINUTE
    waits.put(
        bench.database,
        [
            IdentityWait(now, CONNECTION, "f" * 32),
            IdentityWait(now, "gone", bench.key("2@x.example")),
            ConfirmWait(now, CONNECTION, "f" * 32),
            OutstandingWait(now, "never", "0.1..0"),
        ],
    )
    bench.tick()
    assert waiting(bench) == []
    assert bench.queue.messages == bench.checks.messages == []


def test_a_wait_of_a_connection_that_is_gone_harms_no_other() -> None:
    bench = Bench()
    lost(bench, 2, "2@x.example")
    bench.settings.connections["third"] = TOOL
    bench.settings.save(replace(bench.export, connection="third", segments=(LAPSED,), version=1))
    bench.store(6, inside=(LAPSED,), email="6@x.example", name="A")
    bench.tool.script = [Lost()]
    with pytest.raises(Lost):
        bench.reconcile(6, export="third/main")
    bench.store(6, name="B")
    bench.reconcile(6, export="third/main")
    bench.settings.delete("third/main")
    del bench.settings.connections["third"]
    bench.pass_time(15 * MINUTE)
    assert bench.tool.holds()["2@x.example"] == {"name": "B"}
    assert [wait for wait in waiting(bench) if isinstance(wait, IdentityWait)] == []


def test_waits_are_done_before_accounts_are_probed_that_may_take_all_the_time() -> None:
    bench = Bench()
    lost(bench, 2, "2@x.example")
    bench.stop()
    bench.clock.time += 15 * MINUTE
    bench.tool.probe_script = [Crash()]  # type: ignore[list-item]
    with pytest.raises(Crash):
        bench.tick()
    assert [wait for wait in waiting(bench) if isinstance(wait, IdentityWait)] == []


@pytest.mark.parametrize("table", [Table.IDENTITIES, Table.CONTROL])
def test_a_wait_that_meets_a_defect_keeps_no_other_waiting(table: Table) -> None:
    bench = quiet(members=(2, 4, 6), imports=table is Table.CONTROL)
    if table is Table.IDENTITIES:
        bench.full_run()
        for number in (2, 4, 6):
            lost(bench, number, f"{number}@x.example")
        bench.database._items[Key(table, bench.key("4@x.example"))]["doc"] = "{"
        due = HOUR
    else:
        run = bench.start()
        while messages := bench.queue.take():
            for message in messages:
                bench.consume(message)
        bench.tool.land()
        bench.checks.take()
        broken = OutstandingWait(bench.clock.now(), run.id, "0.1..9")
        waits.put(bench.database, [broken])
        bench.database._items[Key(table, f"run#{run.id}", "out#0.1..9")] = {"pk": "", "sk": "", "ids": 7}
        due = 6 * MINUTE
    for _ in range(3):
        with pytest.raises(Unexpected):
            bench.tick(after=due)
    assert len([line for line in bench.logged() if line["message"] == "wait"]) == 3
    bench.work_off()
    held = bench.tool.holds()
    if table is Table.IDENTITIES:
        assert held == {f"{number}@x.example": {"name": "A" if number == 4 else "B"} for number in (2, 4, 6)}
        assert [wait.key for wait in waiting(bench) if isinstance(wait, IdentityWait)] == [bench.key("4@x.example")]
    else:
        assert len(held) == 3


@pytest.mark.exhaustive
def test_a_tick_that_dies_at_any_step_leaves_what_the_next_one_does() -> None:
    def prepare() -> Bench:
        bench = quiet(members=(2, 4, 6), imports=True)
        bench.tool.lost_answer_bound = 20 * MINUTE
        bench.start()
        while messages := bench.queue.take():
            for message in messages:
                bench.consume(message)
        lost_import = bench.checks.take()
        assert len(lost_import) == 1
        breakers.request_resync(bench.database, CONNECTION, "second")
        bench.edit("second", segments=(LAPSED,), options="8")
        bench.tool.land()
        bench.clock.time += HOUR
        return bench

    def act(bench: Bench, receives: int) -> None:
        bench.tick(after=MINUTE)

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(20 * MINUTE)
        [run] = runs.latest(bench.database, bench.export.key)
        assert bench.run(run).state is RunState.FINISHED
        assert bench.counts(run) == {"selected": 3, "delivered": 3}
        assert causes(bench, "second")
        assert len(bench.tool.held) == 4

    assert die_at_every_step(prepare, act, check) > 6


@pytest.mark.exhaustive
@pytest.mark.parametrize("trouble", Trouble)
def test_a_tick_whose_single_write_is_throttled_or_lost_leaves_the_rest_to_the_next(trouble: Trouble) -> None:
    def prepare() -> Bench:
        bench = Bench()
        for number in (2, 4):
            lost(bench, number, f"{number}@x.example")
        bench.clock.time += HOUR
        return bench

    def act(bench: Bench, receives: int) -> bool:
        bench.tick(after=MINUTE)
        return True

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(20 * MINUTE)
        assert bench.tool.holds() == {"2@x.example": {"name": "B"}, "4@x.example": {"name": "B"}}
        assert [run.state for run in runs.latest(bench.database, bench.export.key)][:1] == [RunState.FINISHED]

    assert trouble_at_every_write(prepare, act, trouble, check) > 3


# Harming no other.


def two_connections() -> Bench:
    bench = quiet()
    for connection in (CONNECTION, OTHER_CONNECTION):
        breakers.request_resync(bench.database, connection, "main")
    return bench


def test_a_connection_whose_secret_is_gone_harms_no_other() -> None:
    bench = two_connections()
    stop(bench)
    bench.settings.problems[CONNECTION] = SettingsProblem("missing", "is missing", field="api_key")
    bench.tick(after=PROBE_EVERY)
    assert causes(bench) == []
    assert causes(bench, connection=OTHER_CONNECTION) == ["resync"]


def test_a_defect_in_one_connections_part_harms_no_other() -> None:
    bench = two_connections()
    stop(bench)
    bench.tool.probe_script = [KeyError("a defect")]
    with pytest.raises(Unexpected):
        bench.tick(after=PROBE_EVERY)
    assert causes(bench, connection=OTHER_CONNECTION) == ["resync"]
    assert [line["error"] for line in bench.logged() if line["message"] == "tick"] == ["KeyError"]


def test_trouble_with_one_connection_is_logged_and_no_defect() -> None:
    bench = two_connections()
    plain = bench.tool.owned

    def owned(export: object) -> frozenset[str]:
        raise Busy("throttled", "too many reads")

    bench.tool.owned = owned  # type: ignore[method-assign]
    bench.tick()
    bench.tool.owned = plain  # type: ignore[method-assign]
    assert causes(bench, connection=OTHER_CONNECTION) == ["resync"]


def test_invalid_exports_are_reported_with_field_and_reason() -> None:
    bench = two_connections()
    bench.settings.problems[f"{CONNECTION}/main"] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    bench.tick()
    [line] = [line for line in bench.logged() if line["message"] == "needs attention"]
    assert (line["subject"], line["reason"]) == (f"export {CONNECTION}/main", "mapping.emial: is not known")
    assert causes(bench, connection=OTHER_CONNECTION) == ["resync"]


def test_the_tick_keeps_the_directory_that_route_reads() -> None:
    bench = two_connections()
    bench.tick()
    entries = Directory(bench.database, bench.clock).read()
    assert entries == {CONNECTION: Entry(TOOL, False, 2), OTHER_CONNECTION: Entry(OTHER, False, 2)}
    bench.tool.shards = 4
    bench.tick()
    assert Directory(bench.database, bench.clock).read()[CONNECTION] == Entry(TOOL, False, 4)


# What waits for a person is counted, for the alarm.


def alarms(capsys: pytest.CaptureFixture[str]) -> int:
    """Return how many things were counted as waiting for somebody since the last time."""
    return sum(int(line["value"]) for line in counted(capsys.readouterr().out, "ConnectionStopped"))


def test_what_is_well_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    bench = quiet()
    bench.tick()
    bench.start()
    bench.tick()
    bench.work_off()
    bench.tick()
    assert alarms(capsys) == 0


def test_every_tick_counts_what_is_stopped_and_each_invalid_setting(capsys: pytest.CaptureFixture[str]) -> None:
    bench = two_connections()
    bench.settings.problems[f"{OTHER_CONNECTION}/main"] = SettingsProblem("mapping", "unknown", field="mapping.x")
    stop(bench)
    for _ in range(2):
        bench.tick()
        assert alarms(capsys) == 2


def test_a_run_that_waits_for_confirmation_is_counted_until_it_is_confirmed(capsys: pytest.CaptureFixture[str]) -> None:
    bench = quiet(members=(2, 4))
    bench.full_run()
    bench.edit(segments=(LAPSED,))
    run = bench.full_run()
    assert run.state is RunState.NEEDS_CONFIRMATION
    capsys.readouterr()
    for _ in range(2):
        bench.tick()
        assert alarms(capsys) == 1
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    bench.tick()
    assert alarms(capsys) == 0


def test_everybody_rejected_is_counted_until_a_later_run_goes_well(capsys: pytest.CaptureFixture[str]) -> None:
    """Given a mapping that yields nobody's address, Then the alarm lasts while the next run is under way, too."""
    bench = quiet(members=(2, 3))
    bench.edit(mapping={"email": "attributes.emial"})
    run = bench.full_run()
    assert (run.state, run.reason) == (
        RunState.MANY_REJECTED,
        "nobody was taken: 2 rejected, 2 of them for no_email",
    )
    bench.edit(mapping={"email": "attributes.email"})
    bench.clock.time += MINUTE
    well = bench.start()
    capsys.readouterr()
    bench.tick()
    assert alarms(capsys) == 1
    bench.work_off()
    bench.tick()
    assert bench.run(well).state is RunState.FINISHED
    assert alarms(capsys) == 0


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
    bench.clock.time += MINUTE
    bench.start()
    bench.tick()
    assert alarms(capsys) == 0


def test_a_source_that_finds_nobody_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    bench = quiet()
    receipts.add(bench.database, "shop", Counts(rejected=3), nobody=True, names=["email"])
    bench.tick()
    assert alarms(capsys) == 1
    [line] = [line for line in bench.logged() if line["message"] == "needs attention"]
    assert (line["subject"], line["code"]) == ("source shop", "nobody_identified")
    receipts.add(bench.database, "shop", Counts(merged=1), nobody=False, names=())
    bench.tick()
    assert alarms(capsys) == 0


# Exports that no schedule will ever start.


def unscheduled(capsys: pytest.CaptureFixture[str]) -> int:
    return sum(int(line["value"]) for line in counted(capsys.readouterr().out, "ExportsUnscheduled"))


def test_an_export_that_no_schedule_will_ever_start_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Given a default schedule that is disabled, Then exports with a schedule of their own, that stream, or that are
    paused are not counted."""
    bench = quiet()
    bench.edit("own", options="8", segments=(LAPSED,))
    bench.edit("streaming", options="9", segments=("shop/x",), stream=True)
    bench.edit("paused", options="10", segments=("shop/y",), active=False)
    bench.tick()
    assert unscheduled(capsys) == 0
    disabled = Schedule("relay-default", None, "is disabled")
    own = [Schedule(key.replace("/", "."), key) for key in (f"{CONNECTION}/own", f"{OTHER_CONNECTION}/main")]
    bench.scheduled_now = Timetable(own, disabled)
    bench.tick()
    assert unscheduled(capsys) == 1
    lines = [line for line in bench.logged() if line["message"] == "no schedule will start it"]
    assert [line["export"] for line in lines] == [bench.export.key]


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
    assert causes(bench) == ["resync"]
    assert bench.tool.holds() == {"2@x.example": {}}
