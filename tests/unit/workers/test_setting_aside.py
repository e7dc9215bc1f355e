"""Whatever goes wrong in our own code while one profile is worked on concerns that profile alone.

Every function of the engine, and every access to the database, is made to fail for one profile among many.
"""

import itertools
import json
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import pytest

from relay.domain import assignment, identity, ledger
from relay.domain.exports import Export
from relay.domain.problems import Busy, Rejection, Unexpected
from relay.domain.runs import Phase, Run, RunState
from relay.reconcile import (
    adoption,
    confirmation,
    desired,
    enqueue,
    handover,
    reconciler,
    recorder,
    survey,
    verdict,
    visit,
)
from relay.reconcile.set_aside import MOST_IN_A_ROW
from relay.runs import pages, settlement
from relay.stores import assignments, attempts, defects, identities, imports, outstanding, profiles, runs, waits
from relay.stores.database import Table, Write
from relay.workers import consumer, import_checks, tick
from tests.fakes.bench import CONNECTION, KEYED, LAPSED, MINUTE, VIP, Bench, person
from tests.fakes.bench_destination import BenchDestination, Lost
from tests.fakes.faults import FaultyDatabase, PlantedError, Victim, functions_of, planted
from tests.fakes.observing import counted

pytestmark = pytest.mark.exhaustive

MAIN = f"{CONNECTION}/main"
VICTIM = 4
SHARED = "shared@x.example"
HOUR = 60 * MINUTE

RECONCILING = [adoption, confirmation, desired, enqueue, handover, reconciler, recorder, survey, verdict, visit]
MODULES = [*RECONCILING, pages, settlement, consumer, import_checks, tick, assignment, identity, ledger]
STORES = [assignments, identities, imports, outstanding, profiles, runs, waits]

# What holds a whole message, or a whole call, and hands out its profiles: what fails there cannot be attributed to one
# of them.
WHOLE_MESSAGES = {
    *(f"workers.consumer.Consumer.{name}" for name in ("consume", "_units", "_safely", "_handle", "_work", "_tell")),
    *(f"workers.consumer.Consumer.{name}" for name in ("_recorded", "_trace")),
    *(f"workers.import_checks.ImportChecker.{name}" for name in ("consume", "_handle", "_look", "_ask", "_settle")),
    *(
        f"workers.import_checks.ImportChecker.{name}"
        for name in ("_record", "_count", "_confirm", "_by_halves", "_left_open")
    ),
    *(f"runs.pages.Pages.{name}" for name in ("advance", "_work", "_reduce")),
    *(f"runs.settlement.Settlement.{name}" for name in ("answered", "due", "_read", "_settle", "_moves")),
    "reconcile.confirmation.Confirmation.confirm",
    "stores.imports.leave_open",
    "stores.imports.rows",
    "stores.outstanding.settle",
}
# Where a cursor stands, and who follows it, is told by the id of a profile that is not worked on there.
POSITIONS = {
    *(f"runs.pages.Pages.{name}" for name in ("_listing", "_assigned", "_members", "_formerly_assigned")),
    *(f"runs.pages.Pages.{name}" for name in ("_move", "_read", "_take", "_count")),
    *(f"stores.runs.{name}" for name in ("move", "_shard", "note_sent_again", "_shard_item", "_shard_of")),
    "stores.assignments.listing",
    "runs.pages._together",
    "stores.outstanding.add",
    "stores.outstanding.page_id",
    "reconcile.enqueue.Enqueuer.send_again",
    "reconcile.enqueue.Enqueuer.go_on",
    "reconcile.enqueue.Enqueuer.look",
}
# What happens at the vendor's.
OUTSIDE = {f"BenchDestination.{name}" for name in ("_land", "land", "_is_as_wanted")}

FUNCTIONS = {
    name: function
    for name, function in functions_of([*MODULES, *STORES], [BenchDestination]).items()
    if name not in WHOLE_MESSAGES | POSITIONS | OUTSIDE
}
ACCESSES = list(itertools.product(("get", "write"), Table))
Place = str | tuple[str, Table]


def email(number: int) -> str:
    return f"{number}@x.example"


def named_victim() -> Victim:
    """Return what names the chosen profile: also the address it had before, and the records of both."""
    emails = {email(VICTIM), f"new-{email(VICTIM)}"}
    targets = [f"segment/{VIP}", "list/7"]
    keys = {identities.key_of(KEYED, CONNECTION, target, one) for target in targets for one in emails}
    return Victim(frozenset({person(VICTIM), *emails, *keys}), besides=(BenchDestination,))


