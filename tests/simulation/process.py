"""One environment of a function: its clock, what it remembers of the settings, and its parts of the relay.

Everything is real but AWS, HTTP and time.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from relay.breaker.accounts import Accounts
from relay.breaker.owning import Ownership
from relay.breaker.pace import Pace
from relay.breaker.probing import Prober
from relay.breaker.stopping import Stopping
from relay.destinations.contract import Caller, Quota, Reply
from relay.domain.exports import Connection
from relay.reconcile.confirming import Confirming
from relay.reconcile.setting_aside import SettingAside
from relay.reconcile.waking import Waking
from relay.routing.merge import Room
from relay.routing.router import Router
from relay.runs.ending import Ending
from relay.runs.pages import Pages
from relay.runs.settling import Settling
from relay.runs.starting import Starter
from relay.stores.directory import Directory
from relay.workers.consumer import Consumer
from relay.workers.import_checks import ImportChecker
from relay.workers.opening import Opener
from relay.workers.tick import Ticker
from tests.simulation.settings import SimSettings
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
        self.settings: Any = SimSettings(world.console, self.clock.now)
        database, observe, destinations = world.database, world.observed, world.destinations.__getitem__
        self.directory = Directory(database, self.clock)
        self.pace = Pace(database, self.clock)
        self.waking = Waking(
            world.queues.__getitem__,
            world.checks,
            lambda connection: connection if connection in world.destinations else None,
            lambda destination: world.destinations[destination].shards,
        )
        self.reconciler = WatchedReconciler(database, world.keyed, self.clock, self.waking, new_id=world.new_id)
        self.reconciler.watch = world.watch
        self.aside = SettingAside(database, self.clock, observe)
        self.ending = Ending(database, self.clock, self.waking)
        self.pages = Pages(database, self.clock, self.reconciler, self.ending, self.aside)
        self.settling = Settling(database, world.keyed, self.clock, self.reconciler.recorder, self.aside)
        self.confirming = Confirming(database, self.clock, self.reconciler)
        self.accounts = Accounts(database, self._caller)
        self.ownership = Ownership(database, self.settings, destinations, self.clock)
        self.opener = Opener(database, self.settings, destinations, self.accounts, self.ownership, world.keyed)
        self.stopping = Stopping(database, self.settings, self.clock, observe)
        self.starter = Starter(database, self.clock, self.ending, destinations, new_id=world.new_id)
        self.prober = Prober(
            database, self.settings, destinations, self.accounts, self.ownership, self.clock, observe
        )

    def router(self) -> Router:
        return Router(
            self.world.database,
            self.settings,
            self.directory,
            self.world.queues.__getitem__,
            self.world.changes,
            clock=self.clock,
            observability=self.world.observed,
            room=Room(values=1_900, most=2_300),
        )

    def consumer(self, retry_later: Callable[[str, float], None]) -> Consumer:
        return Consumer(
            self.world.database,
            self.opener,
            self.reconciler,
            self.pages,
            self.waking,
            self.aside,
            self.stopping,
            self.clock,
            retry_later,
            self.world.observed,
        )

    def checker(self) -> ImportChecker:
        return ImportChecker(
            self.world.database,
            self.opener,
            self.accounts,
            self.reconciler,
            self.confirming,
            self.settling,
            self.ending,
            self.waking,
            self.aside,
            self.stopping,
            self.clock,
            self.world.checks.retry_later,
            self.world.observed,
        )

    def ticker(self) -> Ticker:
        return Ticker(
            self.world.database,
            self.settings,
            self.world.destinations.__getitem__,
            self.starter,
            self.ending,
            self.settling,
            self.waking,
            self.prober,
            self.directory,
            self.clock,
            self.world.observed,
        )

    def _caller(self, connection: Connection) -> tuple[Caller, Callable[[], int]]:
        made = [0]

        def call(method: str, url: str, *, quota: Quota, **more: Any) -> Reply:
            with self.world.on_its_way():
                self.pace(connection.name, quota)
                self.world.step(f"before call {connection.name}")
                # A call may wait for its turn, and for its connection.
                self.world.sleep(random.choice((0, 0, 0, 4, 20)))
            made[0] += 1
            return Reply(200, {}, None, 0)

        return call, lambda: made[0]
