"""A target belongs to one export of a connection, whoever acts first; it passes on with a greater epoch."""

from contextlib import suppress
from datetime import timedelta

import pytest

from relay.domain.exports import Export
from relay.domain.identity import Authority
from relay.domain.problems import Conflict, ExportProblem, SettingsProblem
from relay.stores import owners
from relay.stores.owners import Owner
from tests.fakes.breaker_world import CONNECTION, BreakerWorld


def own(world: BreakerWorld, export: Export) -> dict[str, Owner]:
    return world.another().own(export)


def stored(world: BreakerWorld, target: str = "list/7") -> Owner | None:
    return owners.load(world.database, CONNECTION, [target]).get(target)


def test_of_two_exports_to_one_target_the_second_is_refused_and_told_who_has_it() -> None:
    world = BreakerWorld()
    mine = own(world, world.main)
    other = world.edit("other", "list/7", "list/8")
    with pytest.raises(ExportProblem, match="list/7 belongs to export main of this connection"):
        own(world, other)
    assert world.ownership.taken(other) == [("list/7", "main")]
    assert stored(world) == mine["list/7"] == Owner("main", mine["list/7"].epoch)
    assert stored(world, "list/8") is None
    assert world.breaker("other").resync == ""


def test_another_connection_may_have_a_target_of_the_same_name() -> None:
    world = BreakerWorld()
    own(world, world.main)
    assert own(world, world.edit("main", "list/7", connection="parcels"))["list/7"].export == "main"


@pytest.mark.parametrize("how", ["edited", "deleted"])
def test_a_target_is_free_when_its_export_names_it_no_more_and_passes_on_with_a_greater_epoch(how: str) -> None:
    world = BreakerWorld()
    before = own(world, world.main)["list/7"]
    if how == "edited":
        world.edit("main", "list/8")
    else:
        world.delete("main")
    other = world.edit("other", "list/7")
    after = own(world, other)["list/7"]
    assert after == stored(world) == Owner("other", after.epoch, ("main",))
    assert after.epoch > before.epoch
    assert world.breaker("other").resync != ""


def test_epochs_grow_even_where_clocks_do_not() -> None:
    world = BreakerWorld()
    before = own(world, world.main)["list/7"]
    world.delete("main")
    other = world.edit("other", "list/7")
    world.clock.advance(-3600)
    assert own(world, other)["list/7"].epoch == before.epoch + 1


def test_an_export_whose_settings_are_invalid_for_a_while_keeps_its_target() -> None:
    world = BreakerWorld()
    own(world, world.main)
    other = world.edit("other", "list/7")
    world.settings.problems[world.main.key] = SettingsProblem("mapping", "is missing", field="mapping")
    with pytest.raises(ExportProblem):
        own(world, other)
    world.settings.problems.clear()
    assert own(world, world.main)["list/7"].export == "main"


def test_an_export_that_comes_back_finds_its_target_taken_though_its_process_remembers_owning_it() -> None:
    world = BreakerWorld()
    world.ownership.own(world.main)
    world.edit("main", "list/8")
    own(world, world.edit("other", "list/7"))
    back = world.edit("main", "list/7")
    with pytest.raises(ExportProblem, match="belongs to export other"):
        world.ownership.own(back)


def test_what_a_process_remembers_costs_no_read() -> None:
    world = BreakerWorld()
    world.ownership.own(world.main)
    world.database.forget_units()
    world.ownership.own(world.main)
    assert world.database.read_units.total() == 0


def test_all_targets_are_read_at_once() -> None:
    world = BreakerWorld()
    many = world.edit("many", *(f"list/{number}" for number in range(100, 150)))
    own(world, many)
    steps = len(world.database.steps)
    own(world, many)
    assert world.database.steps[steps:] == ["get control"]


@pytest.mark.parametrize("step", ["get", "write"])
def test_of_two_that_act_at_once_one_gets_a_free_target(step: str) -> None:
    world = BreakerWorld()
    other = world.edit("other", "list/7")
    world.database.interrupt(step, lambda: own(world, other))
    with pytest.raises(ExportProblem, match="belongs to export other"):
        own(world, world.main)
    assert stored(world) == Owner("other", stored(world).epoch)  # type: ignore[union-attr]


@pytest.mark.parametrize("number", range(6))
def test_of_two_that_take_over_at_once_one_gets_it(number: int) -> None:
    world = BreakerWorld()
    own(world, world.main)
    world.delete("main")
    third, other = world.edit("third", "list/7"), world.edit("other", "list/7")
    end = len(world.database.steps) + number
    won: list[str] = []

    def meet(step: str) -> None:
        if len(world.database.steps) == end:
            world.database.before = lambda _: None
            try_to_own(other)

    def try_to_own(export: Export) -> None:
        try:
            own(world, export)
        except ExportProblem:
            return
        won.append(export.name)

    world.database.before = meet
    try_to_own(third)
    try_to_own(other)
    owner = stored(world)
    assert owner is not None
    assert set(won) == {owner.export}
    assert owner.former == ("main",)


