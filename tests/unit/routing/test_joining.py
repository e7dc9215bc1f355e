"""One profile stays one profile, whatever ids it is named by; and two that turn out to be one become one."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.changes import Change
from relay.domain.merging import merge
from relay.domain.profiles import Alias, Profile
from relay.routing.router import Router
from relay.stores import profiles
from relay.stores.database import Delete, Key, Table
from relay.stores.receipts import Counts
from tests.fakes.routing_world import NOON, Crash, World, change, member, profile_id


def routed(*changes: Change) -> World:
    """Return a world in which each change came in a message of its own, some time after the other."""
    world = World()
    for each in changes:
        tell(world, each)
    return world


def tell(world: World, *changes: Change, router: Router | None = None) -> None:
    world.post(*changes)
    assert world.run(router=router) == []
    world.clock.time += timedelta(seconds=1)


def what_lies_under(world: World, number: int) -> str | None:
    """Return `profile`, whose alias it is, or None."""
    stored = profiles.read(world.database, [profile_id(number)])[profile_id(number)]
    if isinstance(stored, Alias):
        return f"alias of {int(stored.of[2:], 16)}"
    return None if stored is None else "profile"


def under(world: World, *numbers: int) -> list[str | None]:
    return [what_lies_under(world, number) for number in numbers]


def test_of_several_ids_that_nobody_knows_the_smallest_is_the_profile() -> None:
    world = routed(change((5, 3, 9), member("s/a"), attributes={"plan": "pro"}))
    assert under(world, 3, 5, 9) == ["profile", "alias of 3", "alias of 3"]
    assert world.listing("s/a", 3) == [profile_id(3)]
    assert world.listing("s/a", 5) == []
    assert [look.profiles for look in world.queue("gainsight_px").looks] == [(profile_id(3),)]


@pytest.mark.parametrize("joining", [2, 8])
def test_an_id_that_joins_is_one_more_name_of_the_profile_even_if_it_is_smaller(joining: int) -> None:
    world = routed(
        change(5, member("s/a", 1), attributes={"plan": "pro"}),
        change((5, joining), member("s/a", 2)),
        change(joining, member("s/a", 3, realized=False)),
    )
    assert under(world, 5, joining) == ["profile", "alias of 5"]
    assert not world.profile(5).memberships["s/a"].realized
    assert world.totals() == Counts(merged=3)


def test_an_id_that_goes_leads_to_the_same_profile() -> None:
    world = routed(
        change((1, 5), member("s/a", 1), attributes={"plan": "pro"}), change(5, member("s/a", 2, realized=False))
    )
    assert world.profile(1) == world.profile(5)
    assert not world.profile(1).memberships["s/a"].realized


def test_two_known_profiles_that_turn_out_to_be_one_person_become_one() -> None:
    world = routed(
        change(6, member("s/a", 1), attributes={"plan": "free", "city": "Ulm"}, received_at=NOON),
        change(4, member("s/b", 2), attributes={"plan": "pro"}, received_at=NOON + timedelta(seconds=1)),
    )
    world.queue("gainsight_px").sent.clear()
    world.queue("activecampaign").sent.clear()
    tell(world, change((4, 6), identities={"crm": ["c-1"]}, received_at=NOON + timedelta(seconds=2)))

    assert under(world, 4, 6) == ["profile", "alias of 4"]
    one = world.profile(6)
    assert one.view()["attributes"] == {"plan": "pro", "city": "Ulm"}
    assert {segment for segment, held in one.memberships.items() if held.realized} == {"s/a", "s/b"}
    assert world.listing("s/a", 4) == world.listing("s/b", 4) == [profile_id(4)]
    # Whoever has delivered the one or the other looks at both.
    for destination in ("gainsight_px", "activecampaign"):
        looks = world.queue(destination).looks
        assert {one for look in looks for one in look.profiles} == {profile_id(4), profile_id(6)}
    world.check_all_is_seen()


def test_profiles_become_one_without_any_news_of_them() -> None:
    world = routed(change(6, member("s/a", 1)), change(4, member("s/a", 1)))
    # A membership that both know, and no more: the ids alone say it.
    tell(world, change((4, 6), member("s/a", 1)))
    assert under(world, 4, 6) == ["profile", "alias of 4"]
    world.check_all_is_seen()


def test_a_chain_of_aliases_is_followed_and_an_alias_is_written_once() -> None:
    world = routed(*(change(number, attributes={f"a{number}": 1}) for number in (9, 7, 5, 3)))
    for pair in ((9, 7), (7, 5), (5, 3)):
        tell(world, change(pair, attributes={"joined": True}))
    assert under(world, 3, 5, 7, 9) == ["profile", "alias of 3", "alias of 5", "alias of 7"]
    assert world.profile(9).view()["attributes"] == {"a3": 1, "a5": 1, "a7": 1, "a9": 1, "joined": True}
    tell(world, change(9, attributes={"plan": "x"}, received_at=NOON + timedelta(minutes=1)))
    assert under(world, 3, 5, 7, 9) == ["profile", "alias of 3", "alias of 5", "alias of 7"]
    assert world.profile(3).view()["attributes"]["plan"] == "x"


def test_a_chain_of_aliases_without_an_end_is_a_defect_and_not_followed_for_ever() -> None:
    world = World()
    chain = [Alias(profile_id(number), profile_id(number + 1), NOON) for number in range(profiles.LONGEST_CHAIN + 1)]
    assert all(profiles.save_aliases(world.database, chain))
    assert len(profiles.follow(world.database, [profile_id(3)])) == profiles.LONGEST_CHAIN - 1
    with pytest.raises(RuntimeError, match="too long"):
        profiles.follow(world.database, [profile_id(0)])


def test_an_alias_whose_profile_is_gone_leads_to_a_new_one_of_the_same_id() -> None:
    world = routed(change((2, 5), attributes={"plan": "x"}))
    assert under(world, 2, 5) == ["profile", "alias of 2"]
    world.database.write([Delete(Key(Table.PROFILES, profile_id(2)))])
    tell(world, change(5, member("s/a", 1)), change(1, attributes={"plan": "y"}))
    assert under(world, 1, 2, 5) == ["profile", "profile", "alias of 2"]
    assert world.profile(5).view()["attributes"] == {}


def test_a_profile_that_was_given_up_is_looked_at_though_no_change_names_it() -> None:
    """Given 9 is an alias of 7, When 9 and 3 turn out to be one, Then 7 is given up, and dying there loses no look."""
    for steps in itertools.count():
        world = routed(change(9, member("s/a", 1)), change(7, member("s/a", 1)), change(3, member("s/a", 1)))
        tell(world, change((7, 9), member("s/a", 2), received_at=world.clock.time))
        world.clock.time += timedelta(hours=1)
        world.queue("gainsight_px").sent.clear()
        world.post(change((3, 9), member("s/a", 2), received_at=world.clock.time))
        left = itertools.count(steps, -1)

        def die(step: str, left: Iterator[int] = left) -> None:
            if next(left) == 0:
                raise Crash(step)

        world.step = die
        with suppress(Crash):
            world.run()
        world.step = lambda step: None
        world.run(*world.waiting)
        assert under(world, 3, 7, 9) == ["profile", "alias of 3", "alias of 7"]
        assert {profile_id(3), profile_id(7)} <= world.queue("gainsight_px").looked_at
        if next(left) > 0:
            break
    assert steps > 10


def test_several_profiles_become_one_in_one_step() -> None:
    world = routed(*(change(number, member("s/a", number), attributes={f"a{number}": 1}) for number in (9, 7, 5)))
    tell(world, change((5, 7, 9), member("s/b", 20)))
    assert under(world, 5, 7, 9) == ["profile", "alias of 5", "alias of 5"]
    assert world.profile(5).view()["attributes"] == {"a5": 1, "a7": 1, "a9": 1}
    world.check_all_is_seen()


def test_changes_of_one_batch_that_share_an_id_are_of_one_profile_whatever_their_order() -> None:
    world = World()
    tell(
        world, change(8, attributes={"a": 8}), change((8, 6), attributes={"b": 6}), change((7, 6), attributes={"c": 7})
    )
    assert under(world, 6, 7, 8) == ["profile", "alias of 6", "alias of 6"]
    assert world.profile(7).view()["attributes"] == {"a": 8, "b": 6, "c": 7}
    assert world.profile(7).version == 1


def test_changes_of_one_batch_that_the_store_knows_to_be_of_one_profile_are_written_once() -> None:
    world = routed(change((6, 7), attributes={"a": 1}))
    tell(world, change(6, attributes={"b": 1}), change(7, attributes={"c": 1}))
    assert world.profile(6).view()["attributes"] == {"a": 1, "b": 1, "c": 1}
    assert world.profile(6).version == 2


def test_a_message_with_one_known_id_reads_and_writes_one_item() -> None:
    world = routed(change(1, member("s/a", 1), attributes={"plan": "x"}))
    router = world.router()
    tell(world, change(1, member("s/a", 2), received_at=world.clock.time), router=router)
    world.database.steps.clear()
    tell(world, change(1, attributes={"plan": "y"}, received_at=world.clock.time), router=router)
    on_profiles = [step for step in world.database.steps if "profiles" in step]
    assert on_profiles == ["get profiles", "write profiles"]


def test_ids_that_are_known_cost_no_write() -> None:
    world = routed(change((1, 2, 3), attributes={"plan": "x"}))
    world.database.steps.clear()
    tell(world, change((1, 2, 3), attributes={"plan": "y"}, received_at=world.clock.time))
    assert world.database.steps_on(Table.PROFILES) == 1


def test_a_message_that_comes_again_looks_at_all_that_its_first_try_may_have_made_aliases() -> None:
    world = routed(change(6, member("s/a", 1)), change(4, member("s/a", 1)))
    message = world.post(change((4, 6), member("s/a", 2), received_at=world.clock.time))
    world.hand(world.receive(message), acknowledge=False)
    world.queue("gainsight_px").sent.clear()
    world.clock.time += timedelta(minutes=12)
    world.run()
    assert world.queue("gainsight_px").looked_at == {profile_id(4), profile_id(6)}


def test_a_profile_whose_alias_somebody_else_writes_at_the_same_time_loses_nothing() -> None:
    world = routed(change(6, member("s/a", 1)), change(4, member("s/a", 1)))
    joining = world.post(change((4, 6), member("s/a", 2)))

    def meddle() -> None:
        # The survivor is written, the other one is no alias yet, and is written once more.
        world.run(world.post(change(6, member("s/b", 5), received_at=world.clock.time)))

    world.database.interrupt("write profiles", lambda: world.database.interrupt("write profiles", meddle))
    assert world.run(joining) == []
    assert world.database.lost_races[Table.PROFILES] == 1
    assert under(world, 4, 6) == ["profile", "alias of 4"]
    assert set(world.profile(4).memberships) == {"s/a", "s/b"}
    world.check_all_is_seen()


def test_two_that_join_the_same_profiles_at_once_come_to_one() -> None:
    world = routed(*(change(number, member("s/a", 1), attributes={f"a{number}": 1}) for number in (2, 4, 6)))
    first = world.post(change((4, 6), attributes={"first": 1}))

    def meddle() -> None:
        assert world.run(world.post(change((2, 6), attributes={"second": 1}))) == []

    world.database.interrupt("write profiles", meddle)
    assert world.run(first) == []
    assert under(world, 2, 4, 6) == ["profile", "alias of 2", "alias of 2"]
    assert world.profile(4).view()["attributes"] == {"a2": 1, "a4": 1, "a6": 1, "first": 1, "second": 1}
    world.check_all_is_seen()


_named = st.lists(
    st.tuples(st.sets(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 3)), min_size=1, max_size=8
)


@given(_named, st.lists(st.integers(1, 3), min_size=8, max_size=8))
def test_whoever_shares_an_id_is_one_profile_with_all_that_came_for_it(
    named: Sequence[tuple[set[int], int]], batches: Sequence[int]
) -> None:
    changes = [
        change(tuple(numbers), attributes={f"{place}": place, "last": place}, received_at=NOON + timedelta(seconds=at))
        for place, (numbers, at) in enumerate(named)
    ]
    world, waiting = World(), list(changes)
    for size in batches:
        part, waiting = waiting[:size], waiting[size:]
        if part:
            tell(world, *part)
    for people in _components([numbers for numbers, _ in named]):
        of_them = [one for one, (numbers, _) in zip(changes, named, strict=True) if numbers & people]
        expected = reduce(lambda profile, one: merge(profile, one).profile, of_them, Profile("", "s"))
        for number in people:
            found = world.profile(number)
            assert found.view() == expected.view()
            assert found.id == world.profile(min(people)).id
        assert under(world, *people).count("profile") == 1
    assert world.totals() == Counts(merged=len(changes))


def _components(sets: Sequence[set[int]]) -> list[set[int]]:
    found: list[set[int]] = []
    for one in sets:
        touched = [other for other in found if other & one]
        found = [other for other in found if other not in touched] + [one.union(*touched)]
    return found
