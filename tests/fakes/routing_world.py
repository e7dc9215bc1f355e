"""Everything around a router: a Changes queue with redelivery, destination queues, settings, and a consumer."""

import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.delivery.messages import LookAgain
from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch, MembershipChange
from relay.domain.keyed_hash import bucket_of
from relay.domain.problems import Busy
from relay.domain.profiles import Profile
from relay.observability import Observability
from relay.queues import Message, Received
from relay.routing import Room, Router
from relay.settings.exports import Outline
from relay.stores import ledger, profiles, segments
from relay.stores.database import Key, Table
from relay.stores.directory import Directory, Entry
from relay.stores.ledger import Counts
from tests.fakes.memory_database import MemoryDatabase

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
VISIBILITY = timedelta(minutes=3)


CHANGES = "changes"
"""The name of the Changes queue among the others."""


class Crash(BaseException):
    """The function died: nothing may catch it."""


class StillClock:
    """A clock that only tests move."""

    def __init__(self, now: datetime = NOON) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def profile_id(number: int) -> str:
    """Return the id of a profile in bucket `number`."""
    return f"{number % 256:02x}{number:030x}"


def member(segment: str, seconds: float = 0, *, realized: bool = True, name: str | None = None) -> MembershipChange:
    return MembershipChange(segment, realized, NOON + timedelta(seconds=seconds - 1000), name)


def change(profile: int | Sequence[int] | None, *memberships: MembershipChange, **told: Any) -> Change:
    """Return a change of a profile named by one or more numbers, or by none."""
    numbers = () if profile is None else (profile,) if isinstance(profile, int) else profile
    ids = tuple(sorted(map(profile_id, numbers)))
    return Change(ids, **{"received_at": NOON, "memberships": list(memberships), **told})


@dataclass
class Shelf:
    """A destination queue; `step` is called before and after a send, and the consumer looks as soon as it is sent."""

    name: str
    world: "World"
    sent: list[Message] = field(default_factory=list)
    broken: bool = False

    def send(self, messages: Sequence[Message]) -> None:
        self.world.step(f"send {self.name}")
        if self.broken:
            raise Busy("queue_unavailable", "test")
        self.sent += messages
        if self.name == CHANGES:
            for message in messages:
                self.world.batches.append(changes.from_json(message.body))
                self.world.post_text(json.dumps(message.body))
            self.world.step(f"sent {self.name}")
            return
        for message in messages:
            look = LookAgain.from_json(message.body)
            for identifier in look.profiles:
                self.world.seen[f"{look.connection}/{look.export}", identifier] = self.world.visible(identifier)
        self.world.step(f"sent {self.name}")

    @property
    def looks(self) -> list[LookAgain]:
        return [LookAgain.from_json(message.body) for message in self.sent]


LOG = io.StringIO()
_OBSERVABILITY = Observability(LOG)
"""One for all worlds: Powertools keeps every logger it ever made."""