def test_two_workers_of_one_export_take_over_once() -> None:
    world = BreakerWorld()
    own(world, world.main)
    world.delete("main")
    other = world.edit("other", "list/7")
    first: list[Owner] = []
    world.database.interrupt("write", lambda: first.append(own(world, other)["list/7"]))
    assert own(world, other)["list/7"] == first[0] == stored(world)


def test_whoever_keeps_losing_to_others_that_vanish_says_so() -> None:
    world = BreakerWorld()
    number = iter(range(1000))

    def others(step: str) -> None:
        if step.startswith("write"):
            world.database.before = lambda _: None
            passing = world.edit(f"other{next(number)}", "list/7")
            own(world, passing)
            world.delete(passing.name)
            world.database.before = others

    world.database.before = others
    with pytest.raises(Conflict):
        own(world, world.main)


# What former owners left.


def test_all_former_owners_are_named_until_a_first_pass_is_over() -> None:
    world = BreakerWorld()
    own(world, world.main)
    world.edit("main", "list/8")
    second = world.edit("second", "list/7")
    own(world, second)
    world.edit("second", "list/9")
    third = world.edit("third", "list/7")
    assert own(world, third)["list/7"].former == ("main", "second")

    world.edit("third", "list/10")
    back = world.edit("second", "list/7")
    owner = own(world, back)["list/7"]
    assert owner.former == ("main", "third")

    world.clock.advance(1)
    owners.taken_over(world.database, CONNECTION, "second", world.clock.now())
    assert stored(world) == Owner("second", owner.epoch)
    assert stored(world, "list/8") is None


def test_a_run_that_began_before_takes_nothing_over() -> None:
    world = BreakerWorld()
    own(world, world.main)
    world.delete("main")
    began = world.clock.now()
    world.clock.advance(1)
    own(world, world.edit("other", "list/7"))
    owners.taken_over(world.database, CONNECTION, "other", began)
    assert own(world, world.edit("other", "list/7"))["list/7"].former == ("main",)


def test_a_run_that_begins_at_the_same_moment_takes_over() -> None:
    world = BreakerWorld()
    own(world, world.main)
    world.delete("main")
    own(world, world.edit("other", "list/7"))
    owners.taken_over(world.database, CONNECTION, "other", world.clock.now())
    assert own(world, world.edit("other", "list/7"))["list/7"].former == ()


def test_the_end_of_a_pass_says_nothing_of_what_passed_on_meanwhile() -> None:
    world = BreakerWorld()
    own(world, world.main)
    world.delete("main")
    own(world, world.edit("other", "list/7"))
    began = world.clock.now() + timedelta(hours=1)

    def pass_on() -> None:
        world.delete("other")
        own(world, world.edit("third", "list/7"))

    world.database.interrupt("write", pass_on)
    owners.taken_over(world.database, CONNECTION, "other", began)
    owner = stored(world)
    assert owner is not None
    assert owner.former == ("main", "other")


def test_a_process_learns_that_former_owners_are_through() -> None:
    world = BreakerWorld()
    own(world, world.main)
    world.delete("main")
    other = world.edit("other", "list/7")
    assert world.ownership.own(other)["list/7"].former == ("main",)
    owners.taken_over(world.database, CONNECTION, "other", world.clock.now())
    assert world.ownership.own(other)["list/7"].former == ()


@pytest.mark.parametrize("number", range(6))
def test_whoever_takes_over_has_asked_for_a_run_before(number: int) -> None:
    """Given a process that dies before any of its writes, When the target has passed on, Then a run is requested."""
    world = BreakerWorld()
    own(world, world.main)
    world.delete("main")
    other = world.edit("other", "list/7")
    end = len(world.database.steps) + number

    def die(step: str) -> None:
        if len(world.database.steps) >= end:
            raise KeyboardInterrupt

    world.database.before = die
    with suppress(KeyboardInterrupt):
        own(world, other)
    world.database.before = lambda _: None
    owner = stored(world)
    assert owner is not None
    assert owner.export == "main" or world.breaker("other").resync != ""


# In whose name records are changed.


def test_authority_comes_from_the_owner_and_the_settings() -> None:
    world = BreakerWorld()
    mine = own(world, world.main)
    tell = world.ownership.authority(world.main, mine)
    assert tell("list/7") == Authority(mine["list/7"].epoch, world.main.version, "main")
    assert tell("list/8") is None


def test_an_export_keeps_the_authority_over_a_target_it_names_no_more_until_another_takes_it() -> None:
    world = BreakerWorld()
    epoch = own(world, world.main)["list/7"].epoch
    moved = world.edit("main", "list/8")
    mine = own(world, moved)
    assert world.ownership.authority(moved, mine)("list/7") == Authority(epoch, moved.version, "main")
    own(world, world.edit("other", "list/7"))
    assert world.ownership.authority(moved, mine)("list/7") is None


def test_whoever_reads_an_authority_twice_reads_the_record_once() -> None:
    world = BreakerWorld()
    tell = world.ownership.authority(world.main, {})
    world.database.forget_units()
    for _ in range(3):
        tell("list/9")
    assert world.database.read_units.total() == 1
