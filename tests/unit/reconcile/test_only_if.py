"""`only_if`: a profile in the segments for which it is false is no member. What cannot be worked out removes nobody."""

from typing import Any

import pytest

from relay.domain.ledger import Column
from relay.domain.runs import RunState
from relay.reconcile.desired import desired_of
from relay.reconcile.verdict import DELIVERED, UNCHANGED, Verdict
from relay.stores import profiles
from tests.fakes.bench import KEYED, Bench, person

ADULTS = "attributes.adult"
UNFIT = Verdict(Column.REJECTED, "unfit_only_if")
ODD = ["true", "false", "", 1, 0, [], [True], {}, "yes"]

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def address(number: int) -> str:
    return f"{number}@x.example"


def bench_of(*adult: Any, only_if: str = ADULTS, **options: Any) -> Bench:
    """Return a bench with profiles 0, 1, ... of this `adult`, whose settings have passed the guard."""
    bench = Bench(**options)
    for number, value in enumerate(adult):
        bench.store(number, email=address(number), adult=value)
    bench.edit(only_if=only_if)
    return bench


def holds(bench: Bench) -> list[int]:
    return sorted(int(identity.partition("@")[0]) for identity in bench.tool.holds())


@both
def test_a_run_takes_only_those_for_whom_it_is_true(imports: bool) -> None:
    bench = bench_of(True, False, None, True, imports=imports, streams=False)
    run = bench.full_run()
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert holds(bench) == [0, 3]


def test_looks_take_only_those_for_whom_it_is_true() -> None:
    bench = bench_of(True, False, None)
    assert bench.reconcile(0, 1, 2) == {0: DELIVERED}
    assert holds(bench) == [0]


@both
def test_whoever_it_becomes_false_for_leaves_and_returns_when_it_is_true_again(imports: bool) -> None:
    bench = bench_of(True, True, True, imports=imports)
    bench.full_run()
    bench.store(1, adult=False)
    bench.consume(bench.look(1))
    bench.work_off()
    assert holds(bench) == [0, 2]
    bench.store(1, adult=True)
    bench.consume(bench.look(1))
    bench.work_off()
    assert holds(bench) == [0, 1, 2]


def test_a_run_takes_out_whoever_it_became_false_for() -> None:
    bench = bench_of(True, True, True, streams=False)
    bench.full_run()
    bench.store(1, adult=None)
    run = bench.full_run()
    assert bench.counts(run) == {"assigned": 3, "selected": 2, "unchanged": 2, "leaving": 1, "removed": 1}
    assert holds(bench) == [0, 2]


@pytest.mark.parametrize("value", ODD)
def test_what_is_neither_true_nor_false_neither_joins_nor_leaves(value: Any) -> None:
    bench = bench_of(True, value)
    assert bench.full_run().state is RunState.FINISHED
    assert holds(bench) == [0]
    bench.store(0, adult=value)
    assert bench.reconcile(0, 1) == {0: UNFIT, 1: UNFIT}
    run = bench.full_run()
    assert bench.counts(run) == {"assigned": 1, "selected": 2, "rejected": 2, "rejected:unfit_only_if": 2}
    assert holds(bench) == [0]


def test_one_that_cannot_be_worked_out_neither_joins_nor_leaves() -> None:
    bench = bench_of(True, True, True)
    bench.full_run()
    bench.edit(only_if="contains(attributes.tags, 'a')")
    bench.store(1, tags=["a"])
    bench.store(2, tags=["b"])
    bench.full_run()
    assert holds(bench) == [0, 1]
    bench.store(0, tags=["b"])
    bench.reconcile(0)
    assert holds(bench) == [1]


def test_whoever_stays_leaves_all_the_same_with_the_segment() -> None:
    bench = bench_of(True, True, True)
    bench.full_run()
    bench.store(1, adult="odd")
    bench.full_run()
    assert holds(bench) == [0, 1, 2]
    bench.leave(1)
    bench.consume(bench.look(1))
    assert holds(bench) == [0, 2]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("slip", ["attributes.adlut", "`false`"])
def test_a_slip_in_it_empties_no_list(slip: str, streams: bool) -> None:
    bench = bench_of(True, True, True, streams=streams)
    bench.full_run()
    bench.edit(only_if=slip)
    assert bench.consume(bench.look(0)) == []
    assert bench.full_run().state is RunState.NEEDS_CONFIRMATION
    assert holds(bench) == [0, 1, 2]


def test_an_edit_of_it_counts_for_profiles_that_did_not_change() -> None:
    bench = bench_of(True, True, False)
    bench.full_run()
    bench.edit(only_if="attributes.adult == `false` || attributes.email == '0@x.example'")
    bench.full_run()
    assert holds(bench) == [0, 2]


def test_another_with_the_same_identity_takes_its_place() -> None:
    bench = bench_of(True, True, True)
    bench.store(1, email=address(0))
    bench.full_run()
    bench.store(0, adult=False)
    bench.consume(bench.look(0))
    bench.work_off()
    assert holds(bench) == [0, 2]
    assert bench.record(address(0)).winner == person(1)


def test_what_a_profile_wants_says_that_only_if_leaves_it_out() -> None:
    bench = bench_of(True, False, "odd")
    bench.leave(0)
    found = profiles.load(bench.database, [person(number) for number in range(3)])
    wants = [desired_of(bench.export, bench.tool, one, KEYED) for one in found]
    assert [one.is_left_out for one in wants] == [False, True, False]
    assert [one.rejection and one.rejection.code for one in wants] == [None, None, "unfit_only_if"]


def test_without_a_change_nothing_is_worked_out_again() -> None:
    bench = bench_of(True, True)
    bench.full_run()
    assert bench.reconcile(0, 1) == {0: UNCHANGED, 1: UNCHANGED}
    assert bench.counts(bench.full_run()) == {"assigned": 2, "selected": 2, "unchanged": 2}
