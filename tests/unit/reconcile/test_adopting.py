"""A target passes from one export to another: the new owner takes over what the former one had assigned there."""

from datetime import timedelta
from typing import Any

import pytest

from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.problems import ExportProblem
from relay.domain.runs import Phase, Run, RunState
from relay.queues import Message
from relay.reconcile import survey
from relay.reconcile.desired import Desired, desired_of
from relay.reconcile.verdict import DELIVERED
from relay.stores import owners, runs
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench import CONNECTION, LAPSED, MINUTE, VIP, Bench, person
from tests.fakes.crashing import die_at_every_step

NEW = f"{CONNECTION}/new"
HOUR = timedelta(hours=1)
TARGET = f"segment/{VIP}"

GOLD = "shop/gold"


def mail(number: int) -> str:
    return f"{number}@x.example"


def passing(*, imports: bool = False, streams: bool = True) -> Bench:
    """Return a bench whose export `main` has given up its target, which `new` has in its settings now.

    0 to 5 were in the target. The new export wants 4 and 5, with other values, and 6 and 8 besides. All of 0 to 5 stay
    members of `main`, which has another target now.
    """
    bench = Bench(imports=imports, streams=streams, segments=(VIP,), call_size=4)
    for number in range(6):
        bench.store(number, inside=(VIP, LAPSED), email=mail(number), name="old")
    bench.full_run()
    bench.clock.time += HOUR
    bench.tool.calls_made.clear()
    mapping = {"email": "attributes.email", "name": "attributes.other"}
    if imports:
        bench.edit(options="8", segments=(LAPSED,))
        bench.edit("new", options="7", segments=(GOLD,), mapping=mapping)
    else:
        bench.edit(segments=(LAPSED,))
        bench.edit("new", segments=(VIP,), mapping=mapping)
    for number in range(4):
        bench.store(number, inside=(LAPSED,), outside=(VIP, GOLD))
    for number in (4, 5, 6, 8):
        bench.store(number, inside=(VIP, GOLD, LAPSED) if number < 6 else (VIP, GOLD), email=mail(number), other="new")
    bench.clock.time += HOUR
    return bench


def new_export(bench: Bench) -> Export:
    return bench.settings.saved[NEW]


def run_new(bench: Bench, *, confirm: bool = True) -> Run:
    run = bench.full_run(new_export(bench))
    if run.state is RunState.NEEDS_CONFIRMATION and confirm:
        assert bench.stack.starter.confirm(new_export(bench), run.id, "an operator")
        bench.work_off()
    return bench.run(run)


def target(bench: Bench) -> str:
    return bench.target(new_export(bench))


def held(bench: Bench) -> dict[str, str]:
    """Return the names in the target that changed hands."""
    there = {identity: values for (name, identity), values in bench.tool.held.items() if name == target(bench)}
    return {identity: values.get("name", "") for identity, values in there.items()}


WANTED = {mail(number): "new" for number in (4, 5, 6, 8)}
both = pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])


def test_a_target_that_another_export_names_cannot_be_taken() -> None:
    bench = Bench()
    bench.store(2, email=mail(2))
    bench.full_run()
    bench.edit("new", segments=(VIP,))
    with pytest.raises(ExportProblem):
        bench.job(NEW)
    assert bench.consume(bench.look(2, export="new")) == []
    assert owners.load(bench.database, CONNECTION, [TARGET])[TARGET].export == "main"


@both
@pytest.mark.parametrize("streams", [False, True])
def test_the_new_owners_run_brings_its_members_and_takes_out_the_others(imports: bool, streams: bool) -> None:
    bench = passing(imports=imports, streams=streams)
    run = run_new(bench)
    assert run.state is RunState.FINISHED
    assert held(bench) == WANTED
    counts = bench.counts(run)
    assert (counts["selected"], counts["delivered"]) == (4, 4)
    assert (counts["assigned"], counts["leaving"], counts["removed"]) == (6, 4, 4)
    for number in range(6):
        pairs = bench.assigned(number) | bench.assigned(number, NEW)
        assert (Pair(target(bench), mail(number)) in pairs) is (number >= 4 or imports), number
    assert bench.tool.complaints == []
    assert owners.load(bench.database, CONNECTION, [target(bench)])[target(bench)].former == ()