@dataclass
class Fault:
    """A defect that is switched on and off: at a function by its name, or at (operation, table) of the database."""

    place: Place
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
                    raise PlantedError("not for logs: Ada Lovelace")

        functions = FUNCTIONS if everywhere else {name: FUNCTIONS[name] for name in FUNCTIONS if name == self.place}
        with planted(functions, meet):
            yield

    def switch(self, on: bool) -> None:
        self.is_on = on
        database = self.bench.database
        assert isinstance(database, FaultyDatabase)
        database.victim = self.victim
        database.fault = self.place if on and isinstance(self.place, tuple) else None


def faulty_bench(*, imports: bool, call_size: int = 3) -> Bench:
    bench = Bench(imports=imports, call_size=call_size, streams=False)
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
    """Bring some, and let everybody change: the victim by its deed."""
    for number in (0, 1, 2, 3, 8):
        bench.store(number, email=email(number))
    if deed is not joins:
        bench.store(VICTIM, email=email(VICTIM), name="V")
    bench.full_run()
    bench.clock.time += HOUR
    bench.store(0, name="new")
    bench.store(1, name="new")
    bench.leave(2)
    bench.leave(3)
    bench.store(6, email=email(6))
    deed(bench)
    bench.clock.time += MINUTE


def wanted_of_victim(deed: Callable[[Bench], None]) -> dict[str, dict[str, str]]:
    values = {"name": "changed" if deed is changes else "V"}
    return {} if deed is leaves else {f"new-{email(VICTIM)}" if deed is moves else email(VICTIM): values}


def neighbours(bench: Bench) -> dict[str, dict[str, str]]:
    return {identity: values for identity, values in bench.tool.holds().items() if email(VICTIM) not in identity}


def victims(bench: Bench) -> dict[str, dict[str, str]]:
    return {identity: values for identity, values in bench.tool.holds().items() if email(VICTIM) in identity}


def recorded(bench: Bench) -> list[str]:
    return [defect.profile for defect in defects.of_export(bench.database, MAIN, 100)]


def rest(bench: Bench) -> None:
    """Let everything come to rest, whatever the clock meets."""
    for _ in range(5):
        work(bench)
        bench.clock.time += 8 * MINUTE
        # A wait of the victim may fail each time.
        with suppress(Unexpected):
            bench.tick()
    work(bench)


def work(bench: Bench) -> None:
    """Hand over what is queued until nothing is left, as `Bench.work_off`, but let no clock tick."""
    for _ in range(50):
        bench.tool.land()
        messages, checks = bench.queue.take(), bench.checks.take()
        if not messages and not checks:
            return
        for message in messages:
            assert bench.consume(message) == [], bench.logged()[-3:]
        for message in checks:
            bench.clock.time += message.delay
            assert bench.check(message) == [], bench.logged()[-3:]
    raise AssertionError("never at rest")


def check_run(bench: Bench, run: Run, deed: Callable[[Bench], None]) -> None:
    """Others are right, the run is over and adds up, and the victim is right or rejected, and then on record."""
    assert neighbours(bench) == NEIGHBOURS
    assert bench.run(run).state is RunState.FINISHED
    counts = bench.counts(run)
    assert counts["selected"] in (4, 5, 6)
    assert "outstanding" not in counts
    if counts.get("rejected"):
        # An import of nobody else is never known to have ended.
        is_unconfirmed = counts.get("rejected:unconfirmed") == 1
        assert (counts["rejected"], is_unconfirmed or counts["rejected:defect"]) == (1, 1)
        # A look that went well since has taken it off the record.
        is_well = victims(bench) == wanted_of_victim(deed) and recorded(bench) == []
        assert is_unconfirmed or is_well or recorded(bench) == [person(VICTIM)]
    elif not recorded(bench):
        assert victims(bench) == wanted_of_victim(deed)


def check_healed(bench: Bench, deed: Callable[[Bench], None]) -> None:
    """Once the fault is gone the next run makes all right, and nothing is on record any more."""
    bench.clock.time += HOUR
    run = bench.full_run()
    rest(bench)
    assert bench.run(run).state is RunState.FINISHED
    assert "rejected" not in bench.counts(run)
    assert (neighbours(bench), victims(bench)) == (NEIGHBOURS, wanted_of_victim(deed))
    assert recorded(bench) == []
    assert bench.tool.complaints == []


