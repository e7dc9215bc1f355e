"""Puts the parts together from the environment: what the functions that deliver have in common.

Ingest and route wire themselves: they need little, and their cold starts are short because of it.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, partial

from relay.clock import Clock, SystemClock
from relay.delivery.checking import Checker
from relay.delivery.consuming import Consumer
from relay.delivery.cursors import Cursors
from relay.delivery.engine import Engine
from relay.delivery.import_checks import ImportChecker
from relay.delivery.launching import Launcher
from relay.delivery.memos import memo_at
from relay.delivery.opening import Opener
from relay.delivery.operating import Operator
from relay.delivery.pace import Pace
from relay.delivery.probing import Prober
from relay.delivery.removing import Remover
from relay.delivery.scheduled import ScheduledStarts
from relay.delivery.setting_aside import SettingAside
from relay.delivery.settling import Settling
from relay.delivery.starting import Starter
from relay.delivery.ticking import Ticker
from relay.delivery.wakeups import Wakeups
from relay.destinations import registry
from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Caller, Destination
from relay.domain.exports import Connection
from relay.domain.keyed_hash import KeyedHash
from relay.observability import Observability
from relay.queues import Queue
from relay.schedules import Schedules
from relay.settings.inventory import Inventories, Inventory
from relay.settings.settings import Settings
from relay.stores import dynamodb
from relay.stores.database import Database
from relay.stores.directory import Directory

SCHEDULES_KEPT = timedelta(minutes=5)
"""How long schedules are kept by whoever looks at them every minute."""


@dataclass(frozen=True)
class Stack:
    """The running stack's parts, each made when first needed and kept for the life of the process."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Clock = field(default_factory=SystemClock)
    observe: Observability = field(default_factory=Observability)
    destinations: Callable[[str], Destination] = registry.load
    """Destinations by name."""

    @cached_property
    def database(self) -> Database:
        """The tables."""
        return dynamodb.connect(self.environment)

    @cached_property
    def settings(self) -> Settings:
        """Sources, connections and exports."""
        seconds = float(self.environment.get("RELAY_SETTINGS_SECONDS", "30"))
        return Settings(
            self.environment["RELAY_PREFIX"], seconds=seconds, clock=self.clock, destinations=self.destinations
        )

    @cached_property
    def keyed(self) -> KeyedHash:
        """The stack's identity hash."""
        return KeyedHash(self.settings.identity_key())

    @cached_property
    def pace(self) -> Pace:
        """Everyone's next free slot."""
        return Pace(self.database, self.clock, scale=float(self.environment.get("RELAY_PACE_SCALE", "1")))

    @cached_property
    def sandboxes(self) -> dict[str, str]:
        """Addresses standing in for destinations; set only in the local environment."""
        pairs = (pair.split("=", 1) for pair in self.environment.get("RELAY_SANDBOXES", "").split(",") if "=" in pair)
        return {name.strip(): url.strip() for name, url in pairs}

    def queue_of(self, destination: str) -> Queue:
        """Return a destination's queue."""
        return Queue(self.environment[f"RELAY_{destination.upper()}_QUEUE"], clock=self.clock)

    @cached_property
    def checks(self) -> Queue:
        """The Checks queue."""
        return Queue(self.environment["RELAY_CHECKS_QUEUE"], clock=self.clock)

    def caller(self, connection: Connection) -> tuple[Caller, Callable[[], int]]:
        """Return the HTTP caller of a connection and how many calls it made."""
        caller = HttpCaller(
            connection.name,
            pace=partial(self.pace, connection.name),
            log=partial(self.observe.info, destination=connection.destination),
            hold=partial(self.pace.hold_all, connection.name),
        )
        return caller, lambda: sum(caller.counts.values())

    @cached_property
    def opener(self) -> Opener:
        """Opens exports for work."""
        return Opener(
            self.database,
            self.settings,
            self.destinations,
            self.caller,
            self.sandboxes,
            self.pace.backlog,
            self.pace.hold,
            self._memo_at,
        )

    def _memo_at(self, connection: str, target: str, identity: str) -> str | None:
        return memo_at(self.database, self.keyed, connection, target, identity)

    @cached_property
    def wakeups(self) -> Wakeups:
        """Everything that is put on a queue."""
        return Wakeups(self.queue_of, self.checks, lambda name: self.destinations(name).shards, self.clock)

    @cached_property
    def engine(self) -> Engine:
        """The delivery engine."""
        aside = SettingAside(self.database, self.clock, self.observe)
        return Engine(self.database, self.keyed, self.clock, self.wakeups, aside=aside)

    @cached_property
    def cursors(self) -> Cursors:
        """Runs, page by page."""
        return Cursors(self.database, self.clock, self.engine, self.wakeups)

    @cached_property
    def starter(self) -> Starter:
        """Starts runs."""
        return Starter(self.database, self.clock, self.cursors, self.destinations)

    def schedules(self, kept_for: timedelta = timedelta()) -> Schedules:
        """Return what tells which exports EventBridge Scheduler will start."""
        return Schedules(
            self.environment["RELAY_SCHEDULE_GROUP"],
            default=self.environment["RELAY_DEFAULT_SCHEDULE"],
            target=self.environment["RELAY_EXPORT_FUNCTION"],
            clock=self.clock,
            kept_for=kept_for,
        )

    @cached_property
    def inventories(self) -> Callable[[], Inventory]:
        """The names of all sources and connections."""
        import boto3

        prefix, secrets, ssm = self.environment["RELAY_PREFIX"], boto3.client("secretsmanager"), boto3.client("ssm")
        return Inventories(prefix, secrets.list_secrets, ssm.describe_parameters)

    @cached_property
    def launcher(self) -> Launcher:
        """Starts runs and says what came of it."""
        return Launcher(self.database, self.settings, self.starter, self.observe)

    @cached_property
    def scheduled(self) -> ScheduledStarts:
        """What schedules ask for."""
        return ScheduledStarts(self.launcher, self.schedules(), self.clock)

    def operator(self) -> Operator:
        """Return what answers operators."""
        prober = Prober(self.database, self.opener, self.clock, self.observe)
        checker = Checker(self.database, self.opener, prober, self.schedules(), self.inventories)
        return Operator(
            self.database, self.settings, self.starter, self.launcher, self.scheduled, checker, prober, self.observe
        )

    def consumer(self, destination: str) -> Consumer:
        """Return what works on a destination's queue."""
        retry = self.queue_of(destination).retry_later
        return Consumer(self.database, self.opener, self.engine, self.cursors, self.clock, retry, self.observe)

    def import_checker(self) -> ImportChecker:
        """Return what works on the Checks queue."""
        return ImportChecker(
            self.database,
            self.opener,
            Settling(self.database, self.clock, self.wakeups),
            self.cursors,
            self.wakeups,
            self.clock,
            self.checks.retry_later,
            self.observe,
        )

    def ticker(self) -> Ticker:
        """Return what runs every minute."""
        directory = Directory(self.database, self.clock, max_age=timedelta())
        return Ticker(
            self.database,
            self.opener,
            self.starter,
            self.cursors,
            self.wakeups,
            directory,
            self.clock,
            self.observe,
            schedules=self.schedules(SCHEDULES_KEPT),
            more=[Remover(self.database, self.settings, directory, self.clock, self.observe).step],
        )
