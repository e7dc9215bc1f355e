"""Very many profiles of one identity: a placeholder address."""

from datetime import timedelta

import pytest

from relay.domain import identity
from relay.domain.identity import MOST_CLAIMANTS, Rest, Unwanted, Wanted
from relay.domain.runs import RunState
from relay.reconcile.verdict import DUPLICATE
from relay.stores.database import Table, size_of
from relay.stores.identities import NEVER
from tests.fakes.bench import Bench, number_of, person
from tests.fakes.bench_destination import Lost

NOBODY = "none@x.example"
OTHER = "other@x.example"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def crowd(members: int, *, imports: bool = False, streams: bool = True, call_size: int = 200) -> Bench:
    """Return a bench of members with one placeholder address who were all looked at, and somebody else."""
    bench = Bench(imports=imports, call_size=call_size, streams=streams)
    bench.store(255, email=OTHER)
    for number in range(members):
        bench.store(number, email=NOBODY, name=f"{number:04d}")
    bench.full_run()
    bench.clock.time += HOUR
    return bench


def holds(bench: Bench) -> dict[str, dict[str, str]]:
    return {email: values for email, values in bench.tool.holds().items() if email != OTHER}


def run(bench: Bench) -> RunState:
    """Make a run in which an operator confirms."""
    made = bench.full_run()
    if made.state is RunState.NEEDS_CONFIRMATION:
        assert bench.stack.starter.confirm(bench.export, made.id, "an operator")
        bench.work_off()
    return bench.run(made).state


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_a_placeholder_address_is_one_contact_and_its_record_stays_small(imports: bool) -> None:
    bench = crowd(250, imports=imports)
    assert holds(bench) == {NOBODY: {"name": "0000"}}
    assert max(size_of(item) for item in bench.database.items(Table.IDENTITIES)) < 2000
    bench.database.steps.clear()
    made = bench.full_run()
    assert bench.counts(made) == {"selected": 251, "duplicate": 249, "unchanged": 2, "assigned": 251}
    assert bench.database.steps_on(Table.IDENTITIES) < 50, "they slow each other down"


def test_whoever_streams_in_besides_hardly_writes_the_record() -> None:
    bench = crowd(MOST_CLAIMANTS + 5)
    more = range(MOST_CLAIMANTS + 5, MOST_CLAIMANTS + 205)
    for number in more:
        bench.store(number, email=NOBODY)
    calls = len(bench.sent)
    bench.database.steps.clear()
    assert set(bench.reconcile(*more).values()) == {DUPLICATE}
    assert bench.database.steps_on(Table.IDENTITIES) < 5
    assert len(bench.sent) == calls


@pytest.mark.parametrize("streams", [True, False])
def test_a_contact_that_somebody_turned_away_still_wants_is_not_taken_out(streams: bool) -> None:
    """When all whom the record names leave, the contact stays, and a run finds who has it now; when the others leave
    too, it is taken out."""
    members = MOST_CLAIMANTS + 3
    bench = crowd(members, streams=streams)
    named = claimants(bench)
    others = sorted(set(range(members)) - set(named))
    assert len(named) == MOST_CLAIMANTS
    for number in named:
        bench.leave(number)
    bench.reconcile(*named)
    desired = bench.record(NOBODY).desired
    assert isinstance(desired, Unwanted)
    assert desired.rest is Rest.HOLD
    assert NOBODY in holds(bench)

    assert run(bench) is RunState.FINISHED
    assert holds(bench) == {NOBODY: {"name": f"{others[0]:04d}"}}

    for number in others:
        bench.leave(number)
    assert run(bench) is RunState.FINISHED
    if holds(bench):
        # Nobody knows that no other was turned away, before a run has asked everybody.
        assert run(bench) is RunState.FINISHED
    assert holds(bench) == {}
    assert [f"-{NOBODY}" in call for call in bench.sent].count(True) == 1, "taken out and put in again"
    assert not any(bench.assigned(number) for number in range(members))


def test_a_crowd_that_leaves_as_a_whole_is_taken_out_by_one_run() -> None:
    bench = crowd(MOST_CLAIMANTS + 40)
    for number in range(MOST_CLAIMANTS + 40):
        bench.leave(number)
    assert run(bench) is RunState.FINISHED
    assert holds(bench) == {}
    assert not any(bench.assigned(number) for number in range(MOST_CLAIMANTS + 40))
    assert bench.record(NOBODY).turned_away_at is None


def test_whoever_is_turned_away_during_a_run_is_asked_by_the_next_one() -> None:
    """The run's last phase must not think that everybody turned away has claimed since."""
    bench = crowd(MOST_CLAIMANTS)
    for number in range(MOST_CLAIMANTS):
        bench.leave(number)
    bench.clock.time += HOUR
    made = bench.start()
    late = MOST_CLAIMANTS + 1
    while bench.run(made).phase < 2:
        for message in bench.queue.take():
            assert bench.consume(message) == []
        if bench.run(made).phase == 1 and bench.record(NOBODY).turned_away_at is None:
            bench.store(late, email=NOBODY, name="late")
            assert bench.reconcile(late) == {late: DUPLICATE}
    bench.work_off()
    assert NOBODY in holds(bench)
    run(bench)
    assert holds(bench) == {NOBODY: {"name": "late"}}
    assert all(f"-{NOBODY}" not in call for call in bench.sent)


