"""A batch of a destination queue: what is merged, and what becomes of every message."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from relay.delivery.consuming import LONGEST_BACKOFF, MOST_RECEIVES, backoff
from relay.delivery.messages import CheckImport
from relay.delivery.stopping import PATIENCE
from relay.delivery.ticking import STALLED_AFTER
from relay.destinations.contract import Account, Answer, Step
from relay.domain.exports import Export
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem, SettingsProblem, Transient
from relay.domain.runs import RunState
from relay.queues import Message
from relay.stores import gates
from relay.stores.gates import Gate
from tests.fakes.delivery_bench import CONNECTION, DOWN, TOO_MANY, VIP, Bench, person

BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")
NO_LIST = ExportProblem("list_gone", "there is no list 7")


def bench_with(*members: int, streams: bool = True) -> Bench:
    bench = Bench(streams=streams)
    for number in members:
        bench.store(number, email=f"{number}@x.example")
    return bench


def connection_gate(bench: Bench) -> Gate:
    return gates.load(bench.database, CONNECTION, "main")[0]


def export_gate(bench: Bench) -> Gate:
    return gates.load(bench.database, CONNECTION, "main")[1]


def events(bench: Bench) -> list[str]:
    return [line["message"] for line in bench.logged()]


# Merging and acknowledging.


def test_messages_of_one_export_received_together_become_one_call() -> None:
    bench = bench_with(2, 4, 6)
    assert bench.consume(bench.look(2), bench.look(4, 2), bench.look(6)) == []
    assert [len(call) for call in bench.sent] == [3]


def test_looks_at_an_export_that_does_not_stream_are_acknowledged_unless_thorough() -> None:
    bench = bench_with(2, 4, streams=False)
    assert bench.consume(bench.look(2), bench.look(4, thorough=True)) == []
    assert bench.sent == [["4@x.example"]]


def test_an_unreadable_message_fails_alone() -> None:
    bench = bench_with(2)
    other_queue = Message(CheckImport(CONNECTION, "main", "f", 0).to_json())
    assert bench.consume(Message({}), bench.look(2), Message({"kind": "look"}), other_queue) == ["m0", "m2", "m3"]
    assert len(bench.sent) == 1


def test_a_defect_that_is_nobodys_fails_only_its_own_messages_and_is_seen() -> None:
    bench = bench_with(2)
    bench.edit("other", segments=("shop/other",))
    plain = bench.tool.owned

    def owned(export: Export) -> frozenset[str]:
        if export.name == "main":
            raise KeyError("a defect")
        return plain(export)

    bench.tool.owned = owned  # type: ignore[method-assign]
    other = bench.look(2, export="other", settings=1)

    failed = bench.consume(bench.look(2), bench.look(4), other)

    assert failed == ["m0", "m1"]
    [line] = [line for line in bench.logged() if line["message"] == "defect"]
    assert (line["error"], line["level"]) == ("KeyError", "ERROR")
    assert bench.hidden == []


def test_with_too_little_time_left_messages_go_back_untouched() -> None:
    bench = bench_with(2)
    assert bench.consume(bench.look(2), bench.look(4), seconds_left=29.0) == ["m0", "m1"]
    assert bench.sent == []
    assert bench.hidden == [("m0", 0.0), ("m1", 0.0)]


def test_a_message_for_an_export_that_is_gone_is_dropped() -> None:
    bench = bench_with(2)
    assert bench.consume(bench.look(2, export="gone")) == []
    assert events(bench) == []


def test_a_redelivered_message_looks_thoroughly() -> None:
    """Given a claim somebody else changed behind a settled delivery, Then only a redelivery asks it."""
    bench = bench_with(2)
    bench.consume(bench.look(2))
    gets = bench.database.steps.count("get claims")
    bench.consume(bench.look(2))
    assert bench.database.steps.count("get claims") == gets
    bench.consume(bench.look(2), receives=2)
    assert bench.database.steps.count("get claims") > gets
    assert len(bench.sent) == 1


# Trying again.


@pytest.mark.parametrize("receives", [1, 2, 5, 9, 30, 1000])
def test_a_pause_has_full_jitter_and_a_ceiling(receives: int) -> None:
    ceiling = min(timedelta(seconds=5 * 2 ** min(receives - 1, 20)), LONGEST_BACKOFF)
    assert backoff(receives, None, lambda: 0.0) == timedelta()
    assert backoff(receives, None, lambda: 1.0) == ceiling
    assert backoff(receives, None, lambda: 0.5) == ceiling / 2


def test_a_pause_is_at_least_what_the_destination_asked_for_and_no_longer_than_sqs_can_wait() -> None:
    assert backoff(1, timedelta(minutes=20), lambda: 0.1) == timedelta(minutes=20)
    assert backoff(1, timedelta(days=3), lambda: 0.1) == timedelta(hours=11)


def test_retry_after_is_obeyed_by_visibility() -> None:
    bench = bench_with(2)
    bench.tool.script = [TOO_MANY]
    assert bench.consume(bench.look(2)) == ["m0"]
    assert bench.hidden == [("m0", 30.0)]


def test_an_exhausted_pace_says_nothing_about_the_destination() -> None:
    bench = bench_with(2)
    bench.tool.script = [Busy("pace", "used up", taken=False, retry_after=timedelta(seconds=40))]
    assert bench.consume(bench.look(2)) == ["m0"]
    assert bench.hidden == [("m0", 40.0)]
    assert connection_gate(bench).failing_since is None


def test_settings_that_cannot_be_read_yet_are_waited_for() -> None:
    bench = bench_with(2)
    assert bench.consume(bench.look(2, settings=99)) == ["m0"]
    assert bench.sent == []
    [(_, pause)] = bench.hidden
    assert 1 <= pause <= 5


# Running out of time.


def slow_bench(*members: int, streams: bool = True) -> Bench:
    """Return a bench of which an invocation with 50 s left (20 of them for calls) makes two calls of one each."""
    bench = Bench(streams=streams, call_size=1)
    for number in members:
        bench.store(number, email=f"{number}@x.example")
    bench.tool.answered = lambda: bench.clock.advance(15)
    return bench


def test_looks_that_run_out_of_time_are_sent_anew_as_they_were_and_acknowledged() -> None:
    bench = slow_bench(2, 4, 6, 8)
    first, second = bench.look(2, 4), bench.look(6, 8, thorough=True)

    assert bench.consume(first, replace(second, group="letters#1"), seconds_left=50.0) == []

    assert len(bench.sent) == 2
    assert [(message.body, message.group) for message in bench.queue.messages] == [
        (first.body, "letters#0"),
        (second.body, "letters#1"),
    ]
    assert bench.hidden == []
    bench.work_off()
    assert sorted(bench.tool.holds()) == ["2@x.example", "4@x.example", "6@x.example", "8@x.example"]
    assert len(bench.sent) == 4


def test_however_many_goes_it_takes_no_receive_is_burnt() -> None:
    bench = slow_bench(*range(0, 100, 2))
    work = [bench.look(*range(0, 100, 2))]
    goes = 0
    while work:
        assert bench.consume(*work, receives=1, seconds_left=50.0) == []
        work, goes = bench.queue.take(), goes + 1
    assert goes == 25
    assert len(bench.sent) == len(bench.tool.holds()) == 50
    assert export_gate(bench).owed == 0


def test_one_step_that_takes_many_calls_is_cut_off_between_two_of_them_and_goes_on_in_the_next_go() -> None:
    """As one contact with many tags, each of which is looked for, made and put on by calls of their own."""
    bench = Bench()
    bench.store(2, email="ann@x.example")
    begun: list[datetime] = []
    send = bench.tool.send

    def by_many_calls(account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        while len(begun) < 5:
            account.call("GET", "", quota=None)  # type: ignore[arg-type]
            begun.append(bench.clock.now())
            bench.clock.advance(15)
        return send(account, export, steps)

    bench.tool.send = by_many_calls  # type: ignore[method-assign]
    work, goes = [bench.look(2)], 0
    while work:
        goes += 1
        no_call_after = bench.clock.now() + timedelta(seconds=20)
        assert bench.consume(*work, seconds_left=50.0) == []
        assert all(moment < no_call_after for moment in begun)
        work = bench.queue.take()
    assert (goes, list(bench.tool.holds())) == (3, ["ann@x.example"])
    assert connection_gate(bench).failing_since is None


def test_what_a_redelivery_looks_at_more_closely_stays_so_when_it_is_sent_anew() -> None:
    bench = slow_bench(2, 4, 6)
    assert bench.consume(bench.look(2, 4, 6), receives=2, seconds_left=50.0) == []
    assert [look.thorough for look in bench.queue.tasks] == [True]


def test_looks_that_do_not_count_are_not_sent_anew() -> None:
    bench = slow_bench(2, 4, 6, 8, streams=False)
    assert bench.consume(bench.look(8), bench.look(2, 4, 6, thorough=True), receives=2, seconds_left=50.0) == []
    assert [look.profiles for look in bench.queue.tasks] == [(person(2), person(4), person(6))]


def test_looks_for_a_run_that_run_out_of_time_are_sent_anew_for_that_run() -> None:
    bench = Bench(imports=True, streams=False)
    for number in (2, 4, 6):
        bench.store(number, email=f"{number}@x.example")
    bench.deliver(2, 4, 6)
    run = bench.start()
    for message in bench.queue.take():
        bench.consume(message)
    for number in (2, 4, 6):
        bench.store(number, name="new")
    bench.tool.land_some(everything=True)
    bench.check(*bench.checks.take())
    [_, look] = bench.queue.take()
    bench.tool.call_size = 1
    bench.tool.answered = lambda: bench.clock.advance(15)

    assert bench.consume(look, seconds_left=50.0) == []

    assert [message.body for message in bench.queue.messages] == [look.body]
    assert [task.run for task in bench.queue.tasks] == [run.id]
    bench.tick(after=STALLED_AFTER + timedelta(minutes=1))
    bench.work_off()
    assert bench.counts(run) == {"told": 3, "selected": 3, "delivered": 3}
    assert bench.run(run).state is RunState.FINISHED


def test_a_page_that_runs_out_of_time_is_sent_anew_and_does_not_count_as_stalled() -> None:
    bench = slow_bench(2, 4, 6, streams=False)
    bench.tool.page_is_full = lambda *_: False  # type: ignore[method-assign]
    run = bench.start()
    [cursor, other] = bench.queue.take()
    bench.clock.advance(14 * 60)

    assert bench.consume(cursor, seconds_left=50.0) == []

    [again] = bench.queue.messages
    assert (again.body, again.group) == (cursor.body, cursor.group)
    bench.consume(other)
    bench.tick(after=timedelta(minutes=14))
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
    assert export_gate(bench).owed == 1


def test_when_the_queue_takes_nothing_the_messages_are_kept() -> None:
    bench = slow_bench(2, 4, 6)
    bench.queue.failures.append(Busy("queue_unavailable", "throttled"))
    assert bench.consume(bench.look(2, 4, 6), seconds_left=50.0) == ["m0"]


def test_running_out_of_time_proves_that_the_destination_is_well() -> None:
    bench = slow_bench(2, 4, 6)
    bench.tool.script = [DOWN]
    bench.consume(bench.look(2))
    assert bench.consume(bench.look(4, 6, 2), seconds_left=50.0) == []
    assert connection_gate(bench).failing_since is None


def test_what_was_put_back_for_want_of_time_goes_first_in_the_next_batch() -> None:
    bench = slow_bench(2, 4)
    bench.edit("other", segments=("shop/other",))
    bench.store(6, inside=("shop/other",), email="6@x.example")
    waited = bench.look(6, export="other", settings=1)
    new, old = bench.received([bench.look(2, 4), waited])
    left = iter([50.0, 29.0])

    assert bench.consumer().consume([new, replace(old, receive_count=2)], lambda: next(left)) == ["m0"]

    assert bench.sent == [["6@x.example"]]


# Stopping.


def fail_for(bench: Bench, how_long: timedelta, problem: Transient = DOWN) -> None:
    bench.tool.script = [problem]
    assert bench.consume(bench.look(2)) == ["m0"]
    bench.clock.time += how_long
    bench.tool.script = [problem]
    assert bench.consume(bench.look(2), receives=2) == ["m0"]


def test_half_an_hour_of_nothing_but_failures_stops_the_connection_and_owes_a_run() -> None:
    bench = bench_with(2)
    fail_for(bench, PATIENCE)

    gate = connection_gate(bench)
    assert (gate.closed, gate.code) == (True, "server_error")
    assert bench.consume(bench.look(2), receives=3) == []
    assert export_gate(bench).owed == 1


def test_failures_for_less_than_that_do_not() -> None:
    bench = bench_with(2)
    fail_for(bench, PATIENCE - timedelta(seconds=1))
    assert not connection_gate(bench).closed


def test_a_call_that_succeeds_in_between_starts_the_patience_anew() -> None:
    bench = bench_with(2, 4)
    fail_for(bench, timedelta(minutes=20))
    assert bench.consume(bench.look(4)) == []
    fail_for(bench, timedelta(minutes=20))
    assert not connection_gate(bench).closed


def test_work_that_makes_no_call_proves_nothing_about_the_destination() -> None:
    """Given an outage, When unchanged profiles are looked at all the while, Then the connection stops all the same."""
    bench = bench_with(2, 4)
    bench.consume(bench.look(4))
    bench.tool.script = [DOWN]
    bench.consume(bench.look(2))
    for _ in range(6):
        bench.clock.time += timedelta(minutes=5)
        assert bench.consume(bench.look(4)) == []
    bench.tool.script = [DOWN]
    bench.consume(bench.look(2), receives=2)

    assert connection_gate(bench).closed


def test_an_account_that_refuses_us_stops_the_connection_at_once() -> None:
    bench = bench_with(2)
    bench.tool.script = [BAD_KEY]
    assert bench.consume(bench.look(2)) == ["m0"]

    gate = connection_gate(bench)
    assert (gate.closed, gate.code, gate.reason) == (True, "unauthorised", "the key is refused")
    assert len(bench.sent) == 1
    assert bench.consume(bench.look(2), receives=2) == []
    assert export_gate(bench).owed == 1


def test_with_a_new_secret_it_is_tried_once_more_before_anything_stops() -> None:
    bench = bench_with(2)
    bench.tool.script = [BAD_KEY]
    bench.settings.fresh_secrets[CONNECTION] = "second secret"

    assert bench.consume(bench.look(2)) == []

    assert bench.tool.holds() == {"2@x.example": {}}
    assert not connection_gate(bench).closed


def test_a_new_secret_that_is_refused_too_stops_the_connection() -> None:
    bench = bench_with(2)
    bench.tool.script = [BAD_KEY, BAD_KEY]
    bench.settings.fresh_secrets[CONNECTION] = "second secret"
    assert bench.consume(bench.look(2)) == ["m0"]
    assert connection_gate(bench).closed
    assert len(bench.sent) == 2


def test_an_export_that_cannot_work_stops_alone() -> None:
    bench = bench_with(2)
    bench.tool.script = [NO_LIST]
    assert bench.consume(bench.look(2)) == ["m0"]

    assert not connection_gate(bench).closed
    assert (export_gate(bench).closed, export_gate(bench).code) == (True, "list_gone")
    assert bench.consume(bench.look(2), receives=2) == []
    assert export_gate(bench).owed == 1


def test_what_comes_to_a_gate_that_opens_meanwhile_is_not_dropped() -> None:
    bench = bench_with(2)
    gates.close(bench.database, CONNECTION, Gate("connection"), "code", "reason", bench.clock.now())
    closed = connection_gate(bench)
    bench.database.before = lambda step: reopen_once(step)

    def reopen_once(step: str) -> None:
        if step == "write control":
            bench.database.before = bench.step
            assert gates.reopen(bench.database, CONNECTION, closed, bench.clock.now())

    assert bench.consume(bench.look(2)) == ["m0"]
    assert bench.hidden == [("m0", 1.0)]
    assert export_gate(bench).owed == 0


def test_a_paused_export_owes_what_it_was_sent() -> None:
    bench = bench_with(2)
    bench.edit(active=False)
    assert bench.consume(bench.look(2)) == []
    assert export_gate(bench).owed == 1
    assert bench.sent == []


@pytest.mark.parametrize("subject", [f"{CONNECTION}/main", CONNECTION])
def test_invalid_settings_are_reported_and_owe_a_run_once_corrected(subject: str) -> None:
    bench = bench_with(2)
    bench.settings.problems[subject] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    assert bench.consume(bench.look(2)) == []
    assert export_gate(bench).owed == 1
    assert [line["reason"] for line in bench.logged()] == ["mapping.emial: is not known"]


@pytest.mark.parametrize("how", ["stopped", "paused", "invalid"])
def test_a_run_whose_cursor_comes_to_what_is_stopped_ends_and_is_owed(how: str) -> None:
    bench = bench_with(2)
    run = bench.start()
    [first, *_] = bench.queue.take()
    if how == "stopped":
        gates.close(bench.database, CONNECTION, Gate("connection"), "code", "reason", bench.clock.now())
    elif how == "paused":
        bench.edit(active=False)
    else:
        bench.settings.problems[bench.export.key] = SettingsProblem("mapping", "is missing", field="mapping")

    assert bench.consume(first) == []

    assert bench.run(run).state is RunState.STOPPED
    assert bench.run(run).reason
    assert export_gate(bench).owed == 1


def test_an_account_error_in_one_exports_work_does_not_stop_another_connection() -> None:
    bench = bench_with(2)
    bench.settings.save(Export("other", "main", "tool", True, True, (VIP,), bench.export.mapping, "9", 1))
    bench.tool.script = [BAD_KEY]
    failed = bench.consume(bench.look(2), bench.look(2, connection="other", settings=1))
    assert failed == ["m0"]
    assert not gates.load(bench.database, "other", "main")[0].closed


def test_more_profiles_than_a_call_takes_are_all_told() -> None:
    bench = bench_with(*range(8))
    assert bench.consume(bench.look(*range(8))) == []
    assert [len(call) for call in bench.sent] == [3, 3, 2]