@both
def test_nobody_is_taken_out_before_every_member_could_claim(imports: bool) -> None:
    bench = passing(imports=imports)
    run = bench.start(new_export(bench))
    while bench.run(run).phase is not Phase.REMOVE:
        bench.tool.land()
        for message in bench.queue.take():
            assert bench.consume(message) == []
            # What streams meanwhile takes out nobody, either.
            version = new_export(bench).version
            if bench.run(run).phase is not Phase.REMOVE:
                assert bench.consume(bench.look(*range(4), export="new", settings=version)) == []
    assert held(bench).keys() >= {mail(number) for number in range(6)}
    bench.work_off()
    assert held(bench) == WANTED


@both
def test_the_former_owner_changes_nothing_there_any_more(imports: bool) -> None:
    bench = passing(imports=imports)
    bench.job(NEW)
    bench.reconcile(*range(6))
    bench.work_off()
    assert held(bench) == {mail(number): "old" for number in range(6)}
    former = bench.full_run()
    bench.stack.starter.confirm(bench.export, former.id, "an operator")
    bench.work_off()
    assert held(bench) == {mail(number): "old" for number in range(6)}
    run_new(bench)
    assert held(bench) == WANTED


def test_a_member_of_both_with_the_same_values_needs_no_call() -> None:
    bench = passing()
    bench.edit("new", mapping=bench.export.mapping)
    bench.store(4, name="old")
    run = run_new(bench)
    assert held(bench) == {mail(4): "old", mail(5): "old", mail(6): "", mail(8): ""}
    assert [step for call in bench.sent for step in call if step in (mail(4), mail(5))] == []
    assert bench.counts(run)["unchanged"] == 2


def test_a_claim_of_the_new_owner_drops_the_former_owners_claimants() -> None:
    bench = passing()
    bench.store(7, inside=(VIP,), email=mail(0), other="mine")
    assert bench.reconcile(7, export=NEW) == {7: DELIVERED}
    assert bench.record(mail(0), target(bench)).desired[0] == (person(7),)
    run_new(bench)
    assert held(bench) == {**WANTED, mail(0): "mine"}
    bench.leave(7)
    bench.reconcile(7, export=NEW)
    assert held(bench) == WANTED


def test_where_the_new_owner_keeps_leavers_whoever_it_does_not_want_stays() -> None:
    bench = passing()
    bench.tool.keeps = True
    run = run_new(bench)
    assert run.state is RunState.FINISHED
    assert held(bench) == {**{mail(number): "old" for number in range(4)}, **WANTED}
    assert all(not step.startswith("-") for call in bench.sent for step in call)
    for number in range(4):
        assert bench.assigned(number, NEW) == set()
        assert Pair(target(bench), mail(number)) not in bench.assigned(number)


def test_a_target_that_goes_back_is_taken_over_again() -> None:
    bench = passing()
    run_new(bench)
    bench.edit("new", segments=(GOLD,))
    bench.edit(segments=(VIP,))
    bench.clock.time += HOUR
    run = bench.full_run()
    if run.state is RunState.NEEDS_CONFIRMATION:
        bench.stack.starter.confirm(bench.export, run.id, "an operator")
        bench.work_off()
    assert bench.run(run).state is RunState.FINISHED
    there = {identity: values.get("name") for (name, identity), values in bench.tool.held.items() if name == TARGET}
    assert there == {mail(4): "old", mail(5): "old", mail(6): None, mail(8): None}


def test_of_several_owners_in_turn_the_last_takes_over_from_all() -> None:
    """Given that the second owner brought people in and had no run, When a third one has its run."""
    bench = passing()
    bench.store(7, inside=(VIP,), email=mail(7), other="second")
    bench.store(9, inside=(VIP,), email=mail(9), other="second")
    assert bench.reconcile(7, 9, export=NEW) == {7: DELIVERED, 9: DELIVERED}
    bench.edit("new", segments=(GOLD,))
    bench.clock.time += HOUR
    third = bench.edit("third", segments=(VIP,))
    for number in (*range(4, 7), 8, 9):
        bench.leave(number, VIP)
    bench.clock.time += HOUR
    bench.job(third.key)
    assert owners.load(bench.database, CONNECTION, [TARGET])[TARGET].former == ("main", "new")

    run = bench.full_run(third)
    assert run.state is RunState.FINISHED
    assert bench.counts(run) == {"selected": 1, "delivered": 1, "assigned": 8, "leaving": 7, "removed": 7}
    assert [identity for name, identity in bench.tool.held if name == TARGET] == [mail(7)]
    for number in range(10):
        former = bench.assigned(number) | bench.assigned(number, NEW)
        assert [pair for pair in former if pair.target == TARGET] == [], number
    assert owners.load(bench.database, CONNECTION, [TARGET])[TARGET].former == ()


