"""Which keys many single webhooks touch: all of ingest and route, over stores in memory that count.

A partition of DynamoDB takes 1,000 write units and 3,000 read units a second, so what matters is how many keys share
the work. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
"""

import io
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any, Final

from relay.clock import Clock, SystemClock
from relay.intake.endpoint import Endpoint
from relay.intake.requests import Request
from relay.observability import Observability
from relay.queues import Queue, Received
from relay.routing.router import Router
from relay.settings.exports import Outline
from relay.settings.sources import Sources
from relay.stores.database import Key, Table, Write
from relay.stores.directory import Directory, Entry
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.queue import FakeQueueClient
from tests.fakes.secrets import FakeSecrets

TOKEN: Final = "a-long-random-token"
SOURCE: Final = "crm"
AT_ONCE: Final = 100
"""Messages of one invocation of route, as the template has it."""
ENVIRONMENTS: Final = 10
"""Environments of route at the same time, as the template has it."""


class CountingDatabase(MemoryDatabase):
    """Counts writes and reads by partition key."""

    def __init__(self) -> None:
        super().__init__()
        self.written: Counter[tuple[Table, str]] = Counter()
        self.read: Counter[tuple[Table, str]] = Counter()

    def get(self, keys: Sequence[Key]) -> list[Any]:
        """Return items, and count their keys."""
        self.read.update((key.table, key.pk) for key in set(keys))
        return super().get(keys)

    def query(self, table: Table, pk: str, **more: Any) -> list[Any]:
        """Return a partition's items, and count it."""
        self.read[table, pk] += 1
        return super().query(table, pk, **more)

    def write(self, writes: Sequence[Write]) -> list[bool]:
        """Write, and count the keys."""
        self.written.update((one.key.table, one.key.pk) for one in writes)
        return super().write(writes)

    def transact(self, writes: Sequence[Write]) -> bool:
        """Write in a transaction, and count the keys."""
        self.written.update((one.key.table, one.key.pk) for one in writes)
        return super().transact(writes)

    def forget(self) -> None:
        """Begin to count again."""
        self.written.clear()
        self.read.clear()


class _Outlines:
    def export_outlines(self) -> dict[str, Outline]:
        return {"px/vip": Outline("px", "vip", True, None, (f"{SOURCE}/vip",), 1)}


@dataclass
class Stack:
    """One source, one export that streams, and as many environments of route as the template allows."""

    clock: Clock = field(default_factory=SystemClock)
    database: CountingDatabase = field(default_factory=CountingDatabase)
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    changes: FakeQueueClient = field(default_factory=FakeQueueClient)
    looks: FakeQueueClient = field(default_factory=FakeQueueClient)

    def __post_init__(self) -> None:
        texts = {"dialect": "relay-json", "auth": "bearer", "secret": TOKEN, "profile_key": "identities.crm"}
        self.secrets[f"relay/sources/{SOURCE}"] = texts
        self.secrets["relay/stack/identity-key"] = "identity"
        observability = Observability(io.StringIO())
        queue = Queue("https://sqs/changes", client=self.changes, clock=self.clock)
        settings = Sources("relay", secrets=self.secrets, clock=self.clock)
        self._endpoint = Endpoint(settings, lambda: queue, self.clock, observability)
        Directory(self.database, self.clock).keep("px", Entry("gainsight_px", True, 4))
        self._routers = [
            Router(
                self.database,
                _Outlines(),
                Directory(self.database, self.clock),
                lambda _: Queue("https://sqs/looks.fifo", client=self.looks, clock=self.clock),
                queue,
                clock=self.clock,
                observability=observability,
                part=part,
            )
            for part in range(ENVIRONMENTS)
        ]

    def post(self, changes: Sequence[Any], webhook_id: str | None = None) -> int:
        """Post a webhook; return the status."""
        headers = {"Authorization": f"Bearer {TOKEN}", **({} if webhook_id is None else {"webhook-id": webhook_id})}
        body = json.dumps({"changes": changes})
        event = {"pathParameters": {"source": SOURCE}, "headers": headers, "body": body}
        with redirect_stdout(io.StringIO()):
            return int(self._endpoint.answer(Request.of(event, None)).status)

    def route(self) -> None:
        """Route all that is queued, in turn by all environments."""
        bodies, now = self.changes.bodies, self.clock.now()
        self.changes.sent.clear()
        records = [Received(str(number), body, 1, None, "handle", now) for number, body in enumerate(bodies)]
        for number, start in enumerate(range(0, len(records), AT_ONCE)):
            with redirect_stdout(io.StringIO()):
                failed = self._routers[number % ENVIRONMENTS].route(records[start : start + AT_ONCE])
            if failed:
                raise RuntimeError("messages failed")


def person(number: int, at: str = "2026-03-01T09:30:00Z") -> dict[str, Any]:
    """Return a change of a person."""
    return {
        "identities": {"crm": f"c-{number}", "email": f"kim.{number}@example.com"},
        "attributes": {"plan": "gold"},
        "memberships": [{"segment": "vip", "status": "realized", "at": at}],
        "at": at,
    }


@dataclass(frozen=True, slots=True)
class Touched:
    """What some requests touched: of writes and reads how many there were, on how many keys, and the hottest one's."""

    writes: int
    keys: int
    hottest: int
    hottest_control: int
    """Writes of the hottest key that is no profile's and no segment's."""
    reads: int
    hottest_read: int
    settings: int
    """Calls to Secrets Manager."""
    messages: int


def measure(requests: int) -> Touched:
    """Post and route that many webhooks of one source, each of one new person and with an id of its own."""
    stack = Stack()
    stack.post([person(0)])
    stack.route()
    stack.database.forget()
    asked = len(stack.secrets.reads)
    for number in range(1, requests + 1):
        if stack.post([person(number)], f"msg_{number}") != 202:
            raise RuntimeError("a webhook was not taken")
    messages = len(stack.changes)
    stack.route()
    written, read = stack.database.written, stack.database.read
    return Touched(
        writes=written.total(),
        keys=len(written),
        hottest=max(written.values()),
        hottest_control=max(count for (table, _), count in written.items() if table is Table.CONTROL),
        reads=read.total(),
        hottest_read=max(read.values()),
        settings=len(stack.secrets.reads) - asked,
        messages=messages,
    )