def play_run(fault: Fault, deed: Callable[[Bench], None], begins: str) -> None:
    """Play a run with the fault from its `start`, from its `last phase`, or once its pages are `queued`."""
    bench = fault.bench
    prepare(bench, deed)
    fault.switch(begins == "start")
    run = bench.start()
    while begins != "start" and bench.run(run).phase < (Phase.REMOVE if begins == "last phase" else Phase.DELIVER):
        for message in bench.queue.take():
            assert bench.consume(message) == []
    if begins == "queued":
        while messages := bench.queue.take():
            for message in messages:
                assert bench.consume(message) == []
    fault.switch(True)
    rest(bench)
    fault.switch(False)
    check_run(bench, run, deed)
    check_healed(bench, deed)


def play_looks(fault: Fault, deed: Callable[[Bench], None]) -> None:
    """Play streamed looks at everybody at once."""
    bench = fault.bench
    prepare(bench, deed)
    fault.switch(True)
    assert bench.consume(bench.look(*ALL[:3]), bench.look(*ALL[3:])) == [], bench.logged()[-3:]
    rest(bench)
    fault.switch(False)
    assert neighbours(bench) == NEIGHBOURS
    assert victims(bench) == wanted_of_victim(deed) or recorded(bench) == [person(VICTIM)]
    check_healed(bench, deed)


def play_waiting(fault: Fault, deed: Callable[[Bench], None], begins: str) -> None:
    """Play a run in which the victim has to wait for the lost call of another with its address."""
    bench = fault.bench
    for number in (0, 8):
        bench.store(number, email=email(number), name="new")
    bench.full_run()
    bench.store(6, email=SHARED, name="other")
    other = bench.look(6)
    bench.tool.script = [Lost()]
    assert bench.consume(other) == ["m0"]
    bench.store(VICTIM, email=SHARED, name="V")
    deed(bench)
    bench.clock.time += MINUTE
    fault.switch(begins == "start")
    run = bench.start()
    while messages := bench.queue.take():
        for message in messages:
            assert bench.consume(message) == []
    fault.switch(True)
    rest(bench)
    fault.switch(False)
    assert bench.consume(other, receives=2) == []
    rest(bench)

    holds = bench.tool.holds()
    assert holds.pop(SHARED)["name"] in ("V", "other")
    assert holds == {"0@x.example": {"name": "new"}, "8@x.example": {"name": "new"}}
    assert bench.run(run).state is RunState.FINISHED
    assert "outstanding" not in bench.counts(run)
    bench.clock.time += HOUR
    run = bench.full_run()
    rest(bench)
    assert bench.run(run).state is RunState.FINISHED
    assert "rejected" not in bench.counts(run)
    assert bench.tool.holds()[SHARED] == {"name": "V"}
    assert recorded(bench) == []


@dataclass(frozen=True)
class Play:
    """One way in which everything goes on; `victim` is what names the profile in it."""

    play: Callable[..., None]
    deed: Callable[[Bench], None]
    begins: str | None = None
    victim: Victim = field(default_factory=named_victim)

    def __call__(self, place: Place, imports: bool, *, everywhere: bool = False) -> set[str]:
        fault = Fault(place, faulty_bench(imports=imports), self.victim)
        with fault.planted(everywhere=everywhere):
            self.play(fault, self.deed, *(() if self.begins is None else (self.begins,)))
        return fault.met


LOOKS = [Play(play_looks, deed) for deed in DEEDS]
RUNS = [
    *(Play(play_run, deed, "start") for deed in DEEDS),
    *(Play(play_run, deed, "last phase") for deed in (moves, leaves)),
    *(Play(play_run, deed, "queued") for deed in (joins, moves, leaves)),
]
WAITS = [Play(play_waiting, stays, begins, Victim(frozenset({person(VICTIM)}))) for begins in ("start", "waits")]
MOST_PLAYS = 1
"""How many plays of each kind a place fails in: another one for each place, so that all are played often."""


@cache
def cases() -> Sequence[tuple[bool, Place, Sequence[Play]]]:
    """Return (imports, place, plays): places that plays reach for the victim when all goes well, in some of those."""
    found_cases: list[tuple[bool, Place, Sequence[Play]]] = []
    for is_import in (False, True):
        for plays in (LOOKS, RUNS, WAITS if not is_import else []):
            reached: dict[Place, list[Play]] = {access: list(plays) for access in ACCESSES if plays}
            for play in plays:
                for name in sorted(play("none", is_import, everywhere=True)):
                    reached.setdefault(name, []).append(play)
            for number, (place, found) in enumerate(reached.items()):
                start = number % len(found)
                found_cases.append((is_import, place, [*found[start:], *found[:start]][:MOST_PLAYS]))
    return found_cases


