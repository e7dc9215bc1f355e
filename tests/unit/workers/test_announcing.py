"""What happens is announced outside, at least once, and whatever the outside does holds nothing up."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.domain.problems import SettingsProblem
from relay.domain.runs import Run, RunState
from relay.stores import breakers, notices, runs
from tests.fakes.bench import LAPSED, MINUTE, VIP, Bench, Crash
from tests.fakes.observing import counted
from tests.unit.runs.test_guard import guarded

RAN = ["Run Ended", "Run Started"]
"""Sorted: the bench's clock stands still."""


def ran(members: int = 3, **options: Any) -> tuple[Bench, Run]:
    bench = Bench(streams=False, **options)
    for number in range(members):
        bench.store(number, email=f"{number}@x.example")
    run = bench.full_run()
    bench.tick(after=MINUTE)
    return bench, run


def ended(bench: Bench) -> dict[str, Any]:
    """Return the last event of a run that has ended."""
    return [event for event in bench.bus.events if event["DetailType"] == "Run Ended"][-1]


def waiting(bench: Bench) -> list[str]:
    return [notice.what for notice in notices.waiting(bench.database)]


def test_a_run_is_announced_as_it_starts_and_ends_with_its_counts() -> None:
    bench, run = ran()
    assert sorted(bench.bus.said) == RAN
    event = ended(bench)
    assert (event["Source"], event["Time"]) == ("audience-relay", run.ended_at)
    assert event["Detail"] == {
        "version": 1, "id": f"run-ended:{run.id}", "stack": "bench", "run": run.id, "export": "letters/main",
        "connection": "letters", "cause": "test", "state": "finished", "reason": None, "phase": "deliver",
        "retry": None, "full": False, "planned_leaving": None, "settings": run.settings, "adds_up": True,
        "started_at": "2026-03-01T12:01:00.000000Z", "ended_at": "2026-03-01T12:01:00.000000Z", "seconds": 0.0,
        "counts": {"calls": event["Detail"]["counts"]["calls"], "delivered": 3, "selected": 3},
    }  # fmt: skip
    assert waiting(bench) == []


def test_its_record_lies_in_the_bucket_by_the_day_it_began_and_says_the_same_in_one_line() -> None:
    bench, run = ran()
    ((key, body),) = bench.bucket.objects.items()
    assert key == f"bench-bucket/runs/year=2026/month=03/day=01/{run.id}.json"
    assert body.endswith(b"\n")
    assert body.count(b"\n") == 1
    said = ended(bench)["Detail"]
    assert json.loads(body) == {name: value for name, value in said.items() if name != "id"}


def test_nothing_is_announced_twice_and_without_news_nobody_is_called() -> None:
    bench, _ = ran()
    before = bench.bus.requests
    bench.tick(after=MINUTE)
    assert (sorted(bench.bus.said), bench.bus.requests, len(bench.bucket.objects)) == (RAN, before, 1)


def test_a_run_that_waits_for_a_person_is_announced_and_so_is_its_end() -> None:
    bench, run = guarded()
    bench.bus.events.clear()
    bench.tick()
    (event,) = (event for event in bench.bus.events if event["DetailType"] == "Run Needs Confirmation")
    assert "101 of 120" in event["Detail"]["reason"]
    bench.stack.starter.cancel(run.id, "an operator")
    bench.tick()
    assert ended(bench)["Detail"]["state"] == "cancelled"


def test_a_refused_run_is_announced_as_ended() -> None:
    bench = Bench(segments=(VIP, "shop/never"))
    bench.clock.time += MINUTE
    assert bench.start().state is RunState.REFUSED
    bench.tick()
    assert bench.bus.said == ["Run Ended"]
    assert bench.bus.events[0]["Detail"]["reason"] == "segments never seen: shop/never, shop/vip"


@pytest.mark.parametrize("export", [None, "main"])
def test_a_stop_and_its_end_are_announced(export: str | None) -> None:
    bench, _ = ran()
    bench.bus.events.clear()
    bench.stop(export, "unpaid", "refuses to work")
    stopped_at = bench.clock.now()
    bench.tick()
    bench.clock.time += MINUTE
    assert breakers.restart(bench.database, bench.breaker(export), bench.clock.now())
    bench.tick()
    assert bench.bus.said[:2] == ["Stopped", "Recovered"]
    stopped, recovered = (event["Detail"] for event in bench.bus.events[:2])
    about = {"stack": "bench", "version": 1, "connection": "letters", "export": export}
    why = {"code": "unpaid", "reason": "refuses to work", "actor": stopped["actor"]}
    subject = "connection letters" if export is None else "export letters/main"
    name = subject.replace(" ", "-")
    at = bench.bus.events[0]["Time"]
    assert at == stopped_at
    assert stopped == {**about, **why, "id": f"stopped:{name}#1", "at": "2026-03-01T12:02:00.000000Z"}
    assert recovered == {
        **about, **why, "id": f"recovered:{name}#2", "at": "2026-03-01T12:03:00.000000Z", "stopped_at": stopped["at"],
    }  # fmt: skip


