"""What schedules ask: runs, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from relay.domain.exports import Export
from relay.domain.problems import Busy, EventProblem, SettingsProblem, Unexpected
from relay.domain.runs import Run
from relay.stores import gates, runs
from tests.fakes.delivery_bench import CONNECTION, Bench

MAIN = f"{CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    bench = Bench(streams=False)
    bench.store(2, email="2@x.example")
    return bench


def test_the_input_that_the_pages_give_an_exports_own_schedule_starts_it(bench: Bench) -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")
    (given,) = re.findall(r"the input `(\{.*?\})`", page)
    event = json.loads(given.replace("connection/export", MAIN))
    started = bench.scheduled().handle(event)
    assert (started["export"], started["state"], started["cause"]) == (MAIN, "running", "schedule")


def test_the_input_of_older_pages_starts_it_too(bench: Bench) -> None:
    assert bench.scheduled().handle({"export": MAIN, "cause": "schedule"})["state"] == "running"


def test_a_schedule_that_meets_an_active_run_is_followed_by_one_more_when_that_ends(bench: Bench) -> None:
    first = bench.operator().handle({"export": MAIN})["run"]
    met = bench.scheduled().handle({"export": MAIN})
    assert met["reason"] == f"run {first} is active (running); another follows it by itself"
    bench.tick()
    assert runs.active(bench.database, MAIN) == first

    bench.work_off()
    bench.tick()
    second = runs.active(bench.database, MAIN)
    assert second not in (None, first)
    bench.work_off()
    bench.tick()
    assert [run["cause"] for run in bench.operator().handle({"runs": MAIN})["runs"]] == ["owed", "on demand"]


def test_the_default_schedule_starts_every_valid_export_without_a_schedule_of_its_own(bench: Bench) -> None:
    for name in ("nightly", "broken", "locked"):
        bench.edit(name, options=name)
    locked = SettingsProblem("unreadable", "may not be decrypted", field="export")
    bench.settings.problems[f"{CONNECTION}/locked"] = locked
    bench.settings.problems[f"{CONNECTION}/broken"] = SettingsProblem("mapping", "is missing", field="mapping")

    answer = bench.scheduled(frozenset({f"{CONNECTION}/nightly"})).handle({"exports": "default"})

    assert [(started["export"], started["cause"]) for started in answer["started"]] == [(MAIN, "schedule")]
    assert runs.active(bench.database, f"{CONNECTION}/nightly") is None
    told = [line["subject"] for line in bench.logged() if line["message"] == "settings"]
    assert sorted(told) == [f"export {CONNECTION}/broken", f"export {CONNECTION}/locked"]


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
        bench.scheduled().handle(event)
    assert refused.value.field == field
    [line] = [line for line in bench.logged() if line["message"] == "refused event"]
    assert (line["field"], line["reason"], line["actor"]) == (field, refused.value.what, "administrator")
    assert runs.latest(bench.database, MAIN) == []


@pytest.mark.parametrize("question", ["confirm", "cancel", "show", "runs", "check", "probe", "retry"])
def test_a_schedule_can_do_nothing_but_start(bench: Bench, question: str) -> None:
    run = bench.operator().handle({"export": MAIN})["run"]
    before = bench.database.snapshot()
    with pytest.raises(EventProblem, match="admin function"):
        bench.scheduled().handle({question: run})
    with pytest.raises(EventProblem):
        bench.scheduled().handle({"export": MAIN, question: run})
    assert bench.database.snapshot() == before


def test_a_schedule_of_an_export_that_is_gone_or_invalid_fails(bench: Bench) -> None:
    with pytest.raises(SettingsProblem, match="there is none"):
        bench.scheduled().handle({"export": f"{CONNECTION}/gone"})
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is not known", field="mapping.emial")
    with pytest.raises(SettingsProblem):
        bench.scheduled().handle({"export": MAIN})
    fields = [line["field"] for line in bench.logged() if line["message"] == "refused event"]
    assert fields == ["export", "mapping.emial"]


def test_a_start_that_aws_keeps_from_happening_is_owed(bench: Bench) -> None:
    """Given a queue that takes nothing, When the schedule fires, Then the tick starts the run, as nobody repeats it."""
    bench.edit("second", options="8")
    bench.queue.failures = [Busy("queue", "throttled")]
    answer = bench.scheduled().handle({"exports": "default"})
    first, second = answer["started"]
    assert (first["run"], second["state"]) == (None, "running")
    assert "starts by itself" in first["reason"]
    assert gates.load(bench.database, CONNECTION, "main")[1].owed == 1


def test_settings_that_aws_does_not_tell_at_once_are_asked_for_again(bench: Bench) -> None:
    failures: list[Exception] = [Busy("settings_unavailable", "SSM")] * 2
    exports = bench.settings.exports

    def busy_twice() -> Any:
        if failures:
            raise failures.pop()
        return exports()

    bench.settings.exports = busy_twice  # type: ignore[method-assign]
    answer = bench.scheduled().handle({"exports": "default"})
    assert [started["state"] for started in answer["started"]] == ["running"]
    assert 10 < sum(bench.clock.slept) < 60


def test_an_export_that_meets_a_defect_keeps_no_other_from_starting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given three exports of which the second trips, When the default schedule fires, Then the invocation fails after
    the others were started."""
    for name in ("other", "third"):
        bench.edit(name, options=name)
    start = bench.starter.start

    def trip(export: Export, cause: str, **options: Any) -> Run | None:
        if export.name == "other":
            raise KeyError("kim@example.com")
        return start(export, cause, **options)

    monkeypatch.setattr(bench.starter, "start", trip)
    with pytest.raises(Unexpected) as told:
        bench.scheduled().handle({"exports": "default"})
    assert f"{CONNECTION}/other" in told.value.what
    assert "kim" not in bench.log.getvalue() + str(told.value)
    assert all(runs.active(bench.database, f"{CONNECTION}/{name}") for name in ("main", "third"))
