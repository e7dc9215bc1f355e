"""When two profiles turn out to be one person, what one stood for passes to the other, and nobody leaves on the way."""

from datetime import timedelta
from functools import partial

import pytest

from relay.domain.assignment import Pair
from relay.domain.identity import Authority
from relay.domain.problems import Conflict, StaleSettings
from relay.domain.runs import Phase, Run, RunState
from relay.queues import Message
from relay.reconcile.verdict import UNCHANGED
from relay.stores import assignments, identities
from relay.stores.database import Table
from tests.fakes.bench import MINUTE, VIP, Bench, Crash, person
from tests.fakes.bench_destination import Lost
from tests.fakes.crashing import die_at_every_step, meet

ANN, BOB, CY = "ann@x.example", "bob@x.example", "cy@x.example"
OLD, SURVIVOR = 8, 3
"""Of different shards: whoever looks at one may be overtaken by whoever looks at the other."""
HOUR = timedelta(hours=1)

both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def bench_with(*, imports: bool = False, **values: str) -> Bench:
    """Return a bench in which the profile was delivered that will become an alias, and Cy."""
    bench = Bench(imports=imports)
    bench.store(OLD, email=ANN, name="Ann", **values)
    bench.store(12, email=CY)
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.clock.time += HOUR
    return bench


def look_at(bench: Bench, *numbers: int) -> None:
    """Look at profiles as route asks for it, and at whoever is woken."""
    assert bench.consume(bench.look(*numbers)) == []
    bench.work_off()


def steps(bench: Bench) -> list[str]:
    return sorted(step for call in bench.sent for step in call)


def holds(bench: Bench) -> dict[str, dict[str, str]]:
    """Return what the destination holds besides Cy."""
    return {email: values for email, values in bench.tool.holds().items() if email != CY}


def assert_is_with_the_survivor(bench: Bench, email: str = ANN) -> None:
    assert bench.record(email).desired[0] == (person(SURVIVOR),)
    assert email in {pair.identity for pair in bench.assigned(SURVIVOR)}
    assert bench.assignment(OLD).is_empty


@both
def test_an_identity_passes_to_the_survivor_without_a_call(imports: bool) -> None:
    bench = bench_with(imports=imports)
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert holds(bench) == {ANN: {"name": "Ann"}}
    assert_is_with_the_survivor(bench)


@pytest.mark.parametrize("order", [(OLD, SURVIVOR), (SURVIVOR, OLD)])
def test_what_the_survivor_knows_better_is_sent_and_what_it_does_not_want_leaves(order: tuple[int, int]) -> None:
    bench = bench_with()
    bench.store(SURVIVOR, email=BOB)
    bench.join(OLD, SURVIVOR)
    for number in order:
        look_at(bench, number)
    assert holds(bench) == {BOB: {"name": "Ann"}}
    assert steps(bench) == [f"-{ANN}", BOB]
    assert_is_with_the_survivor(bench, BOB)


def test_a_survivor_that_left_takes_the_identity_out_when_nobody_else_wants_it() -> None:
    bench = bench_with()
    bench.store(SURVIVOR, inside=(), outside=(VIP,))
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == [[f"-{ANN}"]]
    assert holds(bench) == {}
    assert bench.assignment(OLD).is_empty
    assert bench.assignment(SURVIVOR).is_empty


def test_two_with_one_identity_become_one() -> None:
    bench = bench_with()
    bench.store(SURVIVOR, email=ANN, name="Ann")
    bench.reconcile(SURVIVOR)
    bench.work_off()
    bench.tool.calls_made.clear()
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert_is_with_the_survivor(bench)


def test_somebody_else_with_that_identity_goes_on_to_wait_behind_the_survivor() -> None:
    bench = bench_with()
    bench.store(5, email=ANN, name="Another Ann")
    bench.reconcile(5)
    bench.work_off()
    assert holds(bench) == {ANN: {"name": "Another Ann"}}
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert holds(bench) == {ANN: {"name": "Ann"}}
    bench.leave(SURVIVOR)
    look_at(bench, SURVIVOR)
    assert holds(bench) == {ANN: {"name": "Another Ann"}}


