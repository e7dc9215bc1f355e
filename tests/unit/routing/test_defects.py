"""A defect met with one change holds up no other: the change goes on in a message of its own."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.changes import Change
from relay.routing.ask import Asker
from relay.routing.write import Writer
from relay.stores import attempts
from relay.stores.database import Table
from relay.stores.receipts import Counts
from tests.fakes.routing_world import LOG, Crash, World, change, member, profile_id

POISON = 66
"""The number of the profile with which everything goes wrong."""


def poisoned(world: World, *numbers: int) -> Callable[[], None]:
    """Make the store trip over some profiles; return what mends it."""
    get = world.database.get
    bad = set(map(profile_id, numbers or (POISON,)))

    def poisonous_get(keys: Any) -> Any:
        if any(key.table is Table.PROFILES and key.pk in bad for key in keys):
            raise RuntimeError("Kim Lovelace")
        return get(keys)

    def mend() -> None:
        world.database.get = get  # type: ignore[method-assign]

    world.database.get = poisonous_get  # type: ignore[method-assign]
    return mend


def test_the_others_of_its_message_are_done_and_its_change_goes_on_alone() -> None:
    world = World()
    poisoned(world)
    world.post(change(1, member("s/a")), change(POISON, member("s/a"), attributes={"p": 1}), change(2, member("s/b")))

    assert world.run() == []

    assert world.totals() == Counts(merged=2)
    assert world.queue("gainsight_px").looked_at == {profile_id(1), profile_id(2)}
    [message] = world.waiting
    assert world.run() == [message]
    world.check_receipts()
    [attempt] = attempts.of_queue(world.database, "")
    assert (attempt.message, attempt.error, attempt.receive_count) == (message, "RuntimeError", 1)
    assert "Lovelace" not in LOG.getvalue()


def test_a_message_with_one_change_fails_by_itself_and_the_other_messages_are_done() -> None:
    world = World()
    poisoned(world)
    good = [world.post(change(number, member("s/a"))) for number in range(5)]
    bad = world.post(change(POISON, member("s/a")))
    more = [world.post(change(number, member("s/a"))) for number in range(5, 8)]
    assert world.run() == [bad]
    assert set(world.waiting) == {bad}
    assert world.totals() == Counts(merged=len(good) + len(more))
    assert world.queue("gainsight_px").looked_at == set(map(profile_id, range(8)))


def test_it_is_counted_once_when_it_gets_through() -> None:
    world = World()
    mend = poisoned(world)
    world.post(change(1, member("s/a")), change(POISON, member("s/a")), change(None, rejection="no_identity"))
    world.run()
    mend()
    assert world.run() == []
    assert world.profile(POISON).memberships["s/a"].realized
    assert world.totals() == Counts(merged=2, rejected=1)
    world.check_all_is_seen()


def test_several_profiles_of_several_messages_go_on_alone() -> None:
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
    world.check_receipts()
    world.check_all_is_seen()


def test_where_nothing_gets_through_nothing_is_taken_apart() -> None:
    """It may be the fault of anything; a thousand messages instead of one would help nobody."""
    world = World()
    poisoned(world)
    message = world.post(change(POISON, member("s/a")), change((POISON, 1), member("s/b")))
    assert world.run() == [message]
    assert len(world.waiting) == 1
    assert world.totals() == Counts()


def test_a_queue_that_does_not_take_it_makes_its_message_come_again_and_no_other() -> None:
    world = World()
    mend = poisoned(world)
    message = world.post(change(1, member("s/a")), change(POISON, member("s/a")))
    world.post(change(2, member("s/a")))
    world.changes_broken = True
    assert world.run() == [message]
    assert world.totals() == Counts(merged=1)
    world.changes_broken = False
    mend()
    assert world.run() == []
    assert world.totals() == Counts(merged=2, stale=1)
    world.check_all_is_seen()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), min_size=1, max_size=8), st.sets(st.integers(0, 30))
)
def test_whoever_trips_everybody_else_is_done(messages: list[list[int]], bad: set[int]) -> None:
    world = World()
    mend = poisoned(world, *bad, POISON)
    for numbers in messages:
        world.post(*(change(number, member("s/a")) for number in numbers))
    world.run()
    good = {number for numbers in messages for number in numbers} - bad
    assert {str(item["pk"]) for item in world.database.items(Table.PROFILES)} == set(map(profile_id, good))
    assert world.queue("gainsight_px").looked_at == set(map(profile_id, good))
    assert len(world.waiting) <= sum(number in bad for numbers in messages for number in numbers)
    world.check_receipts()
    mend()
    assert world.run() == []
    world.check_all_is_seen()
    assert world.totals().changes == sum(map(len, messages))


def test_a_defect_costs_few_tries_more() -> None:
    world = World()
    poisoned(world)
    for start in range(0, 1000, 10):
        world.post(*(change(1_000 + number, member("s/a")) for number in range(start, start + 10)))
    world.post(change(POISON, member("s/a")), change(1, member("s/a")))
    world.run()
    assert world.totals().merged == 1001
    # Each half, down to one of some thousand.
    assert world.database.steps_on(Table.PROFILES, "get") <= 12


def test_dying_anywhere_loses_nothing() -> None:
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
        world.check_receipts()
        if steps % 2:
            mend()
        world.run()
        world.check_receipts()
        mend()
        for _ in range(3):
            world.run()
        assert not world.waiting
        world.check_receipts()
        world.check_all_is_seen()
        assert world.totals().changes >= 3
        if not died:
            assert world.totals().changes == 3
            break
        steps += 1
    assert steps > 20


@pytest.mark.parametrize("step", ["_write_segments", "_save", "ask"])
def test_whatever_step_trips_the_others_are_done(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner: Any = Asker if step == "ask" else Writer
    done = getattr(owner, step)

    def trip(self: Any, drafts: Any, *more: Any) -> Any:
        if any(profile_id(POISON) in draft.customer.ids for draft in drafts):
            raise ValueError
        return done(self, drafts, *more)

    monkeypatch.setattr(owner, step, trip)
    world = World()
    people: list[Change] = [change(number, member("s/a")) for number in (*range(5), POISON)]
    world.post(*people)
    assert world.run() == []
    # What an earlier try brought into the store counts as merged, though a later one found it there.
    assert world.totals() == Counts(merged=5)
    [message] = world.waiting
    assert world.run() == [message]
    monkeypatch.undo()
    assert world.run() == []
    assert world.totals().changes == 6
    world.check_all_is_seen()
