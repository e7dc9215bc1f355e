"""One profile stays one profile, whatever ids it is named by; and two that turn out to be one become one."""

from collections.abc import Sequence
from datetime import timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.changes import Change
from relay.domain.merging import merge
from relay.domain.profiles import Alias, Profile
from relay.routing import Router
from relay.stores import profiles
from relay.stores.database import Table
from relay.stores.ledger import Counts
from tests.fakes.routing_world import NOON, VISIBILITY, World, change, member, profile_id


def routed(*told: Change) -> World:
    """Return a world in which each change came in a message of its own, some time after the other."""
    world = World()
    for each in told:
        tell(world, each)
    return world


def tell(world: World, *told: Change, router: Router | None = None) -> None:
    world.post(*told)
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
    world.check_all_is_told()


def test_profiles_become_one_without_any_news_of_them() -> None:
    world = routed(change(6, member("s/a", 1)), change(4, member("s/a", 1)))
    # A membership that both know, and no more: the ids alone say it.
    tell(world, change((4, 6), member("s/a", 1)))
    assert under(world, 4, 6) == ["profile", "alias of 4"]
    world.check_all_is_told()


def test_many_profiles_become_one_at_once_and_a_chain_of_aliases_is_followed_and_shortened() -> None:
    world = routed(*(change(number, attributes={f"a{number}": 1}) for number in (9, 7, 5, 3)))
    for pair in ((9, 7), (7, 5), (5, 3)):
        tell(world, change(pair, attributes={"joined": True}))
    assert under(world, 3, 5, 7, 9) == ["profile", "alias of 3", "alias of 5", "alias of 7"]
    assert world.profile(9).view()["attributes"] == {"a3": 1, "a5": 1, "a7": 1, "a9": 1, "joined": True}
    tell(world, change(9, attributes={"joined": True}, received_at=NOON + timedelta(minutes=1)))
    assert under(world, 3, 5, 7, 9) == ["profile", "alias of 3", "alias of 5", "alias of 3"]


def test_several_profiles_become_one_in_one_step() -> None:
    world = routed(*(change(number, member("s/a", number), attributes={f"a{number}": 1}) for number in (9, 7, 5)))
    tell(world, change((5, 7, 9), member("s/b", 20)))
    assert under(world, 5, 7, 9) == ["profile", "alias of 5", "alias of 5"]
    assert world.profile(5).view()["attributes"] == {"a5": 1, "a7": 1, "a9": 1}
    world.check_all_is_told()


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


def test_a_message_that_comes_again_looks_at_all_the_ids_it_names() -> None:
    """An earlier try may have made an alias of one of them and died before it said so."""
    world = routed(change(6, member("s/a", 1)), change(4, member("s/a", 1)))
    world.queue("gainsight_px").sent.clear()
    message = world.post(change((4, 6), member("s/a", 2)))
    world.router().route(world.receive(message))
    world.queue("gainsight_px").sent.clear()
    world.clock.time += VISIBILITY
    world.run()
    looks = world.queue("gainsight_px").looks
    assert {one for look in looks for one in look.profiles} == {profile_id(4), profile_id(6)}


def test_a_profile_whose_alias_somebody_else_writes_at_the_same_time_loses_nothing() -> None:
    world = routed(change(6, member("s/a", 1)), change(4, member("s/a", 1)))
    armed = [True]

    def meddle(step: str) -> None:
        if step == "write profiles" and armed:
            # The survivor is written, the other one is no alias yet, and is written once more.
            armed.clear()
            world.post(change(6, member("s/b", 5), received_at=world.clock.time))
            records = world.receive(*[one for one in world.waiting if one != joining])
            world.acknowledge(records, world.router().route(records))

    world.step = meddle
    joining = world.post(change((4, 6), member("s/a", 2)))
    assert world.run(joining) == []
    world.step = lambda step: None
    assert not armed
    assert under(world, 4, 6) == ["profile", "alias of 4"]
    assert set(world.profile(4).memberships) == {"s/a", "s/b"}
    world.check_all_is_told()


_named = st.lists(
    st.tuples(st.sets(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 3)), min_size=1, max_size=8
)


@given(_named, st.lists(st.integers(1, 3), min_size=8, max_size=8))
def test_whoever_shares_an_id_is_one_profile_with_all_that_was_told_of_it(
    told: Sequence[tuple[set[int], int]], batches: Sequence[int]
) -> None:
    changes = [
        change(tuple(numbers), attributes={f"{place}": place, "last": place}, received_at=NOON + timedelta(seconds=at))
        for place, (numbers, at) in enumerate(told)
    ]
    world, waiting = World(), list(changes)
    for size in batches:
        part, waiting = waiting[:size], waiting[size:]
        if part:
            tell(world, *part)
    for people in _components([numbers for numbers, _ in told]):
        of_them = [one for one, (numbers, _) in zip(changes, told, strict=True) if numbers & people]
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
