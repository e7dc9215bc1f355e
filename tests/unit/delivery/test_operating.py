"""What operators ask: start, show, confirm, cancel, probe."""

from typing import Any

import pytest

from relay.domain.problems import ConnectionProblem, EventProblem, SettingsProblem, Unexpected
from relay.domain.runs import RunState
from relay.stores import gates, runs
from relay.stores.database import Table
from relay.stores.gates import Gate
from tests.fakes.delivery_bench import CONNECTION, Bench

MAIN = f"{CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example", name="Two")
    return bench


def test_a_run_is_started_and_shown_with_its_ledger(bench: Bench) -> None:
    operator = bench.operator()
    started = operator.handle({"export": MAIN})
    assert (started["state"], started["cause"], started["adds_up"]) == ("running", "on demand", True)
    bench.work_off()

    shown = operator.handle({"show": started["run"]})
    assert (shown["state"], shown["counts"]["delivered"], shown["pass"]) == ("finished", 1, 1)
    assert operator.handle({"runs": MAIN}) == {"runs": [shown]}


def test_only_one_run_of_an_export_is_active(bench: Bench) -> None:
    operator = bench.operator()
    first = operator.handle({"export": MAIN})["run"]
    again = operator.handle({"export": MAIN})
    assert again == {"export": MAIN, "run": None, "reason": f"run {first} is active (running)"}
    assert len(runs.latest(bench.database, MAIN)) == 1


def test_a_segment_never_seen_is_refused_with_the_reason_and_noted_once(bench: Bench) -> None:
    bench.edit(segments=("shop/vip", "shop/typo"))
    operator = bench.operator()
    for _ in range(2):
        refused = operator.handle({"export": MAIN})
        assert (refused["state"], refused["reason"]) == ("refused", "segments never seen: shop/typo")
    assert len(runs.latest(bench.database, MAIN)) == 1
    assert bench.queue.messages == []


@pytest.mark.parametrize(("scope", "stopped"), [("connection", "connection"), ("export#main", "export")])
def test_a_stopped_export_owes_the_run_it_was_asked_for_and_the_answer_says_so(
    bench: Bench, scope: str, stopped: str
) -> None:
    gates.close(bench.database, CONNECTION, Gate(scope), "unpaid", "refuses to work", bench.clock.now())
    answer = bench.operator().handle({"export": MAIN})
    reason = f"the {stopped} is stopped (unpaid: refuses to work); a run is owed and starts by itself"
    assert (answer["run"], answer["reason"]) == (None, reason)
    assert gates.load(bench.database, CONNECTION, "main")[1].owed == 1


def test_a_paused_export_is_not_started(bench: Bench) -> None:
    bench.edit(active=False)
    answer = bench.operator().handle({"export": MAIN})
    assert answer == {"export": MAIN, "run": None, "reason": "the export is paused"}