def test_a_chain_of_aliases_hands_over_to_its_end() -> None:
    bench = bench_with()
    bench.store(5)
    bench.join(OLD, 5)
    bench.store(SURVIVOR)
    bench.join(5, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert_is_with_the_survivor(bench)


def test_whoever_was_leaving_is_left_to_the_survivor() -> None:
    bench = bench_with()
    bench.tool.refuses = {ANN}
    bench.leave(OLD)
    bench.reconcile(OLD)
    assert bench.record(ANN).responsible == person(OLD)
    bench.clock.time += MINUTE
    bench.store(OLD)
    bench.join(OLD, SURVIVOR)
    bench.tool.refuses = set()
    look_at(bench, OLD)
    assert holds(bench) == {ANN: {"name": "Ann"}}
    assert_is_with_the_survivor(bench)


def test_a_lost_call_of_the_alias_is_waited_out() -> None:
    bench = bench_with()
    bench.store(OLD, name="New name")
    bench.tool.script = [Lost()]
    with pytest.raises(Lost):
        bench.reconcile(OLD)
    bench.join(OLD, SURVIVOR)
    bench.store(SURVIVOR, name="Newest name")
    look_at(bench, OLD)
    look_at(bench, SURVIVOR)
    bench.pass_time(HOUR)
    assert holds(bench) == {ANN: {"name": "Newest name"}}
    assert bench.tool.complaints == []
    assert f"-{ANN}" not in steps(bench)
    assert_is_with_the_survivor(bench)


def test_an_open_import_of_the_alias_is_waited_for() -> None:
    bench = bench_with(imports=True)
    bench.store(OLD, name="New name")
    bench.reconcile(OLD)
    bench.join(OLD, SURVIVOR)
    bench.store(SURVIVOR, name="Newest name")
    look_at(bench, OLD, SURVIVOR)
    assert holds(bench) == {ANN: {"name": "Newest name"}}
    assert_is_with_the_survivor(bench)


def test_all_that_an_alias_stands_for_passes_however_much_that_is() -> None:
    segments = [f"shop/{number}" for number in range(90)]
    bench = Bench(segments=segments, call_size=200)
    bench.store(OLD, email=ANN, inside=segments)
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert len(bench.assigned(SURVIVOR)) == 90
    assert bench.assignment(OLD).is_empty


def test_where_leaving_is_not_told_nothing_is_sent() -> None:
    bench = bench_with()
    bench.tool.keeps = True
    bench.store(SURVIVOR, inside=(), outside=(VIP,))
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert bench.sent == []
    assert holds(bench) == {ANN: {"name": "Ann"}}
    assert bench.assignment(OLD).is_empty


def test_the_guard_of_edited_settings_holds_for_what_the_survivor_took_over() -> None:
    bench = bench_with()
    bench.edit(mapping={"email": "attributes.emial"})
    bench.join(OLD, SURVIVOR)
    look_at(bench, OLD)
    assert holds(bench) == {ANN: {"name": "Ann"}}


def test_an_alias_that_has_handed_over_is_nobody() -> None:
    bench = bench_with()
    bench.join(OLD, SURVIVOR)
    assert bench.reconcile(OLD) == {}
    bench.work_off()
    before = bench.database.snapshot()
    assert bench.reconcile(OLD, SURVIVOR) == {SURVIVOR: UNCHANGED}
    assert bench.database.snapshot() == before


# Crashes and races.


@both
def test_a_death_at_any_step_loses_nothing_and_nobody_leaves(imports: bool) -> None:
    def prepare() -> Bench:
        bench = bench_with(imports=imports)
        bench.store(SURVIVOR, email=ANN, name="Ann B")
        bench.join(OLD, SURVIVOR)
        return bench

    def act(bench: Bench, receives: int) -> None:
        assert bench.consume(bench.look(OLD), receives=receives) == []

    def check(bench: Bench) -> None:
        bench.work_off()
        assert holds(bench) == {ANN: {"name": "Ann B"}}
        assert f"-{ANN}" not in steps(bench)
        assert_is_with_the_survivor(bench)

    assert die_at_every_step(prepare, act, check) >= 5


MEETINGS = [f"{operation} {table.value}" for operation in ("get", "write") for table in Table]


@pytest.mark.exhaustive
@pytest.mark.parametrize("step", MEETINGS)
@pytest.mark.parametrize("wants", [True, False], ids=["wants it", "wants another"])
def test_the_survivor_may_be_looked_at_at_any_step(step: str, wants: bool) -> None:
    """It is of another shard, so its look may come between any two steps of the hand-over."""
    for number in range(6):
        bench = bench_with()
        if not wants:
            bench.store(SURVIVOR, email=BOB)
        bench.join(OLD, SURVIVOR)
        meet(bench, step, number, partial(bench.reconcile, SURVIVOR))
        is_done = bench.consume(bench.look(OLD)) == []
        bench.database._interruptions.clear()
        assert is_done or bench.consume(bench.look(OLD), receives=2) == []
        bench.work_off()
        bench.pass_time(2 * MINUTE)
        assert list(holds(bench)) == [ANN if wants else BOB], (step, number)
        assert_is_with_the_survivor(bench, ANN if wants else BOB)


@pytest.mark.exhaustive
@pytest.mark.parametrize("step", MEETINGS)
def test_a_hand_over_that_is_repeated_may_come_into_a_look_at_the_survivor(step: str) -> None:
    """Its first try died when it had written the survivor's assignment, before any record named the survivor."""
    for number in range(4):
        bench = bench_with()
        bench.store(SURVIVOR, email=BOB)
        bench.join(OLD, SURVIVOR)
        bench.database.interrupt("write identities", bench.die)
        with pytest.raises(Crash):
            bench.consume(bench.look(OLD))
        assert {pair.identity for pair in bench.assigned(SURVIVOR)} == {ANN}
        meet(bench, step, number, partial(bench.reconcile, OLD))
        is_done = bench.consume(bench.look(SURVIVOR)) == []
        bench.database._interruptions.clear()
        assert is_done or bench.consume(bench.look(SURVIVOR), receives=2) == []
        assert bench.consume(bench.look(OLD), receives=2) == []
        bench.work_off()
        assert list(holds(bench)) == [BOB], (step, number)
        assert_is_with_the_survivor(bench, BOB)


def test_what_newer_settings_did_with_a_record_is_not_undone() -> None:
    """Another claimant was looked at under newer settings than those of the look at the alias."""
    bench = bench_with()
    bench.join(OLD, SURVIVOR)
    old = bench.job()
    bench.edit(mapping={"email": "attributes.email"})
    bench.store(10, email=ANN, name="Another")
    bench.reconcile(10)
    before = bench.record(ANN)
    with pytest.raises(StaleSettings) as raised:
        bench.stack.reconciler.look(old, [person(OLD)])
    assert raised.value.version == bench.export.version
    assert bench.record(ANN).authority == before.authority


def test_what_newer_settings_did_with_the_survivor_is_not_undone() -> None:
    bench = bench_with()
    bench.store(SURVIVOR, email=BOB)
    bench.join(OLD, SURVIVOR)
    old = bench.job()
    bench.edit(mapping={"email": "attributes.email"})
    bench.reconcile(SURVIVOR)
    with pytest.raises(StaleSettings):
        bench.stack.reconciler.look(old, [person(OLD)])


def test_a_record_of_another_owner_of_the_target_is_none_of_the_alias_business() -> None:
    bench = bench_with()
    key = bench.key(ANN)
    stored = identities.load(bench.database, [key])[key]
    other = stored.record._replace(authority=Authority(stored.record.authority.epoch + 1, 1, "other"))
    bench.database.write([identities.save(key, other, stored.version, bench.clock.now())])
    bench.join(OLD, SURVIVOR)
    bench.consume(bench.look(OLD))
    assert bench.record(ANN) == other


@pytest.mark.parametrize("table", [Table.ASSIGNMENTS, Table.IDENTITIES])
def test_where_others_keep_writing_the_message_comes_back(table: Table) -> None:
    bench = bench_with()
    bench.store(SURVIVOR, email=BOB)
    bench.reconcile(SURVIVOR)
    bench.join(OLD, SURVIVOR)
    key = bench.key(ANN)

    def overtake() -> None:
        if table is Table.IDENTITIES:
            stored = identities.load(bench.database, [key])[key]
            bench.database.write([identities.save(key, stored.record, stored.version, bench.clock.now())])
        else:
            [item] = [item for item in bench.database.items(table) if item["sk"] == person(SURVIVOR)]
            item_key = next(one for one in bench.database.snapshot() if one.table is table and one.sk == item["sk"])
            bench.database._items[item_key]["version"] = int(item["version"]) + 1

    def before(step: str) -> None:
        if step.startswith(f"write {table.value}"):
            bench.database.before = lambda step: None
            overtake()
            bench.database.before = before

    bench.database.before = before
    with pytest.raises(Conflict):
        bench.reconcile(OLD)
    bench.database.before = lambda step: None
    look_at(bench, OLD)
    assert list(holds(bench)) == [BOB]


# Runs.

MANY = range(0, 256, 2)


@both
def test_a_run_counts_survivors_and_nobody_as_leaving(imports: bool) -> None:
    """Everybody turned out to be somebody else, who was never delivered."""
    bench = Bench(imports=imports, call_size=50)
    for number in MANY:
        bench.store(number + 256, email=f"{number}@x.example")
    bench.full_run()
    bench.tool.calls_made.clear()
    bench.clock.time += MINUTE
    for number in MANY:
        bench.join(number + 256, number)
    run = bench.full_run()
    assert run.state is RunState.FINISHED
    assert bench.counts(run)["selected"] == len(MANY)
    assert bench.counts(run).get("leaving", 0) == 0
    assert all(not step.startswith("-") for step in steps(bench))
    assert sorted(bench.tool.holds()) == sorted(f"{number}@x.example" for number in MANY)
    assert all(not bench.assigned(number + 256) for number in MANY)

    # The next run finds everything as it should be.
    bench.tool.calls_made.clear()
    again = bench.full_run()
    assert bench.sent == []
    assert bench.counts(again) == {"selected": len(MANY), "unchanged": len(MANY), "assigned": len(MANY)}


def run_with_slow_looks(bench: Bench) -> tuple[Run, list[Message]]:
    """Make a run whose pages meet what was handed over as it is; return it, and the looks asked for meanwhile."""
    run, looks = bench.start(), []
    while bench.run(run).state is RunState.RUNNING:
        messages = sorted(bench.queue.take(), key=lambda message: message.group or "", reverse=True)
        looks += [message for message in messages if message.body["kind"] == "look"]
        for message in messages:
            if message.body["kind"] != "look":
                assert bench.consume(message) == []
    return run, looks


def test_what_a_survivor_took_over_during_a_run_and_does_not_want_adds_up() -> None:
    """The alias' page comes after the survivor's, which had nothing to leave."""
    bench = bench_with()
    bench.store(SURVIVOR, email=BOB)
    bench.reconcile(SURVIVOR)
    bench.store(14, email="14@x.example")
    bench.reconcile(14)
    bench.work_off()
    bench.leave(14)
    bench.join(OLD, SURVIVOR)
    bench.clock.time += MINUTE
    run, looks = run_with_slow_looks(bench)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.run(run).phase is Phase.REMOVE
    for look in looks:
        bench.consume(look)
    bench.work_off()
    bench.counts(run)
    assert list(holds(bench)) == [BOB]


def test_an_alias_that_waits_for_its_own_lost_call_holds_up_no_run() -> None:
    bench = bench_with()
    bench.store(OLD, name="New name")
    bench.tool.script = [Lost()]
    with pytest.raises(Lost):
        bench.reconcile(OLD)
    bench.join(OLD, SURVIVOR)
    bench.leave(12)
    run = bench.full_run()
    bench.pass_time(HOUR)
    assert bench.run(run).state is RunState.FINISHED
    assert bench.counts(run).get("outstanding", 0) == 0
    assert bench.tool.holds() == {ANN: {"name": "New name"}}


@pytest.mark.parametrize("by", ["a look", "a run"])
def test_a_survivor_that_is_assigned_it_already_in_vain_takes_it_out(by: str) -> None:
    """The record names the alias when both are read, and the survivor once it has taken over."""
    bench = Bench(call_size=10)
    for number in (2, 4, 6):
        bench.store(number, email=f"{number}@x.example")
    bench.full_run()
    stored = assignments.load(bench.database, bench.export.key, [person(2)])[person(2)]
    grown = stored.assignment._replace(pairs=stored.assignment.pairs | {Pair(bench.target(), "4@x.example")})
    bench.database.write([assignments.save(bench.export.key, person(2), grown, stored.version)])
    bench.join(4, 2)
    bench.store(2, email="2@x.example")
    bench.leave(6)
    bench.clock.time += MINUTE
    if by == "a run":
        run, looks = run_with_slow_looks(bench)
        assert bench.counts(run)["leaving"] == 1, "the survivor was not counted as leaving"
        for look in looks:
            bench.consume(look)
        bench.work_off()
    else:
        assert bench.consume(bench.look(2, 4, 6)) == []
        bench.work_off()
    assert list(bench.tool.holds()) == ["2@x.example"]
    assert bench.record("4@x.example").winner is None
