"""One profile of very many identities and targets, and very many profiles of one identity."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.delivery.cases import Result
from relay.delivery.ticking import STALLED_AFTER
from relay.delivery.wishes import MOST_PAIRS
from relay.domain.claims import MOST_CLAIMANTS, MOST_WAITERS
from relay.domain.deliveries import Delivery, Told
from relay.domain.exports import Export
from relay.domain.problems import Rejection
from relay.domain.runs import Outcome, RunState
from relay.stores import deliveries
from relay.stores.database import Item, Key, Put, Table
from tests.fakes.delivery_bench import CONNECTION, KEYED, Bench, BenchDestination, Crash, person

ANN, NOBODY = "ann@x.example", "none@x.example"
SEGMENTS = tuple(f"shop/8a2f-{number:030d}" for number in range(50))
ITEM_LIMIT = 400 * 1024


class Several(BenchDestination):
    """Takes a list of identities, as Gainsight PX does with `multiple_identities: all`."""

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        return list(value) if isinstance(value, list) else super().identity_of(value, export)


def bench_of(
    segments: Sequence[str] = SEGMENTS, *, imports: bool = False, call_size: int = 1000, streams: bool = True
) -> Bench:
    bench = Bench(segments=segments, imports=imports, call_size=call_size, streams=streams)
    bench.tool.__class__ = Several
    return bench


def addresses(number: int, at: str = "x") -> list[str]:
    return [f"{place:05d}.a-rather-long-name@{at}.example" for place in range(number)]


def size(item: Item) -> int:
    return sum(
        len(name) + (len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes) else 8)
        for name, value in item.items()
    )


def largest(bench: Bench) -> int:
    return max(size(item) for item in bench.database.snapshot().values())


# One profile of very many identities and targets.


def test_fifty_segments_of_a_hundred_identities_are_told() -> None:
    bench = bench_of()
    bench.store(2, inside=SEGMENTS, email=addresses(100))

    assert bench.consume(bench.look(2)) == []
    assert len(bench.tool.held) == 5000
    assert largest(bench) < ITEM_LIMIT


def test_there_is_room_for_as_many_that_leave() -> None:
    keys = [KEYED("claim", str(number)) for number in range(2 * MOST_PAIRS)]
    told = {
        key: Told(
            f"segment/{SEGMENTS[number % 50]}", f"{KEYED(str(number // 50))}{KEYED(str(number // 50))}", KEYED("")
        )
        for number, key in enumerate(keys)
    }
    delivery = Delivery(told=told)
    write = deliveries.save(f"{CONNECTION}/main", person(0), delivery)
    assert isinstance(write, Put)
    assert size(write.item) < ITEM_LIMIT
    bench = Bench()
    bench.database.write([[write]])
    assert bench.delivery(0) == replace(delivery, version=1)


def test_another_set_of_many_identities_takes_the_place_of_the_first_and_is_taken_back() -> None:
    segments = SEGMENTS[:4]
    bench = bench_of(segments)
    bench.store(2, inside=segments, email=addresses(100))
    bench.consume(bench.look(2))
    bench.store(2, inside=segments, email=addresses(100, "y"))
    assert bench.consume(bench.look(2)) == []
    assert {identity for _, identity in bench.tool.held} == set(addresses(100, "y"))

    bench.leave(2, *segments)
    assert bench.consume(bench.look(2)) == []
    assert bench.tool.held == {}
    bench.consume(bench.look(2))
    assert list(bench.database.items(Table.DELIVERIES)) == []
    assert bench.tool.complaints == []


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_a_run_tells_it_too_and_counts_it_once(imports: bool) -> None:
    bench = bench_of(SEGMENTS[:4], imports=imports, call_size=250)
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130))
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    run = bench.start()
    bench.work_off()

    targets = 1 if imports else 4
    assert len(bench.tool.held) == 130 * targets + 1
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert bench.run(run).state is RunState.FINISHED

    calls = len(bench.sent)
    bench.clock.advance(60)
    again = bench.start()
    bench.work_off()
    assert len(bench.sent) == calls
    assert bench.counts(again) == {"selected": 2, "unchanged": 2, "told": 2}


def test_a_run_removes_it_and_counts_it_once() -> None:
    bench = bench_of(SEGMENTS[:4])
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130))
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    bench.start()
    bench.work_off()
    bench.leave(2, *SEGMENTS[:4])
    bench.clock.advance(60)

    run = bench.start()
    bench.work_off()

    assert [identity for _, identity in bench.tool.held] == [ANN]
    assert bench.counts(run) == {"selected": 2, "delivered": 1, "unchanged": 1, "told": 2}
    assert bench.run(run).state is RunState.FINISHED


def test_one_identity_of_many_that_is_refused_makes_it_rejected() -> None:
    bench = bench_of(SEGMENTS[:4])
    refused = addresses(130)[7]
    bench.tool.refuses = frozenset({refused})
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130))
    run = bench.start()
    bench.work_off()

    assert bench.counts(run) == {"selected": 1, "rejected": 1, "rejected:refused": 1}
    assert {identity for _, identity in bench.tool.held} == set(addresses(130)) - {refused}


def test_of_two_that_share_many_identities_the_smaller_is_told() -> None:
    bench = bench_of(SEGMENTS[:4])
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130), name="first")
    bench.store(4, inside=SEGMENTS[:4], email=addresses(150), name="second")

    assert bench.deliver(2, 4) == {2: Result(Outcome.DELIVERED), 4: Result(Outcome.DELIVERED)}

    assert {values["name"] for (_, identity), values in bench.tool.held.items() if identity in addresses(130)} == {
        "first"
    }
    assert len(bench.tool.held) == 4 * 150


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
@pytest.mark.parametrize("crash_at", range(1, 60, 2))
def test_a_crash_between_its_parts_leaves_nothing_behind(imports: bool, crash_at: int) -> None:
    bench = bench_of(SEGMENTS[:2], imports=imports)
    bench.store(2, inside=SEGMENTS[:2], email=addresses(120))
    run = bench.start()
    [cursor, *_] = bench.queue.messages
    bench.crash_at = bench.steps + crash_at
    try:
        bench.consume(cursor)
    except Crash:
        bench.crash_at = None
        assert bench.consume(cursor, receives=2) == []
    bench.crash_at = None
    bench.work_off()

    assert len(bench.tool.held) == 120 * (1 if imports else 2)
    counts = bench.counts(run)
    assert counts["selected"] == 1
    assert "outstanding" not in counts
    assert bench.run(run).state is RunState.FINISHED


def test_more_than_can_be_kept_is_a_rejection_and_harms_no_other() -> None:
    bench = bench_of()
    bench.store(2, inside=SEGMENTS, email=addresses(MOST_PAIRS // 50 + 1))
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    run = bench.start()
    bench.work_off()

    assert bench.counts(run) == {
        "selected": 2,
        "delivered": 1,
        "rejected": 1,
        "rejected:too_many_identities": 1,
    }


# Very many profiles of one identity.


def crowd(members: int, *, imports: bool = False, streams: bool = True, call_size: int = 200) -> Bench:
    """Return a bench of members with one placeholder address who were all looked at."""
    bench = Bench(imports=imports, call_size=call_size, streams=streams)
    for number in range(members):
        bench.store(number, email=NOBODY, name=f"{number:04d}")
    bench.start()
    bench.work_off()
    bench.clock.advance(3600)
    return bench


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_a_placeholder_address_is_one_contact_and_its_claim_stays_small(imports: bool) -> None:
    bench = crowd(500, imports=imports)

    assert bench.tool.holds() == {NOBODY: {"name": "0000"}}
    assert largest(bench) < 4000
    bench.database.steps.clear()
    run = bench.start()
    bench.work_off()
    assert bench.counts(run) == {"selected": 500, "duplicate": 499, "unchanged": 1, "told": 500}
    assert bench.database.steps_on(Table.CLAIMS, "get") < 50, "they slow each other down"


def test_whoever_streams_in_besides_costs_no_write_to_the_claim() -> None:
    bench = crowd(MOST_CLAIMANTS + 5)
    for number in range(MOST_CLAIMANTS + 5, MOST_CLAIMANTS + 205):
        bench.store(number, email=NOBODY)
    bench.database.steps.clear()
    bench.consume(bench.look(*range(MOST_CLAIMANTS + 5, MOST_CLAIMANTS + 205)))
    assert bench.database.steps_on(Table.CLAIMS) < 5
    assert len(bench.sent) == 1


def test_a_contact_that_somebody_turned_away_still_wants_is_not_taken_out() -> None:
    """Given more members than a claim names, When all whom it names leave, Then the contact stays, and a run finds who
    has it now; and when the others leave too, it is taken out."""
    members = MOST_CLAIMANTS + 3
    bench = crowd(members)
    for number in range(MOST_CLAIMANTS):
        bench.leave(number)
    bench.consume(bench.look(*range(MOST_CLAIMANTS)))
    assert NOBODY in bench.tool.holds()

    settle(bench)
    assert bench.tool.holds() == {NOBODY: {"name": f"{MOST_CLAIMANTS:04d}"}}

    for number in range(MOST_CLAIMANTS, members):
        bench.leave(number)
    bench.consume(bench.look(*range(MOST_CLAIMANTS, members)))
    settle(bench)
    assert bench.tool.holds() == {}
    assert all("-" + NOBODY not in call for call in bench.sent[:-1]), "taken out and put in again"


def test_of_a_crowd_that_was_never_taken_and_left_nothing_is_kept_for_ever() -> None:
    members = MOST_CLAIMANTS + 3
    bench = Bench(call_size=200)
    bench.tool.refuses = frozenset({NOBODY})
    for number in range(members):
        bench.store(number, email=NOBODY)
    bench.consume(bench.look(*range(members)))
    for number in range(members):
        bench.leave(number)
    bench.consume(bench.look(*range(members)))
    settle(bench)
    assert bench.tool.holds() == {}
    assert all("expires_at" in item for item in bench.database.items(Table.CLAIMS))


def test_where_exports_do_not_stream_runs_alone_hand_the_contact_over() -> None:
    members = MOST_CLAIMANTS + 3
    bench = crowd(members, streams=False)
    for number in range(MOST_CLAIMANTS):
        bench.leave(number)
    bench.clock.advance(3600)
    bench.start()
    settle(bench, confirm=True)
    assert bench.tool.holds() == {NOBODY: {"name": f"{MOST_CLAIMANTS:04d}"}}
    assert "-" + NOBODY not in [identity for call in bench.sent for identity in call]


def test_those_who_wait_for_one_call_are_all_looked_at_again() -> None:
    """Given an import that takes the contact out, When a crowd joins meanwhile, Then its claim stays small,
    everybody is looked at again, and the smallest is told."""
    bench = Bench(imports=True, call_size=200)
    bench.store(255, email=NOBODY)
    bench.consume(bench.look(255))
    bench.work_off()
    bench.leave(255)
    bench.consume(bench.look(255))
    crowd_of = range(3 * MOST_WAITERS)
    for number in reversed(crowd_of):
        bench.store(number, email=NOBODY, name=f"{number:04d}")
        bench.consume(bench.look(number))
    assert len(bench.claim(NOBODY).look_again) <= MOST_WAITERS
    assert largest(bench) < 10_000

    bench.work_off()
    assert bench.tool.holds() == {NOBODY: {"name": "0000"}}
    outcomes = bench.deliver(*crowd_of)
    assert [number for number, result in outcomes.items() if result.outcome is not Outcome.DUPLICATE] == [0]


def settle(bench: Bench, *, confirm: bool = False) -> None:
    """Let the clock and the queues do their work until no run is due any more."""
    for _ in range(20):
        bench.tick(after=STALLED_AFTER + timedelta(minutes=1))
        bench.work_off()
        if confirm:
            confirm_all(bench)
    assert not any(int(item.get("owed", 0)) for item in bench.database.items(Table.CONTROL))


def confirm_all(bench: Bench) -> None:
    operator = bench.operator()
    waiting: Mapping[str, Any] = operator.handle({"runs": f"{CONNECTION}/main"})
    for run in waiting["runs"]:
        if run["state"] == RunState.NEEDS_CONFIRMATION:
            operator.handle({"confirm": run["run"]})
    bench.work_off()


def test_an_item_that_is_too_large_is_refused_by_every_database() -> None:
    bench = Bench()
    key = Key(Table.DELIVERIES, "letters/main#00", person(0))
    with pytest.raises(ValueError, match="400 KB"):
        bench.database.write([[Put(key, {"doc": "x" * ITEM_LIMIT})]])