def test_an_address_in_a_reason_is_withheld() -> None:
    bench, _ = ran()
    bench.stop(code="odd", reason="refuses kim@x.example")
    bench.tick()
    assert bench.bus.events[-1]["Detail"]["reason"] == "[withheld]"


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_where_the_bus_is_down_all_else_goes_on_and_the_events_come_later(code: str) -> None:
    bench, _ = ran(members=0)
    bench.bus.down, bench.bus.events = code, []
    bench.store(1, email="1@x.example")
    bench.stack.starter.start(bench.export, "test")
    bench.work_off()
    bench.tick(after=MINUTE)
    assert len(bench.bucket.objects) == 2
    assert waiting(bench) == RAN
    assert "announcement" in bench.events()
    bench.bus.down = None
    bench.tick(after=MINUTE)
    assert sorted(bench.bus.said) == RAN
    assert waiting(bench) == []


def test_a_refusal_of_rights_names_who_must_act() -> None:
    bench, _ = ran()
    bench.bucket.down = "AccessDenied"
    bench.stack.starter.start(bench.export, "test")
    bench.work_off()
    with pytest.raises(SettingsProblem, match="AWS refuses what is announced"):
        bench.new_stack().announcer.step()
    assert waiting(bench) == ["record"]
    bench.bucket.down = None
    bench.tick()
    assert len(bench.bucket.objects) == 2


def test_an_event_that_is_refused_alone_waits_alone() -> None:
    bench, _ = ran()
    bench.bus.events.clear()
    bench.bus.refuses = {"Stopped"}
    bench.stop()
    bench.stop(export="main")
    other = bench.stack.starter.start(bench.other_export, "test")
    assert other is not None
    bench.tick()
    assert waiting(bench) == ["Stopped", "Stopped"]
    assert "Run Ended" in bench.bus.said


def test_a_run_that_is_off_the_record_is_no_news() -> None:
    bench, _ = ran()
    late = notices.Notice(bench.clock.now(), notices.RUN_ENDED, "20200101T000000-gone")
    bench.database.write([notices.note(late), notices.note(late._replace(what=notices.RECORD))])
    bench.tick()
    assert waiting(bench) == []


def test_more_than_one_request_of_events_is_sent() -> None:
    bench, _ = ran()
    bench.bus.events.clear()
    before = bench.bus.requests
    for number in range(23):
        notice = notices.Notice(bench.clock.now(), notices.STOPPED, f"connection c{number:02}#1")
        bench.database.write([notices.note(notice)])
    bench.tick()
    assert (len(bench.bus.said), bench.bus.requests - before) == (23, 3)


def change_everything(bench: Bench) -> None:
    bench.store(1, email="1@x.example", inside=(VIP, LAPSED))
    bench.stack.starter.start(bench.export, "test")
    bench.work_off()
    bench.stop(export="main")
    bench.tick(after=MINUTE)


@pytest.mark.parametrize("step", range(1, 45, 2))
def test_whoever_dies_at_any_step_all_that_happened_is_announced(step: int) -> None:
    bench = Bench(streams=False)
    bench.clock.time += MINUTE
    bench.crash_at = bench.steps + step
    try:
        change_everything(bench)
    except Crash:
        bench.restart()
    bench.crash_at = None
    for _ in range(20):
        bench.tick(after=MINUTE)
        bench.work_off()
    happened = {
        f"run-ended:{run.id}" for run in runs.latest(bench.database, bench.export.key) if run.ended_at is not None
    }
    happened |= {f"stopped:export-letters/main#{number}" for number in range(1, bench.breaker("main").epoch + 1, 2)}
    said = {event["Detail"]["id"] for event in bench.bus.events}
    assert happened <= said
    assert waiting(bench) == []


def shown(text: str, metric: str) -> list[tuple[str | None, float]]:
    return [(line.get("export"), line["value"]) for line in counted(text, metric)]


def test_how_long_a_run_took_and_a_rise_of_its_rejections_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    bench, _ = ran(members=30)
    for number in range(12):
        bench.store(number, email="odd")
    run = bench.full_run()
    assert runs.change_state(bench.database, bench.run(run), run.state, run.started_at + 2 * MINUTE)
    capsys.readouterr()
    bench.tick(after=MINUTE)
    text = capsys.readouterr().out
    assert shown(text, "RejectionsRise")[:2] == [(None, 40.0), ("letters/main", 40.0)]
    assert shown(text, "RunSeconds")[-1] == ("letters/main", 120.0)


@pytest.mark.parametrize(
    ("before", "now", "rise"),
    [((100, 10), (100, 30), 20), ((100, 30), (100, 10), 0), ((100, 10), (19, 19), 0), ((19, 0), (100, 50), 0)],
)
def test_few_profiles_are_no_share(before: tuple[int, int], now: tuple[int, int], rise: int) -> None:
    from relay.domain.ledger import rejected_more

    counts: Callable[[tuple[int, int]], dict[str, int]] = lambda one: {"selected": one[0], "rejected": one[1]}  # noqa: E731
    assert rejected_more(counts(before), counts(now)) == rise
