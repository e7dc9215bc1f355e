"""Wake-ups: everything the engine puts on a queue."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from relay.clock import Clock
from relay.delivery.messages import CheckImport, Cursor, LookAgain, WakeLater, by_shard, group
from relay.domain.claims import Waiter
from relay.domain.exports import Export
from relay.queues import Message

LONGEST_DELAY = timedelta(minutes=15)
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""


class Sender(Protocol):
    """A queue that takes messages; all of them are in it when it returns."""

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages on the queue; Busy when that fails."""
        ...


class Wakeups:
    """Sends the engine's messages to the destination queues and the Checks queue."""

    def __init__(
        self, destination_queue: Callable[[str], Sender], checks: Sender, shards: Callable[[str], int], clock: Clock
    ) -> None:
        """`destination_queue` and `shards` take a destination's name."""
        self._destination_queue = destination_queue
        self._checks = checks
        self._shards = shards
        self._clock = clock

    def look_again(self, export: Export, waiters: Iterable[Waiter]) -> None:
        """Wake profiles, thoroughly, each for the run that waits for it."""
        by_run: dict[str | None, list[str]] = {}
        for waiter in sorted(waiters, key=lambda waiter: (waiter.run or "", waiter.profile)):
            by_run.setdefault(waiter.run, []).append(waiter.profile)
        messages = [
            Message(
                LookAgain(
                    export.connection, export.name, export.version, tuple(profiles), thorough=True, run=run
                ).to_json(),
                group(export.connection, shard),
            )
            for run, ids in by_run.items()
            for shard, profiles in by_shard(ids, self._shards(export.destination))
        ]
        if messages:
            self._destination_queue(export.destination).send(messages)

    def look_later(self, export: Export, due: Mapping[Waiter, datetime]) -> None:
        """Wake profiles when their time has come."""
        messages = [
            Message(
                WakeLater(
                    export.connection, export.name, export.version, (waiter.profile,), moment, waiter.run
                ).to_json(),
                delay=self._delay_until(moment),
            )
            for waiter, moment in due.items()
        ]
        if messages:
            self._checks.send(messages)

    def postpone(self, wake: WakeLater) -> None:
        """Put a wake-up that is not due yet back."""
        self._checks.send([Message(wake.to_json(), delay=self._delay_until(wake.due))])

    def check_import(self, connection: str, export: str, flight: str, attempt: int, delay: timedelta) -> None:
        """Ask for an import to be looked at after a delay."""
        body = CheckImport(connection, export, flight, attempt).to_json()
        self._checks.send([Message(body, delay=min(delay, LONGEST_DELAY))])

    def go_on(self, export: Export, cursors: Sequence[Cursor]) -> None:
        """Send cursors to the tail of their groups."""
        messages = [Message(cursor.to_json(), group(cursor.connection, cursor.shard)) for cursor in cursors]
        if messages:
            self._destination_queue(export.destination).send(messages)

    def _delay_until(self, moment: datetime) -> timedelta:
        return min(max(moment - self._clock.now(), timedelta()), LONGEST_DELAY)
