"""Whatever goes wrong in our own code while one profile is worked on concerns that profile alone.

Every function of the engine, and every access to the database, is made to fail for one profile among many.
"""

import itertools
import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from relay.delivery import (
    cases,
    consuming,
    cursors,
    engine,
    handing_over,
    import_checks,
    planning,
    settling,
    wakeups,
    wishes,
)
from relay.delivery.setting_aside import MOST_IN_A_ROW
from relay.domain import claims, deliveries, moments
from relay.domain.exports import Export
from relay.domain.problems import Busy, Rejection
from relay.domain.runs import Run, RunState
from relay.stores import attempts, defects, flights, profiles, runs
from relay.stores import claims as claim_store
from relay.stores import deliveries as delivery_store
from relay.stores.database import Group, Put, Table
from tests.fakes.delivery_bench import CONNECTION, KEYED, LAPSED, VIP, Bench, BenchDestination, Lost, person
from tests.fakes.faults import FaultyDatabase, PlantedError, Victim, functions_of, planted
from tests.simulation.destinations import SimDestination

MAIN = f"{CONNECTION}/main"
VICTIM = 4
SURVIVOR = 5
"""Turns out to be the same person as the victim, where they are merged."""
SHARED = "shared@x.example"

MODULES = [cases, consuming, cursors, engine, handing_over, import_checks, planning, settling, wakeups, wishes]
STORES = [claims, deliveries, claim_store, delivery_store, profiles, flights, runs]

# What holds a whole message, and hands out its profiles: what fails there cannot be attributed to one of them.
WHOLE_MESSAGES = {
    *(f"delivery.consuming.Consumer.{name}" for name in ("consume", "_units", "_handle", "_try", "_work", "_tell")),
    *(f"delivery.consuming.Consumer.{name}" for name in ("_look_for_run", "_owe_held", "_after_trouble")),
    *(f"delivery.import_checks.ImportChecker.{name}" for name in ("consume", "_handle", "_check", "_look", "_wake")),
    *(f"delivery.import_checks.ImportChecker.{name}" for name in ("_report", "_settle", "_keep_rest", "_look_later")),
    "delivery.import_checks.ImportChecker._send_again",
    *(f"delivery.cursors.Cursors.{name}" for name in ("advance", "_leavers", "wake")),
    *(f"delivery.engine.Engine.{name}" for name in ("survey", "deliver", "perform")),
    "stores.runs.waiting",
}
# What sets a profile aside must itself work.
SETS_ASIDE = {
    *(f"delivery.engine.Engine.{name}" for name in ("_outcome_of_defect", "_is_counted", "_withdraw")),
    *(f"delivery.cursors._Step.{name}" for name in ("count_aside", "_move")),
    "delivery.settling.Settling.set_aside",
    *(f"stores.flights.{name}" for name in ("set_row_aside", "_read_row")),
    *(f"stores.runs.{name}" for name in ("give_up_wait", "_aside")),
}
# Where a cursor stands is told by the id of a profile that is not worked on there.
POSITIONS = {"stores.runs.move", "delivery.cursors.Cursors._continue", "delivery.cursors.Cursors.resume"}
POSITIONS |= {"delivery.wakeups.Wakeups.go_on", "delivery.cursors.Cursors._ids", "delivery.cursors._members"}
POSITIONS |= {"stores.deliveries.profiles_of", "delivery.cursors.Cursors._read", "delivery.cursors._from_held"}
POSITIONS |= {"stores.runs._shard_from"}
# What happens at the vendor's.
OUTSIDE = {"BenchDestination._land", "SimDestination._land", "SimDestination.land_some"}

FUNCTIONS = {
    name: function
    for name, function in functions_of([*MODULES, *STORES], [BenchDestination, SimDestination]).items()
    if name not in WHOLE_MESSAGES | SETS_ASIDE | POSITIONS | OUTSIDE
}
ACCESSES = list(itertools.product(("get", "write"), Table))


