"""Everything around a router: a Changes queue with redelivery, destination queues, settings, and a consumer."""

import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch, MembershipChange
from relay.domain.keyed_hash import bucket_of
from relay.domain.problems import Busy
from relay.domain.profiles import Profile
from relay.messages import Look
from relay.observability import Observability
from relay.queues import Message, Received
from relay.routing.merge import Room
from relay.routing.router import Router
from relay.settings.exports import Outline
from relay.stores import profiles, receipts, segments
from relay.stores.database import Table
from relay.stores.directory import Directory, Entry
from relay.stores.receipts import Counts
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.receipts_book import ReceiptsBook

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

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


def change(profile: int | Sequence[int] | None, *memberships: MembershipChange, **more: Any) -> Change:
    """Return a change of a profile named by one or more numbers, or by none."""
    numbers = () if profile is None else (profile,) if isinstance(profile, int) else profile
    ids = tuple(sorted(map(profile_id, numbers)))
    return Change(ids, **{"received_at": NOON, "memberships": list(memberships), **more})


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
        for look in self.looks[-len(messages) :]:
            for identifier in look.profiles:
                self.world.seen[f"{look.connection}/{look.export}", identifier] = self.world.visible(identifier)
        self.world.step(f"sent {self.name}")

    @property
    def looks(self) -> list[Look]:
        return [Look.from_json(message.body) for message in self.sent]

    @property
    def looked_at(self) -> set[str]:
        """The ids of all that somebody is asked to look at."""
        return {identifier for look in self.looks for identifier in look.profiles}


@dataclass
class ChangesShelf:
    """The Changes queue, as one invocation sends to it."""

    world: "World"
    sent: list[Message] = field(default_factory=list)

    def send(self, messages: Sequence[Message]) -> None:
        self.world.step(f"send {CHANGES}")
        if self.world.changes_broken:
            raise Busy("queue_unavailable", "test")
        for message in messages:
            self.world.post_text(json.dumps(message.body))
        self.sent += messages
        self.world.step(f"sent {CHANGES}")


LOG = io.StringIO()
_OBSERVABILITY = Observability(LOG)
"""One for all worlds: Powertools keeps every logger it ever made."""


class World:
    """A stack around routers, with exports of several connections.

    `px/px` streams segments s/a and s/b, `ac/ac` streams s/b alone, `ac/weekly` does not stream.
    """

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
        self.changes_broken = False
        self.loses_answers = False
        """Whether a write may be done though it is answered by an error."""
        self.room = Room()
        self.waiting: dict[str, tuple[str, int]] = {}
        self.book = ReceiptsBook()
        self.seen: dict[tuple[str, str], object] = {}
        LOG.seek(0)
        LOG.truncate()
        self._ids = itertools.count(1)
        self._changes_of: dict[Router, ChangesShelf] = {}
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
        shelf = ChangesShelf(self)
        router = Router(
            self.database,
            self,
            self._directory(),
            self.queue,
            shelf,
            clock=self.clock,
            observability=_OBSERVABILITY,
            room=self.room,
        )
        self._changes_of[router] = shelf
        return router

    def post(self, *posted: Change, source: str = "s") -> str:
        """Put a batch on the Changes queue; return the id of its message."""
        number = next(self._ids)
        batch = ChangeBatch(f"batch-{number}", source, list(posted))
        return self.post_text(json.dumps(changes.to_json(batch)), number)

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

    def run(self, *ids: str, router: Router | None = None) -> list[str]:
        """Route messages once and acknowledge those that did not fail; return those that did."""
        return self.hand(self.receive(*ids), router)

    def hand(self, records: Sequence[Received], router: Router | None = None, *, acknowledge: bool = True) -> list[str]:
        """Let a router take messages that were received; return those that failed.

        Without `acknowledge` the function is over, and the queue did not learn of it.
        """
        router = self.router() if router is None else router
        shelf = self._changes_of[router]
        shelf.sent.clear()
        invocation = self.book.begin(records)
        failed = router.route(records)
        sent_on = Counter(str(message.body["id"]) for message in shelf.sent)
        invocation.ended(failed, sent_on=sent_on, count_failed=self.loses_answers and bool(failed))
        for record in records:
            if record.id not in failed and acknowledge:
                self.waiting.pop(record.id, None)
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
            identifier: replace(profile, id="", version=0, changed_at=None, joined=frozenset(), trace=None)
            if isinstance(profile, Profile)
            else None
            for identifier, profile in whole.items()
        }

    def visible(self, identifier: str) -> object:
        """Return what a consumer sees of a profile, without running hooks."""
        [profile] = profiles.load(Unhooked(self.database), [identifier])
        if profile is None:
            return None
        inside = {segment for segment, held in profile.memberships.items() if held.realized}
        return inside, profile.view()

    def totals(self, source: str = "s") -> Counts:
        return receipts.totals(Unhooked(self.database), source)

    def listing(self, segment: str, number: int) -> list[str]:
        return segments.listing(Unhooked(self.database), segment, bucket_of(profile_id(number)))

    def check_receipts(self, *sources: str) -> None:
        """Every change that is in no queue any more was counted, and none more often than it was received."""
        self.book.check(sum(self.totals(source).changes for source in sources or ("s",)))

    def check_all_is_seen(self) -> None:
        """The consumers have seen every id as it is now, for every streaming export of its segments.

        A profile that became an alias has nothing of its own any more, and they have seen that, too.
        """
        for item in self.database.items(Table.PROFILES):
            identifier = str(item["pk"])
            now = self.visible(identifier)
            if isinstance(now, tuple):
                for segment in now[0]:
                    assert identifier in segments.listing(Unhooked(self.database), segment, bucket_of(identifier))
            for key in ("px/px", "ac/ac"):
                own = self.outlines[key].segments
                assert _desired(self.seen.get((key, identifier)), own) == _desired(now, own), key


class Unhooked(MemoryDatabase):
    """Reads of a database as it is now, with which nothing interferes."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__()
        self._items = database._items
        self._sorted = database._sorted


def _desired(visible: object, own: Sequence[str]) -> object:
    """Return what an export of these segments makes of a profile: who is in, and for those their values."""
    if not isinstance(visible, tuple) or not visible[0] & set(own):
        return None
    return visible[0] & set(own), visible[1]