def test_most_of_the_engine_is_made_to_fail() -> None:
    """Without this a change of the harness might leave nothing to fail."""
    places = {place for _, place, _ in cases()}
    assert len(places) > 90
    assert {"BenchDestination.send", "BenchDestination.import_report", "domain.identity.next_step"} <= places
    assert {"reconcile.visit.visit", "runs.settlement.Settlement._move", "stores.identities.decode"} <= places


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
@pytest.mark.parametrize("kind", [LOOKS, RUNS, WAITS], ids=["looks", "runs", "waits"])
def test_a_defect_anywhere_concerns_one_profile_alone(kind: Sequence[Play], imports: bool) -> None:
    for is_import, place, plays in cases():
        for play in plays:
            if is_import is imports and play in kind:
                try:
                    play(place, imports)
                except BaseException as error:
                    error.add_note(f"at {place}: {play}")
                    raise


# Examples.


def bench_with(*members: int, imports: bool = False, call_size: int = 3) -> Bench:
    bench = faulty_bench(imports=imports, call_size=call_size)
    for number in members:
        bench.store(number, email=email(number))
    bench.full_run()
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


class Ninefold(BenchDestination):
    """Makes nine identities of a long one."""

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        one = super().identity_of(value, export)
        return one if isinstance(one, Rejection) or len(one[0]) < 1000 else [f"{number}{one[0]}" for number in range(9)]


class Everything:
    def __contains__(self, value: object) -> bool:
        return value is not None


def breaking(bench: Bench, trips_over: Container[str]) -> type[Broken]:
    """Break the destination's code; return it, so that it can be mended."""
    broken = type("OneBroken", (Broken,), {"trips_over": trips_over, "tried": 0})
    bench.tool.__class__ = broken
    return broken


def with_odd(*members: int, imports: bool = False) -> tuple[Bench, type[Broken]]:
    """Return a bench whose victim trips the destination's code, and that code."""
    bench = bench_with(*members, imports=imports)
    bench.store(VICTIM, email=email(VICTIM), name="odd")
    return bench, breaking(bench, {"odd"})


def test_an_item_that_is_too_large_concerns_its_profile_alone() -> None:
    """Identities that no compression makes small enough for the assignment that has to remember them."""
    bench = bench_with(0, 2, 6)
    noise = Random(7).randbytes(45_000).hex()
    bench.store(VICTIM, email=f"{noise}@x.example")
    bench.tool.__class__ = Ninefold
    run = bench.full_run()
    assert sorted(bench.tool.holds()) == [email(number) for number in (0, 2, 6)]
    assert bench.counts(run) == {"assigned": 3, "selected": 4, "unchanged": 3, "rejected": 1, "rejected:defect": 1}
    [defect] = defects.of_export(bench.database, MAIN, 10)
    assert (defect.profile, defect.error) == (person(VICTIM), "ValueError")
    assert noise[:100] not in str(list(bench.database.items(Table.CONTROL)))


def test_a_first_one_that_fills_a_page_by_itself_is_the_one_that_is_set_aside() -> None:
    """Others are read along with it, and are left to the next page."""
    bench = bench_with(0, call_size=1)
    for number in (2, VICTIM, 6, 8, 10):
        bench.store(number, email=email(number))
    fault = Fault("BenchDestination.send", bench, Victim(frozenset({email(VICTIM)})))
    with fault.planted():
        fault.switch(True)
        run = bench.full_run()
    assert recorded(bench) == [person(VICTIM)]
    assert bench.counts(run) == {
        "assigned": 1,
        "selected": 6,
        "unchanged": 1,
        "delivered": 4,
        "rejected": 1,
        "rejected:defect": 1,
    }


def test_check_shows_who_is_set_aside_where_and_since_when_and_who_must_act() -> None:
    bench, _ = with_odd(0, 2)
    bench.consume(bench.look(0, 2, VICTIM))
    answer = bench.ask("check", connection=CONNECTION)
    assert answer["well"] is False
    [finding] = [one for one in answer["findings"] if "set aside" in one["message"]]
    assert (finding["subject"], finding["level"], finding["who_must_act"]) == (f"export {MAIN}", "error", "us")
    for part in ("1 profile", "KeyError", "test_setting_aside.py", "encode", f"{bench.clock.now():%Y-%m-%d %H:%M} UTC"):
        assert part in finding["message"]
    assert "odd" not in json.dumps(answer)


