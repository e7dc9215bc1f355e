"""The doors of a stack: time and chance, logs, and all that is at AWS."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Final

from relay import names
from relay.clock import SystemClock
from relay.observability import Observability
from relay.queues import Queue

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.destinations.contract import Destination
    from relay.domain.keyed_hash import KeyedHash
    from relay.queues import DeadLetters, WorkQueue
    from relay.routing.router import Outlines
    from relay.schedules import Timetable
    from relay.settings.doors import ParametersDoor
    from relay.settings.inventory import Inventory
    from relay.settings.settings import Settings
    from relay.stores.database import Database
    from relay.stores.directory import Directory
    from relay.workers.announcing import Bus

SCHEDULES_KEPT: Final = timedelta(minutes=5)
"""How long schedules are kept by whoever looks at them every minute."""


class Doors:
    """What a stack's parts work with, each made when it is first needed and kept from then on."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """`environment` has the variables that the template sets; None stands for those of the process."""
        self.environment = dict(os.environ) if environment is None else environment

    # Time, chance, logs and metrics.

    @cached_property
    def clock(self) -> Clock:
        """What time it is."""
        return SystemClock()

    @cached_property
    def monotonic(self) -> Callable[[], float]:
        """Seconds that never go back, to measure how long calls take."""
        return time.monotonic

    @cached_property
    def new_id(self) -> Callable[[int], str]:
        """Makes an id of so many random bytes, in hexadecimal digits."""
        return lambda size: secrets.token_hex(size)

    @cached_property
    def observe(self) -> Observability:
        """Logs and metrics."""
        return Observability()

    # The doors to AWS.

    @cached_property
    def database(self) -> Database:
        """The tables."""
        from relay.stores import dynamodb

        return dynamodb.connect(self.environment)

    @cached_property
    def directory(self) -> Directory:
        """Where the queues of connections are."""
        from relay.stores.directory import Directory

        return Directory(self.database, self.clock)

    @cached_property
    def queue_of(self) -> Callable[[str], WorkQueue]:
        """Return a destination's queue, by the destination's name or word."""
        queues: dict[str, WorkQueue] = {}

        def queue_of(destination: str) -> WorkQueue:
            if destination not in queues:
                queues[destination] = self._queue(names.destination_queue(self._prefix, destination))
            return queues[destination]

        return queue_of

    @cached_property
    def changes(self) -> WorkQueue:
        """The Changes queue."""
        return Queue(self.environment["RELAY_CHANGES_QUEUE"], clock=self.clock)

    @cached_property
    def checks(self) -> WorkQueue:
        """The Checks queue."""
        return self._queue(names.checks_queue(self._prefix))

    @cached_property
    def segment_files(self) -> WorkQueue:
        """The queue of segment files."""
        return self._queue(names.segments_queue(self._prefix))

    @cached_property
    def dead_changes(self) -> DeadLetters:
        """The dead-letter queue of changes."""
        return self._queue(names.changes_dlq(self._prefix))

    def _queue(self, name: str) -> Queue:
        # The addresses of a stack's queues differ in the name alone.
        place, _, _ = self.environment["RELAY_CHANGES_QUEUE"].rpartition("/")
        return Queue(f"{place}/{name}", clock=self.clock)

    @property
    def _prefix(self) -> str:
        return self.environment["RELAY_PREFIX"]

    @cached_property
    def outlines(self) -> Outlines:
        """What route must know of the exports."""
        from relay.settings.exports import ExportOutlines

        return ExportOutlines(self._parameters)

    @cached_property
    def _parameters(self) -> ParametersDoor:
        from relay.settings.doors import ParametersDoor

        return ParametersDoor(self._prefix, None, self.settings_age.total_seconds(), self.clock)

    @cached_property
    def settings_age(self) -> timedelta:
        """How old settings may be that a function works with."""
        from relay.settings.doors import DEFAULT_SECONDS

        return timedelta(seconds=float(self.environment.get("RELAY_SETTINGS_SECONDS", DEFAULT_SECONDS)))

    @cached_property
    def settings(self) -> Settings:
        """Sources, connections and exports."""
        from relay.settings.settings import Settings

        return Settings(
            self._prefix,
            seconds=self.settings_age.total_seconds(),
            clock=self.clock,
            destinations=self.destinations,
        )

    @cached_property
    def keyed(self) -> KeyedHash:
        """The stack's keyed hash, of identities and of what is sent."""
        from relay.domain.keyed_hash import KeyedHash

        return KeyedHash(self.settings.identity_key())

    @cached_property
    def schedules(self) -> Callable[[], Timetable]:
        """Which exports EventBridge Scheduler will start, as it is now."""
        return self._schedules(timedelta())

    @cached_property
    def recent_schedules(self) -> Callable[[], Timetable] | None:
        """The same, up to SCHEDULES_KEPT old; None where nobody shall look."""
        return self._schedules(SCHEDULES_KEPT)

    def _schedules(self, kept_for: timedelta) -> Callable[[], Timetable]:
        from relay.schedules import Schedules

        return Schedules(
            names.schedule_group(self._prefix),
            default=names.default_schedule(self._prefix),
            target=names.export_function(self._prefix),
            clock=self.clock,
            kept_for=kept_for,
        )

    @cached_property
    def inventories(self) -> Callable[[], Inventory]:
        """The names of all sources and connections."""
        from relay import aws
        from relay.settings.inventory import Inventories

        listings = aws.by_boto3("secretsmanager").list_secrets, aws.by_boto3("ssm").describe_parameters
        return Inventories(self._prefix, *listings)

    @cached_property
    def destinations(self) -> Callable[[str], Destination]:
        """Return a destination by name; SettingsProblem when there is none."""
        from relay.destinations import registry

        return registry.load

    @cached_property
    def bus(self) -> Callable[[], Bus]:
        """Return EventBridge."""
        return self._by_boto3("events")

    @cached_property
    def bucket(self) -> Callable[[], Any]:
        """Return S3."""
        return self._by_boto3("s3")

    @staticmethod
    def _by_boto3(service: str) -> Callable[[], Any]:
        from relay import aws

        return cache(partial(aws.by_boto3, service))
