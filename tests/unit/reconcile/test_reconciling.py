"""One look: desired is compared with acknowledged state, the difference is sent, and the answer recorded."""

from datetime import timedelta

import pytest

from relay.domain.assignment import Pair
from relay.domain.identity import NOBODY, OUT, Rest, Unwanted
from relay.domain.ledger import Column
from relay.domain.problems import StaleSettings
from relay.domain.runs import RunState
from relay.reconcile.verdict import DELIVERED, DUPLICATE, UNCHANGED, Verdict
from relay.stores.database import Table
from tests.fakes.bench import LAPSED, VIP, Bench, person

ANN, BOB = "ann@x.example", "bob@x.example"
HOUR = timedelta(hours=1)


def writes(bench: Bench) -> list[str]:
    return [step for step in bench.database.steps if step.startswith(("write", "transact"))]


def test_a_new_member_is_brought_with_the_mapped_values() -> None:
    bench = Bench()
    bench.store(2, email=" Ann@x.example", name="Ann")
    bench.store(4, email=BOB)

    assert bench.reconcile(2) == {2: DELIVERED}

    assert bench.tool.holds() == {ANN: {"name": "Ann"}}
    assert bench.assigned(2) == {Pair(bench.target(), ANN)}
    record = bench.record(ANN)
    assert (record.winner, record.open, record.since) == (person(2), None, bench.clock.now())


def test_an_unchanged_profile_costs_two_reads_and_no_write() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="Ann")
    bench.reconcile(2)
    bench.clock.time += HOUR
    before = bench.database.snapshot()
    bench.database.forget_units()

    assert bench.reconcile(2) == {2: UNCHANGED}

    assert len(bench.sent) == 1
    assert bench.database.snapshot() == before
    read = {table: units for table, units in bench.database.read_units.items() if table is not Table.CONTROL}
    assert read == {Table.ASSIGNMENTS: 1, Table.IDENTITIES: 1, Table.PROFILES: 1}
    assert not bench.database.write_units


def test_a_call_is_in_the_records_before_it_is_made_and_its_answer_after_it() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.job()
    seen: list[str] = []
    # Its turn to call is not what this is about.
    bench.database.before = lambda step: seen.append(step) if step.startswith(("write a", "write i")) else None
    bench.tool.step = seen.append

    bench.reconcile(2)

    assert seen == ["write assignments", "write identities", "before call tool", "after call tool", "write identities"]


def test_rows_are_cut_into_calls_of_the_destinations_size() -> None:
    bench = Bench(call_size=2)
    for number in range(5):
        bench.store(number, email=f"{number}@x.example")

    bench.reconcile(*range(5))

    assert [len(call) for call in bench.sent] == [2, 2, 1]
    assert len(bench.tool.holds()) == 5


def test_of_many_in_one_call_exactly_the_refused_are_rejected() -> None:
    bench = Bench(call_size=100)
    numbers = range(0, 240, 2)
    for number in numbers:
        bench.store(number, email=f"{number}@x.example")
    bench.tool.refuses = {"4@x.example", "96@x.example", "220@x.example"}

    stands = bench.reconcile(*numbers)

    assert [number for number in numbers if stands[number] != DELIVERED] == [4, 96, 220]
    assert [number for number in numbers if bench.record(f"{number}@x.example").refused] == [4, 96, 220]
    assert len(bench.tool.holds()) == len(numbers) - 3


def test_whoever_moves_between_segments_leaves_one_target_and_joins_the_other() -> None:
    bench = Bench(segments=(VIP, LAPSED))
    bench.store(2, outside=(LAPSED,), email=ANN)
    bench.full_run()
    bench.store(2, inside=(LAPSED,), outside=(VIP,))

    assert bench.reconcile(2) == {2: DELIVERED}

    assert list(bench.tool.held) == [(f"segment/{LAPSED}", ANN)]
    assert bench.assigned(2) == {Pair(f"segment/{LAPSED}", ANN)}


def guarded(**options: object) -> Bench:
    """Return a bench whose export has had a run, so that looks take out leavers, too; Ann is in."""
    bench = Bench(**options)  # type: ignore[arg-type]
    bench.store(2, email=ANN, name="Ann")
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.clock.time += HOUR
    return bench


def test_an_identity_that_changed_is_taken_out() -> None:
    bench = guarded()
    bench.store(2, email=BOB)

    bench.reconcile(2)

    assert bench.tool.holds() == {BOB: {"name": "Ann"}}
    assert sorted(bench.sent[0]) == [f"-{ANN}", BOB]
    assert bench.assigned(2) == {Pair(bench.target(), BOB)}


def test_whoever_leaves_is_taken_out_and_nothing_is_left_of_them_but_the_record() -> None:
    bench = guarded()
    bench.leave(2)
    bench.reconcile(2)
    assert bench.tool.holds() == {}
    assert (bench.record(ANN).desired, bench.record(ANN).acknowledged) == (NOBODY, OUT)
    assert list(bench.database.items(Table.ASSIGNMENTS)) == []
    before = bench.database.snapshot()
    assert bench.reconcile(2) == {}
    assert bench.database.snapshot() == before


def test_until_a_run_was_let_through_nobody_is_taken_out() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.reconcile(2)
    bench.leave(2)
    assert bench.reconcile(2) == {}
    assert bench.tool.holds() == {ANN: {}}
    assert bench.assigned(2) == {Pair(bench.target(), ANN)}


def test_a_segment_taken_out_of_the_export_is_left_in_its_run() -> None:
    bench = Bench(segments=(VIP, LAPSED))
    bench.store(2, inside=(VIP, LAPSED), email=ANN)
    bench.full_run()
    bench.edit(segments=(VIP,))

    bench.full_run()

    assert list(bench.tool.held) == [(f"segment/{VIP}", ANN)]
    assert bench.assigned(2) == {Pair(f"segment/{VIP}", ANN)}


