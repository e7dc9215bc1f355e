"""Takes the messages of one invocation through the steps (see `relay.routing`)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from relay.breaker import failures
from relay.clock import Clock
from relay.domain import changes
from relay.domain.closed_sets import SetPage
from relay.observability import Observability
from relay.queues import Message, Received, Sender
from relay.routing import coalesce
from relay.routing.ask import Asker
from relay.routing.catalogue import Catalogue
from relay.routing.count import Counting, by_source
from relay.routing.merge import Room
from relay.routing.read import Arrival, Handed, handed
from relay.routing.write import Writer
from relay.settings.exports import Outline
from relay.stores import attempts, closed_sets, profiles
from relay.stores.database import Database
from relay.stores.directory import Directory

_ROOM: Final = Room()


class Outlines(Protocol):
    """What routing must know of the settings."""

    def export_outlines(self) -> Mapping[str, Outline]:
        """Return all readable exports, paused ones included, by key."""
        ...


class Router:
    """Merges messages of the Changes queue. One per function environment; calls must not overlap.

    `settings` knows the exports, `directory` where their connections' queues are, `queue_for` takes a destination's
    name, `changes` is the Changes queue. Routers that work at the same time count in different `part`s of the receipts.

    Everything is stored, whether or not an export names it: platforms send changes only once, and an export made later
    must find its members.
    """

    def __init__(
        self,
        database: Database,
        settings: Outlines,
        directory: Directory,
        queue_for: Callable[[str], Sender],
        changes: Sender,
        *,
        clock: Clock,
        observability: Observability,
        room: Room = _ROOM,
        part: int = 0,
    ) -> None:
        self._database = database
        self._settings = settings
        self._changes = changes
        self._clock = clock
        self._observability = observability
        self._writer = Writer(database, Catalogue(database, clock), clock, observability, room)
        self._asker = Asker(directory, queue_for, observability)
        self._counting = Counting(database, observability, clock, part)

    def route(self, records: Sequence[Received]) -> list[str]:
        """Take the messages of one invocation; return the ids of those that failed and have to come back.

        What goes wrong with one change concerns it alone: it goes on in a message of its own, and only that one ends in
        the dead-letter queue. When the stores or SSM are not to be had, all fail.
        """
        failed: list[str] = []

        def fail(messages: Iterable[Received], error: Exception, event: str = "not routed") -> None:
            failed.extend(self._failed(list(messages), error, event))

        messages = handed(records, lambda record, error: fail([record], error, "message is not a batch of changes"))
        try:
            self._work([arrival for one in messages for arrival in one.to_merge])
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns all messages alike
            fail([one.message for one in messages], error)
            return failed
        done: list[Handed] = []
        for one in messages:
            if one.has_to_come_back:
                failed.append(one.message.id)
            elif one.defects and not any(arrival.is_done for arrival in one.to_merge):
                # Nothing of it got through: the fault may be of any kind, and there is nobody to protect from it.
                fail([one.message], one.defects[0][1])
            else:
                done.append(one)
        done = [one for one in done if one.batch.page is None or self._kept(one, one.batch.page, fail)]
        try:
            self._send_on(done)
        except Exception as error:  # noqa: BLE001 - what is not sent on comes back, and the others go on
            fail([one.message for one in done if one.defects], error)
            done = [one for one in done if not one.defects]
        for source, same in by_source(done).items():
            try:
                self._counting.count(source, same)
            except Exception as error:  # noqa: BLE001 - the counts of one source must not hold up another's
                fail([one.message for one in same], error, "not counted")
        return failed

    def _work(self, arrivals: Sequence[Arrival]) -> None:
        """Do all that changes bring; where something unexpected goes wrong, in halves, down to the one it concerns.

        What is not done afterwards, and has no defect, has to come back.
        """
        if not arrivals:
            return
        outlines = self._settings.export_outlines()
        parts = [arrivals]
        while parts:
            part = parts.pop()
            try:
                self._try(part, outlines)
            except Exception as error:  # noqa: BLE001 - a defect met on one change must not hold up the others
                if not _is_defect(error):
                    self._observability.problem("not routed", error)
                elif len(part) == 1:
                    part[0].defect = error
                else:
                    if part is arrivals:
                        self._observability.problem("changes are tried in halves", error)
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]

    def _try(self, arrivals: Sequence[Arrival], outlines: Mapping[str, Outline]) -> None:
        drafts = self._writer.write(coalesce.by_id(arrivals))
        for one in drafts:
            for arrival in one.customer.arrivals:
                if arrival.paged is not None:
                    arrival.has_entered |= one.enters(arrival.paged, arrival.change.received_at)
        failed = self._asker.ask(drafts, outlines)
        self._counting.observe(drafts)
        for one in drafts:
            if one not in failed:
                for arrival in one.customer.arrivals:
                    arrival.is_done = True

    def _kept(self, one: Handed, page: SetPage, fail: Callable[[list[Received], Exception], None]) -> bool:
        """Keep who a page of a closed set names; return whether that went well. `fail` is told what went wrong."""
        # Whom our code trips over is named by the ids that the change has: nobody leaves for our mistake.
        odd = {profile_id for change, _ in one.defects for profile_id in change.profile_ids}
        ids = {profile_id for change in one.batch.changes for profile_id in change.profile_ids} - odd
        times = [change.received_at for change in one.batch.changes]
        broken = sum(not change.profile_ids for change in one.batch.changes)
        try:
            found = profiles.follow(self._database, ids)
            roots = sorted({profiles.root_of(profile_id, found) for profile_id in ids} | odd)
            entered = {
                profiles.root_of(arrival.change.profile_ids[0], found)
                for arrival in one.arrivals
                if arrival.has_entered
            }
            at = min(times, default=one.message.sent_at)
            closed_sets.add_page(self._database, page, at, roots, entered, broken=broken)
        except Exception as error:  # noqa: BLE001 - one page must not hold up another message
            fail([one.message], error)
            return False
        return True

    def _send_on(self, messages: Sequence[Handed]) -> None:
        """Send changes that met a defect on, each in a message of its own."""
        alone = [
            Message(changes.to_json(replace(one.batch, changes=[change], page=None)))
            for one in messages
            for change, _ in one.defects
        ]
        if alone:
            self._changes.send(alone)
            self._observability.info("changes go on by themselves", queued=len(alone))

    def _failed(self, messages: Sequence[Received], error: Exception, event: str) -> list[str]:
        """Say and record why messages fail; return their ids."""
        self._observability.problem(event, error, message_id=", ".join(message.id for message in messages))
        if _is_defect(error):
            attempts.note(self._database, self._observability, messages, error, self._clock.now())
        return [message.id for message in messages]


def _is_defect(error: Exception) -> bool:
    """Return whether waiting helps nothing, so that what met the error ends in the dead-letter queue."""
    return failures.row_for(error).do is failures.Do.DEAD_LETTER
