"""Another one writes between any read and the write that follows it; and writes that are throttled or lost."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from relay.domain.problems import Busy, Conflict, StaleSettings
from relay.reconcile import recorder
from relay.reconcile.reconciler import LOST_RACES
from relay.reconcile.verdict import DELIVERED
from relay.stores import assignments, identities
from relay.stores.database import Table
from tests.fakes.bench import CONNECTION, MINUTE, Bench, person
from tests.fakes.crashing import meet_at_every_step, trouble_at_every_write
from tests.fakes.memory_database import Trouble

pytestmark = pytest.mark.exhaustive

ANN, BOB = "ann@x.example", "bob@x.example"
FIRST, SECOND = 2, 3
"""Of different shards, so that looks at them overlap."""
HOUR = timedelta(hours=1)

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def joins(bench: Bench, number: int) -> None:
    bench.store(number, email=ANN, name=str(number))


def leaves(bench: Bench, number: int) -> None:
    bench.leave(number)


def changes(bench: Bench, number: int) -> None:
    bench.store(number, email=ANN, name=f"{number} changed")


def moves(bench: Bench, number: int) -> None:
    bench.store(number, email=BOB, name=str(number))


DEEDS = [joins, leaves, changes, moves]


def wanted(first: Callable[..., None], second: Callable[..., None]) -> dict[str, dict[str, str]]:
    """Return what the destination should hold: the values of the smaller one of those who want an address."""
    held: dict[str, dict[str, str]] = {}
    for number, deed in ((SECOND, second), (FIRST, first)):
        if deed is not leaves:
            values = f"{number} changed" if deed is changes else str(number)
            held[BOB if deed is moves else ANN] = {"name": values}
    return held


def prepared(first: Callable[..., None], second: Callable[..., None], *, imports: bool) -> Bench:
    """Return a bench where both have Ann's address, but for who joins only now, and did their deeds."""
    bench = Bench(imports=imports, streams=False)
    bench.store(14, email="other@x.example")
    for number, deed in ((FIRST, first), (SECOND, second)):
        if deed is not joins:
            joins(bench, number)
    bench.full_run()
    bench.clock.time += HOUR
    bench.tool.calls_made.clear()
    for number, deed in ((FIRST, first), (SECOND, second)):
        deed(bench, number)
    return bench


def holds(bench: Bench) -> dict[str, dict[str, str]]:
    return {email: values for email, values in bench.tool.holds().items() if email in (ANN, BOB)}


def act(bench: Bench, receives: int) -> bool:
    return bench.consume(bench.look(FIRST), receives=receives) == []


def look_at_second(bench: Bench) -> None:
    if bench.consume(bench.look(SECOND)):
        assert bench.consume(bench.look(SECOND), receives=2) == []


@both
@pytest.mark.parametrize("second", DEEDS)
@pytest.mark.parametrize("first", DEEDS)
def test_two_profiles_with_one_address_may_meet_at_any_step(
    first: Callable[..., None], second: Callable[..., None], imports: bool
) -> None:
    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(12 * MINUTE)
        assert holds(bench) == wanted(first, second)
        assert bench.tool.complaints == []
        for number, deed in ((FIRST, first), (SECOND, second)):
            emails = {pair.identity for pair in bench.assigned(number)}
            wants = set() if deed is leaves else {BOB if deed is moves else ANN}
            # What an import took out is taken out of assignments by the next look.
            assert wants == emails or (imports and wants < emails)

    met = meet_at_every_step(lambda: prepared(first, second, imports=imports), act, look_at_second, check)
    assert met > 5


@both
@pytest.mark.parametrize("trouble", Trouble)
def test_a_single_write_that_is_throttled_or_lost_does_no_harm(imports: bool, trouble: Trouble) -> None:
    def prepare() -> Bench:
        bench = prepared(leaves, moves, imports=imports)
        changes(bench, 4)
        bench.store(6, email="new@x.example")
        return bench

    def look_at_all(bench: Bench, receives: int) -> bool:
        return bench.consume(bench.look(FIRST, SECOND, 4, 6), receives=receives) == []

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.pass_time(12 * MINUTE)
        assert bench.tool.holds() == {
            "other@x.example": {},
            ANN: {"name": "4 changed"},
            BOB: {"name": "3"},
            "new@x.example": {},
        }
        assert bench.tool.complaints == []

    assert trouble_at_every_write(prepare, look_at_all, trouble, check) > 8


# At each conditional write, by name.


def overtaken(bench: Bench, email: str) -> None:
    """Let somebody else write a record as it is."""
    key = bench.key(email)
    stored = identities.load(bench.database, [key])[key]
    assert bench.database.write([identities.save(key, stored.record, stored.version, bench.clock.now())]) == [True]


def test_whoever_is_overtaken_at_a_record_visits_it_again() -> None:
    bench = Bench()
    for number, email in ((2, ANN), (4, BOB)):
        bench.store(number, email=email)
    bench.database.interrupt("write identities", lambda: overtaken(bench, ANN))
    bench.reconcile(2, 4)
    assert bench.database.lost_races[Table.IDENTITIES] == 1
    assert holds(bench) == {ANN: {}, BOB: {}}
    assert [len(call) for call in bench.sent] == [1, 1]


MANY = range(2, 22, 2)
SOME = (4, 10, 12, 20)
"""Of many, those who meet somebody."""


def many() -> Bench:
    bench = Bench(call_size=100)
    for number in MANY:
        bench.store(number, email=f"{number}@x.example")
    return bench


def overtaken_by_some(bench: Bench) -> None:
    for number in SOME:
        overtaken(bench, f"{number}@x.example")


