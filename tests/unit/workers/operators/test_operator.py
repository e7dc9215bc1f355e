"""What operators ask: start, show, confirm, cancel, probe."""

from typing import Any

import pytest

from relay.domain.problems import (
    ConnectionProblem,
    EventProblem,
    Rejection,
    RejectionKind,
    SettingsProblem,
    Unexpected,
)
from relay.domain.runs import Phase, RunState
from relay.stores import runs
from relay.stores.database import Table
from tests.fakes.bench import CONNECTION, MINUTE, Bench

MAIN = f"{CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example", name="Two")
    return bench


def test_a_run_is_started_and_shown_with_its_ledger(bench: Bench) -> None:
    operator = bench.stack.operator()
    started = operator.handle({"export": MAIN})
    assert (started["state"], started["cause"], started["adds_up"]) == ("running", "on demand", True)
    bench.work_off()

    shown = operator.handle({"show": started["run"]})
    assert (shown["state"], shown["counts"]["delivered"], shown["phase"]) == ("finished", 1, "deliver")
    assert operator.handle({"runs": MAIN}) == {"runs": [shown]}


def test_only_one_run_of_an_export_is_active(bench: Bench) -> None:
    operator = bench.stack.operator()
    first = operator.handle({"export": MAIN})["run"]
    again = operator.handle({"export": MAIN})
    assert again == {"export": MAIN, "run": None, "reason": f"run {first} is active (running)"}
    assert len(runs.latest(bench.database, MAIN)) == 1


def test_a_segment_never_seen_is_refused_with_the_reason_and_noted_once(bench: Bench) -> None:
    bench.edit(segments=("shop/vip", "shop/typo"))
    operator = bench.stack.operator()
    for _ in range(2):
        refused = operator.handle({"export": MAIN})
        assert (refused["state"], refused["reason"]) == ("refused", "segments never seen: shop/typo")
    assert len(runs.latest(bench.database, MAIN)) == 1
    assert bench.queue.messages == []


@pytest.mark.parametrize(("stopped", "kind"), [(None, "connection"), ("main", "export")])
def test_the_run_of_a_stopped_export_is_requested_and_the_answer_says_so(
    bench: Bench, stopped: str | None, kind: str
) -> None:
    bench.stop(stopped)
    answer = bench.stack.operator().handle({"export": MAIN})
    reason = f"the {kind} is stopped (unpaid: refuses to work); a run is requested and starts by itself"
    assert (answer["run"], answer["reason"]) == (None, reason)
    assert bench.breaker("main").resync


def test_the_run_of_an_export_that_was_just_edited_starts_by_itself(bench: Bench) -> None:
    """Given settings that others may not have read yet, When a run is asked for, Then it starts once they have."""
    bench.edit(version=int(bench.clock.now().timestamp() * 1000))
    answer = bench.stack.operator().handle({"export": MAIN})
    assert (answer["run"], answer["reason"]) == (
        None,
        "the export was edited just now; the run starts by itself in a minute or two",
    )
    bench.tick(after=MINUTE)
    [run] = runs.latest(bench.database, MAIN)
    assert (run.cause, run.state) == ("resync", RunState.RUNNING)


def test_a_paused_export_is_not_started(bench: Bench) -> None:
    bench.edit(active=False)
    answer = bench.stack.operator().handle({"export": MAIN})
    assert answer == {"export": MAIN, "run": None, "reason": "the export is paused"}


def test_a_run_that_ended_while_the_answer_was_made_is_not_named_as_active(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "begin", lambda *_: False)
    answer = bench.stack.operator().handle({"export": MAIN})
    assert (answer["run"], answer["reason"]) == (None, "what stood in the way has just ended: ask again")


def test_an_invalid_export_is_refused_with_what_is_wrong(bench: Bench) -> None:
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    with pytest.raises(SettingsProblem, match="emial: is not known"):
        bench.stack.operator().handle({"export": MAIN})
    with pytest.raises(SettingsProblem, match="there is none"):
        bench.stack.operator().handle({"export": f"{CONNECTION}/gone"})