def test_it_is_logged_without_personal_data() -> None:
    bench, _ = with_odd(0)
    bench.consume(bench.look(0, VICTIM))
    [line] = [line for line in bench.logged() if line["message"] == "set aside"]
    said = (line["level"], line["error"], line["profile"], line["export"])
    assert said == ("ERROR", "KeyError", person(VICTIM), MAIN)
    assert email(VICTIM) not in bench.log.getvalue()
    assert "odd" not in bench.log.getvalue()


def alarm(bench: Bench, capsys: pytest.CaptureFixture[str]) -> float:
    """Return what the metric that the alarm looks at shows of a tick."""
    capsys.readouterr()
    bench.tick()
    return sum(float(line["value"]) for line in counted(capsys.readouterr().out, "ProfilesSetAside"))


def test_the_alarm_is_raised_as_long_as_somebody_is_set_aside(capsys: pytest.CaptureFixture[str]) -> None:
    bench, broken = with_odd(0)
    assert alarm(bench, capsys) == 0
    bench.consume(bench.look(0, VICTIM))
    assert alarm(bench, capsys) == 1
    broken.trips_over = ()
    bench.consume(bench.look(VICTIM))
    assert alarm(bench, capsys) == 0


def test_a_later_look_that_goes_well_takes_it_off_the_record() -> None:
    bench, broken = with_odd(0)
    bench.consume(bench.look(0, VICTIM))
    assert recorded(bench) == [person(VICTIM)]
    bench.consume(bench.look(0, VICTIM))
    assert recorded(bench) == [person(VICTIM)]
    broken.trips_over = ()
    bench.consume(bench.look(VICTIM))
    assert recorded(bench) == []
    assert bench.tool.holds()[email(VICTIM)] == {"name": "odd"}


def test_one_whom_another_process_set_aside_comes_off_the_record_within_a_minute() -> None:
    bench, broken = with_odd(0)
    bench.consume(bench.look(0))
    other = bench.new_stack()
    here, bench.stack = bench.stack, other
    bench.consume(bench.look(0, VICTIM))
    bench.stack = here
    broken.trips_over = ()
    bench.clock.time += MINUTE
    bench.consume(bench.look(VICTIM))
    assert recorded(bench) == []


def test_one_whom_a_run_has_counted_as_rejected_stays_on_record_until_it_ends() -> None:
    """The run's last phase must not take out whom its first one could not count."""
    bench, broken = with_odd(0, 2)
    bench.store(VICTIM, email=email(VICTIM), name="even")
    bench.full_run()
    bench.store(VICTIM, email=f"new-{email(VICTIM)}", name="odd")
    bench.leave(2)
    bench.clock.time += MINUTE
    run = bench.start()
    while bench.run(run).phase < Phase.REMOVE:
        for message in bench.queue.take():
            assert bench.consume(message) == []
    broken.trips_over = ()
    pages = bench.queue.take()
    assert bench.consume(bench.look(VICTIM)) == []
    assert recorded(bench) == [person(VICTIM)]
    for message in pages:
        assert bench.consume(message) == []
    bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run)["rejected:defect"] == 1
    bench.full_run()
    assert recorded(bench) == []
    assert sorted(bench.tool.holds()) == [email(0), f"new-{email(VICTIM)}"]


def test_one_who_concerns_no_export_any_more_is_forgotten_by_the_next_run() -> None:
    bench, _ = with_odd(0)
    bench.store(6, inside=(LAPSED,), email=email(6))
    bench.consume(bench.look(0, VICTIM))
    assert recorded(bench) == [person(VICTIM)]
    bench.edit(segments=(LAPSED,))
    bench.clock.time += HOUR
    run = bench.full_run()
    bench.stack.starter.confirm(bench.export, run.id, "an operator")
    bench.work_off()
    assert recorded(bench) == []


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_a_defect_that_hits_everybody_fails_the_message_and_marks_hardly_anybody(imports: bool) -> None:
    bench = faulty_bench(imports=imports)
    for number in range(0, 256, 2):
        bench.store(number, email=email(number), name="odd")
    broken = breaking(bench, Everything())
    run = bench.start()
    bench.consume(*bench.queue.take())
    pages = bench.queue.take()
    kept = []
    while pages:
        broken.tried = 0
        page = pages.pop(0)
        kept += [page] if bench.consume(page) else []
        assert broken.tried < 300, "one by one"
        pages += bench.queue.take()
    assert bench.consume(*kept, receives=2) == [f"m{place}" for place in range(len(kept))]
    assert len(recorded(bench)) < MOST_IN_A_ROW
    assert bench.counts(run).get("selected", 0) < MOST_IN_A_ROW
    [attempt, *_] = attempts.of_queue(bench.database, "")
    assert attempt.error == "KeyError"

    broken.trips_over = ()
    assert bench.consume(*kept, receives=3) == []
    bench.work_off()
    bench.full_run()
    assert len(bench.tool.holds()) == 128
    assert recorded(bench) == []


