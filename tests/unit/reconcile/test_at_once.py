"""Calls made at the same time: the destination and the records come to the same as with one call after the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from relay.destinations.contract import Quota, Step
from relay.domain.problems import Busy, ConnectionProblem, Transient
from relay.domain.runs import RunState
from relay.reconcile.recorder import Recorder
from relay.stores import defects
from tests.fakes.bench import LAPSED, VIP, Crash
from tests.fakes.bench_destination import TOO_MANY, UNKNOWN_USER, Lost
from tests.fakes.vendor import SECOND, VendorBench

MANY = 12
FAST = Quota("calls", 75, SECOND)
PLENTY = Quota("calls", 10_000, SECOND)
BAD_KEY = ConnectionProblem("unauthorised", "the key is refused")


def mail(number: int) -> str:
    return f"{number}@x.example"


def vendor(at_once: int = 4, *, members: int = MANY, takes: float = 0.25) -> VendorBench:
    bench = VendorBench(PLENTY, at_once=at_once, takes=takes)
    bench.members(members)
    return bench


def reconcile(bench: VendorBench, seconds: float = 60) -> None:
    bench.in_time(lambda: bench.reconcile(*range(MANY), seconds=seconds))


def taken(bench: VendorBench) -> set[int]:
    """Return whose records say that the destination has them, and that no call is open."""
    records = {number: bench.record(mail(number)) for number in range(MANY)}
    return {n for n, record in records.items() if record.open is None and record.since is not None}


def held(bench: VendorBench) -> set[int]:
    return {number for number in range(MANY) if mail(number) in bench.tool.holds()}


@pytest.mark.parametrize("at_once", [1, 4, 50])
def test_everybody_is_sent_and_so_many_calls_take_the_time_of_one(at_once: int) -> None:
    bench = vendor(at_once)
    began = bench.timeline.now()
    reconcile(bench)
    assert taken(bench) == held(bench) == set(range(MANY))
    rounds = -(-MANY // at_once)
    assert timedelta(seconds=rounds * 0.25) <= bench.timeline.now() - began < timedelta(seconds=rounds * 0.25 + 0.2)


def test_refusals_and_evidence_are_recorded_call_by_call() -> None:
    bench = vendor()
    bench.tool.refuses, bench.tool.evidence = {mail(2), mail(7)}, "seen"
    reconcile(bench)
    assert held(bench) == set(range(MANY)) - {2, 7}
    refused = [bench.record(mail(number)).refused for number in (2, 7)]
    assert [one.code if one else None for one in refused] == [UNKNOWN_USER.code] * 2
    assert {bench.record(mail(number)).evidence for number in held(bench)} == {"seen"}


@pytest.mark.parametrize("problem", [TOO_MANY, BAD_KEY], ids=["429", "stop"])
@pytest.mark.parametrize("place", [0, 1, 3, 6])
def test_a_call_that_fails_stops_those_to_come_and_those_under_way_are_recorded(problem: Exception, place: int) -> None:
    bench = vendor()
    bench.tool.script = [*[None] * place, problem]
    with pytest.raises(type(problem)):
        reconcile(bench)
    assert taken(bench) == held(bench)
    assert place <= len(held(bench)) <= place + 3
    # Nothing of the others was sent, so nothing is open.
    assert all(bench.record(mail(number)).open is None for number in range(MANY))
    reconcile(bench)
    assert taken(bench) == held(bench) == set(range(MANY))


def test_each_call_that_fails_ends_by_its_own_problem() -> None:
    """Given calls under way of which one is refused and another's answer is lost, Then only that one stays open."""
    bench = vendor()
    bench.tool.script = [TOO_MANY, Lost(), Transient("server_error", "500", effect_within=timedelta(minutes=2))]
    with pytest.raises(Transient) as raised:
        reconcile(bench)
    assert raised.value is TOO_MANY
    opened = [record for number in range(MANY) if (record := bench.record(mail(number))).open is not None]
    assert len(opened) == 2
    soonest, latest = sorted(record.open.deadline for record in opened if record.open is not None)
    assert soonest < bench.timeline.now() + timedelta(minutes=3) < latest
    reconcile(bench)
    assert held(bench) == set(range(MANY))
    assert bench.tool.complaints == []


def test_a_defect_in_one_call_concerns_one_profile() -> None:
    bench = vendor()
    send = bench.tool.send

    def defective(account: object, export: object, steps: object) -> object:
        if any(step.identity == mail(5) for step in steps):  # type: ignore[attr-defined]
            raise ValueError("a defect")
        return send(account, export, steps)  # type: ignore[arg-type]

    bench.tool.send = defective  # type: ignore[method-assign,assignment]
    bench.run_in(1)
    assert held(bench) == set(range(MANY)) - {5}
    assert len(list(defects.of_export(bench.database, bench.export.key, 10))) == 1