def test_a_retry_tries_exactly_what_was_rejected_with_the_code(bench: Bench) -> None:
    for number, code in ((4, "bounced"), (6, "excluded")):
        bench.store(number, email=f"{number}@x.example")
        bench.tool.refuses.add(f"{number}@x.example")
        bench.tool.rejection = Rejection(RejectionKind.DESTINATION, code, "not now")
        bench.full_run()
    bench.tool.refuses.clear()
    bench.clock.time += MINUTE
    for asked, held in (({"code": "bounced"}, [2, 4]), ({}, [2, 4, 6])):
        run = bench.stack.operator().handle({"retry": MAIN, **asked})
        assert (run["cause"], run["state"]) == ("retry", "running")
        bench.work_off()
        assert sorted(bench.tool.holds()) == [f"{number}@x.example" for number in held]
        bench.clock.time += MINUTE


def test_a_retry_that_cannot_start_says_so(bench: Bench) -> None:
    operator = bench.stack.operator()
    first = operator.handle({"retry": MAIN})["run"]
    again = operator.handle({"retry": MAIN})
    assert (again["run"], first in again["reason"], "ask again" in again["reason"]) == (None, True, True)
    bench.work_off()
    bench.stop("main")
    stopped = operator.handle({"retry": MAIN})
    assert (stopped["run"], "ask again" in stopped["reason"]) == (None, True)
    with pytest.raises(SettingsProblem, match="there is none"):
        operator.handle({"retry": f"{CONNECTION}/gone"})


@pytest.mark.parametrize("code", ["", "ann@x.example", "a" * 100, 7])
def test_what_is_no_code_is_refused(bench: Bench, code: object) -> None:
    with pytest.raises(EventProblem) as caught:
        bench.stack.operator().handle({"retry": MAIN, "code": code})
    assert (caught.value.code, caught.value.field) == ("not_a_code", "code")
    assert bench.queue.messages == []


def test_a_run_is_cancelled_once(bench: Bench) -> None:
    operator = bench.stack.operator()
    run = operator.handle({"export": MAIN})["run"]
    assert operator.handle({"cancel": run}) == {"cancelled": True}
    assert operator.handle({"cancel": run}) == {"cancelled": False, "reason": f"run {run} is over (cancelled)"}
    assert bench.run(run).state is RunState.CANCELLED
    assert bench.run(run).reason == "cancelled by an operator"


def test_a_run_that_does_not_wait_for_it_is_not_confirmed(bench: Bench) -> None:
    operator = bench.stack.operator()
    run = operator.handle({"export": MAIN})["run"]
    reason = f"run {run} is running: only one that needs confirmation can be confirmed"
    assert operator.handle({"confirm": run}) == {"confirmed": False, "reason": reason}


def test_a_run_under_other_settings_is_not_confirmed_and_the_answer_says_why(bench: Bench) -> None:
    operator = bench.stack.operator()
    bench.store(4, email="4@x.example")
    operator.handle({"export": MAIN})
    bench.work_off()
    bench.clock.time += MINUTE
    for number in (2, 4):
        bench.leave(number)
    bench.edit(options="8")
    bench.clock.time += MINUTE
    run = operator.handle({"export": MAIN})["run"]
    bench.work_off()
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    bench.edit(options="9")
    answer = operator.handle({"confirm": run})
    assert (answer["confirmed"], answer["reason"]) == (False, "the export was edited since: start another run")


def test_a_confirmed_run_removes_the_leavers_and_shows_them_in_its_ledger(bench: Bench) -> None:
    operator = bench.stack.operator()
    for number in (4, 6):
        bench.store(number, email=f"{number}@x.example")
    operator.handle({"export": MAIN})
    bench.work_off()
    bench.edit(options="8")
    for number in (2, 4, 6):
        bench.leave(number)
    bench.clock.time += MINUTE
    run = operator.handle({"export": MAIN})["run"]
    bench.work_off()
    assert operator.handle({"show": run})["state"] == "needs-confirmation"
    bench.clock.time += MINUTE
    bench.store(4, email="4@x.example")

    assert operator.handle({"confirm": run}) == {"confirmed": True}
    bench.work_off()

    shown = operator.handle({"show": run})
    assert (shown["state"], shown["phase"], shown["adds_up"]) == ("finished", Phase.REMOVE.name.lower(), True)
    counts = shown["counts"]
    assert (counts["leaving"], counts["removed"], counts["returned"]) == (3, 2, 1)


