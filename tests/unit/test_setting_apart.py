"""A defect met with one profile's change holds up no other: the change goes on in a message of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from relay.domain.changes import Change
from relay.routing import Router
from relay.stores import attempts
from relay.stores.database import Table
from relay.stores.ledger import Counts
from tests.fakes.routing_world import CHANGES, LOG, Crash, World, change, member, profile_id

POISON = 66
"""The number of the profile with which everything goes wrong."""


def poisoned(world: World) -> Callable[[], None]:
    """Make the store trip over one profile; return what mends it."""
    get, write = world.database.get, world.database.write

    def concerned(keys: Any) -> bool:
        return any(profile_id(POISON) in (key.pk, key.sk) for key in keys)

    def poisonous_get(keys: Any) -> Any:
        if concerned(key for key in keys if key.table is Table.PROFILES):
            raise RuntimeError("kim@example.com")
        return get(keys)

    def mend() -> None:
        world.database.get = get  # type: ignore[method-assign]
        world.database.write = write  # type: ignore[method-assign]

    world.database.get = poisonous_get  # type: ignore[method-assign]
    return mend


def test_the_others_of_its_message_are_done_and_its_change_goes_on_alone() -> None:
    world = World()
    poisoned(world)
    world.post(change(1, member("s/a")), change(POISON, member("s/a"), attributes={"p": 1}), change(2, member("s/b")))

    assert world.run() == []

    assert world.totals() == Counts(merged=2)
    assert {one for look in world.queue("gainsight_px").looks for one in look.profiles} == {
        profile_id(1),
        profile_id(2),
    }
    [message] = world.waiting
    assert world.run() == [message]
    world.check_the_ledger()
    [attempt] = attempts.of_queue(world.database, "")
    assert (attempt.message, attempt.error) == (message, "RuntimeError")
    assert "kim@example.com" not in LOG.getvalue()


def test_it_is_counted_once_when_it_gets_through() -> None:
    world = World()
    mend = poisoned(world)
    world.post(change(1, member("s/a")), change(POISON, member("s/a")), change(None, rejection="no_identity"))
    world.run()
    mend()
    assert world.run() == []
    assert world.profile(POISON).memberships["s/a"].realized
    assert world.totals() == Counts(merged=2, rejected=1)
    world.check_all_is_told()


def test_several_profiles_of_several_messages_are_set_apart() -> None:
    world = World()
    mend = poisoned(world)
    world.post(change(1, member("s/a")), change(POISON, member("s/a", 1)))
    world.post(change(2, member("s/a")), change((POISON, 3), member("s/a", 2)), change(POISON, member("s/b")))
    assert world.run() == []
    assert world.totals() == Counts(merged=2)
    assert len(world.waiting) == 3
    mend()
    assert world.run() == []
    assert world.totals() == Counts(merged=5)
    world.check_the_ledger()
    world.check_all_is_told()


def test_where_nothing_gets_through_nothing_is_taken_apart() -> None:
    """It may be the fault of anything; a thousand messages instead of one would help nobody."""
    world = World()
    poisoned(world)
    message = world.post(change(POISON, member("s/a")), change((POISON, 1), member("s/b")))
    assert world.run() == [message]
    assert world.queue(CHANGES).sent == []
    assert world.totals() == Counts()


def test_a_queue_that_does_not_take_it_makes_its_message_come_again() -> None:
    world = World()
    mend = poisoned(world)
    message = world.post(change(1, member("s/a")), change(POISON, member("s/a")))
    world.queue(CHANGES).broken = True
    assert world.run() == [message]
    world.check_the_ledger()
    world.queue(CHANGES).broken = False
    mend()
    # The message is in the ledger without the change, which therefore still goes on alone.
    assert world.run() == []
    world.check_the_ledger()
    assert world.run() == []
    assert world.totals().changes == 2


def test_dying_anywhere_loses_and_doubles_nothing() -> None:
    steps = 0
    while True:
        left = [steps]

        def die(step: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Crash(step)

        world = World()
        mend = poisoned(world)
        world.post(change(1, member("s/a")), change(POISON, member("s/a")), change(2, member("s/b")))
        world.step = die
        try:
            world.run()
        except Crash:
            died = True
        else:
            died = False
        world.step = lambda step: None
        world.check_the_ledger()
        if steps % 2:
            mend()
        world.run()
        world.check_the_ledger()
        mend()
        for _ in range(3):
            world.run()
        assert not world.waiting
        world.check_the_ledger()
        world.check_all_is_told()
        assert world.totals().changes == 3
        if not died:
            break
        steps += 1
    assert steps > 20


@pytest.mark.parametrize("step", ["_note_segments", "_save", "_say_look_again"])
def test_whatever_step_trips_the_others_are_done(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = getattr(Router, step)

    def trip(router: Router, works: Any, *more: Any) -> Any:
        if any(profile_id(POISON) in work.ids for work in works):
            raise ValueError
        return done(router, works, *more)

    monkeypatch.setattr(Router, step, trip)
    world = World()
    people: list[Change] = [change(number, member("s/a")) for number in (*range(5), POISON)]
    world.post(*people)
    assert world.run() == []
    assert world.totals().changes == 5
    [message] = world.waiting
    assert world.run() == [message]
    monkeypatch.undo()
    assert world.run() == []
    assert world.totals().changes == 6
    world.check_all_is_told()
