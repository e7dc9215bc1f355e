"""What operators ask: start, show, confirm, cancel, probe."""

import json
from typing import Any

import pytest

from relay.domain.problems import Busy, ConnectionProblem, Rejection, RejectionKind, SettingsProblem
from relay.domain.runs import Phase, Run, RunState
from relay.settings.inventory import Inventory
from relay.stores import runs
from relay.stores.database import Database, Table
from relay.workers.operators.protocol import Level
from tests.fakes.bench import CONNECTION, MINUTE, OTHER_CONNECTION, Bench

MAIN = f"{CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example", name="Two")
    return bench


def test_a_run_is_started_and_shown_with_its_ledger(bench: Bench) -> None:
    started = bench.ask("run", export=MAIN)
    assert (started["state"], started["cause"], started["adds_up"]) == ("running", "on demand", True)
    bench.work_off()

    shown = bench.ask("show", run=started["run"])
    assert (shown["state"], shown["counts"]["delivered"], shown["phase"]) == ("finished", 1, "deliver")
    (listed,) = bench.ask("runs", export=MAIN)["runs"]
    assert listed.items() <= shown.items()


def test_only_one_run_of_an_export_is_active(bench: Bench) -> None:
    first = bench.ask("run", export=MAIN)["run"]
    again = bench.ask("run", export=MAIN)
    assert again == {"export": MAIN, "run": None, "obstacle": "active", "reason": f"run {first} is active (running)"}
    assert len(runs.latest(bench.database, MAIN)) == 1


def test_a_segment_never_seen_is_refused_with_the_reason_and_noted_once(bench: Bench) -> None:
    bench.edit(segments=("shop/vip", "shop/typo"))
    for _ in range(2):
        refused = bench.ask("run", export=MAIN)
        assert (refused["state"], refused["reason"]) == ("refused", "segments never seen: shop/typo")
        assert bench.ask("show", run=refused["run"])["share"] == 0
    assert len(runs.latest(bench.database, MAIN)) == 1
    assert bench.queue.messages == []


@pytest.mark.parametrize(("stopped", "kind"), [(None, "connection"), ("main", "export")])
def test_the_run_of_a_stopped_export_is_requested_and_the_answer_says_so(
    bench: Bench, stopped: str | None, kind: str
) -> None:
    bench.stop(stopped)
    answer = bench.ask("run", export=MAIN)
    reason = f"the {kind} is stopped (unpaid: refuses to work); a run is requested and starts by itself"
    assert (answer["run"], answer["reason"]) == (None, reason)
    assert bench.breaker("main").resync


def test_the_run_of_an_export_that_was_just_edited_starts_by_itself(bench: Bench) -> None:
    """Given settings that others may not have read yet, When a run is asked for, Then it starts once they have."""
    bench.edit(version=int(bench.clock.now().timestamp() * 1000))
    answer = bench.ask("run", export=MAIN)
    assert (answer["run"], answer["reason"]) == (
        None,
        "the export was edited just now; the run starts by itself in a minute or two",
    )
    bench.tick(after=MINUTE)
    [run] = runs.latest(bench.database, MAIN)
    assert (run.cause, run.state) == ("resync", RunState.RUNNING)


def test_a_paused_export_is_not_started(bench: Bench) -> None:
    bench.edit(active=False)
    answer = bench.ask("run", export=MAIN)
    assert answer == {"export": MAIN, "run": None, "obstacle": "paused", "reason": "the export is paused"}


def test_a_run_that_ended_while_the_answer_was_made_is_not_named_as_active(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "begin", lambda *_: False)
    answer = bench.ask("run", export=MAIN)
    assert (answer["run"], answer["reason"]) == (None, "what stood in the way has just ended: ask again")


def test_an_invalid_export_is_refused_with_what_is_wrong(bench: Bench) -> None:
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    refused = bench.refused("run", export=MAIN)
    part = {"field": "mapping.emial", "what": "is not known", "near": None}
    assert (refused["field"], refused["errors"], refused["actor"]) == ("mapping.emial", [part], "administrator")
    assert "there is none" in bench.refused("run", export=f"{CONNECTION}/gone")["what"]