def test_a_run_of_an_export_that_is_gone_is_not_confirmed_and_the_refusal_says_why(bench: Bench) -> None:
    operator = bench.stack.operator()
    run = operator.handle({"export": MAIN})["run"]
    bench.settings.delete(MAIN)
    with pytest.raises(SettingsProblem, match="there is none"):
        operator.handle({"confirm": run})


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({}, "event"),
        (None, "event"),
        ([MAIN], "event"),
        ({"run": "x"}, "event"),
        ({"export": MAIN, "check": CONNECTION}, "event"),
        ({"exports": "some"}, "exports"),
        ({"export": 7}, "export"),
        ({"export": "letters.main"}, "export"),
        ({"export": MAIN, "cause": "schedule"}, "cause"),
        ({"confirm": "never"}, "confirm"),
        ({"cancel": ["never"]}, "cancel"),
        ({"show": ""}, "show"),
        ({"runs": "letters"}, "runs"),
        ({"runs": "letters/never"}, "runs"),
        ({"check": MAIN}, "check"),
        ({"check": None}, "check"),
        ({"probe": "*"}, "probe"),
    ],
)
def test_a_wrong_event_is_refused_with_field_and_reason_and_fails(bench: Bench, event: Any, field: str) -> None:
    with pytest.raises(EventProblem) as refused:
        bench.stack.operator().handle(event)
    assert refused.value.field == field
    [line] = [line for line in bench.logged() if line["message"] == "refused event"]
    assert (line["field"], line["actor"]) == (field, "administrator")
    assert line["reason"] == refused.value.what
    assert line["next_step"]


def test_a_defect_fails_without_the_text_that_may_hold_personal_data(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(*_: Any) -> Any:
        raise KeyError("Kim Lovelace")

    monkeypatch.setattr(runs, "load", trip)
    with pytest.raises(Unexpected) as given:
        bench.stack.operator().handle({"show": "20260101T000000-aaaaaa"})
    assert "KeyError" in str(given.value)
    assert "Lovelace" not in bench.log.getvalue() + str(given.value) + repr(given.value.__cause__)


# Probes.


def test_after_a_correction_a_stop_is_probed_at_once(bench: Bench) -> None:
    """Given a connection whose probe is not due for minutes, When an operator asks, Then it goes on."""
    bench.stop()
    bench.stop("main", "list_gone", "the list is gone")
    answer = bench.stack.operator().handle({"probe": CONNECTION})
    restarted = [f"connection {CONNECTION}", f"export {MAIN}"]
    assert answer == {"connection": CONNECTION, "restarted": restarted, "stopped": []}
    assert bench.breaker().stop is bench.breaker("main").stop is None


def test_a_probe_that_finds_another_reason_answers_with_it(bench: Bench) -> None:
    bench.stop("main", "list_gone", "the list is gone")
    bench.tool.probe_script = [ConnectionProblem("unpaid", "the account has an open payment")]
    answer = bench.stack.operator().handle({"probe": CONNECTION})
    [stopped] = answer["stopped"]
    assert answer["restarted"] == []
    assert (stopped["subject"], stopped["code"], stopped["reason"], stopped["who_must_act"]) == (
        f"export {MAIN}",
        "unpaid",
        "the account has an open payment",
        "administrator",
    )
    assert bench.stack.operator().handle({"export": MAIN})["reason"] == (
        "the export is stopped (unpaid: the account has an open payment); a run is requested and starts by itself"
    )


def test_a_probe_where_nothing_is_stopped_says_so_and_one_of_nobodys_connection_is_refused(bench: Bench) -> None:
    answer = bench.stack.operator().handle({"probe": CONNECTION})
    assert answer == {"connection": CONNECTION, "restarted": [], "stopped": []}
    with pytest.raises(SettingsProblem):
        bench.stack.operator().handle({"probe": "nobody"})


def test_every_record_of_a_run_is_forgotten_after_a_while(bench: Bench) -> None:
    run = bench.start()
    bench.work_off()
    records = [
        item
        for partition in (f"run#{run.id}", f"runs#{MAIN}")
        for item in bench.database.query(Table.CONTROL, partition)
    ]
    # The header, its place in the list, and the shards: one asks, all deliver, all remove.
    assert len(records) == 3 + 2 * run.shards
    assert {item["expires_at"] for item in records} == {int((run.started_at + runs.KEPT).timestamp())}
