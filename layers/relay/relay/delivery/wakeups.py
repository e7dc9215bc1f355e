"""Wake-ups: everything the engine puts on a queue."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from relay.clock import Clock
from relay.delivery.messages import (
    MAX_PROFILES,
    CheckImport,
    Confirm,
    Cursor,
    LookAgain,
    WakeLater,
    by_shard,
    group,
)
from relay.domain.claims import Waiter, profile_of
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

    def look_again(self, export: Export, profiles: Iterable[str], run: str | None = None, tries: int = 0) -> None:
        """Wake profiles of an export, thoroughly, for the run that waits for them if there is one.

        `tries` is how often they were sent before in imports that came to nothing.
        """
        place = (export.destination, export.connection, export.name, export.version)
        self._look_again(*place, sorted(profiles), run, tries)

    def wake(self, export: Export, waiters: Iterable[Waiter]) -> None:
        """Wake claimants, each for its own export (another of the connection may wait) and run."""
        parties: dict[tuple[str, str], list[str]] = {}
        for waiter in waiters:
            name, profile = profile_of(waiter.claimant)
            parties.setdefault((name, waiter.run or ""), []).append(profile)
        for (name, run), profiles in sorted(parties.items()):
            version = export.version if name == export.name else 0
            self._look_again(export.destination, export.connection, name, version, sorted(profiles), run or None)

    def _look_again(
        self,
        destination: str,
        connection: str,
        name: str,
        version: int,
        profiles: Sequence[str],
        run: str | None,
        tries: int = 0,
    ) -> None:
        messages = [
            Message(
                LookAgain(connection, name, version, ids, thorough=True, run=run, tries=tries).to_json(),
                group(connection, shard),
            )
            for shard, ids in by_shard(profiles, self._shards(destination))
        ]
        if messages:
            self._destination_queue(destination).send(messages)

    def send_anew(self, export: Export, looks: Iterable[tuple[LookAgain, str | None]]) -> None:
        """Send look-agains of an export to the tails of the groups they came from."""
        messages = [Message(look.to_json(), group_name) for look, group_name in looks]
        if messages:
            self._destination_queue(export.destination).send(messages)

    def look_later(self, export: Export, due: Mapping[tuple[str, str | None], datetime]) -> None:
        """Wake (profile, run that waits for it) when their time has come."""
        messages = [
            Message(
                WakeLater(export.connection, export.name, export.version, (profile,), moment, run).to_json(),
                delay=self._delay_until(moment),
            )
            for (profile, run), moment in due.items()
        ]
        if messages:
            self._checks.send(messages)

    def postpone(self, task: WakeLater | Confirm) -> None:
        """Put on the Checks queue what is not due yet."""
        self._checks.send([Message(task.to_json(), delay=self._delay_until(task.due))])

    def confirm(self, export: Export, profiles: Sequence[str], due: datetime, look: int) -> None:
        """Have profiles that ended as unconfirmed looked at again at a due time."""
        for start in range(0, len(profiles), MAX_PROFILES):
            part = tuple(profiles[start : start + MAX_PROFILES])
            self.postpone(Confirm(export.connection, export.name, part, due, look))

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