def email(number: int) -> str:
    return f"{number}@x.example"


def named_victim() -> Victim:
    """Return what names the chosen profile: also the address it had before, and the claims on both."""
    emails = {email(VICTIM), f"new-{email(VICTIM)}"}
    targets = [f"segment/{VIP}", "list/7"]
    keys = {wishes.claim_key(KEYED, CONNECTION, target, one) for target in targets for one in emails}
    return Victim(frozenset({person(VICTIM), *emails, *keys}), besides=(SimDestination,))


@dataclass
class Fault:
    """A defect that is switched on and off: at a function by its name, or at (operation, table) of the database."""

    place: str | tuple[str, Table]
    bench: Bench
    victim: Victim
    is_on: bool = False
    met: set[str] = field(default_factory=set)

    @contextmanager
    def planted(self, *, everywhere: bool = False) -> Iterator[None]:
        def meet(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.is_on and self.victim.is_named_in([args, kwargs]):
                self.met.add(name)
                if name == self.place:
                    raise PlantedError("not for logs: ada@example.com")

        functions = FUNCTIONS if everywhere else {name: FUNCTIONS[name] for name in FUNCTIONS if name == self.place}
        with planted(functions, meet):
            yield

    def switch(self, on: bool) -> None:
        self.is_on = on
        database = self.bench.database
        assert isinstance(database, FaultyDatabase)
        database.victim = self.victim
        database.fault = self.place if on and isinstance(self.place, tuple) else None


def faulty_bench(*, imports: bool) -> Bench:
    bench = Bench(imports=imports, call_size=3)
    bench.database.__class__ = FaultyDatabase
    return bench


# What the victim does while its neighbours join, change, leave and stay.


def joins(bench: Bench) -> None:
    bench.store(VICTIM, email=email(VICTIM), name="V")


def changes(bench: Bench) -> None:
    bench.store(VICTIM, name="changed")


def moves(bench: Bench) -> None:
    bench.store(VICTIM, email=f"new-{email(VICTIM)}")


def leaves(bench: Bench) -> None:
    bench.leave(VICTIM)


def stays(bench: Bench) -> None:
    """Do nothing."""


DEEDS = [joins, changes, moves, leaves, stays]
NEIGHBOURS = {"0@x.example": {"name": "new"}, "6@x.example": {}, "8@x.example": {}, "1@x.example": {"name": "new"}}
ALL = (0, 1, 2, 3, VICTIM, 6, 8)


def prepare(bench: Bench, deed: Callable[[Bench], None]) -> None:
    """Tell some, and let everybody change: the victim by its deed."""
    for number in (0, 1, 2, 3, 8):
        bench.store(number, email=email(number))
    if deed is not joins:
        bench.store(VICTIM, email=email(VICTIM), name="V")
    bench.start()
    bench.work_off()
    bench.clock.advance(3600)
    bench.store(0, name="new")
    bench.store(1, name="new")
    bench.leave(2)
    bench.leave(3)
    bench.store(6, email=email(6))
    deed(bench)
    bench.clock.advance(60)


def wanted_of_victim(deed: Callable[[Bench], None]) -> dict[str, dict[str, str]]:
    values = {"name": "changed" if deed is changes else "V"}
    return {} if deed is leaves else {f"new-{email(VICTIM)}" if deed is moves else email(VICTIM): values}


def neighbours(bench: Bench) -> dict[str, dict[str, str]]:
    return {identity: values for identity, values in bench.tool.holds().items() if email(VICTIM) not in identity}


def victims(bench: Bench) -> dict[str, dict[str, str]]:
    return {identity: values for identity, values in bench.tool.holds().items() if email(VICTIM) in identity}


def recorded(bench: Bench) -> list[str]:
    return [defect.profile for defect in defects.of_export(bench.database, MAIN, 100)]


def check_run(bench: Bench, run: Run, deed: Callable[[Bench], None]) -> None:
    """Others are right, the run is over and adds up, and the victim is right or rejected, and then on record."""
    if is_rejected(bench, run):
        assert recorded(bench) == [person(VICTIM)]
    else:
        assert victims(bench) == wanted_of_victim(deed)


def is_rejected(bench: Bench, run: Run) -> bool:
    """Return whether the victim alone was rejected by a run that is over and adds up, while others are right."""
    assert neighbours(bench) == NEIGHBOURS
    assert bench.run(run).state is RunState.FINISHED
    counts = bench.counts(run)
    assert counts["selected"] in (6, 7)
    assert "outstanding" not in counts
    assert counts.get("rejected", 0) == counts.get("rejected:defect", 0) <= 1
    return "rejected" in counts


def check_healed(bench: Bench, deed: Callable[[Bench], None]) -> None:
    """Once the fault is gone the next run makes all right, and nothing is on record any more."""
    bench.clock.advance(3600)
    run = bench.start()
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert "rejected" not in bench.counts(run)
    assert (neighbours(bench), victims(bench)) == (NEIGHBOURS, wanted_of_victim(deed))
    assert recorded(bench) == []
    assert bench.tool.complaints == []


def play_run(fault: Fault, deed: Callable[[Bench], None], begins: str) -> None:
    """Play a run with the fault from its `start`, from its `second pass`, or once its pages are `queued`."""
    bench = fault.bench
    prepare(bench, deed)
    fault.switch(begins == "start")
    run = bench.start()
    if begins == "queued":
        for _ in range(20):
            for message in bench.queue.take():
                assert bench.consume(message) == []
        fault.switch(True)
    while begins == "second pass" and bench.run(run).phase == 1 and bench.run(run).state is RunState.RUNNING:
        one_round(bench)
    fault.switch(True)
    bench.work_off()
    fault.switch(False)
    check_run(bench, run, deed)
    check_healed(bench, deed)


def one_round(bench: Bench) -> None:
    bench.tool.land_some(everything=True)
    for message in bench.queue.take():
        assert bench.consume(message) == []
    assert bench.check(*bench.checks.take()) == []


def play_failed_imports(fault: Fault, deed: Callable[[Bench], None], begins: str) -> None:
    """Play a run whose imports fail at first.

    The fault is there from the `start`, until imports are `queued`, from when they are `under way`, or have `failed`.
    """
    bench = fault.bench
    prepare(bench, deed)
    fault.switch(begins in ("start", "queued"))
    bench.tool.failing_imports = 2
    run = bench.start()
    for _ in range(20):
        for message in bench.queue.take():
            assert bench.consume(message) == []
    fault.switch(begins in ("start", "under way"))
    one_round(bench)
    fault.switch(begins != "queued")
    bench.work_off()
    fault.switch(False)
    assert bench.tool.failing_imports == 0
    is_set_aside = is_rejected(bench, run) and recorded(bench) == [person(VICTIM)]
    assert is_set_aside or victims(bench) == wanted_of_victim(deed)
    check_healed(bench, deed)


def play_looks(fault: Fault, deed: Callable[[Bench], None]) -> None:
    """Play streamed looks at everybody at once."""
    bench = fault.bench
    prepare(bench, deed)
    fault.switch(True)
    assert bench.consume(bench.look(*ALL[:3]), bench.look(*ALL[3:])) == [], bench.logged()[-3:]
    bench.work_off()
    fault.switch(False)
    assert neighbours(bench) == NEIGHBOURS
    assert victims(bench) == wanted_of_victim(deed) or recorded(bench) == [person(VICTIM)]
    check_healed(bench, deed)


def play_waiting(fault: Fault, deed: Callable[[Bench], None], begins: str) -> None:
    """Play a run in which the victim has to wait for the lost call of another with its address."""
    bench = fault.bench
    for number in (0, 8):
        bench.store(number, email=email(number), name="new")
    bench.store(6, email=SHARED, name="other")
    other = bench.look(6)
    bench.tool.script = [Lost()]
    assert bench.consume(other) == ["m0"]
    bench.store(VICTIM, email=SHARED, name="V")
    deed(bench)
    fault.switch(begins == "start")
    run = bench.start()
    for message in bench.queue.take():
        assert bench.consume(message) == []
    fault.switch(True)
    bench.work_off()
    fault.switch(False)
    assert bench.consume(other, receives=2) == []
    bench.work_off()

    holds = bench.tool.holds()
    shared = holds.pop(SHARED)["name"]
    assert shared in ("V", "other")
    assert holds == {"0@x.example": {"name": "new"}, "8@x.example": {"name": "new"}}
    assert bench.run(run).state is RunState.FINISHED
    assert "outstanding" not in bench.counts(run)
    if bench.counts(run).get("rejected"):
        assert shared == "V" or recorded(bench) == [person(VICTIM)]
    bench.clock.advance(3600)
    run = bench.start()
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert "rejected" not in bench.counts(run)
    assert bench.tool.holds()[SHARED] == {"name": "V"}
    assert recorded(bench) == []


def play_merge(fault: Fault, deed: Callable[[Bench], None], begins: str) -> None:
    """Play a run or looks after the victim turned out to be the same person as another profile."""
    bench = fault.bench
    prepare(bench, deed)
    bench.join(VICTIM, SURVIVOR)
    bench.clock.advance(60)
    fault.switch(True)
    run = bench.start() if begins == "run" else None
    if run is None:
        assert bench.consume(bench.look(*ALL[:3]), bench.look(*ALL[3:])) == []
    bench.work_off()
    fault.switch(False)
    assert (neighbours(bench), victims(bench)) == (NEIGHBOURS, wanted_of_victim(deed))
    assert set(recorded(bench)) <= {person(VICTIM), person(SURVIVOR)}
    if run is not None:
        assert bench.run(run).state is RunState.FINISHED
        counts = bench.counts(run)
        assert "outstanding" not in counts
        assert counts.get("rejected", 0) == counts.get("rejected:defect", 0) <= len(recorded(bench))
    check_healed(bench, deed)
    assert bench.delivery(VICTIM).told == {}
    assert bench.claim(email(VICTIM)).claimants == {f"main/{person(SURVIVOR)}"}


def reached(plays: "Iterable[Play]", *, imports: bool) -> list[str]:
    """Return the functions that are called for the victim when all goes well."""
    met: set[str] = set()
    for play in plays:
        fault = Fault("none", faulty_bench(imports=imports), play.victim)
        with fault.planted(everywhere=True):
            play(fault)
        met |= fault.met
    return sorted(met)


@dataclass(frozen=True)
class Play:
    """One way in which everything goes on; `victim` is what names the profile in it."""

    play: Callable[..., None]
    deed: Callable[[Bench], None]
    begins: str | None = None
    victim: Victim = field(default_factory=named_victim)

    def __call__(self, fault: Fault) -> None:
        self.play(fault, self.deed, *(() if self.begins is None else (self.begins,)))


LOOKS = [Play(play_looks, deed) for deed in DEEDS]
RUNS = [
    *(Play(play_run, deed, "start") for deed in DEEDS),
    *(Play(play_run, deed, "second pass") for deed in (moves, leaves)),
    *(Play(play_run, deed, "queued") for deed in (joins, moves, leaves)),
]
# Who moves would be alone in the import that is sent again: one that nobody can ask about is waited for.
FAILED = [
    *(
        Play(play_failed_imports, deed, begins)
        for deed in (joins, moves, leaves)
        for begins in ("start", "queued", "under way")
    ),
    *(Play(play_failed_imports, deed, "failed") for deed in (joins, leaves)),
]
WAITS = [Play(play_waiting, stays, begins, Victim(frozenset({person(VICTIM)}))) for begins in ("start", "waits")]
MERGES = [Play(play_merge, stays, begins, Victim(frozenset({person(VICTIM)}))) for begins in ("looks", "run")]
PLACES = {
    imports: [*reached([*LOOKS, *RUNS, *MERGES, *(FAILED if imports else WAITS)], imports=imports), *ACCESSES]
    for imports in (False, True)
}
CASES = [(imports, place) for imports in (False, True) for place in PLACES[imports]]


def test_most_of_the_engine_is_made_to_fail() -> None:
    """Without this a change of the harness might leave nothing to fail."""
    assert len(PLACES[False]) > 60
    assert {"BenchDestination.send", "delivery.engine.Engine._call", "domain.claims.decide"} <= set(PLACES[False])
    assert {"delivery.consuming.Consumer._end_waits", "stores.runs.still_waiting"} <= set(PLACES[False])
    assert {"delivery.handing_over.HandingOver._pass_on", "domain.claims.handed_over"} <= set(PLACES[False])
    assert {"BenchDestination.import_report", "delivery.settling.Settling._release_part"} <= set(PLACES[True])


def play_all(plays: Iterable[Play], imports: bool, place: str | tuple[str, Table]) -> None:
    for play in plays:
        fault = Fault(place, faulty_bench(imports=imports), play.victim)
        with fault.planted():
            play(fault)


@pytest.mark.parametrize(("imports", "place"), CASES)
def test_streamed_looks_concern_one_profile_alone(imports: bool, place: str | tuple[str, Table]) -> None:
    play_all(LOOKS, imports, place)


@pytest.mark.parametrize(("imports", "place"), CASES)
def test_a_run_goes_on_past_one_profile(imports: bool, place: str | tuple[str, Table]) -> None:
    play_all(RUNS, imports, place)


@pytest.mark.parametrize("place", PLACES[False])
def test_a_run_does_not_wait_for_one_profile_for_ever(place: str | tuple[str, Table]) -> None:
    play_all(WAITS, False, place)


@pytest.mark.parametrize(("imports", "place"), CASES)
def test_one_that_was_merged_into_another_concerns_that_one_alone(
    imports: bool, place: str | tuple[str, Table]
) -> None:
    play_all(MERGES, imports, place)


@pytest.mark.parametrize("place", PLACES[True])
def test_a_run_whose_imports_fail_at_first_goes_on_past_one_profile(place: str | tuple[str, Table]) -> None:
    play_all(FAILED, True, place)


# Examples.


def told_bench(*members: int, imports: bool = False) -> Bench:
    bench = faulty_bench(imports=imports)
    for number in members:
        bench.store(number, email=email(number))
    return bench


class Broken(BenchDestination):
    """Trips over the values of some profiles."""

    trips_over: Container[str] = ()
    tried = 0

    def encode(self, target: str, value: Any) -> str | None:
        type(self).tried += 1
        if value in self.trips_over:
            raise KeyError(value)
        return super().encode(target, value)


class Twelvefold(BenchDestination):
    """Makes twelve identities of a long one."""

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        one = super().identity_of(value, export)
        return (
            one if isinstance(one, Rejection) or len(one[0]) < 1000 else [f"{number}{one[0]}" for number in range(12)]
        )


class Everything:
    def __contains__(self, value: object) -> bool:
        return value is not None


def breaking(bench: Bench, trips_over: Container[str]) -> type[Broken]:
    """Break the destination's code; return it, so that it can be mended."""
    broken = type("OneBroken", (Broken,), {"trips_over": trips_over, "tried": 0})
    bench.tool.__class__ = broken
    return broken


def test_an_item_that_is_too_large_concerns_its_profile_alone() -> None:
    """Identities that no compression makes small enough for the delivery that has to remember them."""
    bench = told_bench(0, 2, 6)
    noise = Random(7).randbytes(45_000).hex()
    bench.store(VICTIM, email=f"{noise}@x.example")
    bench.tool.__class__ = Twelvefold
    run = bench.start()
    bench.work_off()

    assert sorted(bench.tool.holds()) == [email(number) for number in (0, 2, 6)]
    assert bench.counts(run) == {"selected": 4, "delivered": 3, "rejected": 1, "rejected:defect": 1}
    [defect] = defects.of_export(bench.database, MAIN, 10)
    assert (defect.profile, defect.error) == (person(VICTIM), "ValueError")
    assert noise[:100] not in str(bench.database.items(Table.CONTROL))


def test_check_shows_who_is_set_aside_where_and_since_when_and_who_must_act() -> None:
    bench = told_bench(0, 2)
    bench.store(VICTIM, email=email(VICTIM), name="odd")
    breaking(bench, {"odd"})
    bench.consume(bench.look(0, 2, VICTIM))

    answer = bench.operator().handle({"check": CONNECTION})

    assert answer["well"] is False
    [finding] = [one for one in answer["findings"] if "set aside" in one["message"]]
    assert (finding["subject"], finding["level"], finding["who_must_act"]) == (MAIN, "error", "us")
    for part in ("1 profile", "KeyError", "test_setting_aside.py", "encode", moments.text(bench.clock.now())[:16]):
        assert part in finding["message"]
    assert "odd" not in json.dumps(answer)


def test_a_check_goes_on_past_a_delivery_that_cannot_be_read() -> None:
    bench = told_bench(0, 2)
    bench.tool.refuses = frozenset({email(0), email(2)})
    bench.start()
    bench.work_off()
    broken = delivery_store.key_of(MAIN, person(0))
    bench.database.write([[Put(broken, {"doc": "{", "version": 1})]])

    findings = bench.operator().handle({"check": CONNECTION})["findings"]

    assert any("refused means: " in finding["message"] for finding in findings)


def test_it_is_logged_without_personal_data() -> None:
    bench = told_bench(0)
    bench.store(VICTIM, email=email(VICTIM), name="odd")
    breaking(bench, {"odd"})
    bench.consume(bench.look(0, VICTIM))

    [line] = [line for line in bench.logged() if line["message"] == "set aside"]
    told = (line["level"], line["error"], line["profile"], line["export"])
    assert told == ("ERROR", "KeyError", person(VICTIM), MAIN)
    assert email(VICTIM) not in bench.log.getvalue()
    assert "odd" not in bench.log.getvalue()


def set_aside_by_tick(bench: Bench, capsys: pytest.CaptureFixture[str]) -> float:
    """Return what the metric that the alarm looks at shows of a tick."""
    capsys.readouterr()
    bench.tick()
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    return sum(sum(line["ProfilesSetAside"]) for line in lines if "ProfilesSetAside" in line)


def test_the_alarm_is_raised_as_long_as_somebody_is_set_aside(capsys: pytest.CaptureFixture[str]) -> None:
    bench = told_bench(0)
    bench.store(VICTIM, email=email(VICTIM), name="odd")
    broken = breaking(bench, {"odd"})
    assert set_aside_by_tick(bench, capsys) == 0
    bench.consume(bench.look(0, VICTIM))
    assert set_aside_by_tick(bench, capsys) == 1
    broken.trips_over = ()
    bench.work_off()
    assert set_aside_by_tick(bench, capsys) == 0


def test_one_who_concerns_no_export_any_more_is_forgotten_by_the_next_run() -> None:
    bench = told_bench(0)
    bench.edit(segments=(VIP, LAPSED))
    bench.store(VICTIM, inside=(LAPSED,), email=email(VICTIM), name="odd")
    breaking(bench, {"odd"})
    bench.consume(bench.look(0, VICTIM))
    assert recorded(bench) == [person(VICTIM)]
    bench.edit(segments=(VIP,))
    bench.clock.advance(3600)
    bench.start()
    bench.work_off()
    assert recorded(bench) == []


def test_a_later_look_that_goes_well_takes_it_off_the_record() -> None:
    bench = told_bench(0)
    bench.store(VICTIM, email=email(VICTIM), name="odd")
    broken = breaking(bench, {"odd"})
    bench.consume(bench.look(0, VICTIM))
    assert recorded(bench) == [person(VICTIM)]

    broken.trips_over = ()
    bench.consume(bench.look(VICTIM))

    assert recorded(bench) == []
    assert bench.tool.holds()[email(VICTIM)] == {"name": "odd"}


def test_who_is_on_record_costs_the_others_no_second_try() -> None:
    bench = told_bench(*range(0, 40, 2))
    bench.store(255, email=email(255), name="odd")
    broken = breaking(bench, {"odd"})
    bench.consume(bench.look(*range(0, 40, 2), 255))
    broken.tried = 0
    bench.consume(bench.look(*range(0, 40, 2), 255))
    assert broken.tried <= 20 + 2


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_a_defect_that_hits_everybody_fails_the_message_and_marks_hardly_anybody(imports: bool) -> None:
    bench = faulty_bench(imports=imports)
    for number in range(0, 256, 2):
        bench.store(number, email=email(number), name="odd")
    broken = breaking(bench, Everything())
    run = bench.start()
    [page, *others] = bench.queue.take()

    for receives in (1, 2, 3):
        broken.tried = 0
        assert bench.consume(page, receives=receives) == ["m0"]
        assert broken.tried < 300, "one by one"
    assert recorded(bench) == []
    assert bench.counts(run) == {}
    [attempt, *_] = attempts.of_queue(bench.database, "")
    assert attempt.error == "KeyError"

    broken.trips_over = ()
    assert bench.consume(page, *others, receives=4) == []
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 128, "delivered": 128}


