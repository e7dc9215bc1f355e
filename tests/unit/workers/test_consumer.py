"""A batch of a destination queue: what is merged, and what becomes of every message."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from relay.breaker.failures import MOST_RECEIVES, PATIENCE
from relay.destinations.contract import Account, Answer, Step
from relay.domain.exports import Export
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem, SettingsProblem, Transient
from relay.domain.runs import Phase, Run, RunState
from relay.messages import CheckImport, Look
from relay.queues import Message
from relay.reconcile.enqueue import Due
from relay.stores import attempts, breakers, runs
from relay.stores.breakers import Breaker
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench import CONNECTION, LAPSED, OTHER, OTHER_CONNECTION, TOOL, Bench, person
from tests.fakes.bench_destination import DOWN, QUOTA, TOO_MANY, Lost
from tests.fakes.observing import counted

BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")
NO_LIST = ExportProblem("list_gone", "there is no list 7")
MINUTE = timedelta(minutes=1)


def bench_with(*members: int, streams: bool = True, call_size: int = 3) -> Bench:
    bench = Bench(streams=streams, call_size=call_size)
    for number in members:
        bench.store(number, email=f"{number}@x.example")
    return bench


def of_connection(bench: Bench, connection: str = CONNECTION) -> Breaker:
    return breakers.load_one(bench.database, connection, None)


def of_export(bench: Bench, name: str = "main") -> Breaker:
    return breakers.load_one(bench.database, CONNECTION, name)


def second_export(bench: Bench) -> Export:
    """Add an export of the same connection, of lapsed members."""
    bench.store(6, inside=(LAPSED,), email="6@x.example")
    return bench.edit("second", segments=(LAPSED,))


def look_of_second(bench: Bench) -> Message:
    return bench.look(6, export="second", settings=bench.settings.saved[f"{CONNECTION}/second"].version)


def begun(bench: Bench, phase: Phase = Phase.DELIVER) -> tuple[Run, list[Message]]:
    """Return a run and its first pages of a phase."""
    run = bench.start()
    while bench.run(run).phase < phase:
        for message in bench.queue.take():
            assert bench.consume(message) == []
    return run, sorted(bench.queue.take(), key=lambda message: str(message.group))


# Merging and acknowledging.


def test_messages_of_one_export_received_together_become_one_call() -> None:
    bench = bench_with(2, 4, 6)
    assert bench.consume(bench.look(2), bench.look(4, 2), bench.look(6)) == []
    assert [len(call) for call in bench.sent] == [3]


def test_a_batch_is_worked_on_under_the_newest_settings_that_any_of_its_messages_names() -> None:
    bench = bench_with(2, 4, 6)
    newer = bench.export.version + 1
    batch = [bench.look(2), bench.look(4, settings=newer), bench.look(6)]
    assert bench.consume(*batch) == ["m0", "m1", "m2"]
    assert bench.sent == []
    bench.edit(mapping={"email": "attributes.email", "name": "attributes.name"})
    assert bench.consume(*batch, receives=2) == []
    assert len(bench.tool.holds()) == 3


def test_the_message_that_came_most_often_decides_whether_a_batch_is_left_to_a_run() -> None:
    """Given that one of a batch would soon go to the dead-letter queue."""
    bench = bench_with(2, 4)
    bench.tool.script = [TOO_MANY]
    first, second = bench.received([bench.look(2), bench.look(4)])
    batch = [first, replace(second, receive_count=MOST_RECEIVES)]
    assert bench.stack.consumer(TOOL).consume(batch, lambda: 100.0) == []
    assert of_export(bench).resync
    bench.pass_time(3 * MINUTE)
    assert sorted(bench.tool.holds()) == ["2@x.example", "4@x.example"]


def test_messages_of_several_exports_and_connections_are_each_worked_on() -> None:
    bench = bench_with(2)
    second_export(bench)
    bench.edit(connection=OTHER_CONNECTION, stream=True)
    other = bench.look(6, connection=OTHER_CONNECTION, settings=bench.other_export.version)
    assert bench.consume(bench.look(2), look_of_second(bench)) == []
    assert bench.consume(other, destination=OTHER) == []
    bench.work_off()
    assert sorted(bench.tool.holds()) == ["2@x.example", "6@x.example"]
    assert list(bench.other.holds()) == ["6@x.example"]


@pytest.mark.parametrize("edited", [False, True])
def test_an_export_that_does_not_stream_acts_under_the_settings_of_its_runs_alone(edited: bool) -> None:
    bench = bench_with(2, 4, streams=False)
    bench.full_run()
    if edited:
        bench.edit(mapping={"email": "attributes.email", "name": "attributes.name"})
    bench.store(4, name="new")
    assert bench.consume(bench.look(4)) == []
    assert bench.tool.holds()["4@x.example"] == ({} if edited else {"name": "new"})


def test_a_start_that_was_refused_does_not_keep_looks_from_a_run_that_goes_on() -> None:
    """The run waits for what they send."""
    bench = bench_with(2, 4, streams=False)
    bench.full_run()
    run, _ = begun(bench)
    refused = replace(run, id=f"{run.id}x", state=RunState.REFUSED, reason="segments never seen: shop/gold")
    runs.refuse(bench.database, refused)
    bench.store(4, name="new")
    assert bench.consume(bench.look(4)) == []
    assert bench.tool.holds()["4@x.example"] == {"name": "new"}


def test_while_a_run_of_older_settings_is_under_way_edited_ones_wait_for_their_own() -> None:
    bench = bench_with(2, 4, streams=False)
    bench.full_run()
    begun(bench)
    bench.edit(mapping={"email": "attributes.email", "name": "attributes.name"})
    bench.store(4, name="new")
    assert bench.consume(bench.look(4)) == []
    assert bench.tool.holds()["4@x.example"] == {}


@pytest.mark.parametrize("streams", [False, True])
def test_what_waits_when_a_run_is_cancelled_is_left_to_the_next_one_unless_the_export_streams(streams: bool) -> None:
    bench = bench_with(2, 4, streams=streams)
    bench.full_run()
    bench.store(2, name="sent")
    bench.tool.script = [Lost()]
    run, [pages, *_] = begun(bench)
    bench.consume(pages)
    bench.store(2, name="later")
    bench.consume(pages, receives=2)
    [waiting] = [member for member in (2, 4) if bench.record(f"{member}@x.example").open is not None]
    assert bench.stack.starter.cancel(run.id, "an operator")
    bench.pass_time(2 * bench.tool.lost_answer_bound)
    assert bench.tool.holds()[f"{waiting}@x.example"] == {"name": "later" if streams else "sent"}
    if not streams:
        bench.full_run()
    assert bench.tool.holds() == {"2@x.example": {"name": "later"}, "4@x.example": {}}


def test_more_profiles_than_a_call_takes_are_all_sent() -> None:
    bench = bench_with(*range(8))
    assert bench.consume(bench.look(*range(8))) == []
    assert [len(call) for call in bench.sent] == [3, 3, 2]


def test_an_unreadable_message_fails_alone_and_is_on_record() -> None:
    bench = bench_with(2)
    other_queue = Message(CheckImport(CONNECTION, "f", 0).to_json())
    assert bench.consume(Message({}), bench.look(2), Message({"kind": "look"}), other_queue) == ["m0", "m2", "m3"]
    assert len(bench.sent) == 1
    assert attempts.of_queue(bench.database, "")


def test_a_defect_that_is_nobodys_fails_only_its_own_messages_and_is_seen() -> None:
    bench = bench_with(2)
    second_export(bench)
    plain = bench.tool.owned

    def owned(export: Export) -> frozenset[str]:
        if export.name == "main":
            raise KeyError("a defect")
        return plain(export)

    bench.tool.owned = owned  # type: ignore[method-assign]

    failed = bench.consume(bench.look(2), bench.look(4), look_of_second(bench))

    assert failed == ["m0", "m1"]
    [line] = [line for line in bench.logged() if line["message"] == "defect"]
    assert (line["error"], line["level"]) == ("KeyError", "ERROR")
    assert bench.queue.hidden == []
    assert list(bench.tool.holds()) == ["6@x.example"]


def test_with_too_little_time_left_messages_go_back_untouched() -> None:
    bench = bench_with(2)
    assert bench.consume(bench.look(2), bench.look(4), seconds_left=29.0) == ["m0", "m1"]
    assert bench.sent == []
    assert bench.queue.hidden == [("m0", 0.0), ("m1", 0.0)]


def test_a_message_for_an_export_that_is_gone_is_dropped() -> None:
    bench = bench_with(2)
    assert bench.consume(bench.look(2, export="gone"), bench.look(2, connection="gone")) == []
    assert bench.events() == []
    assert bench.queue.messages == []


def test_what_came_of_a_batch_is_logged_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    bench = bench_with(2, 4)
    bench.store(6, email="nonsense")
    bench.store(8, email="2@x.example")
    bench.tool.refuses = {"4@x.example"}
    bench.consume(bench.look(2, 4, 6, 8))
    [line] = [line for line in bench.logged() if line["message"] == "worked"]
    assert (line["delivered"], line["rejected"], line["duplicate"], line["calls"]) == (1, 2, 1, 1)
    printed = capsys.readouterr().out
    assert [one["value"] for one in counted(printed, "ProfilesDelivered")] == [1]
    assert [one["value"] for one in counted(printed, "ProfilesRejected")] == [2]
    assert [one["value"] for one in counted(printed, "DestinationCalls")] == [1]
    assert "x.example" not in bench.log.getvalue() + printed


# Trying again.


def test_retry_after_is_obeyed_by_visibility() -> None:
    bench = bench_with(2)
    bench.tool.script = [TOO_MANY]
    assert bench.consume(bench.look(2)) == ["m0"]
    assert bench.queue.hidden == [("m0", 30.0)]


def test_an_exhausted_pace_says_nothing_about_the_destination() -> None:
    bench = bench_with(2)
    bench.tool.script = [Busy("pace", "used up", taken=False, retry_after=timedelta(seconds=40))]
    assert bench.consume(bench.look(2)) == ["m0"]
    assert bench.queue.hidden == [("m0", 40.0)]
    assert of_connection(bench).failures is None


def test_settings_that_cannot_be_read_yet_are_waited_for() -> None:
    bench = bench_with(2)
    assert bench.consume(bench.look(2, settings=99)) == ["m0"]
    assert bench.sent == []
    [(_, pause)] = bench.queue.hidden
    assert 1 <= pause <= 5


def test_newer_settings_that_somebody_acted_under_are_read_at_once() -> None:
    bench = bench_with(2, 4)
    old = bench.look(2)
    bench.edit(mapping={"email": "attributes.email", "name": "attributes.other"})
    bench.store(2, email="4@x.example")
    bench.reconcile(4)
    assert bench.consume(old) == []
    assert bench.record("4@x.example").authority.settings == bench.export.version


# Running out of time.


def slow_bench(*members: int, streams: bool = True) -> Bench:
    """Return a bench of which an invocation with 50 s left (20 of them for calls) makes two calls of one each."""
    bench = bench_with(*members, streams=streams, call_size=1)
    bench.tool.answered = lambda: bench.clock.advance(15)
    return bench


def test_looks_that_run_out_of_time_are_sent_once_more_as_they_were_and_acknowledged() -> None:
    bench = slow_bench(2, 4, 6, 8)
    first, second = bench.look(2, 4), replace(bench.look(6, 8), group=f"{CONNECTION}#1")

    assert bench.consume(first, second, seconds_left=50.0) == []

    assert len(bench.sent) == 2
    assert [(message.body, message.group) for message in bench.queue.messages] == [
        (first.body, f"{CONNECTION}#0"),
        (second.body, f"{CONNECTION}#1"),
    ]
    assert bench.queue.hidden == []
    bench.work_off()
    assert sorted(bench.tool.holds()) == ["2@x.example", "4@x.example", "6@x.example", "8@x.example"]
    assert len(bench.sent) == 4


def test_however_many_goes_it_takes_no_receive_is_burnt() -> None:
    bench = slow_bench(*range(0, 60, 2))
    work = [bench.look(*range(0, 60, 2))]
    goes = 0
    while work:
        assert bench.consume(*work, receives=1, seconds_left=50.0) == []
        work, goes = bench.queue.take(), goes + 1
    assert goes == 15
    assert len(bench.sent) == len(bench.tool.holds()) == 30
    assert not of_export(bench).resync


def test_one_step_that_takes_many_calls_is_cut_off_between_two_of_them_and_goes_on_in_the_next_go() -> None:
    """As one contact with many tags, each of which is looked for, made and put on by calls of their own."""
    bench = bench_with(2)
    begun_at: list[datetime] = []
    send = bench.tool.send

    def by_many_calls(account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        while len(begun_at) < 5:
            account.call("GET", "", quota=QUOTA)
            begun_at.append(bench.clock.now())
            bench.clock.advance(15)
        return send(account, export, steps)

    bench.tool.send = by_many_calls  # type: ignore[method-assign]
    work, goes = [bench.look(2)], 0
    while work:
        goes += 1
        no_call_after = bench.clock.now() + timedelta(seconds=20)
        assert bench.consume(*work, seconds_left=50.0) == []
        assert all(moment < no_call_after for moment in begun_at)
        work = bench.queue.take()
    assert (goes, list(bench.tool.holds())) == (3, ["2@x.example"])
    assert of_connection(bench).failures is None


def test_a_page_that_runs_out_of_time_is_sent_once_more_and_does_not_count_as_stalled() -> None:
    bench = slow_bench(2, 4, 6, streams=False)
    bench.tool.page_is_full = lambda *_: False  # type: ignore[method-assign]
    run, [page, other] = begun(bench)
    bench.clock.time += 14 * MINUTE

    assert bench.consume(page, seconds_left=50.0) == []

    [again] = bench.queue.messages
    assert (again.body, again.group) == (page.body, page.group)
    bench.consume(other)
    bench.tick(after=14 * MINUTE)
    assert bench.queue.messages == [again]
    bench.work_off()
    assert bench.counts(run) == {"selected": 3, "delivered": 3}
    assert len(bench.sent) == 3


def test_without_a_single_call_the_receives_go_on_counting() -> None:
    """Given a look at the stores that takes all the time there is, Then it is not repeated for ever."""
    bench = slow_bench(2)
    bench.database.after = lambda step: bench.clock.advance(30)
    assert bench.consume(bench.look(2), seconds_left=50.0) == ["m0"]
    assert (bench.queue.messages, bench.sent) == ([], [])
    assert bench.consume(bench.look(2), receives=MOST_RECEIVES, seconds_left=50.0) == []
    assert of_export(bench).resync


def test_where_nothing_can_be_decided_the_messages_are_kept_and_the_others_are_done() -> None:
    """The queue takes nothing of what ran out of time."""
    bench = slow_bench(2, 4)
    second_export(bench)
    bench.tool.answered = lambda: bench.clock.advance(11)
    bench.queue.failures.append(Busy("queue_unavailable", "throttled"))
    consumer = bench.stack.consumer("tool")
    batch = bench.received([bench.look(2, 4, 8, 10), look_of_second(bench)])
    bench.store(8, email="8@x.example")
    bench.store(10, email="10@x.example")
    assert consumer.consume(batch, lambda: 50.0) == ["m0"]
    assert sorted(bench.tool.holds()) == ["2@x.example", "4@x.example", "6@x.example"]
    assert bench.queue.messages == []


def test_running_out_of_time_proves_that_the_destination_is_well() -> None:
    bench = slow_bench(2, 4, 6)
    bench.tool.script = [DOWN]
    bench.consume(bench.look(2))
    assert of_connection(bench).failures is not None
    assert bench.consume(bench.look(4, 6, 2), seconds_left=50.0) == []
    assert of_connection(bench).failures is None


def test_what_was_put_back_for_want_of_time_goes_first_in_the_next_batch() -> None:
    bench = slow_bench(2, 4)
    second_export(bench)
    new, old = bench.received([bench.look(2, 4), look_of_second(bench)])
    left = iter([50.0, 29.0])
    consumer = bench.stack.consumer("tool")
    assert consumer.consume([new, replace(old, receive_count=2)], lambda: next(left)) == ["m0"]
    assert bench.sent == [["6@x.example"]]


# Stops.


def fail_for(bench: Bench, how_long: timedelta, problem: Transient = DOWN) -> list[str]:
    """Let a look fail now, and once more after a while; return what is kept then."""
    bench.tool.script = [problem]
    assert bench.consume(bench.look(2)) == ["m0"]
    bench.clock.time += how_long
    bench.tool.script = [problem]
    return bench.consume(bench.look(2), receives=2)


def test_half_an_hour_of_nothing_but_failures_stops_the_connection_and_requests_a_run() -> None:
    bench = bench_with(2)
    assert fail_for(bench, PATIENCE) == []
    stopped = of_connection(bench).stop
    assert stopped is not None
    assert stopped.code == "server_error"
    assert of_export(bench).resync
    assert bench.consume(bench.look(2), receives=3) == []
    assert len(bench.sent) == 2


def test_failures_for_less_than_that_do_not() -> None:
    bench = bench_with(2)
    assert fail_for(bench, PATIENCE - timedelta(seconds=1)) == ["m0"]
    assert of_connection(bench).stop is None


def test_a_call_that_succeeds_in_between_ends_the_row() -> None:
    bench = bench_with(2, 4)
    fail_for(bench, 20 * MINUTE)
    assert bench.consume(bench.look(4)) == []
    fail_for(bench, 20 * MINUTE)
    assert of_connection(bench).stop is None


def test_work_that_makes_no_call_proves_nothing_about_the_destination() -> None:
    """Given an outage, When unchanged profiles are looked at all the while, Then the connection stops all the same."""
    bench = bench_with(2, 4)
    bench.consume(bench.look(4))
    bench.tool.script = [DOWN]
    bench.consume(bench.look(2))
    for _ in range(6):
        bench.clock.time += 5 * MINUTE
        assert bench.consume(bench.look(4)) == []
    bench.tool.script = [DOWN]
    bench.consume(bench.look(2), receives=2)
    assert of_connection(bench).stop is not None


def test_an_account_that_refuses_us_stops_the_connection_at_once() -> None:
    bench = bench_with(2)
    bench.tool.script = [BAD_KEY]
    assert bench.consume(bench.look(2)) == []
    stopped = of_connection(bench).stop
    assert stopped is not None
    assert (stopped.code, stopped.reason) == ("unauthorised", "the key is refused")
    assert of_export(bench).resync
    assert bench.consume(bench.look(2)) == []
    assert len(bench.sent) == 1
    bench.pass_time(5 * MINUTE)
    assert bench.tool.holds() == {"2@x.example": {}}


def test_with_a_new_secret_it_is_tried_once_more_before_anything_stops() -> None:
    bench = bench_with(2)
    bench.tool.script = [BAD_KEY]
    bench.settings.fresh_secrets[CONNECTION] = "second secret"
    assert bench.consume(bench.look(2)) == []
    assert bench.tool.holds() == {"2@x.example": {}}
    assert of_connection(bench).stop is None


def test_a_new_secret_that_is_refused_too_stops_the_connection() -> None:
    bench = bench_with(2)
    bench.tool.script = [BAD_KEY, BAD_KEY]
    bench.settings.fresh_secrets[CONNECTION] = "second secret"
    assert bench.consume(bench.look(2)) == []
    assert of_connection(bench).stop is not None
    assert len(bench.sent) == 2


def test_an_export_that_cannot_work_stops_alone() -> None:
    bench = bench_with(2)
    second_export(bench)
    bench.tool.script = [NO_LIST]
    assert bench.consume(bench.look(2), look_of_second(bench)) == []
    assert of_connection(bench).stop is None
    stopped = of_export(bench).stop
    assert stopped is not None
    assert stopped.code == "list_gone"
    assert of_export(bench).resync
    assert of_export(bench, "second") == Breaker(CONNECTION, "second", passed=0)
    assert list(bench.tool.holds()) == ["6@x.example"]


def test_an_account_error_does_not_stop_another_connection() -> None:
    bench = bench_with(2)
    bench.settings.connections["third"] = "tool"
    bench.settings.save(replace(bench.export, connection="third", segments=(LAPSED,), version=1))
    bench.store(6, inside=(LAPSED,), email="6@x.example")
    bench.tool.script = [BAD_KEY]
    assert bench.consume(bench.look(2), bench.look(6, connection="third", settings=1)) == []
    assert of_connection(bench).stop is not None
    assert of_connection(bench, "third").stop is None
    assert list(bench.tool.holds()) == ["6@x.example"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_comes_while_the_connection_goes_on_is_made_up_for(when: str) -> None:
    """The connection goes on between the read of its breaker and the request for a run, or just after that."""
    bench = bench_with(2)
    breakers.stop(bench.database, of_connection(bench), BAD_KEY, bench.clock.now())

    def go_on() -> None:
        assert breakers.restart(bench.database, of_connection(bench), bench.clock.now())
        bench.tick()

    if when == "before":
        bench.database.interrupt("write control", go_on)
    assert bench.consume(bench.look(2)) == []
    if when == "after":
        go_on()
    bench.pass_time(3 * MINUTE)
    assert bench.tool.holds() == {"2@x.example": {}}


def test_a_paused_export_gets_a_run_for_what_it_was_sent() -> None:
    bench = bench_with(2)
    bench.edit(active=False)
    assert bench.consume(bench.look(2)) == []
    assert of_export(bench).resync
    assert bench.sent == []
    bench.pass_time(3 * MINUTE)
    assert bench.sent == []
    bench.edit(active=True)
    bench.pass_time(3 * MINUTE)
    assert bench.tool.holds() == {"2@x.example": {}}


@pytest.mark.parametrize("subject", [f"{CONNECTION}/main", CONNECTION])
def test_invalid_settings_are_reported_and_get_a_run_once_corrected(subject: str) -> None:
    bench = bench_with(2)
    bench.settings.problems[subject] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    assert bench.consume(bench.look(2)) == []
    assert of_export(bench).resync
    assert [line["reason"] for line in bench.logged()] == ["mapping.emial: is not known"]


@pytest.mark.parametrize("how", ["stopped", "paused", "invalid"])
def test_a_run_whose_page_comes_to_what_is_stopped_ends_and_another_is_requested(how: str) -> None:
    bench = bench_with(2)
    run, [page, *_] = begun(bench)
    if how == "stopped":
        breakers.stop(bench.database, of_connection(bench), BAD_KEY, bench.clock.now())
    elif how == "paused":
        bench.edit(active=False)
    else:
        bench.settings.problems[bench.export.key] = SettingsProblem("mapping", "is missing", field="mapping")

    assert bench.consume(page) == []

    assert bench.run(run).state is RunState.STOPPED
    assert bench.run(run).reason
    assert of_export(bench).resync


def test_a_page_that_comes_too_often_ends_its_run_and_another_is_requested() -> None:
    bench = bench_with(2)
    run, [page, *_] = begun(bench)
    bench.tool.script, bench.tool.probe_script = [DOWN], [DOWN]
    assert bench.consume(page, receives=MOST_RECEIVES) == []
    assert bench.run(run).state is RunState.STOPPED
    assert of_export(bench).resync
    bench.pass_time(STALLED_AFTER)
    assert bench.tool.holds() == {"2@x.example": {}}


def test_a_look_names_each_profile_once_for_its_shard() -> None:
    bench = bench_with(*range(6))
    due = [person(number) for number in (0, 1, 2, 3, 3)]
    bench.stack.enqueuer.look(Due(CONNECTION, "main", 1, profile) for profile in due)
    looks = [task for task in bench.queue.tasks if isinstance(task, Look)]
    assert [look.profiles for look in looks] == [(person(0), person(2)), (person(1), person(3))]
    assert [message.group for message in bench.queue.messages] == [f"{CONNECTION}#0", f"{CONNECTION}#1"]


def test_a_run_whose_starter_had_a_slow_clock_is_the_one_that_counts() -> None:
    """Ids begin with a time: that of a run that was cancelled before may look newer."""
    bench = bench_with(2, streams=False)
    bench.full_run()
    older = bench.start()
    assert bench.stack.starter.cancel(older.id, "an operator")
    bench.clock.time -= timedelta(seconds=2)
    newer = bench.start()
    assert newer.id < older.id
    bench.clock.time += timedelta(seconds=4)
    bench.store(2, name="new")
    assert bench.consume(bench.look(2)) == []
    assert bench.tool.holds() == {"2@x.example": {"name": "new"}}