def test_of_many_records_just_those_at_which_somebody_was_faster_are_visited_again() -> None:
    bench = many()
    bench.database.interrupt("write identities", lambda: overtaken_by_some(bench))
    stands = bench.reconcile(*MANY)
    assert bench.database.lost_races[Table.IDENTITIES] == len(SOME)
    assert set(stands.values()) == {DELIVERED}
    assert bench.sent == [[f"{n}@x.example" for n in MANY if n not in SOME], [f"{n}@x.example" for n in SOME]]


def test_of_many_answers_those_that_meet_somebody_are_written_too() -> None:
    bench = many()
    bench.tool.refuses = {"10@x.example"}
    bench.tool.answered = lambda: overtaken_by_some(bench)
    stands = bench.reconcile(*MANY)
    assert bench.database.lost_races[Table.IDENTITIES] == len(SOME)
    assert [number for number in MANY if stands[number] != DELIVERED] == [10]
    assert {bench.record(f"{number}@x.example").open for number in MANY} == {None}


@pytest.mark.parametrize("number", MANY)
def test_whoever_of_many_is_overtaken_at_an_assignment_nothing_is_claimed_for_them(number: int) -> None:
    bench = many()
    grown = bench.assignment(number).grown([], 1, bench.clock.now())
    write = assignments.save(f"{CONNECTION}/main", person(number), grown, 0)
    bench.database.interrupt("write assignments", lambda: bench.database.write([write]))
    with pytest.raises(Conflict):
        bench.reconcile(*MANY)
    assert bench.sent == []
    assert bench.record(f"{number}@x.example").winner is None


def test_an_answer_that_meets_somebody_is_written_all_the_same() -> None:
    """A smaller profile claims the address while the call is made."""
    bench = Bench()
    bench.store(4, email=ANN, name="second")
    bench.store(2, email=ANN, name="first")

    def claim() -> None:
        bench.tool.answered = lambda: None
        assert bench.consume(bench.look(2)) == []

    bench.tool.answered = claim
    bench.reconcile(4)
    assert bench.database.lost_races[Table.IDENTITIES] == 1
    assert bench.record(ANN).since is not None
    assert bench.record(ANN).open is None
    bench.work_off()
    bench.pass_time(12 * MINUTE)
    assert bench.tool.holds() == {ANN: {"name": "first"}}


def test_whoever_is_overtaken_at_an_assignment_comes_back() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    with_pair = assignments.save(
        f"{CONNECTION}/main", person(2), bench.assignment(2).grown([], 1, bench.clock.now()), 0
    )
    bench.database.interrupt("write assignments", lambda: bench.database.write([with_pair]))
    assert bench.consume(bench.look(2)) == ["m0"]
    assert bench.sent == []
    [(_, pause)] = bench.queue.hidden
    assert 1 <= pause <= 5
    assert bench.consume(bench.look(2), receives=2) == []
    assert bench.tool.holds() == {ANN: {}}


def test_a_reduction_that_is_overtaken_is_left_to_the_next_look() -> None:
    bench = Bench()
    for number, email in ((2, ANN), (4, BOB)):
        bench.store(number, email=email)
    bench.full_run()
    bench.clock.time += HOUR
    bench.leave(2)
    key = f"{CONNECTION}/main"

    def overtake() -> None:
        stored = assignments.load(bench.database, key, [person(2)])[person(2)]
        bench.database.write([assignments.save(key, person(2), stored.assignment, stored.version)])

    bench.database.interrupt("write assignments", overtake)
    assert bench.consume(bench.look(2)) == []
    assert bench.assigned(2) != set()
    assert bench.consume(bench.look(2)) == []
    assert bench.assigned(2) == set()
    assert bench.tool.holds() == {BOB: {}}


def keep_overtaking(bench: Bench, email: str) -> list[int]:
    """Overtake whoever writes records, each time; return the count of how often."""
    times = [0]

    def before(step: str) -> None:
        if step == "write identities":
            times[0] += 1
            bench.database.before = lambda name: None
            overtaken(bench, email)
            bench.database.before = before

    bench.database.before = before
    return times


def test_where_others_keep_writing_a_record_nothing_is_sent_and_the_message_comes_back() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    times = keep_overtaking(bench, ANN)
    with pytest.raises(Conflict):
        bench.reconcile(2)
    assert times == [LOST_RACES]
    assert bench.sent == []


def test_where_others_keep_writing_an_answer_waits_for_its_chance_and_the_call_stays_open() -> None:
    bench = Bench()
    bench.store(2, email=ANN)
    times: list[list[int]] = []
    bench.tool.answered = lambda: times.append(keep_overtaking(bench, ANN))
    with pytest.raises(Busy):
        bench.reconcile(2)
    assert times == [[recorder.LOST_RACES]]
    bench.database.before = lambda step: None
    bench.tool.answered = lambda: None
    assert bench.record(ANN).open is not None
    bench.leave(2)
    bench.store(4, email=BOB)
    bench.full_run()
    bench.pass_time(12 * MINUTE)
    assert bench.tool.holds() == {BOB: {}}


def test_somebody_who_acted_under_newer_settings_meanwhile_is_not_undone() -> None:
    bench = Bench()
    bench.store(2, email=ANN, name="A")
    bench.store(4, email=ANN)
    old = bench.job()

    def act_newer() -> None:
        bench.edit(mapping={"email": "attributes.email"})
        bench.reconcile(4)

    bench.database.interrupt("write identities", act_newer)
    with pytest.raises(StaleSettings) as raised:
        bench.stack.reconciler.look(old, [person(2)])
    assert raised.value.version == bench.export.version
    bench.reconcile(2)
    assert bench.tool.holds() == {ANN: {}}