class World:
    """A stack around routers, with two exports: `px/px` streams segments s/a and s/b, `ac/ac` streams s/b alone."""

    def __init__(self, step: Callable[[str], None] = lambda step: None) -> None:
        self.step = step
        self.clock = StillClock()
        self.database = MemoryDatabase(before=lambda name: self.step(f"> {name}"), after=lambda name: self.step(name))
        self.outlines = {
            "px/px": Outline("px", "px", True, None, ("s/a", "s/b"), 7),
            "ac/ac": Outline("ac", "ac", True, True, ("s/b",), 9),
            "ac/weekly": Outline("ac", "weekly", True, None, ("s/a",), 9),
        }
        self.queues: dict[str, Shelf] = {}
        self.room = Room()
        self.waiting: dict[str, tuple[str, int]] = {}
        self.batches: list[ChangeBatch] = []
        self.seen: dict[tuple[str, str], object] = {}
        LOG.seek(0)
        LOG.truncate()
        self._ids = itertools.count(1)
        self._quietly(lambda: self._directory().keep("px", Entry("gainsight_px", True, 4)))
        self._quietly(lambda: self._directory().keep("ac", Entry("activecampaign", False, 2)))
        self.database.steps.clear()

    def _quietly(self, act: Callable[[], None]) -> None:
        step, self.step = self.step, lambda name: None
        try:
            act()
        finally:
            self.step = step

    def _directory(self) -> Directory:
        return Directory(self.database, self.clock)

    def export_outlines(self) -> Mapping[str, Outline]:
        return self.outlines

    def queue(self, destination: str) -> Shelf:
        return self.queues.setdefault(destination, Shelf(destination, self))

    def router(self) -> Router:
        """Return the router of a new function environment."""
        return Router(
            self.database,
            self,
            self._directory(),
            self.queue,
            self.queue(CHANGES),
            visibility=VISIBILITY,
            clock=self.clock,
            observability=_OBSERVABILITY,
            room=self.room,
        )

    def post(self, *told: Change, batch: str | None = None, source: str = "s") -> str:
        """Put a batch on the Changes queue; return the id of its message."""
        number = next(self._ids)
        made = ChangeBatch(batch if batch is not None else f"batch-{number}", source, list(told))
        self.batches.append(made)
        return self.post_text(json.dumps(changes.to_json(made)), number)

    def post_text(self, body: str, number: int | None = None) -> str:
        identifier = f"message-{next(self._ids) if number is None else number}"
        self.waiting[identifier] = (body, 0)
        return identifier

    def receive(self, *ids: str) -> list[Received]:
        """Hand messages out, all that wait when no ids are given; each time counts."""
        records = []
        for identifier in ids or tuple(self.waiting):
            body, count = self.waiting[identifier]
            self.waiting[identifier] = (body, count + 1)
            parsed = json.loads(body) if body.startswith("{") else {}
            records.append(Received(identifier, parsed, count + 1, None, "receipt", self.clock.now()))
        return records

    def acknowledge(self, records: Sequence[Received], failed: Sequence[str]) -> None:
        for record in records:
            if record.id not in failed:
                self.waiting.pop(record.id, None)

    def run(self, *ids: str, router: Router | None = None) -> list[str]:
        """Route messages once and acknowledge those that did not fail; return those that did."""
        records = self.receive(*ids)
        failed = (router or self.router()).route(records)
        self.acknowledge(records, failed)
        return failed

    def profile(self, number: int) -> Profile:
        """Return the profile that an id stands for."""
        found = profiles.follow(self.database, [profile_id(number)])
        profile = found[profiles.root_of(profile_id(number), found)]
        assert isinstance(profile, Profile)
        return profile

    def stored(self) -> dict[str, object]:
        """Return what is known of the profile that each id stands for, whichever of its ids is the profile's."""
        ids = [str(item["pk"]) for item in self.database.items(Table.PROFILES)]
        found = profiles.follow(self.database, ids)
        whole = {identifier: found[profiles.root_of(identifier, found)] for identifier in ids}
        return {
            identifier: replace(profile, id="", version=0, changed_at=None) if isinstance(profile, Profile) else None
            for identifier, profile in whole.items()
        }

    def visible(self, identifier: str) -> object:
        """Return what a consumer sees of a profile, without running hooks."""
        key = Key(Table.PROFILES, identifier)
        if key not in self.database:
            return None
        item = self.database[key]
        return {name: item[name] for name in ("identities", "attributes", "memberships") if name in item}

    def totals(self, source: str = "s") -> Counts:
        return ledger.totals(self.database, source)

    def listing(self, segment: str, number: int) -> list[str]:
        return segments.listing(self.database, segment, bucket_of(profile_id(number)))

    def check_the_ledger(self) -> None:
        """Every change is counted once, or it waits: in the message it came in, or in one of its own."""
        batches = {batch.id: batch for batch in self.batches}
        marks = {
            name: self.database[key]
            for name in batches
            if (key := Key(Table.CONTROL, f"ledger#{name}", "batch")) in self.database
        }
        waiting = {json.loads(body).get("id") for body, _ in self.waiting.values() if body.startswith("{")}
        assert batches.keys() <= marks.keys() | waiting
        counted = 0
        for name, mark in marks.items():
            apart = str(mark["apart"]).split(",") if "apart" in mark else []
            assert name in waiting or {f"{name}.{place}" for place in apart} <= batches.keys()
            counted += len(batches[name].changes) - len(apart)
        assert self.totals().changes == counted

    def check_all_is_told(self) -> None:
        """The consumers have seen every id as it is now, for every streaming export of its segments.

        A profile that became an alias has nothing of its own any more, and they have seen that, too.
        """
        for item in self.database.items(Table.PROFILES):
            identifier, memberships = str(item["pk"]), json.loads(str(item.get("memberships", "{}")))
            for segment, (realized, _, _) in memberships.items():
                if realized:
                    assert identifier in segments.listing(self.database, segment, bucket_of(identifier))
            for key in ("px/px", "ac/ac"):
                own = self.outlines[key].segments
                assert _wish(self.seen.get((key, identifier)), own) == _wish(self.visible(identifier), own), key


def _wish(visible: object, own: Sequence[str]) -> object:
    """Return what an export of these segments makes of a profile: who is in, and for those their values."""
    if not isinstance(visible, dict) or "memberships" not in visible:
        return None
    inside = {segment for segment, (realized, _, _) in json.loads(visible["memberships"]).items() if realized}
    if not inside & set(own):
        return None
    registers = {
        name: {key: value for key, (value, *_) in json.loads(visible[name]).items() if value is not None}
        for name in ("identities", "attributes")
    }
    return registers, inside & set(own)