def test_a_run_that_ended_while_the_answer_was_made_is_not_named_as_active(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = bench.operator()
    run = operator.handle({"export": MAIN})["run"]
    monkeypatch.setattr(runs, "active", lambda *_: run)
    operator.handle({"cancel": run})
    monkeypatch.setattr(runs, "begin", lambda *_: False)
    answer = operator.handle({"export": MAIN})
    assert (answer["run"], answer["reason"]) == (None, "what stood in the way has just ended: ask again")


def test_an_invalid_export_is_refused_with_what_is_wrong(bench: Bench) -> None:
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    with pytest.raises(SettingsProblem, match="emial: is not known"):
        bench.operator().handle({"export": MAIN})
    with pytest.raises(SettingsProblem, match="there is none"):
        bench.operator().handle({"export": f"{CONNECTION}/gone"})


def test_a_run_is_cancelled_once(bench: Bench) -> None:
    operator = bench.operator()
    run = operator.handle({"export": MAIN})["run"]
    assert operator.handle({"cancel": run}) == {"cancelled": True}
    assert operator.handle({"cancel": run}) == {"cancelled": False, "reason": f"run {run} is over (cancelled)"}
    assert bench.run(run).state is RunState.CANCELLED
    assert bench.run(run).reason == "cancelled by an operator"


def test_a_run_that_does_not_wait_for_it_is_not_confirmed(bench: Bench) -> None:
    operator = bench.operator()
    run = operator.handle({"export": MAIN})["run"]
    reason = f"run {run} is running: only one that needs confirmation can be confirmed"
    assert operator.handle({"confirm": run}) == {"confirmed": False, "reason": reason}


def test_a_run_under_other_settings_is_not_confirmed_and_the_answer_says_why(bench: Bench) -> None:
    operator = bench.operator()
    bench.store(4, email="4@x.example")
    operator.handle({"export": MAIN})
    bench.work_off()
    for number in (2, 4):
        bench.leave(number)
    bench.edit(options="8")
    run = operator.handle({"export": MAIN})["run"]
    bench.work_off()
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    bench.edit(options="9")
    answer = operator.handle({"confirm": run})
    assert (answer["confirmed"], answer["reason"]) == (False, "the export was edited since: start another run")


def test_a_run_of_an_export_that_is_gone_is_not_confirmed_and_the_refusal_says_why(bench: Bench) -> None:
    operator = bench.operator()
    run = operator.handle({"export": MAIN})["run"]
    del bench.settings.saved[MAIN]
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
        bench.operator().handle(event)
    assert refused.value.field == field
    [line] = [line for line in bench.logged() if line["message"] == "refused event"]
    assert (line["field"], line["actor"]) == (field, "administrator")
    assert line["reason"] == refused.value.what
    assert line["next_step"]


def test_a_defect_fails_without_the_text_that_may_hold_personal_data(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(*_: Any) -> Any:
        raise KeyError("kim@example.com")

    monkeypatch.setattr(runs, "load", trip)
    with pytest.raises(Unexpected) as told:
        bench.operator().handle({"show": "20260101T000000-aaaaaa"})
    assert "KeyError" in str(told.value)
    assert "kim" not in bench.log.getvalue() + str(told.value) + repr(told.value.__cause__)


# Probes.


def test_after_a_correction_a_stop_is_probed_at_once(bench: Bench) -> None:
    """Given a connection whose probe is not due for minutes, When an operator asks, Then it is opened."""
    gates.close(bench.database, CONNECTION, Gate("connection"), "unpaid", "refuses to work", bench.clock.now())
    answer = bench.operator().handle({"probe": CONNECTION})
    assert answer == {"connection": CONNECTION, "opened": ["connection"], "stopped": []}
    assert not gates.load(bench.database, CONNECTION, "main")[0].closed


def test_a_probe_that_finds_another_reason_answers_with_it(bench: Bench) -> None:
    gates.close(bench.database, CONNECTION, Gate("export#main"), "list_gone", "the list is gone", bench.clock.now())
    bench.tool.probe_script = [ConnectionProblem("unpaid", "the account has an open payment")]
    answer = bench.operator().handle({"probe": CONNECTION})
    [stopped] = answer["stopped"]
    assert answer["opened"] == []
    assert (stopped["scope"], stopped["code"], stopped["reason"], stopped["who_must_act"]) == (
        "export#main",
        "unpaid",
        "the account has an open payment",
        "administrator",
    )
    assert bench.operator().handle({"export": MAIN})["reason"] == (
        "the export is stopped (unpaid: the account has an open payment); a run is owed and starts by itself"
    )


def test_a_probe_where_nothing_is_stopped_says_so_and_one_of_nobodys_connection_is_refused(bench: Bench) -> None:
    answer = bench.operator().handle({"probe": CONNECTION})
    assert answer == {"connection": CONNECTION, "opened": [], "stopped": []}
    bench.settings.problems["nobody"] = SettingsProblem("unknown_connection", "there is none", field="connection")
    with pytest.raises(SettingsProblem):
        bench.operator().handle({"probe": "nobody"})


def test_every_record_of_a_run_is_forgotten_after_a_while(bench: Bench) -> None:
    run = bench.start()
    bench.work_off()
    records = [
        item
        for partition in (f"run#{run.id}", f"runs#{MAIN}")
        for item in bench.database.query(Table.CONTROL, partition)
    ]
    assert len(records) == 3 + run.shards
    assert {item["expires_at"] for item in records} == {int((run.started_at + runs.KEPT).timestamp())}
