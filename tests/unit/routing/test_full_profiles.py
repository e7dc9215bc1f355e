"""A profile that has no more room takes memberships all the same, and what is left out is reported."""

from typing import Any

import pytest

from relay.domain.changes import Change
from relay.routing.merge import Room
from relay.stores import profiles
from relay.stores.database import Table
from relay.stores.receipts import Counts
from tests.fakes.routing_world import LOG, NOON, World, change, member, profile_id

LARGE = "x" * 1_500


def small_world() -> World:
    """Return a world whose profiles have room for two large values and little else."""
    world = World()
    world.room = Room(values=4_000, most=4_500)
    return world


def tell(world: World, *changes: Change) -> None:
    world.post(*changes)
    assert world.run() == []


def attributes(world: World, number: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = world.profile(number).view()["attributes"]
    return found


def full_world() -> World:
    world = small_world()
    tell(world, change(1, member("s/a", 1), attributes={"email": "kim@example.com", "one": LARGE, "two": LARGE}))
    return world


def test_the_membership_is_taken_and_the_rest_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    world = full_world()
    tell(world, change(1, member("s/a", 2, realized=False), attributes={"three": LARGE}))
    assert not world.profile(1).memberships["s/a"].realized
    assert attributes(world).keys() == {"email", "one", "two"}
    assert world.totals() == Counts(merged=2)
    world.check_all_is_seen()
    assert '"code":"profile_full"' in LOG.getvalue()
    assert profile_id(1) in LOG.getvalue()
    assert "kim@example.com" not in LOG.getvalue()
    assert "PartsLeftOut" in capsys.readouterr().out


def test_a_change_of_attributes_alone_that_finds_no_room_is_rejected() -> None:
    world = full_world()
    tell(world, change(1, attributes={"three": LARGE}), change(2, member("s/a", 1)))
    assert attributes(world).keys() == {"email", "one", "two"}
    assert world.totals() == Counts(merged=2, rejected=1)


def test_of_several_changes_only_those_that_find_no_room_are_left_out() -> None:
    world = full_world()
    tell(
        world,
        change(1, member("s/b", 2), attributes={"three": LARGE}),
        change(1, attributes={"plan": "pro"}, position=1),
        change(1, member("s/a", 2, realized=False), position=2),
    )
    assert attributes(world).keys() == {"email", "one", "two", "plan"}
    assert {segment: held.realized for segment, held in world.profile(1).memberships.items()} == {
        "s/a": False,
        "s/b": True,
    }
    assert world.totals() == Counts(merged=4)


def test_what_makes_room_is_always_taken() -> None:
    world = full_world()
    tell(world, change(1, attributes={"one": None}, received_at=NOON.replace(second=5)))
    tell(world, change(1, attributes={"three": LARGE}, received_at=NOON.replace(second=6)))
    assert attributes(world).keys() == {"email", "two", "three"}
    assert world.totals() == Counts(merged=3)


def test_a_profile_that_has_no_room_for_memberships_gives_up_its_largest_attributes() -> None:
    world = full_world()
    many = [member(f"s/segment-{number}", 1) for number in range(60)]
    tell(world, change(1, *many))
    assert len(world.profile(1).memberships) == 61
    assert attributes(world).keys() < {"email", "one", "two"}
    assert attributes(world)["email"] == "kim@example.com"
    assert profiles.size(world.profile(1)) <= world.room.most
    assert '"code":"profile_full"' in LOG.getvalue()


def test_two_large_profiles_that_turn_out_to_be_one_person_become_one() -> None:
    world = full_world()
    tell(world, change(2, member("s/b", 1), attributes={"three": LARGE, "four": LARGE}))
    tell(world, change((1, 2), member("s/a", 2)))
    one = world.profile(2)
    assert one.id == profile_id(1)
    assert {segment for segment, held in one.memberships.items() if held.realized} == {"s/a", "s/b"}
    assert attributes(world)["email"] == "kim@example.com"
    assert profiles.size(one) <= world.room.most
    world.check_all_is_seen()


def test_memberships_that_fit_into_no_item_are_rejected_and_harm_nobody() -> None:
    world = small_world()
    many = [member(f"s/segment-{number}", 1) for number in range(240)]
    tell(world, change(1, *many), change(2, member("s/a", 1)))
    assert world.totals() == Counts(merged=1, rejected=1)


def test_a_rejected_change_of_several_ids_makes_no_aliases_of_nobody() -> None:
    world = small_world()
    tell(world, change((1, 2), attributes={"one": 4 * LARGE}))
    assert world.totals() == Counts(rejected=1)
    assert list(world.database.items(Table.PROFILES)) == []
    tell(world, change((1, 2), attributes={"plan": "pro"}))
    assert attributes(world, 2) == {"plan": "pro"}


def test_what_came_with_a_full_profile_is_merged_again_when_it_comes_again() -> None:
    world = full_world()
    message = world.post(change(1, member("s/a", 2, realized=False), attributes={"three": LARGE}))
    world.hand(world.receive(message), acknowledge=False)
    before = world.stored()
    world.run()
    assert world.stored() == before
    assert world.totals() == Counts(merged=2, stale=1)