def test_a_retry_tries_exactly_what_was_rejected_with_the_code(bench: Bench) -> None:
    for number, code in ((4, "bounced"), (6, "excluded")):
        bench.store(number, email=f"{number}@x.example")
        bench.tool.refuses.add(f"{number}@x.example")
        bench.tool.rejection = Rejection(RejectionKind.DESTINATION, code, "not now")
        bench.full_run()
    bench.tool.refuses.clear()
    bench.clock.time += MINUTE
    for code, held in (("bounced", [2, 4]), ("all", [2, 4, 6])):
        run = bench.ask("run", export=MAIN, retry=code)
        assert (run["cause"], run["state"]) == ("retry", "running")
        bench.work_off()
        assert sorted(bench.tool.holds()) == [f"{number}@x.example" for number in held]
        bench.clock.time += MINUTE


def test_a_retry_that_cannot_start_says_so(bench: Bench) -> None:
    first = bench.ask("run", export=MAIN, retry="all")["run"]
    again = bench.ask("run", export=MAIN, retry="all")
    assert (again["run"], first in again["reason"], "ask again" in again["reason"]) == (None, True, True)
    bench.work_off()
    bench.stop("main")
    stopped = bench.ask("run", export=MAIN, retry="all")
    assert (stopped["run"], "ask again" in stopped["reason"]) == (None, True)
    assert "there is none" in bench.refused("run", export=f"{CONNECTION}/gone", retry="all")["what"]


@pytest.mark.parametrize("code", ["", "ann@x.example", "a" * 100, 7])
def test_what_is_no_code_is_refused(bench: Bench, code: object) -> None:
    refused = bench.refused("run", export=MAIN, retry=code)
    assert (refused["code"], refused["field"]) == ("wrong_question", "retry")
    assert bench.queue.messages == []


def test_a_run_is_cancelled_once(bench: Bench) -> None:
    run = bench.ask("run", export=MAIN)["run"]
    none_left = {"removed": 0, "left": 0, "requested": False}
    assert bench.ask("cancel", run=run) == {"done": True, "reason": None, **none_left}
    assert bench.ask("cancel", run=run) == {"done": False, "reason": f"run {run} is over (cancelled)", **none_left}
    assert bench.run(run).state is RunState.CANCELLED
    assert bench.run(run).reason == "cancelled by an operator"


def test_a_run_that_goes_on_while_it_is_cancelled_is_cancelled_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, change_state = bench.ask("run", export=MAIN)["run"], runs.change_state
    first = iter([True])

    def overtaken(database: Database, before: Run, *to: Any) -> bool:
        if next(first, False):
            change_state(database, before, RunState.NEEDS_CONFIRMATION, bench.clock.now(), "many would leave")
        return change_state(database, before, *to)

    monkeypatch.setattr(runs, "change_state", overtaken)
    assert bench.ask("cancel", run=run)["done"] is True
    assert bench.run(run).state is RunState.CANCELLED


def test_cancelling_says_how_many_were_taken_out_and_how_many_are_left(bench: Bench) -> None:
    for number in (2, 4, 6, 8, 10):
        bench.store(number, email=f"{number}@x.example")
    bench.full_run()
    bench.edit(mapping={"email": "attributes.emial"})
    bench.clock.time += MINUTE
    run = bench.full_run()
    assert bench.ask("confirm", run=run.id)["done"]
    while not bench.counts(run).get("removed"):
        for message in bench.queue.take():
            bench.consume(message)
    answer = bench.ask("cancel", run=run.id)
    assert (answer["done"], answer["removed"], answer["left"]) == (True, 3, 2)
    assert len(bench.tool.holds()) == 2
    assert bench.ask("plan", export=MAIN)["cancelled"] == run.id


def test_a_run_that_does_not_wait_for_it_is_not_confirmed(bench: Bench) -> None:
    run = bench.ask("run", export=MAIN)["run"]
    reason = f"run {run} is running: only one that needs confirmation can be confirmed"
    assert bench.ask("confirm", run=run) == {"done": False, "reason": reason}


def test_a_run_under_other_settings_is_not_confirmed_and_the_answer_says_why(bench: Bench) -> None:
    bench.store(4, email="4@x.example")
    bench.ask("run", export=MAIN)
    bench.work_off()
    bench.clock.time += MINUTE
    for number in (2, 4):
        bench.leave(number)
    bench.edit(options="8")
    bench.clock.time += MINUTE
    run = bench.ask("run", export=MAIN)["run"]
    bench.work_off()
    assert bench.run(run).state is RunState.NEEDS_CONFIRMATION
    bench.edit(options="9")
    answer = bench.ask("confirm", run=run)
    assert (answer["done"], answer["reason"]) == (False, "the export was edited since: start another run")


