"""One environment of a function: its clock, what it remembers of the settings, and its parts of the relay.

Everything is real but AWS, HTTP and time.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from relay.destinations.contract import Caller, Quota, Reply
from relay.domain.exports import Connection
from relay.routing.merge import Room
from relay.schedules import Schedule, Timetable
from relay.settings.inventory import Inventory
from relay.wiring import Stack
from tests.fakes.outside import FakeBucket, FakeBus
from tests.simulation.overlapping import drawn_pool
from tests.simulation.promises import promise
from tests.simulation.settings import SEEN_WITHIN, SimSettings
from tests.simulation.watch import WatchedReconciler

if TYPE_CHECKING:
    from tests.simulation.world import World


class SimClock:
    """A clock that is a little fast or slow."""

    def __init__(self, world: "World", skew: timedelta) -> None:
        self._world = world
        self._skew = skew

    def now(self) -> datetime:
        return self._world.time + self._skew

    def sleep(self, seconds: float) -> None:
        self._world.sleep(seconds)


class Process:
    """Parts of the relay that live as long as the environment of one function. It works on one invocation at a time."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.is_busy = False
        self.clock = SimClock(world, timedelta(seconds=world.chance.uniform(-world.skew, world.skew)))
        self.settings = SimSettings(world.console, self.clock.now)
        self.stack = stack = Stack({"RELAY_PREFIX": "simulation"})
        stack.clock, stack.observe, stack.database = self.clock, world.observed, world.database
        stack.settings = stack.outlines = cast("Any", self.settings)
        stack.settings_age = SEEN_WITHIN
        stack.keyed = world.keyed
        stack.destinations = world.destinations.__getitem__
        stack.queue_of, stack.checks, stack.changes = world.queues.__getitem__, world.checks, world.changes
        stack.dead_changes = world.changes
        stack.caller = self._caller
        stack.new_id = lambda size: world.new_id()
        stack.room = Room(values=1_900, most=2_300)
        stack.inventories = Inventory
        stack.bus, stack.bucket = FakeBus, FakeBucket
        stack.schedules = lambda: Timetable([], Schedule("default", None))
        stack.recent_schedules = None
        stack.reconciler = WatchedReconciler(
            stack.database,
            stack.keyed,
            stack.clock,
            stack.enqueuer,
            new_id=world.new_id,
            pool=lambda most: drawn_pool(most, world.chance, world.happened),
        )
        stack.reconciler.watch = world.watch

    def _caller(self, connection: Connection) -> tuple[Caller, Callable[[], int]]:
        made = [0]

        def call(method: str, url: str, *, quota: Quota, **more: Any) -> Reply:
            promise(method == "GET" or self.world.has_time_left(), "a call begins in the last half minute")
            with self.world.on_its_way():
                self.stack.pace(connection.name, quota)
                self.world.step(f"before call {connection.name}")
                # A call may wait for its turn, and for its connection.
                self.world.sleep(self.world.chance.choice((0, 0, 0, 4, 20)))
            if not self.world.is_calm and method == "GET":
                # The answer may take a while. What a call for writing does is seen when it arrives.
                self.world.sleep(self.world.chance.choice((0, 0, 0, 1, 25, 40)))
            made[0] += 1
            return Reply(200, {}, None, 0)

        return call, lambda: made[0]
