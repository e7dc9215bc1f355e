"""One profile of very many identities and targets."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from relay.domain.exports import Export
from relay.domain.problems import Rejection
from relay.domain.runs import Run, RunState
from relay.reconcile import survey
from relay.reconcile.desired import MOST_PAIRS
from relay.reconcile.job import Job
from relay.reconcile.survey import Listed, Survey, Surveyor
from relay.reconcile.verdict import DELIVERED
from relay.stores.database import MAX_ITEM_BYTES, Write, size_of
from tests.fakes.bench import Bench
from tests.fakes.bench_destination import BenchDestination
from tests.fakes.crashing import die_at_every_step

pytestmark = pytest.mark.exhaustive

ANN = "ann@x.example"
SEGMENTS = tuple(f"shop/8a2f-{number:030d}" for number in range(50))
HOUR = timedelta(hours=1)

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


class Several(BenchDestination):
    """Takes a list of identities, as Gainsight PX does with `multiple_identities: all`."""

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        return list(value) if isinstance(value, list) else super().identity_of(value, export)


def bench_of(segments: Sequence[str] = SEGMENTS, *, imports: bool = False, call_size: int = 1000) -> Bench:
    bench = Bench(segments=segments, imports=imports, call_size=call_size, streams=False)
    bench.tool.__class__ = Several
    return bench


def addresses(number: int, at: str = "x") -> list[str]:
    return [f"{place:05d}.a-rather-long-name@{at}.example" for place in range(number)]


def largest(bench: Bench) -> int:
    return max(size_of(item) for item in bench.database.snapshot().values())


def held(bench: Bench) -> set[str]:
    return {identity for _, identity in bench.tool.held}


def test_fifty_segments_of_a_hundred_identities_are_brought_and_taken_out() -> None:
    bench = bench_of()
    bench.store(2, inside=SEGMENTS, email=addresses(100))
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    bench.full_run()
    assert len(bench.tool.held) == MOST_PAIRS + 1
    assert largest(bench) < MAX_ITEM_BYTES

    bench.leave(2, *SEGMENTS)
    bench.clock.time += HOUR
    assert bench.consume(bench.look(2)) == []
    assert held(bench) == {ANN}
    assert bench.assigned(2) == set()


def test_another_set_of_many_identities_takes_the_place_of_the_first() -> None:
    """There is room for as many that leave as join, though nothing makes them smaller."""
    chance = Random(7)
    names = [[f"{chance.randbytes(8).hex()}@x.y" for _ in range(500)] for _ in range(2)]
    bench = bench_of(SEGMENTS[:3], call_size=2 * MOST_PAIRS)
    bench.store(2, inside=SEGMENTS[:3], email=names[0])
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    bench.full_run()
    bench.clock.time += HOUR
    bench.store(2, inside=SEGMENTS[:3], email=names[1])
    assert bench.consume(bench.look(2)) == []
    assert held(bench) == {ANN, *names[1]}
    assert largest(bench) < MAX_ITEM_BYTES
    assert len(bench.assigned(2)) == 500 * 3
    assert bench.tool.complaints == []


@both
def test_a_run_brings_it_too_and_counts_it_once(imports: bool) -> None:
    bench = bench_of(SEGMENTS[:4], imports=imports, call_size=250)
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130))
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    run = bench.full_run()

    targets = 1 if imports else 4
    assert len(bench.tool.held) == 130 * targets + 1
    assert bench.counts(run) == {"selected": 2, "delivered": 2}
    assert run.state is RunState.FINISHED

    calls = len(bench.sent)
    again = bench.full_run()
    assert len(bench.sent) == calls
    assert bench.counts(again) == {"selected": 2, "unchanged": 2, "assigned": 2}


@both
def test_a_run_takes_it_out_and_counts_it_once(imports: bool) -> None:
    bench = bench_of(SEGMENTS[:4], imports=imports)
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130))
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    bench.full_run()
    bench.leave(2, *SEGMENTS[:4])
    run = bench.full_run()
    assert held(bench) == {ANN}
    assert bench.counts(run) == {"selected": 1, "unchanged": 1, "assigned": 2, "leaving": 1, "removed": 1}
    assert run.state is RunState.FINISHED


@both
def test_no_transaction_grows_with_what_profiles_stand_for(imports: bool) -> None:
    """Given profiles of 300 identities at several targets, half of which leave, Then few writes belong together."""
    bench = bench_of(SEGMENTS[:4], imports=imports, call_size=400)
    sizes = sizes_of_transactions(bench)
    people = range(2, 12, 2)
    for number in people:
        bench.store(number, inside=SEGMENTS[:4], email=addresses(300, at=f"before{number}"))
    bench.full_run()
    for number in people:
        kept = addresses(150, at=f"before{number}")
        bench.store(number, inside=SEGMENTS[1:4], outside=SEGMENTS[:1], email=[*kept, *addresses(150, f"x{number}")])
    bench.clock.time += HOUR
    bench.full_run()
    if not imports:
        bench.leave(2, *SEGMENTS[:4])
        assert bench.consume(bench.look(2)) == []
    for number in people:
        bench.leave(number, *SEGMENTS[:4])
    bench.store(20, inside=SEGMENTS[:1], email=ANN)
    bench.clock.time += HOUR
    run = bench.full_run()
    bench.work_off()
    assert run.state is RunState.FINISHED
    assert held(bench) == {ANN}
    assert bench.counts(run)["removed"] == len(people) - (not imports)
    assert max(sizes) <= 4


def sizes_of_transactions(bench: Bench) -> list[int]:
    """Return how many writes belong together in each transaction from now on."""
    sizes: list[int] = []
    transact = bench.database.transact

    def counting(writes: Sequence[Write]) -> bool:
        sizes.append(len(writes))
        return transact(writes)

    bench.database.transact = counting  # type: ignore[method-assign]
    return sizes


@both
def test_one_identity_of_many_that_is_refused_makes_it_rejected(imports: bool) -> None:
    bench = bench_of(SEGMENTS[:4], imports=imports, call_size=100)
    refused = addresses(130)[107]
    bench.tool.refuses = {refused}
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130))
    run = bench.full_run()
    assert bench.counts(run) == {"selected": 1, "rejected": 1, "rejected:unknown_user": 1}
    assert held(bench) == set(addresses(130)) - {refused}


def test_of_two_that_share_many_identities_the_smaller_is_sent() -> None:
    bench = bench_of(SEGMENTS[:4])
    bench.store(2, inside=SEGMENTS[:4], email=addresses(130), name="first")
    bench.store(4, inside=SEGMENTS[:4], email=addresses(150), name="second")
    assert bench.reconcile(2, 4) == {2: DELIVERED, 4: DELIVERED}
    names = {identity: values["name"] for (_, identity), values in bench.tool.held.items()}
    assert {names[one] for one in addresses(130)} == {"first"}
    assert {names[one] for one in addresses(150)[130:]} == {"second"}
    assert len(bench.tool.held) == 4 * 150


def test_more_than_can_be_kept_is_a_rejection_and_harms_no_other() -> None:
    bench = bench_of()
    bench.store(2, inside=SEGMENTS, email=addresses(MOST_PAIRS // 50 + 1))
    bench.store(4, inside=SEGMENTS[:1], email=ANN)
    run = bench.full_run()
    assert bench.counts(run) == {"selected": 2, "delivered": 1, "rejected": 1, "rejected:too_many_identities": 1}
    assert held(bench) == {ANN}


@both
def test_a_death_between_its_calls_leaves_nothing_behind(imports: bool) -> None:
    runs: list[Run] = []

    def prepare() -> Bench:
        bench = bench_of(SEGMENTS[:2], imports=imports, call_size=4)
        bench.store(2, inside=SEGMENTS[:2], email=addresses(5))
        runs[:] = [bench.start()]
        assert bench.consume(*bench.queue.take()) == []
        return bench

    def act(bench: Bench, receives: int) -> None:
        if receives == 1:
            pages[:] = bench.queue.take()
        for page in pages:
            assert bench.consume(page, receives=receives) == []

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(20 * HOUR / 60)
        assert len(bench.tool.held) == 5 * (1 if imports else 2)
        assert bench.run(runs[0]).state is RunState.FINISHED
        assert bench.counts(runs[0])["selected"] == 1

    pages: list[Any] = []
    assert die_at_every_step(prepare, act, check) > 15


@both
@pytest.mark.parametrize("room", [1, 90, 400])
def test_no_survey_grows_with_what_profiles_stand_for(
    imports: bool, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given profiles of many identities, When they come, change and leave, Then few of them are in memory at once."""
    monkeypatch.setattr(survey, "ROOM", room)
    bench = bench_of(SEGMENTS[:2], imports=imports, call_size=1000)
    records = sizes_of_surveys(monkeypatch)
    people = range(2, 18, 2)
    for number in people:
        bench.store(number, inside=SEGMENTS[:2], email=addresses(20, at=f"of{number}"))
    first = bench.full_run()
    for number in people:
        bench.store(number, inside=SEGMENTS[:1], outside=SEGMENTS[1:2], email=addresses(20, at=f"then{number}"))
    if not imports:
        assert bench.consume(bench.look(*people)) == []
    bench.clock.time += HOUR
    second = bench.full_run()
    assert held(bench) == {one for number in people for one in addresses(20, at=f"then{number}")}
    assert [bench.counts(run)["selected"] for run in (first, second)] == [8, 8]
    for number in people:
        bench.leave(number, *SEGMENTS[:2])
    bench.store(20, inside=SEGMENTS[:1], email=ANN)
    bench.clock.time += HOUR
    third = bench.full_run()
    assert held(bench) == {ANN}
    assert bench.counts(third)["removed"] == 8
    assert max(records) <= 2 * max(room, 20 * 2)
    assert bench.tool.complaints == []


def sizes_of_surveys(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of identity records of each survey."""
    sizes: list[int] = []
    right = Surveyor.survey_listed

    def survey_listed(self: Surveyor, job: Job, listed: Iterable[Listed]) -> Survey:
        found = right(self, job, listed)
        sizes.append(len(found.records))
        return found

    monkeypatch.setattr(Surveyor, "survey_listed", survey_listed)
    return sizes
