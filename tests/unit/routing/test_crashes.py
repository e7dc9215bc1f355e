"""Routers that die between any two steps, and two routers at once: nothing is lost, and the receipts add up."""

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.changes import Change
from relay.stores import segments
from tests.fakes.routing_world import NOON, Crash, World, change, member

pytestmark = pytest.mark.exhaustive


def _scenario(world: World) -> None:
    world.post(change(1, member("s/a", 1, name="Gold"), attributes={"plan": "pro"}), change(2, member("s/b", 1)))
    world.post(change(1, member("s/a", 3, realized=False)), change(3, member("s/nobody")), change(None, rejection="x"))
    world.post(change(2, member("s/b", 2), identities={"email": ["b@example.com"]}))
    world.post(change((5, 4), member("s/b", 2)))


def _joining(world: World) -> None:
    """Two known profiles turn out to be one person, and bring a third id along; somebody goes on writing to one."""
    world.post(change(1, member("s/a", 1), attributes={"plan": "pro"}))
    world.post(change((3, 2), member("s/b", 2), attributes={"city": "Ulm"}))
    world.run()
    world.clock.time += timedelta(minutes=6)
    now = world.clock.time
    world.post(change((1, 3, 4), member("s/b", 3, realized=False), received_at=now), change(7, received_at=now))
    world.post(change(2, attributes={"plan": "free"}, received_at=now))


def _in_the_end(world: World) -> object:
    """Return what must not depend on the way: not the index, in which an entry too many does no harm."""
    return world.stored(), {segment.id for segment in segments.catalogue(world.database)}


@pytest.mark.parametrize(("scenario", "posted", "least"), [(_scenario, 7, 20), (_joining, 5, 15)])
def test_dying_between_any_two_steps_loses_nothing(scenario: Callable[[World], None], posted: int, least: int) -> None:
    calm = World()
    scenario(calm)
    calm.run()
    assert calm.totals().changes == posted
    for steps in itertools.count():
        left = itertools.count(steps, -1)

        def die(step: str, left: Iterator[int] = left) -> None:
            if next(left) == 0:
                raise Crash(step)

        world = World()
        scenario(world)
        before = world.totals().changes
        world.step = die
        try:
            world.run()
        except Crash:
            died = True
        else:
            died = False
        world.step = lambda step: None
        again = world.totals().changes - before if died else 0
        # The count is the last step: either all of it or nothing was done when it died.
        assert again in (0, posted - before)
        world.check_receipts()
        world.run(*world.waiting) if world.waiting else None
        assert not world.waiting
        world.check_receipts()
        world.check_all_is_seen()
        assert world.totals().changes == posted + again
        assert _in_the_end(world) == _in_the_end(calm)
        if not died:
            break
    assert steps > least


class Lockstep:
    """Runs threads one step at a time in the order of a script; `deaths` are (thread, step) at which one dies."""

    def __init__(self, script: list[int], deaths: set[tuple[int, int]]) -> None:
        self._script = iter(script)
        self._deaths = deaths
        self._turn = threading.Condition()
        self._mine = threading.local()
        self._ready: set[int] = set()
        self._chosen: int | None = None

    def step(self, _: str) -> None:
        number = getattr(self._mine, "number", None)
        if number is None:
            return
        self._mine.taken += 1
        with self._turn:
            self._ready.add(number)
            self._chosen = None
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._chosen == number)
            self._ready.discard(number)
        if (number, self._mine.taken) in self._deaths:
            raise Crash

    def run(self, *acts: Any) -> None:
        alive = set(range(len(acts)))

        def live(number: int) -> None:
            self._mine.number, self._mine.taken = number, 0
            try:
                self.step("begin")
                acts[number]()
            except Crash:
                pass
            finally:
                with self._turn:
                    alive.discard(number)
                    self._chosen = None
                    self._turn.notify_all()

        threads = [threading.Thread(target=live, args=(number,)) for number in sorted(alive)]
        for thread in threads:
            thread.start()
        with self._turn:
            while True:
                self._turn.wait_for(lambda: self._chosen is None and self._ready == alive)
                if not alive:
                    break
                ready = sorted(self._ready)
                self._chosen = ready[next(self._script, 0) % len(ready)]
                self._turn.notify_all()
        for thread in threads:
            thread.join()


_changes = st.builds(
    lambda numbers, memberships, plan: change(
        tuple(numbers), *memberships, at=NOON - timedelta(seconds=plan), attributes={"plan": plan} if plan else {}
    ),
    st.sets(st.integers(1, 3), min_size=1, max_size=2),
    st.lists(
        st.builds(
            lambda segment, seconds, realized: member(segment, seconds, realized=realized),
            st.sampled_from(["s/a", "s/b", "s/nobody"]),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=2,
    ),
    st.integers(0, 2),
)


@settings(max_examples=300, deadline=None)
@given(
    batches=st.lists(st.lists(_changes, min_size=1, max_size=2), min_size=1, max_size=4),
    hands=st.lists(st.sampled_from([(0,), (1,), (0, 1)]), min_size=4, max_size=4),
    script=st.lists(st.integers(0, 1), max_size=60),
    deaths=st.sets(st.tuples(st.integers(0, 1), st.integers(2, 40)), max_size=2),
)
def test_two_routers_in_any_interleaving(
    batches: list[list[Change]],
    hands: list[tuple[int, ...]],
    script: list[int],
    deaths: set[tuple[int, int]],
) -> None:
    calm = World()
    for batch in batches:
        calm.post(*batch)
    calm.run()

    world = World()
    lockstep = Lockstep(script, deaths)
    ids = [world.post(*batch) for batch in batches]
    world.step = lockstep.step

    def act(number: int) -> Any:
        mine = [identifier for identifier, to in zip(ids, hands, strict=False) if number in to]
        # A message handed out twice at once is received for the first time by both.
        records = world.receive(*mine) if mine else []
        for record in records:
            body, _ = world.waiting[record.id]
            world.waiting[record.id] = (body, 0)
        return lambda: world.hand(records)

    lockstep.run(act(0), act(1))

    world.step = lambda step: None
    world.check_receipts()
    world.clock.time += timedelta(minutes=12)
    while world.waiting:
        world.run(*world.waiting)
    world.check_receipts()
    world.check_all_is_seen()
    assert world.totals().changes >= sum(map(len, batches))
    assert _in_the_end(world) == _in_the_end(calm)
