"""Puts the parts together: the one place that knows which part gets which.

Each part is imported where it is made, so that a function that starts pays for its own parts only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING

from relay.wiring_doors import Doors

if TYPE_CHECKING:
    import requests

    from relay.breaker.accounts import Accounts
    from relay.breaker.ownership import Ownership
    from relay.breaker.pace import Pace
    from relay.breaker.prober import Prober
    from relay.breaker.stops import Stops
    from relay.destinations.contract import Caller
    from relay.domain.exports import Connection
    from relay.reconcile.confirmation import Confirmation
    from relay.reconcile.enqueue import Enqueuer
    from relay.reconcile.reconciler import Reconciler
    from relay.reconcile.set_aside import SetAside
    from relay.routing.merge import Room
    from relay.routing.router import Router
    from relay.runs.ending import Ending
    from relay.runs.pages import Pages
    from relay.runs.settlement import Settlement
    from relay.runs.starter import Starter
    from relay.segment_imports.importer import Importer
    from relay.workers.announcing import Announcer
    from relay.workers.consumer import Consumer
    from relay.workers.forgetting import Forgetting
    from relay.workers.import_checks import ImportChecker
    from relay.workers.launcher import Launcher
    from relay.workers.leftovers import Leftovers
    from relay.workers.opening import Opener
    from relay.workers.retention import Retention
    from relay.workers.scheduled_starts import ScheduledStarts
    from relay.workers.segment_files import SegmentFiles
    from relay.workers.tick import Ticker


class Stack(Doors):
    """The running stack's parts, each made when it is first needed and kept from then on.

    Every part is an attribute and may be set before it is needed: so tests replace AWS, the network, time and chance,
    and leave the rest as it is.

        stack = Stack({"RELAY_PREFIX": "test"})
        stack.database = MemoryDatabase()

    The methods make what functions call; each call makes a new one.
    """

    # Destinations and their accounts.

    @cached_property
    def sandboxes(self) -> Mapping[str, str]:
        """Addresses standing in for destinations; set only in the local environment."""
        pairs = (pair.split("=", 1) for pair in self.environment.get("RELAY_SANDBOXES", "").split(",") if "=" in pair)
        return {name.strip(): url.strip() for name, url in pairs}

    @cached_property
    def session(self) -> requests.Session:
        """Makes the HTTP requests."""
        from relay.destinations.calling import shared_session

        return shared_session()

    @cached_property
    def caller(self) -> Callable[[Connection], tuple[Caller, Callable[[], int]]]:
        """Return what calls the account of a connection, and what counts the calls it made."""
        from relay.destinations.calling import HttpCaller

        def caller(connection: Connection) -> tuple[Caller, Callable[[], int]]:
            made = HttpCaller(
                connection.name,
                pace=partial(self.pace, connection.name),
                log=partial(self.observe.info, destination=connection.destination),
                hold=partial(self.pace.hold_all, connection.name),
                session=self.session,
                monotonic=self.monotonic,
            )
            return made, lambda: sum(made.counts.values())

        return caller

    @cached_property
    def accounts(self) -> Accounts:
        """All that a destination needs to talk to an account."""
        from relay.breaker.accounts import Accounts
        from relay.runs import first_run
        from relay.stores import identities

        return Accounts(
            self.database,
            self.caller,
            self.sandboxes,
            backlog=self.pace.backlog,
            hold=self.pace.hold,
            evidence=lambda *place: identities.evidence(self.database, self.keyed, *place),
            first_run_exceeds=partial(first_run.exceeds, self.database),
        )

    # Breakers.

    @cached_property
    def pace(self) -> Pace:
        """Everyone's next free slot."""
        from relay.breaker.pace import Pace

        return Pace(self.database, self.clock, scale=float(self.environment.get("RELAY_PACE_SCALE", "1")))

    @cached_property
    def ownership(self) -> Ownership:
        """Whose targets are."""
        from relay.breaker.ownership import Ownership

        return Ownership(self.database, self.settings, self.destinations, self.clock, self.settings_age)

    @cached_property
    def stops(self) -> Stops:
        """Stops connections and exports."""
        from relay.breaker.stops import Stops

        return Stops(self.database, self.settings, self.clock, self.observe)

    @cached_property
    def prober(self) -> Prober:
        """Looks whether what is stopped is well again."""
        from relay.breaker.prober import Prober

        parts = self.settings, self.destinations, self.accounts, self.ownership, self.clock, self.observe
        return Prober(self.database, *parts)

    # Reconciling.

    @cached_property
    def opener(self) -> Opener:
        """Opens exports for work."""
        from relay.workers.opening import Opener

        parts = self.settings, self.destinations, self.accounts, self.ownership, self.keyed
        return Opener(self.database, *parts)

    @cached_property
    def enqueuer(self) -> Enqueuer:
        """Asks for looks."""
        from relay.reconcile.enqueue import Enqueuer

        return Enqueuer(self.queue_of, self.checks, self._destination_of, lambda name: self.destinations(name).shards)

    def _destination_of(self, connection: str) -> str | None:
        """Return the destination of a connection, None when that is gone.

        The directory knows it whatever its secret says at the moment; one that is new may not be entered yet.
        """
        from relay.domain.problems import SettingsProblem

        entries, _ = self.directory.look_up({connection})
        if connection in entries:
            return entries[connection].destination
        try:
            return self.settings.connection(connection).destination
        except SettingsProblem:
            return None

    @cached_property
    def aside(self) -> SetAside:
        """Remembers whom defects concern."""
        from relay.reconcile.set_aside import SetAside

        return SetAside(self.database, self.clock, self.observe)

    @cached_property
    def reconciler(self) -> Reconciler:
        """Makes destinations agree with the store."""
        from relay.reconcile.reconciler import Reconciler

        parts = self.database, self.keyed, self.clock, self.enqueuer
        return Reconciler(*parts, new_id=lambda: self.new_id(8), observe=self.observe)

    @cached_property
    def confirmation(self) -> Confirmation:
        """Looks again at what ended as unconfirmed."""
        from relay.reconcile.confirmation import Confirmation

        return Confirmation(self.database, self.clock, self.reconciler)

    # Runs.

    @cached_property
    def ending(self) -> Ending:
        """Takes runs from page to page, and ends them."""
        from relay.runs.ending import Ending

        return Ending(self.database, self.clock, self.enqueuer)

    @cached_property
    def pages(self) -> Pages:
        """The pages of runs."""
        from relay.runs.pages import Pages

        return Pages(self.database, self.clock, self.reconciler, self.ending, self.aside)

    @cached_property
    def settlement(self) -> Settlement:
        """Moves profiles out of `outstanding`."""
        from relay.runs.settlement import Settlement

        return Settlement(self.database, self.keyed, self.clock, self.reconciler.recorder, self.aside)

    @cached_property
    def starter(self) -> Starter:
        """Starts runs."""
        from relay.runs.starter import Starter

        parts = self.ending, self.destinations, self.settings_age
        return Starter(self.database, self.clock, *parts, new_id=lambda: self.new_id(3))

    # Functions.

    @cached_property
    def room(self) -> Room:
        """How large a profile may grow."""
        from relay.routing.merge import Room

        return Room()

    def router(self, part: int = 0) -> Router:
        """Return what works on the Changes queue; it counts in a `part` of the receipts."""
        from relay.routing.router import Router

        parts = self.outlines, self.directory, self.queue_of, self.changes
        return Router(self.database, *parts, clock=self.clock, observability=self.observe, room=self.room, part=part)

    def consumer(self, destination: str) -> Consumer:
        """Return what works on a destination's queue, by the destination's name or word."""
        from relay.workers.consumer import Consumer

        return Consumer(
            self.database,
            self.opener,
            self.reconciler,
            self.pages,
            self.enqueuer,
            self.aside,
            self.stops,
            self.clock,
            self.queue_of(destination).retry_later,
            self.observe,
        )

    def import_checker(self) -> ImportChecker:
        """Return what works on the Checks queue."""
        from relay.workers.import_checks import ImportChecker

        return ImportChecker(
            self.database,
            self.opener,
            self.accounts,
            self.keyed,
            self.reconciler,
            self.confirmation,
            self.settlement,
            self.ending,
            self.enqueuer,
            self.aside,
            self.stops,
            self.clock,
            self.checks.retry_later,
            self.observe,
        )

    def ticker(self) -> Ticker:
        """Return what runs every minute."""
        from relay.workers.tick import Ticker

        return Ticker(
            self.database,
            self.settings,
            self.destinations,
            self.starter,
            self.ending,
            self.settlement,
            self.enqueuer,
            self.prober,
            self.aside,
            self.forgetting,
            self.directory,
            self.clock,
            self.observe,
            schedules=self.recent_schedules,
            more=[self.leftovers.step, self.announcer.step, *([] if self.retention is None else [self.retention.step])],
            segment_files=lambda: self.segment_files,
        )

    @cached_property
    def importer(self) -> Importer:
        """Imports whole segments. Several chunks are written at the same time, since DynamoDB takes its time."""
        from relay.routing.catalogue import Catalogue
        from relay.routing.write import Writer
        from relay.segment_imports.applying import Applier
        from relay.segment_imports.importer import AT_ONCE, Importer
        from relay.segment_imports.s3 import S3Files, S3Pages
        from relay.settings.sources import Sources

        bucket = self.environment.get("RELAY_BUCKET", "")
        sources = Sources(self._prefix, seconds=self.settings_age.total_seconds(), clock=self.clock)
        files = S3Files(bucket, self.bucket, sources.source, lambda: self.keyed, self.clock)
        catalogue = Catalogue(self.database, self.clock)
        writer = Writer(self.database, catalogue, self.clock, self.observe, self.room)
        parts = files, S3Pages(bucket, self.bucket), Applier(writer, self.observe), self.outlines, self.clock
        return Importer(self.database, *parts, self.observe, lambda: self.new_id(8), at_once=AT_ONCE)

    def segment_files_worker(self) -> SegmentFiles:
        """Return what works on the queue of segment files."""
        from relay.workers.segment_files import SegmentFiles

        return SegmentFiles(self.database, self.importer, self.clock, self.observe)

    @cached_property
    def forgetting(self) -> Forgetting:
        """Forgets people."""
        from relay.workers.dead_changes import DeadChanges
        from relay.workers.forgetting import Forgetting

        dead_changes = DeadChanges(self.dead_changes, self.clock)
        return Forgetting(self.database, self.settings, self.keyed, self.enqueuer, dead_changes, self.clock)

    @cached_property
    def retention(self) -> Retention | None:
        """Forgets profiles that nobody names; None where that is off."""
        from relay.workers.retention import Retention

        kept = timedelta(days=int(self.environment.get("RELAY_RETENTION_DAYS", "0")))
        if not kept:
            return None
        parts = self.settings, self.settings.export_outlines, self.forgetting, self.clock, self.observe
        return Retention(self.database, *parts, kept)

    @cached_property
    def leftovers(self) -> Leftovers:
        """Removes what deleted exports leave behind."""
        from relay.workers.leftovers import Leftovers

        return Leftovers(self.database, self.settings, self.directory, self.keyed, self.clock, self.observe)

    @cached_property
    def announcer(self) -> Announcer:
        """Announces runs, stops and recoveries outside."""
        from relay.workers.announcing import Announcer

        bucket = self.environment.get("RELAY_BUCKET", "")
        clients = self.bus, self.bucket
        return Announcer(self.database, self._prefix, bucket, *clients, self.observe)

    @cached_property
    def launcher(self) -> Launcher:
        """Starts runs and says what came of it."""
        from relay.workers.launcher import Launcher

        return Launcher(self.database, self.settings, self.starter, self.observe)

    def scheduled_starts(self) -> ScheduledStarts:
        """Return what does as schedules ask."""
        from relay.workers.scheduled_starts import ScheduledStarts

        return ScheduledStarts(self.launcher, self.schedules, self.clock)
