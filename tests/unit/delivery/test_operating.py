"""What schedules and operators ask: start, show, confirm, cancel."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from relay.destinations.contract import Finding, Level
from relay.domain.problems import ConnectionProblem, SettingsProblem
from relay.domain.runs import RunState
from relay.schedules import own_schedules
from relay.stores import gates, runs
from relay.stores.database import Table
from relay.stores.gates import Gate
from tests.fakes.delivery_bench import CONNECTION, Bench
from tests.fakes.scheduler import FakeScheduler

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


def test_the_input_that_the_pages_give_an_exports_own_schedule_names_the_schedule_as_cause(bench: Bench) -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")
    (given,) = re.findall(r"the input `(\{.*?\})`", page)
    event = json.loads(given.replace("connection/export", MAIN))
    assert bench.operator().handle(event)["cause"] == "schedule"


def test_a_schedule_that_meets_an_active_run_is_followed_by_one_more_when_that_ends(bench: Bench) -> None:
    operator = bench.operator()
    first = operator.handle({"export": MAIN})["run"]
    met = operator.handle({"export": MAIN, "cause": "schedule"})
    assert met["reason"] == f"run {first} is active (running); another follows it by itself"
    bench.tick()
    assert runs.active(bench.database, MAIN) == first

    bench.work_off()
    bench.tick()
    second = runs.active(bench.database, MAIN)
    assert second not in (None, first)
    bench.work_off()
    bench.tick()
    assert [run["cause"] for run in operator.handle({"runs": MAIN})["runs"]] == ["owed", "on demand"]


def test_an_invalid_export_says_what_is_wrong(bench: Bench) -> None:
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    answer = bench.operator().handle({"export": MAIN})
    assert answer == {"export": MAIN, "error": "mapping: mapping.emial: is not known"}
    assert "there is none" in bench.operator().handle({"export": f"{CONNECTION}/gone"})["error"]


def test_the_default_schedule_starts_every_valid_export_without_a_schedule_of_its_own(bench: Bench) -> None:
    for name in ("nightly", "broken"):
        bench.edit(name, options=name)
    bench.settings.problems[f"{CONNECTION}/broken"] = SettingsProblem("mapping", "is missing", field="mapping")

    answer = bench.operator(frozenset({f"{CONNECTION}/nightly"})).handle({"exports": "default"})

    assert [(started["export"], started["cause"]) for started in answer["started"]] == [(MAIN, "schedule")]
    assert runs.active(bench.database, f"{CONNECTION}/nightly") is None
    assert [line["subject"] for line in bench.logged() if line["message"] == "settings"] == [
        f"export {CONNECTION}/broken"
    ]


def test_a_run_is_cancelled_once(bench: Bench) -> None:
    operator = bench.operator()
    run = operator.handle({"export": MAIN})["run"]
    assert operator.handle({"cancel": run}) == {"cancelled": True}
    assert operator.handle({"cancel": run}) == {"cancelled": False}
    assert bench.run(run).state is RunState.CANCELLED
    assert bench.run(run).reason == "cancelled by an operator"


def test_a_run_that_does_not_wait_for_it_is_not_confirmed(bench: Bench) -> None:
    operator = bench.operator()
    run = operator.handle({"export": MAIN})["run"]
    assert operator.handle({"confirm": run}) == {"confirmed": False}


def test_a_run_of_an_export_that_is_gone_is_not_confirmed_and_the_answer_says_why(bench: Bench) -> None:
    operator = bench.operator()
    run = operator.handle({"export": MAIN})["run"]
    del bench.settings.saved[MAIN]
    answer = operator.handle({"confirm": run})
    assert answer["confirmed"] is False
    assert "there is none" in answer["error"]


@pytest.mark.parametrize("question", ["confirm", "cancel", "show"])
def test_an_unknown_run_is_told(bench: Bench, question: str) -> None:
    answer = bench.operator().handle({question: "never"})
    assert answer in ({"error": "there is no such run"}, {"cancelled": False})


@pytest.mark.parametrize("event", [{}, {"exports": "some"}, {"export": 7}, {"run": "x"}])
def test_a_wrong_event_is_answered_with_what_there_is(bench: Bench, event: Mapping[str, Any]) -> None:
    answer = bench.operator().handle(event)
    assert answer == {"error": "an event names exports, export, confirm, cancel, show, runs or check"}


def test_own_schedules_are_named_after_their_exports() -> None:
    scheduler = FakeScheduler([{"Name": name} for name in ("letters.main", "somebody-elses", "letters.weekly.report")])
    assert own_schedules("relay", scheduler) == {"letters/main", "letters/weekly.report"}
    assert scheduler.asked == [("list_schedules", "relay")]


def test_a_check_shows_the_account_the_exports_and_what_is_stopped(bench: Bench) -> None:
    bench.tool.findings = [Finding("connection", Level.OK, "the key is taken")]
    checked = bench.operator().handle({"check": CONNECTION})
    finding = {"subject": "connection", "level": "ok", "message": "the key is taken", "who_must_act": None}
    assert checked == {"connection": CONNECTION, "well": True, "stopped": [], "findings": [finding]}
    assert bench.tool.probes == [[MAIN]]

    gates.close(bench.database, CONNECTION, Gate("export#main"), "list_gone", "the list is gone", bench.clock.now())
    checked = bench.operator().handle({"check": CONNECTION})
    assert checked["stopped"] == [{"scope": "export#main", "code": "list_gone", "reason": "the list is gone"}]
    assert not checked["well"]


def test_a_check_tries_the_mapping_on_stored_profiles(bench: Bench) -> None:
    bench.edit(mapping={"email": "attributes.emial", "name": "attributes.name"})
    checked = bench.operator().handle({"check": CONNECTION})
    [finding] = checked["findings"]
    assert (checked["well"], finding["subject"], finding["who_must_act"]) == (False, MAIN, "administrator")
    assert "there is no emial in attributes, did you mean email? There are email, name" in finding["message"]
    assert "2@x.example" not in finding["message"]


def test_a_check_turns_trouble_and_invalid_settings_into_findings(bench: Bench) -> None:
    bench.tool.probe_script = [ConnectionProblem("unpaid", "the account has an open payment")]
    bench.settings.problems[f"{CONNECTION}/broken"] = SettingsProblem("invalid", "is required", field="mapping.email")
    findings = bench.operator().handle({"check": CONNECTION})["findings"]
    assert [(found["subject"], found["level"], found["who_must_act"]) for found in findings] == [
        (f"export {CONNECTION}/broken", "error", "administrator"),
        ("connection", "error", "administrator"),
    ]
    assert "mapping.email" in findings[0]["message"]
    assert "open payment" in findings[1]["message"]


def test_a_check_of_a_connection_nobody_made_says_so(bench: Bench) -> None:
    bench.settings.problems["nobody"] = SettingsProblem("unknown_connection", "there is none", field="connection")
    [finding] = bench.operator().handle({"check": "nobody"})["findings"]
    assert "unknown_connection" in finding["message"]


def test_every_record_of_a_run_is_forgotten_after_a_while(bench: Bench) -> None:
    run = bench.start()
    bench.work_off()
    records = [
        item
        for partition in (f"run#{run.id}", f"runs#{MAIN}")
        for item in bench.database.query(Table.CONTROL, partition)
    ]
    assert len(records) == 2 + run.shards
    assert {item["expires_at"] for item in records} == {int((run.started_at + runs.KEPT).timestamp())}