def test_where_leaving_is_not_told_nothing_is_held() -> None:
    bench = crowd(MOST_CLAIMANTS + 3)
    bench.tool.keeps = True
    for number in range(MOST_CLAIMANTS + 3):
        bench.leave(number)
    bench.reconcile(*range(MOST_CLAIMANTS + 3))
    assert bench.record(NOBODY).desired == Unwanted(Rest.KEEP)
    assert not any(bench.assigned(number) for number in range(MOST_CLAIMANTS + 3))
    assert NOBODY in holds(bench)


@pytest.mark.parametrize("by", ["a look", "a run"])
def test_where_leavers_are_kept_a_run_asks_those_who_were_turned_away(by: str) -> None:
    """Nobody holds their identity for anybody, but they want it, and no look at them is to come."""
    bench = crowd(0)
    bench.tool.keeps = True
    first, late = range(50, 50 + MOST_CLAIMANTS), [2, 4]
    for number in (*first, *late):
        bench.store(number, email=NOBODY, name=f"{number:04d}")
        bench.consume(bench.look(number))
    assert claimants(bench) == [*first]
    bench.pass_time(timedelta(minutes=3))
    for number in first:
        bench.leave(number)
    bench.full_run() if by == "a run" else bench.consume(bench.look(*first))
    bench.pass_time(timedelta(minutes=3))
    assert claimants(bench) == late
    assert holds(bench) == {NOBODY: {"name": "0002"}}
    made = len(list(bench.database.items(Table.CONTROL, f"runs#{bench.export.key}")))
    bench.pass_time(timedelta(minutes=30))
    assert len(list(bench.database.items(Table.CONTROL, f"runs#{bench.export.key}"))) == made, "runs without end"


def test_a_crowd_that_joins_while_the_contact_leaves_by_an_import_is_brought_once() -> None:
    """The record stays small, everybody is looked at, and the smallest is sent."""
    bench = crowd(0, imports=True)
    bench.store(250, email=NOBODY)
    bench.reconcile(250)
    bench.work_off()
    bench.leave(250)
    bench.reconcile(250)
    joining = range(100)
    for number in reversed(joining):
        bench.store(number, email=NOBODY, name=f"{number:04d}")
        bench.consume(bench.look(number))
    named = claimants(bench)
    assert len(named) <= MOST_CLAIMANTS
    bench.work_off()
    assert run(bench) is RunState.FINISHED
    assert holds(bench) == {NOBODY: {"name": f"{claimants(bench)[0]:04d}"}}
    stands = bench.reconcile(*joining)
    assert [number for number, verdict in stands.items() if verdict != DUPLICATE] == [claimants(bench)[0]]


def test_two_who_are_turned_away_from_each_others_identity_do_not_ask_for_each_other_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both claimed an identity that the other one wants now, and before a run nobody is released."""
    monkeypatch.setattr(identity, "MOST_CLAIMANTS", 1)
    bench = Bench()
    bench.store(2, email=NOBODY)
    bench.store(4, email=OTHER)
    for number in (2, 4):
        bench.tool.script = [Lost()]
        bench.consume(bench.look(number))
    bench.store(2, email=OTHER)
    bench.store(4, email=NOBODY)
    bench.consume(bench.look(2, 4))
    rounds = 0
    while messages := bench.queue.take():
        rounds += 1
        assert rounds < 5, "looks ask for looks"
        assert bench.consume(*messages) == []
    assert bench.record(NOBODY).winner == person(2)
    for _ in range(2):
        bench.clock.time += HOUR
        assert run(bench) is RunState.FINISHED
    assert bench.record(NOBODY).winner == person(4)
    assert bench.record(OTHER).winner == person(2)
    assert set(bench.tool.holds()) == {NOBODY, OTHER}


def claimants(bench: Bench) -> list[int]:
    desired = bench.record(NOBODY).desired
    assert isinstance(desired, Wanted)
    return [number_of(profile) for profile in desired.by]


def test_of_a_crowd_that_was_never_taken_and_left_nothing_is_kept_for_ever() -> None:
    members = MOST_CLAIMANTS + 3
    bench = Bench(call_size=200)
    bench.tool.refuses = {NOBODY}
    for number in range(members):
        bench.store(number, email=NOBODY)
    bench.full_run()
    for number in range(members):
        bench.leave(number)
    bench.clock.time += HOUR
    run(bench)
    bench.clock.time += HOUR
    run(bench)
    assert bench.tool.holds() == {}
    assert [item for item in bench.database.items(Table.IDENTITIES) if item["expires_at"] == NEVER] == []
    assert all(bench.assignment(number).is_empty for number in range(members))