def test_a_confirmed_run_removes_the_leavers_and_shows_them_in_its_ledger(bench: Bench) -> None:
    for number in (4, 6):
        bench.store(number, email=f"{number}@x.example")
    bench.ask("run", export=MAIN)
    bench.work_off()
    bench.edit(options="8")
    for number in (2, 4, 6):
        bench.leave(number)
    bench.clock.time += MINUTE
    run = bench.ask("run", export=MAIN)["run"]
    bench.work_off()
    assert bench.ask("show", run=run)["state"] == "needs-confirmation"
    bench.clock.time += MINUTE
    bench.store(4, email="4@x.example")

    assert bench.ask("confirm", run=run) == {"done": True, "reason": None}
    bench.work_off()

    shown = bench.ask("show", run=run)
    assert (shown["state"], shown["phase"], shown["adds_up"]) == ("finished", Phase.REMOVE.name.lower(), True)
    counts = shown["counts"]
    assert (counts["leaving"], counts["removed"], counts["returned"]) == (3, 2, 1)


def test_a_run_of_an_export_that_is_gone_is_not_confirmed_and_the_refusal_says_why(bench: Bench) -> None:
    run = bench.ask("run", export=MAIN)["run"]
    bench.settings.delete(MAIN)
    assert "there is none" in bench.refused("confirm", run=run)["what"]


def test_runs_of_every_export_are_listed_newest_first(bench: Bench) -> None:
    first = bench.full_run()
    second = bench.full_run(bench.other_export)
    third = bench.full_run()
    assert [run["run"] for run in bench.ask("runs")["runs"]] == [third.id, second.id, first.id]
    assert [run["run"] for run in bench.ask("runs", limit=1)["runs"]] == [third.id, second.id]


def test_every_export_without_a_schedule_of_its_own_is_started_and_what_cannot_be_is_named(bench: Bench) -> None:
    bench.edit("paused", options="8", active=False)
    bench.own_schedules = frozenset({f"{OTHER_CONNECTION}/main"})
    answer = bench.ask("run_all")
    assert [run["export"] for run in answer["started"]] == [MAIN]
    reason = "the export is paused"
    assert answer["not_started"] == [
        {"export": f"{CONNECTION}/paused", "run": None, "obstacle": "paused", "reason": reason}
    ]


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "ask"),
        (None, "ask"),
        ([MAIN], "ask"),
        ({"export": MAIN}, "ask"),
        ({"ask": ["run"]}, "ask"),
        ({"ask": "rum"}, "ask"),
        ({"ask": "run", "version": 2, "export": MAIN}, "version"),
        ({"ask": "run"}, "export"),
        ({"ask": "run", "export": 7}, "export"),
        ({"ask": "run", "export": "letters.main"}, "export"),
        ({"ask": "run", "export": MAIN, "cause": "schedule"}, "cause"),
        ({"ask": "run", "export": MAIN, "kim@x.example": 1}, "value"),
        ({"ask": "confirm", "run": "never"}, "run"),
        ({"ask": "cancel", "run": ["never"]}, "run"),
        ({"ask": "show", "run": ""}, "run"),
        ({"ask": "runs", "export": "letters"}, "export"),
        ({"ask": "runs", "export": "nothing/like-it"}, "export"),
        ({"ask": "check", "connection": MAIN}, "connection"),
        ({"ask": "probe", "connection": "*"}, "connection"),
    ],
)
def test_a_wrong_question_is_refused_with_field_and_reason_and_logged(bench: Bench, question: Any, field: str) -> None:
    refused = bench.operator().handle(question)["error"]
    assert (refused["field"], refused["actor"], refused["errors"][0]["field"]) == (field, "administrator", field)
    [line] = [line for line in bench.logged() if line["message"] == "refused question"]
    assert (line["field"], line["actor"], line["reason"]) == (field, "administrator", refused["what"])
    assert line["next_step"] == refused["next_step"]
    assert "kim@x" not in bench.log.getvalue() + json.dumps(refused)


def test_all_that_is_wrong_with_a_question_is_told_at_once_with_near_names(bench: Bench) -> None:
    refused = bench.refused("runs", exprot=MAIN, limit="many")
    assert [(part["field"], part["near"]) for part in refused["errors"]] == [("limit", None), ("exprot", "export")]
    assert bench.refused("rum", export=MAIN)["errors"][0]["near"] == "run"
    assert "pydantic" not in json.dumps(refused)