def test_a_defect_that_hits_everybody_is_noticed_across_messages_of_one_profile_each() -> None:
    bench = faulty_bench(imports=False)
    breaking(bench, Everything())
    kept = 0
    for number in range(0, 100, 2):
        bench.store(number, email=email(number), name="odd")
        kept += bench.consume(bench.look(number)) == ["m0"]
    assert len(recorded(bench)) < MOST_IN_A_ROW
    assert kept == 50 - len(recorded(bench))


def test_trouble_of_our_own_side_is_no_defect_of_a_profile() -> None:
    bench = told_bench(0, VICTIM)

    class Throttled(FaultyDatabase):
        def write(self, groups: Sequence[Group]) -> list[bool]:
            if any(write.key.table is Table.CLAIMS for group in groups for write in group):
                raise Busy("throttled", "too many writes")
            return super().write(groups)

    bench.database.__class__ = Throttled
    assert bench.consume(bench.look(0, VICTIM)) == ["m0"]
    assert recorded(bench) == []
    bench.database.__class__ = FaultyDatabase
    assert bench.consume(bench.look(0, VICTIM), receives=2) == []
    assert len(bench.tool.holds()) == 2


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_where_the_winner_of_an_identity_is_set_aside_the_next_one_is_told(imports: bool) -> None:
    bench = faulty_bench(imports=imports)
    bench.store(VICTIM, email=SHARED, name="odd")
    bench.store(6, email=SHARED, name="even")
    fault = Fault("BenchDestination.send", bench, Victim(frozenset({"odd"})))
    with fault.planted():
        fault.switch(True)
        assert bench.consume(bench.look(VICTIM, 6)) == []
        bench.work_off()
    assert bench.tool.holds() == {SHARED: {"name": "even"}}
    assert recorded(bench) == [person(VICTIM)]


def test_a_retry_of_defects_is_a_run_like_any_other() -> None:
    bench = told_bench(0)
    bench.store(VICTIM, email=email(VICTIM), name="odd")
    broken = breaking(bench, {"odd"})
    bench.consume(bench.look(0, VICTIM))
    broken.trips_over = ()
    answer = bench.operator().handle({"retry": MAIN, "code": "defect"})
    bench.work_off()
    assert bench.counts(answer["run"])["delivered"] == 1
    assert recorded(bench) == []
