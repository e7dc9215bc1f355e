"""What schedules ask: runs, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from relay.domain.problems import Busy, EventProblem, SettingsProblem, Unexpected
from relay.domain.runs import Run
from relay.stores import runs
from relay.stores.database import Database
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench import CONNECTION, MINUTE, OTHER_CONNECTION, Bench

MAIN, OTHERS = f"{CONNECTION}/main", f"{OTHER_CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example")
    return bench


def test_the_input_that_the_pages_give_an_exports_own_schedule_starts_it(bench: Bench) -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")
    (given,) = re.findall(r"the input `(\{.*?\})`", page)
    event = json.loads(given.replace("connection/export", MAIN))
    started = bench.stack.scheduled_starts().handle(event)
    assert (started["export"], started["state"], started["cause"]) == (MAIN, "running", "schedule")


def test_the_input_of_older_pages_starts_it_too(bench: Bench) -> None:
    assert bench.stack.scheduled_starts().handle({"export": MAIN, "cause": "schedule"})["state"] == "running"


def test_a_schedule_that_meets_an_active_run_is_followed_by_one_more_when_that_ends(bench: Bench) -> None:
    first = bench.ask("run", export=MAIN)["run"]
    met = bench.stack.scheduled_starts().handle({"export": MAIN})
    assert met["reason"] == f"run {first} is active (running); another follows it by itself"
    bench.tick()
    assert active(bench) == first

    bench.work_off()
    bench.tick(after=MINUTE)
    assert active(bench) not in (None, first)
    bench.work_off()
    bench.tick(after=MINUTE)
    assert [run["cause"] for run in bench.ask("runs", export=MAIN)["runs"]] == ["resync", "on demand"]


def active(bench: Bench, key: str = MAIN) -> str | None:
    run = runs.active(bench.database, key)
    return None if run is None else run.id


def test_the_default_schedule_starts_every_valid_export_without_a_schedule_of_its_own(bench: Bench) -> None:
    for name in ("nightly", "broken"):
        bench.edit(name, options=name)
    bench.own_schedules = frozenset({f"{CONNECTION}/nightly", OTHERS})
    bench.settings.problems[f"{CONNECTION}/broken"] = SettingsProblem("mapping", "is missing", field="mapping")

    answer = bench.stack.scheduled_starts().handle({"exports": "default"})

    assert [(started["export"], started["cause"]) for started in answer["started"]] == [(MAIN, "schedule")]
    assert active(bench, f"{CONNECTION}/nightly") is None
    assert [line["subject"] for line in bench.logged() if line["message"] == "settings"] == [
        f"export {CONNECTION}/broken"
    ]


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (
            {"version": "0", "id": "x", "detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"},
            "event",
        ),
        ({}, "event"),
        (None, "event"),
        (MAIN, "event"),
        ([{"export": MAIN}], "event"),
        ({"exports": "all"}, "exports"),
        ({"exports": ["letters/main"]}, "exports"),
        ({"exports": "default", "export": MAIN}, "export"),
        ({"export": None}, "export"),
        ({"export": "main"}, "export"),
        ({"export": "letters.main"}, "export"),
        ({"export": "Letters/main"}, "export"),
        ({"export": "letters/main/more"}, "export"),
        ({"export": MAIN, "cause": "an operator"}, "cause"),
        ({"export": MAIN, "confirmed": True}, "confirmed"),
    ],
)
def test_an_event_that_makes_no_sense_fails_with_field_and_reason(bench: Bench, event: Any, field: str) -> None:
    with pytest.raises(EventProblem) as refused:
        bench.stack.scheduled_starts().handle(event)
    assert refused.value.field == field
    [line] = [line for line in bench.logged() if line["message"] == "refused event"]
    assert (line["field"], line["reason"], line["actor"]) == (field, refused.value.what, "administrator")
    assert runs.latest(bench.database, MAIN) == []


@pytest.mark.parametrize("question", ["confirm", "cancel", "show", "runs", "check", "probe", "retry"])
def test_a_schedule_can_do_nothing_but_start(bench: Bench, question: str) -> None:
    run = bench.ask("run", export=MAIN)["run"]
    before = bench.database.snapshot()
    with pytest.raises(EventProblem, match="admin function"):
        bench.stack.scheduled_starts().handle({question: run})
    with pytest.raises(EventProblem):
        bench.stack.scheduled_starts().handle({"export": MAIN, question: run})
    assert bench.database.snapshot() == before


def test_a_schedule_of_an_export_that_is_gone_or_invalid_fails(bench: Bench) -> None:
    with pytest.raises(SettingsProblem, match="there is none"):
        bench.stack.scheduled_starts().handle({"export": f"{CONNECTION}/gone"})
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    with pytest.raises(SettingsProblem):
        bench.stack.scheduled_starts().handle({"export": MAIN})
    fields = [line["field"] for line in bench.logged() if line["message"] == "refused event"]
    assert fields == ["export", "mapping.emial"]


def test_a_start_that_aws_keeps_from_happening_is_requested(bench: Bench) -> None:
    """Given a queue that takes nothing, When the schedule fires, Then the tick starts the run, as nobody repeats it."""
    bench.edit("second", options="8")
    bench.queue.failures = [Busy("queue", "throttled")]
    answer = bench.stack.scheduled_starts().handle({"exports": "default"})
    first, second, _ = answer["started"]
    assert (first["run"], second["state"]) == (None, "running")
    assert "starts by itself" in first["reason"]
    assert bench.breaker("main").resync
    # It was begun, and its page's message is lost: the tick sends it again.
    bench.tick(after=STALLED_AFTER + MINUTE)
    bench.work_off()
    assert list(bench.tool.holds()) == ["2@x.example"]


def test_settings_that_aws_does_not_tell_at_once_are_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [Busy("settings_unavailable", "SSM")] * 2
    exports = bench.settings.exports

    def busy_twice() -> Any:
        if failures:
            raise failures.pop()
        return exports()

    monkeypatch.setattr(bench.settings, "exports", busy_twice)
    answer = bench.stack.scheduled_starts().handle({"exports": "default"})
    assert [started["export"] for started in answer["started"] if started["state"] == "running"] == [MAIN]
    assert 10 < sum(bench.clock.slept) < 60


def test_an_export_that_meets_a_defect_keeps_no_other_from_starting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given three exports of which the second trips, When the default schedule fires, Then the invocation fails after
    the others were started."""
    for name in ("other", "third"):
        bench.edit(name, options=name)
    plain = runs.begin

    def trip(database: Database, run: Run) -> bool:
        if run.export == f"{CONNECTION}/other":
            raise KeyError("Kim Lovelace")
        return plain(database, run)

    monkeypatch.setattr(runs, "begin", trip)
    with pytest.raises(Unexpected) as shown:
        bench.stack.scheduled_starts().handle({"exports": "default"})
    assert f"{CONNECTION}/other" in shown.value.what
    assert "Lovelace" not in bench.log.getvalue() + str(shown.value)
    assert all(active(bench, f"{CONNECTION}/{name}") for name in ("main", "third"))


def test_an_export_whose_settings_become_invalid_meanwhile_keeps_no_other_from_starting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two valid exports, When one is edited to nonsense before its start, Then the other one starts."""
    bench.edit("other", options="8")
    listing = bench.settings.exports()
    monkeypatch.setattr(bench.settings, "exports", lambda: listing)
    bench.settings.problems[MAIN] = SettingsProblem("missing", "is missing", field="mapping")

    answer = bench.stack.scheduled_starts().handle({"exports": "default"})

    started = {one["export"]: one for one in answer["started"]}
    assert "mapping: is missing" in started[MAIN]["error"]
    assert started[f"{CONNECTION}/other"]["state"] == "running"
    assert active(bench) is None