@pytest.mark.parametrize("at_once", [1, 4, MANY])
def test_an_answer_that_cannot_be_recorded_takes_no_other_answer_with_it(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = vendor(at_once)
    record, busy = Recorder.record, [Busy("throttled", "the database was too busy")]

    def once_too_busy(self: Recorder, *rest: Any, **more: Any) -> Any:
        if busy:
            raise busy.pop()
        return record(self, *rest, **more)

    monkeypatch.setattr(Recorder, "record", once_too_busy)
    with pytest.raises(Busy):
        reconcile(bench)
    assert len(held(bench)) == at_once
    assert len(held(bench) - taken(bench)) == 1
    assert [n for n in range(MANY) if bench.record(mail(n)).open is not None] == sorted(held(bench) - taken(bench))


def test_no_call_begins_when_the_time_is_up_and_those_under_way_end() -> None:
    bench = vendor(takes=10)
    with pytest.raises(Exception, match="out_of_time"):
        reconcile(bench, seconds=15)
    assert len(bench.arrivals.at) == 8
    assert taken(bench) == held(bench)
    assert len(held(bench)) == 8


def targets_in_order(at_once: int) -> dict[str, list[str]]:
    """Return at which targets each identity was sent, call by call."""
    bench = VendorBench(PLENTY, at_once=at_once, segments=(VIP, LAPSED))
    bench.members(MANY, VIP, LAPSED)
    bench.in_time(lambda: bench.reconcile(*range(MANY)))
    assert bench.logged() == []
    assert len(bench.tool.held) == 2 * MANY
    sent: dict[str, list[str]] = {}
    for [step] in bench.tool.calls_made:
        sent.setdefault(step.identity, []).append(step.target)
    return sent


def test_calls_of_one_identity_are_made_one_after_the_other_and_in_their_order() -> None:
    assert targets_in_order(at_once=8) == targets_in_order(at_once=1)


def test_no_call_overtakes_another_with_an_identity_of_its_own() -> None:
    """Given a call that has to wait for one of its identities, Then what follows for its other identity waits, too."""
    bench = VendorBench(PLENTY, at_once=8, segments=(VIP, LAPSED))
    bench.members(2, VIP, LAPSED)
    bench.tool.call_size = 2

    def calls(account: object, export: object, steps: Sequence[Step]) -> list[list[int]]:
        first, second = ([place for place, step in enumerate(steps) if step.identity == mail(n)] for n in (0, 1))
        return [[first[0]], [first[1], second[0]], [second[1]]]

    bench.tool.calls = calls  # type: ignore[method-assign]
    bench.in_time(lambda: bench.reconcile(0, 1))
    assert [len(call) for call in bench.tool.calls_made] == [1, 2, 1]
    assert bench.logged() == []


@pytest.mark.parametrize("at_once", [4, 12])
def test_whoever_dies_between_calls_loses_nothing(at_once: int) -> None:
    """The process may die after any change, with several calls under way: the next one brings everything."""
    for crash_at in range(1, 60):
        bench = vendor(at_once)
        steps = bench.steps
        bench.crash_at = steps + crash_at
        try:
            reconcile(bench)
        except Crash:
            bench.crash_at = None
            bench.restart()
            reconcile(bench)
            assert held(bench) == set(range(MANY))
            # A lost call of the same content may arrive once more until its bound is over.
            bench.clock.time += bench.tool.lost_answer_bound + timedelta(minutes=5)
            reconcile(bench)
        else:
            assert crash_at > 20
            break
        assert taken(bench) == held(bench) == set(range(MANY))
        assert bench.tool.complaints == []


def test_a_run_fills_pages_for_several_calls_and_counts_everybody_once() -> None:
    bench = VendorBench(FAST, at_once=8, shards=2)
    bench.tool.page = 40  # type: ignore[attr-defined]
    bench.members(200)
    run = bench.start()
    bench.run_in(2, run)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 200, "delivered": 200}
    assert len(bench.tool.holds()) == 200


def test_a_vendor_is_used_at_what_it_allows_and_never_beyond() -> None:
    """75 calls a second, a quarter of a second each: one call after the other would make 4 a second."""
    bench = VendorBench(FAST, at_once=24)
    bench.tool.page = 600  # type: ignore[attr-defined]
    bench.members(2_400)
    bench.run_in(1)
    assert len(bench.tool.holds()) == 2_400
    assert bench.arrivals.per_second() >= 70
    assert bench.arrivals.most_within(SECOND) <= 75
    assert bench.pacing_calls / 2_400 <= 0.05
