"""The stack of one case: everything is real but AWS, the vendors' servers and time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from functions.admin.app import handler as admin_function
from functions.export.app import handler as export_function
from functions.ingest.app import handler as ingest_function
from relay.destinations import registry
from relay.destinations.contract import Destination
from relay.domain.problems import SettingsProblem
from relay.domain.runs import RunState
from relay.queues import Message, Queue, Received
from relay.schedules import Schedules
from relay.settings.inventory import Inventory
from relay.settings.settings import Settings
from relay.stores import activations, breakers, runs
from relay.stores.database import Table
from relay.stores.profiles import load as load_profiles
from relay.wiring import Stack
from relay.wiring_operators import Operators
from tests.fakes.invocations import Consume, EventSource, Invocations, Wire
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.observing import Observed
from tests.fakes.outside import FakeBucket, FakeBus
from tests.fakes.refusals import codes_of
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
        self._router = self.stack.router()
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
        """Return the stack as it is deployed, but for AWS, the way to the vendor, and time."""
        self.scheduler.others[DEFAULT_SCHEDULE] = schedule(DEFAULT_SCHEDULE, '{"exports": "default"}')
        stack = Stack(
            {
                "RELAY_PREFIX": "relay",
                "RELAY_ADMIN": "operate",
                "RELAY_SANDBOXES": f"{self.vendor.destination.name}={SANDBOX}",
            }
        )
        stack.clock, stack.monotonic = self.clock, self.clock.timestamp
        stack.observe = self.observe.as_observability()
        stack.database, stack.settings, stack.outlines = self.database, self.settings, self.settings
        stack.queue_of = lambda _: self.queue
        stack.changes, stack.checks, stack.dead_changes = self.changes, self.checks, self.changes
        stack.destinations = self._destination
        stack.session = wsgi_session(Wire(self.vendor.app, self.clock))
        stack.schedules = stack.recent_schedules = Schedules(
            PREFIX, default=DEFAULT_SCHEDULE, target=FUNCTION, client=self.scheduler, clock=self.clock
        )
        stack.inventories = lambda: Inventory([SOURCE], [CONNECTION])
        stack.bus, stack.bucket = FakeBus, FakeBucket
        return stack

    def _have_run_for_a_while(self) -> None:
        with suppress(SettingsProblem):
            activations.save(self.database, EXPORT, self.settings.export(EXPORT).version)
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
        return self._invoke(partial(export_function, event, CONTEXT, starts=self.stack.scheduled_starts()))

    def admin_function(self, ask: str, **arguments: Any) -> tuple[Any, str | None]:
        """Return the admin function's answer to a question, or why it was refused."""
        operator = Operators(self.stack).operator()
        sent = admin_function({"ask": ask, **arguments}, CONTEXT, operator=operator)
        return sent.get("answer"), sent["error"]["what"] if "error" in sent else None

    def _invoke(self, function: Callable[[], Any]) -> tuple[Any, str | None]:
        try:
            return function(), None
        except Exception as error:  # noqa: BLE001 - Lambda counts the invocation as failed, whatever it is
            return None, f"{type(error).__name__}: {error}"

    def own_schedules(self) -> set[str]:
        """Return the exports that a schedule of their own will start."""
        return self.stack.schedules().exports

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
        run = runs.active(self.database, EXPORT)
        is_requested = any(breaker.resync for breaker in breakers.load_all(self.database, CONNECTION))
        return not is_requested and not self._waits() and (run is None or run.state is not RunState.RUNNING)

    def _waits(self) -> bool:
        """Return whether a record waits for its time; those of runs wait as long as the runs."""
        waiting = (item for item in self.database.items(Table.CONTROL) if str(item["pk"]).startswith("waits#"))
        return any("#outstanding#" not in str(item["sk"]) for item in waiting)

    # What there is at the end.

    def memberships(self) -> list[datetime]:
        """Return the stored times of all memberships, sorted."""
        ids = [str(item["pk"]) for item in self.database.items(Table.PROFILES)]
        profiles = [profile for profile in load_profiles(self.database, ids) if profile is not None]
        return sorted(membership.at for profile in profiles for membership in profile.memberships.values())

    def refusals(self) -> Counter[str]:
        """Return how many profiles were refused, by code: those ingest could not take, and those of the export."""
        counted = Counter(self.rejected)
        profiles = [str(item["sk"]) for item in self.database.items(Table.ASSIGNMENTS)]
        for codes in codes_of(self.database, self.stack.keyed, EXPORT, profiles).values():
            counted.update(codes)
        return counted

    @property
    def dead(self) -> int:
        """How many messages are in the dead-letter queues."""
        return sum(len(queue.dead) for queue in (self.changes, self.queue, self.checks))
