"""The stack of one case: everything is real but AWS, the vendors' servers and time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from functions.admin.app import handler as admin_function
from functions.export.app import handler as export_function
from functions.ingest.app import handler as ingest_function
from relay.destinations import registry
from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Caller, Destination
from relay.domain.exports import Connection
from relay.domain.problems import SettingsProblem
from relay.domain.runs import RunState
from relay.queues import Message, Queue, Received
from relay.routing import Router
from relay.schedules import Schedules
from relay.settings.inventory import Inventory
from relay.settings.settings import Settings
from relay.stores import activations, deliveries, gates, runs
from relay.stores.activations import Activation
from relay.stores.database import Table
from relay.stores.directory import Directory
from relay.stores.profiles import load as load_profiles
from relay.wiring import Stack
from tests.fakes.invocations import Consume, EventSource, Invocations, Wire
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.observing import Observed
from tests.fakes.scheduler import FUNCTION, FakeScheduler, schedule
from tests.fakes.secrets import FakeParameters, FakeSecrets
from tests.fakes.simulated_queue import SimQueue
from tests.fakes.steady import Steady
from tests.fakes.virtual_clock import VirtualClock
from tests.fakes.wsgi_session import wsgi_session
from tests.field.reading import CaseError, Setup
from tests.field.vendors import VENDORS, Vendor

PREFIX = "audience-relay"
DEFAULT_SCHEDULE = f"{PREFIX}-default"
SOURCE = "shop"
CONNECTION = "acme"
EXPORT = f"{CONNECTION}/everyone"
SANDBOX = "http://sandbox.invalid"

CHANGES_RECEIVES = 10
CHANGES_BATCH = 100
"""As the template has them; those of the other queues are the defaults of the fakes."""

BYTE_ORDER_MARK = "\ufeff"

CONTEXT = SimpleNamespace(aws_request_id="a-request", get_remaining_time_in_millis=lambda: 100_000)
"""What Lambda passes to a handler."""


class World:
    """Has been running for a while when a case begins: its export is known everywhere and was activated.

    Raises CaseError for a setup that cannot be.
    """

    def __init__(self, setup: Setup) -> None:
        if setup.kind not in VENDORS:
            raise CaseError(f"setup: kind must be one of {', '.join(VENDORS)}")
        self.clock = VirtualClock()
        self.observe = Observed()
        self.scheduler = FakeScheduler()
        self.rejected: Counter[str] = Counter()
        """Profiles that ingest could not take, by code."""
        self.vendor: Vendor = VENDORS[setup.kind](setup.sandbox, self.clock)
        self.database = MemoryDatabase()
        self.changes = self._queue("changes", fifo=False)
        self.changes.receive_limit = CHANGES_RECEIVES
        self.checks = self._queue("checks", fifo=False)
        self.queue = self._queue("destination", fifo=True)
        self.settings = self._settings(setup)
        self.stack = self._stack()
        self._router = self._make_router()
        self._consumer = self.stack.consumer(self.vendor.destination.name)
        self._checker = self.stack.import_checker()
        self._ticker = self.stack.ticker()
        sources = [
            EventSource(self.changes, self._alone(self._router.route), CHANGES_BATCH),
            EventSource(self.queue, self._alone(lambda batch: self._consumer.consume(batch, self.clock.seconds_left))),
            EventSource(self.checks, self._alone(lambda batch: self._checker.consume(batch, self.clock.seconds_left))),
        ]
        self._routing = sources[0]
        self.invocations = Invocations(self.clock, Steady(), sources, self._tick, killed=self.observe.defects.append)
        self._have_run_for_a_while()

    # What stands in for AWS and the vendor.

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        return SimQueue(name, fifo, self.clock.now, lambda step: None, Steady())

    def _settings(self, setup: Setup) -> Settings:
        secrets, parameters = FakeSecrets(), FakeParameters()
        self.parameters = parameters
        secrets[f"{PREFIX}/stack/identity-key"] = "the-identity-key-of-the-field-cases"
        source = json.dumps(
            {
                "dialect": setup.dialect,
                "auth": setup.auth,
                "secret": setup.secret,
                "profile_key": setup.profile_key,
            }
        )
        secrets[f"{PREFIX}/sources/{SOURCE}"] = BYTE_ORDER_MARK + source if setup.bom else source
        secrets[f"{PREFIX}/connections/{CONNECTION}"] = {
            "destination": self.vendor.destination.name,
            "display_name": "Acme",
            "privacy_consent": "I agree",
            **self.vendor.secret,
        }
        parameters[f"/{PREFIX}/exports/{EXPORT}"] = {
            "state": "active",
            "stream": setup.stream,
            "segments": setup.segs,
            "mapping": self.vendor.mapping if setup.mapping is None else setup.mapping,
            "options": {**self.vendor.options, **setup.options},
        }
        return Settings(PREFIX, secrets=secrets, ssm=parameters, clock=self.clock, destinations=self._destination)

    def _destination(self, name: str) -> Destination:
        own = self.vendor.destination
        return own if name == own.name else registry.load(name)

    def _stack(self) -> Stack:
        environment = {"RELAY_SANDBOXES": f"{self.vendor.destination.name}={SANDBOX}", "RELAY_PREFIX": PREFIX}
        self.scheduler.others[DEFAULT_SCHEDULE] = schedule(DEFAULT_SCHEDULE, '{"exports": "default"}')
        stack = Stack(environment, self.clock, self.observe.as_observability(), self._destination)
        session = wsgi_session(Wire(self.vendor.app, self.clock))

        def caller(connection: Connection) -> tuple[Caller, Callable[[], int]]:
            made = HttpCaller(
                connection.name,
                pace=partial(stack.pace, connection.name),
                log=self.observe.info,
                hold=partial(stack.pace.hold_all, connection.name),
                session=session,
                monotonic=self.clock.timestamp,
            )
            return made, lambda: sum(made.counts.values())

        stack.__dict__.update(
            database=self.database,
            settings=self.settings,
            checks=self.checks,
            queue_of=lambda destination: self.queue,
            caller=caller,
            schedules=self._schedules,
            inventories=lambda: Inventory([SOURCE], [CONNECTION]),
        )
        return stack

    def _schedules(self, kept_for: timedelta = timedelta()) -> Schedules:
        options: dict[str, Any] = {"default": DEFAULT_SCHEDULE, "target": FUNCTION, "client": self.scheduler}
        return Schedules(PREFIX, **options, clock=self.clock, kept_for=kept_for)

    def _make_router(self) -> Router:
        return Router(
            self.database,
            self.settings,
            Directory(self.database, self.clock),
            self.stack.queue_of,
            self.changes,
            visibility=self.changes.visibility,
            clock=self.clock,
            observability=self.stack.observe,
        )

    def _have_run_for_a_while(self) -> None:
        try:
            version = self.settings.export(EXPORT).version
            activations.save(self.database, EXPORT, Activation(version, self.clock.now(), settled=True))
        except SettingsProblem:
            pass
        self._tick()

    # Functions. An error that no function expects fails the invocation, as on Lambda, and is seen.

    def _alone(self, consume: Consume) -> Consume:
        def attempt(batch: Sequence[Received]) -> Sequence[str]:
            try:
                return consume(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the messages come back
                self.observe.problem("invocation failed", error)
                return [message.id for message in batch]

        return attempt

    def _tick(self) -> None:
        try:
            self._ticker.tick()
        except Exception as error:  # noqa: BLE001 - the next tick is a minute away
            self.observe.problem("invocation failed", error)

    def ingest(self, body: str, headers: Mapping[str, str]) -> int:
        """Post a body as a platform does; return the status of the answer."""
        event = {
            "httpMethod": "POST",
            "path": f"/webhooks/{SOURCE}",
            "pathParameters": {"source": SOURCE},
            "headers": {"Content-Type": "application/json", **headers},
            "body": body,
            "isBase64Encoded": False,
        }
        answer = ingest_function(
            event,
            CONTEXT,
            settings=self.settings,
            queue=cast("Queue", self),
            clock=self.clock,
            observability=self.stack.observe,
        )
        return int(answer["statusCode"])

    def send(self, messages: Sequence[Message]) -> None:
        """Put ingest's messages on the Changes queue, and count the profiles it could not take."""
        for message in messages:
            codes = (change.get("rejection") for change in message.body["changes"])
            self.rejected.update(code for code in codes if code is not None)
        self.changes.send(messages)

    def export_function(self, event: Any) -> tuple[Any, str | None]:
        """Return the answer of the export function, or what made the invocation fail."""
        return self._invoke(partial(export_function, event, CONTEXT, starts=self.stack.scheduled))

    def admin_function(self, event: Any) -> tuple[Any, str | None]:
        """Return the answer of the admin function, or what made the invocation fail."""
        return self._invoke(partial(admin_function, event, CONTEXT, operator=self.stack.operator()))

    def _invoke(self, function: Callable[[], Any]) -> tuple[Any, str | None]:
        try:
            return function(), None
        except Exception as error:  # noqa: BLE001 - Lambda counts the invocation as failed, whatever it is
            return None, f"{type(error).__name__}: {error}"

    def own_schedules(self) -> set[str]:
        """Return the exports that a schedule of their own will start."""
        return self.stack.schedules()().exports

    # Time.

    def store_what_came(self) -> None:
        """Let route work on everything that waits for it, without time passing."""
        while self.invocations.hand_out(self._routing):
            pass

    def rest(self, within: timedelta) -> None:
        """Let the relay work until nothing is left to do, at most for so long."""
        end = self.clock.now() + within
        while self.clock.now() < end:
            worked = self.invocations.work_once()
            self.invocations.tick_if_due()
            if not worked:
                if self._is_at_rest():
                    return
                self.invocations.skip(end)

    def _is_at_rest(self) -> bool:
        if any(queue.parcels for queue in (self.changes, self.queue, self.checks)):
            return False
        active = runs.active(self.database, EXPORT)
        run = None if active is None else runs.load(self.database, active)
        owes = any(gate.owed for gate in gates.load_all(self.database, CONNECTION).values())
        return not owes and (run is None or run.state is not RunState.RUNNING)

    # What there is at the end.

    def memberships(self) -> list[datetime]:
        """Return the stored times of all memberships, sorted."""
        ids = [str(item["pk"]) for item in self.database.items(Table.PROFILES)]
        profiles = [profile for profile in load_profiles(self.database, ids) if profile is not None]
        return sorted(membership.at for profile in profiles for membership in profile.memberships.values())

    def refusals(self) -> Counter[str]:
        """Return how many profiles were refused, by code: those ingest could not take, and those of the export."""
        counted = Counter(self.rejected)
        items = self.database.items(Table.DELIVERIES)
        profiles = [str(item["sk"]) for item in items if str(item["pk"]).startswith(f"{EXPORT}#")]
        for delivery in deliveries.load(self.database, EXPORT, profiles).values():
            counted.update({refusal.rejection.code for refusal in delivery.refusals.values()})
        return counted

    @property
    def dead(self) -> int:
        """How many messages are in the dead-letter queues."""
        return sum(len(queue.dead) for queue in (self.changes, self.queue, self.checks))