@pytest.mark.parametrize(
    ("level", "ask", "function"),
    [
        (Level.VIEW, "cancel", "bench-admin"),
        (Level.FORGET, "runs", "bench-view"),
        (Level.FORGET, "cancel", "bench-admin"),
        (Level.OPERATE, "runs", None),
        (Level.VIEW, "runs", None),
    ],
)
def test_a_question_is_answered_by_the_function_of_its_level_alone(
    bench: Bench, level: Level, ask: str, function: str | None
) -> None:
    """Whoever may invoke only one function gets no further than it; the refusal names the one to ask."""
    run = bench.start()
    sent = bench.question(ask, level, **({"run": run.id} if ask == "cancel" else {}))
    if function is None:
        assert "answer" in sent
    else:
        assert (sent["error"]["code"], sent["error"]["field"]) == ("not_here", "ask")
        assert function in sent["error"]["what"]
        assert bench.run(run).state is RunState.RUNNING


def test_a_defect_is_answered_without_the_text_that_may_hold_personal_data(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(*_: Any) -> Any:
        raise KeyError("Kim Lovelace")

    monkeypatch.setattr(runs, "load", trip)
    refused = bench.refused("show", run="20260101T000000-aaaaaa")
    assert (refused["code"], refused["actor"], "KeyError" in refused["what"]) == ("defect", "us", True)
    assert "Lovelace" not in bench.log.getvalue() + json.dumps(refused)


# Probes.


def test_after_a_correction_a_stop_is_probed_at_once(bench: Bench) -> None:
    """Given a connection whose probe is not due for minutes, When an operator asks, Then it goes on."""
    bench.stop()
    bench.stop("main", "list_gone", "the list is gone")
    answer = bench.ask("probe", connection=CONNECTION)
    restarted = [f"connection {CONNECTION}", f"export {MAIN}"]
    assert answer == {"connection": CONNECTION, "restarted": restarted, "stopped": []}
    assert bench.breaker().stop is bench.breaker("main").stop is None


def test_a_probe_that_finds_another_reason_answers_with_it(bench: Bench) -> None:
    bench.stop("main", "list_gone", "the list is gone")
    bench.tool.probe_script = [ConnectionProblem("unpaid", "the account has an open payment")]
    answer = bench.ask("probe", connection=CONNECTION)
    [stopped] = answer["stopped"]
    assert answer["restarted"] == []
    assert (stopped["subject"], stopped["code"], stopped["reason"], stopped["who_must_act"]) == (
        f"export {MAIN}",
        "unpaid",
        "the account has an open payment",
        "administrator",
    )
    assert bench.ask("run", export=MAIN)["reason"] == (
        "the export is stopped (unpaid: the account has an open payment); a run is requested and starts by itself"
    )


def test_a_probe_where_nothing_is_stopped_says_so_and_one_of_nobodys_connection_is_refused(bench: Bench) -> None:
    answer = bench.ask("probe", connection=CONNECTION)
    assert answer == {"connection": CONNECTION, "restarted": [], "stopped": []}
    assert bench.refused("probe", connection="nobody")["code"] == "unknown_connection"


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


def test_a_name_that_nobody_knows_is_answered_with_the_nearest_that_is_there(bench: Bench) -> None:
    bench.inventory = Inventory(sources=["shop"], connections=[CONNECTION])
    for ask, argument, given, near in (
        ("run", "export", f"{CONNECTION}/mian", MAIN),
        ("runs", "export", f"{CONNECTION}/mian", MAIN),
        ("probe", "connection", "leters", CONNECTION),
        ("probe", "connection", "zzz", None),
    ):
        refused = bench.refused(ask, **{argument: given})
        assert (refused["field"], refused["errors"][0]["near"]) == (argument, near)
        assert near is None or refused["what"].endswith(f"; the nearest is {near}")


def test_a_segment_that_nobody_knows_is_answered_with_the_nearest(bench: Bench) -> None:
    assert bench.refused("segment", segment="shop/vpi")["errors"][0]["near"] == "shop/vip"


def test_a_name_that_nobody_knows_is_answered_though_the_names_cannot_be_listed(bench: Bench) -> None:
    def busy() -> Inventory:
        raise Busy("names_unavailable", "Throttling")

    bench.stack.inventories = busy
    assert bench.refused("probe", connection="leters")["code"] == "unknown_connection"