def test_another_list_is_joined_and_the_old_one_left() -> None:
    bench = guarded(imports=True)
    bench.store(4, email=BOB)
    bench.reconcile(4)
    bench.work_off()
    bench.edit(options="8")

    run = bench.full_run()
    assert run.state is RunState.NEEDS_CONFIRMATION
    assert bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()

    assert sorted(bench.tool.held) == [("list/8", ANN), ("list/8", BOB)]
    # What an import took out is taken out of assignments by the next look.
    bench.full_run()
    assert bench.assigned(2) == {Pair("list/8", ANN)}


def test_where_leaving_is_not_told_the_contact_stays_and_a_return_is_sent_again() -> None:
    """It may have been removed by hand meanwhile."""
    bench = guarded()
    bench.tool.keeps = True
    bench.leave(2)

    assert bench.reconcile(2) == {}

    assert bench.tool.holds() == {ANN: {"name": "Ann"}}
    assert bench.sent == []
    assert bench.record(ANN).desired == Unwanted(Rest.KEEP)
    assert list(bench.database.items(Table.ASSIGNMENTS)) == []

    bench.tool.held.clear()
    bench.store(2)
    assert bench.reconcile(2) == {2: DELIVERED}
    assert bench.tool.holds() == {ANN: {"name": "Ann"}}


def test_a_profile_written_under_newer_settings_is_not_touched() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    old = bench.job()
    bench.edit(mapping={"email": "attributes.email"})
    bench.reconcile(2)
    before = bench.database.snapshot()

    with pytest.raises(StaleSettings) as raised:
        bench.stack.reconciler.look(old, [person(2)])

    assert raised.value.version == bench.export.version
    assert bench.database.snapshot() == before


def test_a_record_that_another_profile_claimed_under_newer_settings_is_not_touched() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    bench.store(4, email=ANN)
    old = bench.job()
    bench.edit(mapping={"email": "attributes.email"})
    bench.reconcile(4)
    before = bench.record(ANN)

    with pytest.raises(StaleSettings) as raised:
        bench.stack.reconciler.look(old, [person(2)])

    assert raised.value.version == bench.export.version
    assert bench.record(ANN) == before


# Two profiles with one identity.


def test_of_two_profiles_with_one_address_the_smaller_is_sent_and_the_other_is_a_duplicate() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="first")
    bench.store(4, email=ANN, name="second")

    assert bench.reconcile(2, 4) == {2: DELIVERED, 4: DUPLICATE}

    assert bench.tool.holds() == {ANN: {"name": "first"}}
    assert bench.assigned(4) == {Pair(bench.target(), ANN)}


def test_the_identity_leaves_only_with_its_last_claimant() -> None:
    bench = guarded()
    bench.store(4, email=ANN, name="second")
    bench.reconcile(2, 4)

    bench.leave(2)
    bench.reconcile(2)
    assert [task.profiles for task in bench.queue.tasks] == [(person(4),)]  # type: ignore[union-attr]
    bench.work_off()
    assert bench.tool.holds() == {ANN: {"name": "second"}}

    bench.leave(4)
    bench.reconcile(4)
    assert bench.tool.holds() == {}
    assert bench.record(ANN).winner is None


def test_a_smaller_profile_that_comes_later_takes_over() -> None:
    bench = Bench()
    bench.store(4, email=ANN, name="second")
    bench.reconcile(4)
    bench.store(2, email=ANN, name="first")

    assert bench.reconcile(2) == {2: DELIVERED}
    bench.work_off()

    assert bench.tool.holds() == {ANN: {"name": "first"}}
    assert bench.reconcile(4) == {4: DUPLICATE}


def test_a_change_of_somebody_who_does_not_win_sends_nothing() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="first")
    bench.store(4, email=ANN, name="second")
    bench.reconcile(2, 4)
    bench.store(4, name="third")
    assert bench.reconcile(4) == {4: DUPLICATE}
    assert len(bench.sent) == 1


# Profiles that cannot be mapped.


@pytest.mark.parametrize(("email", "code"), [(None, "no_email"), ("nonsense", "malformed_email")])
def test_a_profile_without_a_usable_identity_is_rejected_with_the_reason_and_costs_no_call(
    email: str | None, code: str
) -> None:
    bench = Bench()
    bench.store(2, email=email)

    assert bench.reconcile(2) == {2: Verdict(Column.REJECTED, code)}

    assert bench.sent == []
    rejection = bench.assignment(2).rejection
    assert rejection is not None
    assert (rejection.code, rejection.at) == (code, bench.clock.now())
    before = bench.database.snapshot()
    bench.clock.time += HOUR
    bench.reconcile(2)
    assert bench.database.snapshot() == before


def test_whoever_loses_the_address_is_taken_out_and_rejected_until_there_is_another_one() -> None:
    bench = guarded()
    bench.store(2, email=None)

    assert bench.reconcile(2) == {2: Verdict(Column.REJECTED, "no_email")}
    assert bench.tool.holds() == {}
    bench.store(2, email="nonsense")
    assert bench.reconcile(2) == {2: Verdict(Column.REJECTED, "malformed_email")}
    bench.store(2, email=BOB)
    assert bench.reconcile(2) == {2: DELIVERED}
    assert bench.assignment(2).rejection is None


def test_a_rejected_profile_that_leaves_is_forgotten() -> None:
    bench = guarded()
    bench.store(4, email=None)
    bench.reconcile(4)
    bench.leave(4)
    assert bench.reconcile(4) == {}
    assert bench.assignment(4).is_empty
    assert len(list(bench.database.items(Table.ASSIGNMENTS))) == 1