def test_a_defect_that_hits_everybody_is_noticed_across_messages_of_one_profile_each() -> None:
    bench = bench_with(1)
    breaking(bench, Everything())
    kept = 0
    for number in range(0, 100, 2):
        bench.store(number, email=email(number), name="odd")
        kept += bench.consume(bench.look(number)) == ["m0"]
    assert len(recorded(bench)) < MOST_IN_A_ROW
    assert kept == 50 - len(recorded(bench))


def test_one_who_fails_again_and_again_is_not_ten() -> None:
    bench, _ = with_odd(0)
    for _ in range(3 * MOST_IN_A_ROW):
        assert bench.consume(bench.look(VICTIM)) == []
    assert recorded(bench) == [person(VICTIM)]


def test_trouble_of_our_own_side_is_no_defect_of_a_profile() -> None:
    bench = bench_with(0)
    bench.store(VICTIM, email=email(VICTIM))
    write = bench.database.write

    def throttled(writes: Sequence[Write]) -> list[bool]:
        if any(write.key.table is Table.IDENTITIES for write in writes):
            raise Busy("throttled", "too many writes")
        return write(writes)

    bench.database.write = throttled  # type: ignore[method-assign]
    assert bench.consume(bench.look(0, VICTIM)) == ["m0"]
    assert recorded(bench) == []
    bench.database.write = write  # type: ignore[method-assign]
    assert bench.consume(bench.look(0, VICTIM), receives=2) == []
    assert len(bench.tool.holds()) == 2


def test_a_retry_of_defects_is_a_run_like_any_other() -> None:
    bench, broken = with_odd(0)
    bench.consume(bench.look(0, VICTIM))
    broken.trips_over = ()
    bench.clock.time += MINUTE
    answer = bench.ask("run", export=MAIN, retry="defect")
    bench.work_off()
    assert bench.counts(answer["run"])["delivered"] == 1
    assert recorded(bench) == []


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_whoever_wins_an_identity_and_is_set_aside_harms_the_others_in_nothing_else(imports: bool) -> None:
    """The others with the identity wait behind it, as they always do; what else they stand for is sent."""
    bench = bench_with(1, imports=imports)
    bench.store(VICTIM, email=SHARED, name="odd")
    bench.store(6, email=[SHARED, email(6)], name="even")
    fault = Fault("BenchDestination.send", bench, Victim(frozenset({"odd"})))
    with fault.planted():
        fault.switch(True)
        assert bench.consume(bench.look(VICTIM, 6)) == []
        bench.work_off()
        assert recorded(bench) == [person(VICTIM)]
        assert bench.tool.holds() == {email(1): {}, email(6): {"name": "even"}}
    bench.clock.time += HOUR
    bench.full_run()
    assert bench.tool.holds()[SHARED] == {"name": "odd"}
    assert recorded(bench) == []


def test_one_of_an_import_that_came_to_nothing_keeps_no_other_from_being_sent_again() -> None:
    """Its record cannot be written just when the import is known to have ended."""
    bench = bench_with(0, 2, imports=True)
    for number in (2, VICTIM, 6):
        bench.store(number, email=email(number), name="new")
    bench.tool.undone = {email(number) for number in (2, VICTIM, 6)}
    run = bench.start()
    for _ in range(3):
        for message in bench.queue.take():
            assert bench.consume(message) == []
    checks = bench.checks.take()
    bench.tool.land()
    fault = Fault(("write", Table.IDENTITIES), bench, named_victim())
    with fault.planted():
        fault.switch(True)
        assert bench.check(*checks) == []
        assert recorded(bench) == [person(VICTIM)]
        fault.switch(False)
    bench.tool.undone = set()
    bench.work_off()
    assert bench.tool.holds()[email(2)] == bench.tool.holds()[email(6)] == {"name": "new"}
    bench.pass_time(3 * bench.tool.lost_answer_bound)
    bench.full_run()
    assert bench.tool.holds()[email(VICTIM)] == {"name": "new"}
    assert bench.run(run).state is not RunState.RUNNING