@pytest.mark.exhaustive
@both
def test_a_page_that_dies_anywhere_loses_nobody_and_counts_each_once(imports: bool) -> None:
    pages: list[Message] = []

    def prepare() -> Bench:
        bench = passing(imports=imports, streams=False)
        bench.start(new_export(bench))
        [ask] = bench.queue.take()
        assert bench.consume(ask) == []
        pages[:] = bench.queue.take()
        return bench

    def act(bench: Bench, receives: int) -> None:
        for page in pages:
            assert bench.consume(page, receives=receives) == []

    def check(bench: Bench) -> None:
        bench.work_off()
        bench.tick(after=STALLED_AFTER + MINUTE)
        bench.work_off()
        run = runs.latest(bench.database, NEW)[-1]
        if run.state is RunState.NEEDS_CONFIRMATION:
            assert bench.stack.starter.confirm(new_export(bench), run.id, "an operator")
            bench.work_off()
        assert bench.run(run).state is RunState.FINISHED
        counts = bench.counts(run)
        assert counts["selected"] == 4
        assert counts["removed"] == 4
        assert held(bench) == WANTED

    assert die_at_every_step(prepare, act, check) >= 30


@both
def test_two_exports_swap_what_they_own(imports: bool) -> None:
    """Given one who is in both targets and one in one, When the exports swap them, Then each holds whom it should."""
    bench = Bench(imports=imports, call_size=4)
    main, other = f"{CONNECTION}/main", f"{CONNECTION}/other"
    bench.edit("other", options="8", segments=(GOLD,))
    bench.store(2, inside=(VIP, GOLD), email=mail(2))
    bench.store(4, inside=(GOLD,), email=mail(4))
    for key in (main, other):
        bench.full_run(bench.settings.saved[key])
    names = [bench.target(bench.settings.saved[key]) for key in (main, other)]
    assert [held_at(bench, name) for name in names] == [{mail(2)}, {mail(2), mail(4)}]
    if imports:
        # Each list gets the other export's members.
        bench.edit("other", options="7")
        bench.edit("main", options="8")
    else:
        bench.edit("other", segments=(VIP,))
        bench.edit("main", segments=(GOLD,))
    bench.clock.time += HOUR
    for key in (other, main):
        bench.stack.starter.start(bench.settings.saved[key], "test")
        bench.work_off()
    bench.pass_time(HOUR)
    small, large = reversed(names) if imports else names
    assert (held_at(bench, small), held_at(bench, large)) == ({mail(2)}, {mail(2), mail(4)})


def held_at(bench: Bench, target: str) -> set[str]:
    """Return whom the destination holds in a target."""
    return {identity for name, identity in bench.tool.held if name == target}


@both
def test_an_alias_found_while_the_target_passes_leaves_nobody_behind(imports: bool) -> None:
    """Given a run that has passed the survivor and not the alias, When the former owner looks at the alias."""
    bench = passing(imports=imports)
    bench.store(3, inside=(LAPSED,), outside=(VIP, GOLD), email=mail(3))
    run = bench.stack.starter.start(new_export(bench), "test")
    assert run is not None
    while True:
        (message, *others) = sorted(bench.queue.take(), key=lambda one: str(one.group))
        bench.queue.messages += others
        of_shards = {shard.index: shard for shard in runs.shards(bench.database, run.id, Phase.DELIVER)}
        is_after_survivor = bool(of_shards) and of_shards[0].done
        if is_after_survivor and message.body.get("phase") == Phase.DELIVER:
            break
        assert bench.consume(message) == []
    bench.join(3, 0)
    assert bench.consume(bench.look(0, 3)) == []
    assert bench.consume(message) == []
    bench.work_off()
    for _ in range(2):
        bench.clock.time += timedelta(days=1)
        run_new(bench)
        bench.full_run(bench.export)
    assert mail(3) not in held(bench)
    assert bench.tool.complaints == []


@both
def test_who_met_a_defect_while_the_target_passed_is_taken_over_by_a_later_run(
    imports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = passing(imports=imports)

    def flawed(export: Export, *more: Any) -> Desired:
        if more[1] is not None and more[1].id == person(3) and export.key == NEW:
            raise RuntimeError("a defect")
        return desired_of(export, *more)

    with monkeypatch.context() as patch:
        patch.setattr(survey, "desired_of", flawed)
        run_new(bench)
    for _ in range(2):
        bench.clock.time += timedelta(days=1)
        run_new(bench)
    assert mail(3) not in held(bench)
    assert not owners.to_adopt(bench.database, CONNECTION, "new")
