"""A plan says what a run would do, with the run's own code; it writes nothing and calls nobody."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from relay.domain.problems import ExportProblem, SettingsProblem
from relay.domain.runs import RunState
from relay.wiring_operators import Operators
from relay.workers import planner
from relay.workers.planner import Plan, Planner
from tests.fakes.bench import LAPSED, MINUTE, VIP, Bench, person
from tests.fakes.bench_destination import Lost
from tests.fakes.read_only_database import ReadOnlyDatabase

HOUR = timedelta(hours=1)

both = pytest.mark.parametrize("streams", [True, False], ids=["streams", "runs"])


def planner_of(bench: Bench, **changes: Any) -> Planner:
    """Return a planner whose database refuses writes."""
    stack = bench.new_stack()
    stack.database = ReadOnlyDatabase(bench.database)
    made = Operators(stack).planner
    return Planner(made.database, made.opener, made.surveyor, made.clock, **changes)


def pages_of(bench: Bench, key: str = "letters/main", **changes: Any) -> list[Plan]:
    """Return all pages of a plan, which has called nobody."""
    made, calls, probes = planner_of(bench, **changes), bench.api_calls, len(bench.tool.probes)
    sent = len(bench.tool.calls_made)
    pages = [made.plan(key)]
    while pages[-1].after is not None:
        assert pages[-1].counts["selected"] > 0
        pages.append(made.plan(key, pages[-1].after))
    assert (bench.api_calls, len(bench.tool.probes), len(bench.tool.calls_made)) == (calls, probes, sent)
    return pages


def counts_of(bench: Bench, **changes: Any) -> dict[str, int]:
    counts = sum((page.counts for page in pages_of(bench, **changes)), Counter[str]())
    return {name: number for name, number in counts.items() if number}


def address(number: int) -> str:
    return f"{number}@x.example"


def delivered(members: int, *, streams: bool = False, imports: bool = False) -> Bench:
    bench = Bench(streams=streams, imports=imports)
    for number in range(members):
        bench.store(number, email=address(number))
    bench.full_run()
    bench.clock.time += HOUR
    return bench


@both
def test_the_first_run_lets_everybody_join_and_shows_the_first_of_them(streams: bool) -> None:
    bench = Bench(streams=streams)
    for number in range(5):
        bench.store(number, email=address(number))
    plan = planner_of(bench).plan("letters/main", first=3)
    assert plan.counts == {"selected": 5, "join": 5, "assigned": 0}
    assert plan.first == {"join": [person(0), person(1), person(2)], "change": [], "leave": []}
    assert (plan.after, plan.obstacles, plan.passed_guard) == (None, [], False)


@both
def test_each_profile_is_in_the_column_that_the_run_then_confirms(streams: bool) -> None:
    bench = delivered(8, streams=streams)
    bench.store(1, name="New")
    bench.leave(2)
    bench.store(3, email="nobody")
    bench.store(4, email=address(0))
    bench.store(8, email=address(8))
    bench.store(9, email=address(9), inside=(LAPSED,))
    bench.clock.time += MINUTE
    plan = planner_of(bench).plan("letters/main")
    assert +plan.counts == {
        "selected": 8, "join": 1, "change": 1, "unchanged": 4, "duplicate": 1, "rejected": 1,
        "rejected:malformed_email": 1, "leave": 3, "assigned": 8,
    }  # fmt: skip
    assert plan.first == {"join": [person(8)], "change": [person(1)], "leave": [person(2), person(3), person(4)]}
    assert plan.first_rejected == [(person(3), "malformed_email")]
    assert plan.passed_guard
    counts = bench.counts(bench.full_run())
    assert counts == {
        "selected": 8, "delivered": 2, "unchanged": 4, "duplicate": 1, "rejected": 1, "rejected:malformed_email": 1,
        "leaving": 3, "removed": 3, "assigned": 8,
    }  # fmt: skip


def test_a_plan_of_what_was_just_run_is_empty() -> None:
    bench = delivered(4)
    assert counts_of(bench) == {"selected": 4, "unchanged": 4, "assigned": 4}


def test_pages_add_up_to_the_same_whatever_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = delivered(12)
    for number in (1, 5):
        bench.leave(number)
    bench.store(13, email=address(13))
    bench.clock.time += MINUTE
    whole = counts_of(bench)
    monkeypatch.setattr(planner, "CHUNK", 2)
    assert len(pages_of(bench, most=4)) == 4
    assert counts_of(bench, most=4) == whole
    assert whole == {"selected": 11, "join": 1, "unchanged": 10, "leave": 2, "assigned": 12}


def test_a_page_ends_when_its_time_is_over_and_does_something_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = delivered(6)
    monkeypatch.setattr(planner, "CHUNK", 2)
    monkeypatch.setattr(planner, "WORKS_FOR", timedelta())
    pages = pages_of(bench)
    assert [page.counts["selected"] for page in pages] == [2, 2, 2]


def test_the_plan_of_a_run_that_would_empty_the_list_says_so_and_a_planned_run_does_it() -> None:
    bench = delivered(4)
    bench.edit(mapping={"email": "attributes.emial"})
    bench.clock.time += MINUTE
    plan = planner_of(bench).plan("letters/main")
    assert +plan.counts == {"selected": 4, "rejected": 4, "rejected:no_email": 4, "leave": 4, "assigned": 4}
    assert plan.export.version == bench.export.version
    run = bench.stack.starter.start(bench.export, "test", planned_leaving=plan.counts["leave"])
    assert run is not None
    bench.work_off()
    assert bench.run(run).state is RunState.MANY_REJECTED
    assert bench.tool.holds() == {}


def test_who_changed_just_now_leaves_in_the_run_of_an_export_that_streams_and_looks_may_be_faster() -> None:
    bench = delivered(4, streams=True)
    bench.leave(1)
    assert counts_of(bench) == {"selected": 3, "unchanged": 3, "assigned": 4}
    bench.edit()
    assert counts_of(bench)["leave"] == 1


def test_what_the_destination_refused_is_shown_as_rejected_with_its_code() -> None:
    bench = Bench()
    bench.tool.refuses = {address(1)}
    for number in range(3):
        bench.store(number, email=address(number))
    bench.full_run()
    expected = {"selected": 3, "unchanged": 2, "rejected": 1, "rejected:unknown_user": 1, "assigned": 3}
    bench.clock.time += HOUR
    assert counts_of(bench) == expected
    # The run tries again after a day, and nothing speaks for another answer.
    bench.clock.time += 25 * HOUR
    assert counts_of(bench) == expected
    # Other settings, or other values: nobody knows what the destination says to them.
    bench.edit()
    assert counts_of(bench)["join"] == 1


def test_who_waits_for_an_import_or_a_lost_call_is_waiting() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=address(2))
    bench.consume(bench.look(2))
    assert counts_of(bench) == {"selected": 1, "waiting": 1}
    bench = delivered(1)
    bench.tool.script = [Lost()]
    bench.store(0, name="New")
    bench.consume(bench.look(0))
    bench.store(0, name="Newer")
    assert counts_of(bench) == {"selected": 1, "waiting": 1, "assigned": 1}


def test_whoever_only_if_leaves_out_leaves() -> None:
    bench = delivered(3)
    bench.edit(only_if="attributes.email != '1@x.example'")
    assert counts_of(bench) == {"selected": 2, "unchanged": 2, "leave": 1, "assigned": 3}


def test_new_profiles_with_one_identity_are_duplicates_within_a_page() -> None:
    bench = Bench()
    for number in range(4):
        bench.store(number, email=address(0))
    assert counts_of(bench) == {"selected": 4, "join": 1, "duplicate": 3}


def test_a_profile_that_meets_a_defect_is_rejected_alone() -> None:
    bench = Bench()
    for number in range(5):
        bench.store(number, email=address(number))
    meet = bench.tool.encode

    def encode(field: str, value: Any) -> str | None:
        if value == "odd":
            raise RuntimeError
        return meet(field, value)

    bench.store(3, name="odd")
    bench.tool.encode = encode  # type: ignore[method-assign]
    assert counts_of(bench) == {"selected": 5, "join": 4, "rejected": 1, "rejected:defect": 1}


def test_a_target_that_another_export_gave_up_is_taken_over_in_the_plan_alone() -> None:
    bench = delivered(3, imports=True)
    bench.edit("second", segments=(LAPSED,))
    bench.store(7, email=address(7), inside=(LAPSED,))
    with pytest.raises(ExportProblem, match="belongs to export main"):
        planner_of(bench).plan("letters/second")
    bench.settings.delete("letters/main")
    plan = planner_of(bench).plan("letters/second")
    assert +plan.counts == {"selected": 1, "join": 1, "leave": 3, "assigned": 3}


def test_what_would_keep_a_run_from_starting_is_said() -> None:
    bench = Bench(segments=(VIP, "shop/never"))
    bench.store(1, email=address(1))
    bench.edit(active=False)
    bench.stop()
    bench.stop(export="main", code="list_gone", reason="the list is gone")
    plan = planner_of(bench).plan("letters/main")
    assert plan.counts["join"] == 1
    assert plan.obstacles == [
        "the export is paused",
        "connection letters is stopped (unpaid: refuses to work)",
        "export letters/main is stopped (list_gone: the list is gone)",
        "segments never seen: shop/never",
    ]


def test_an_export_that_does_not_exist_has_no_plan() -> None:
    with pytest.raises(SettingsProblem):
        planner_of(Bench()).plan("letters/none")
