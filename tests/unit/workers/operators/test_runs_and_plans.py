"""What operators ask about plans, planned and full runs, requested runs, and one run in detail."""

import pytest

from relay.domain.runs import RunState
from relay.stores import breakers
from relay.workers.operators.protocol import Level
from tests.fakes.bench import CONNECTION, MINUTE, OTHER_CONNECTION, Bench

MAIN = f"{CONNECTION}/main"
OTHERS = f"{OTHER_CONNECTION}/main"


@pytest.fixture
def bench() -> Bench:
    """Return a bench with four profiles that were delivered, of whom two have left since."""
    bench = Bench(streams=False)
    for number in range(4):
        bench.store(number, email=f"{number}@x.example")
    bench.full_run()
    bench.leave(1)
    bench.leave(2)
    bench.clock.time += MINUTE
    bench.tool.calls_made.clear()
    return bench


def test_a_plan_is_answered_by_who_may_only_look(bench: Bench) -> None:
    answer = bench.question("plan", Level.VIEW, export=MAIN, first=1)["answer"]
    assert answer == {
        "settings": bench.export.version,
        "counts": {"leave": 2, "selected": 2, "unchanged": 2},
        "first": {"join": [], "change": [], "leave": ["01" + "0000000001" + 20 * "0"], "rejected": []},
        "assigned_before": 4,
        "passed_guard": True,
        "cancelled": None,
        "obstacles": [],
        "next": None,
    }
    assert bench.refused("plan", export=MAIN, after="x")["field"] == "after"


def test_what_was_planned_is_done_without_a_confirmation(bench: Bench) -> None:
    plan = bench.ask("plan", export=MAIN)
    planned = {"settings": plan["settings"], "leaving": plan["counts"]["leave"]}
    run = bench.ask("run", export=MAIN, planned=planned)
    bench.work_off()
    shown = bench.ask("show", run=run["run"])
    assert (shown["state"], shown["planned_leaving"], shown["counts"]["removed"]) == ("finished", 2, 2)


def test_more_than_planned_wait(bench: Bench) -> None:
    run = bench.ask("run", export=MAIN, planned={"settings": bench.export.version, "leaving": 1})
    bench.work_off()
    assert bench.run(run["run"]).state is RunState.NEEDS_CONFIRMATION


def test_no_planned_run_starts_under_other_settings(bench: Bench) -> None:
    plan = bench.ask("plan", export=MAIN)
    bench.edit(only_if="`true`")
    answer = bench.ask("run", export=MAIN, planned={"settings": plan["settings"], "leaving": 2})
    reason = "the settings were edited after the plan: plan again"
    assert answer == {"export": MAIN, "run": None, "obstacle": "replan", "reason": reason}
    assert len(bench.ask("runs", export=MAIN)["runs"]) == 1


def test_a_full_run_sends_everybody_again(bench: Bench) -> None:
    run = bench.ask("run", export=MAIN, full=True)
    assert run["full"]
    bench.work_off()
    assert bench.ask("show", run=run["run"])["counts"]["delivered"] == 2


def test_what_is_requested_in_place_of_a_full_run_is_none_and_the_answer_says_so(bench: Bench) -> None:
    bench.stop()
    answer = bench.ask("run", export=MAIN, full=True)
    assert answer["reason"].endswith("what is requested is no full run: ask again when that is over")


def test_requested_runs_are_listed(bench: Bench) -> None:
    assert bench.ask("runs")["requested"] == []
    breakers.request_resync(bench.database, OTHER_CONNECTION, "main")
    assert bench.ask("runs")["requested"] == [OTHERS]
    assert bench.ask("runs", export=MAIN)["requested"] == []
    assert bench.ask("runs", export=OTHERS)["requested"] == [OTHERS]


def test_a_run_of_an_export_that_is_gone_is_shown_all_the_same(bench: Bench) -> None:
    run = bench.ask("runs", export=MAIN)["runs"][0]["run"]
    bench.settings.delete(MAIN)
    assert bench.ask("show", run=run)["counts"]["delivered"] == 4


def test_the_codes_of_its_rejections_and_warnings_are_explained(bench: Bench) -> None:
    bench.store(3, adult="yes")
    bench.edit(
        only_if="attributes.adult || `true`",
        mapping={"email": "attributes.email", "name": "join(' ', attributes.names)"},
    )
    bench.clock.time += MINUTE
    run = bench.ask("run", export=MAIN)
    bench.work_off()
    codes = {one["code"]: one for one in bench.ask("show", run=run["run"])["codes"]}
    assert codes.keys() == {"unfit_only_if", "unfit_expression"}
    assert "neither true nor false" in codes["unfit_only_if"]["means"]
    assert codes["unfit_expression"]["then"] == "The profile goes without this value."
