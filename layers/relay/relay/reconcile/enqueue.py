"""Making sure that somebody looks: messages that ask for a look, now or later."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import NamedTuple

from relay.messages import CheckImport, Confirm, Look, Page, by_shard, group
from relay.queues import Message, Sender

LONGEST_DELAY = timedelta(minutes=15)
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""


class Due(NamedTuple):
    """A profile to look at for an export of a connection, under settings that are at least these."""

    connection: str
    export: str
    settings: int
    profile: str


class Enqueuer:
    """Puts messages on the destination queues and the Checks queue."""

    def __init__(
        self,
        queue_of: Callable[[str], Sender],
        checks: Sender,
        destination_of: Callable[[str], str | None],
        shards_of: Callable[[str], int],
    ) -> None:
        """`queue_of` and `shards_of` take a destination's name, `destination_of` a connection's.

        That one returns None for a connection that is gone.
        """
        self._queue_of = queue_of
        self._checks = checks
        self._destination_of = destination_of
        self._shards_of = shards_of

    def look(self, due: Iterable[Due], tries: int = 0) -> None:
        """Ask for a look at profiles; one message names many of one export and shard. `tries` is as `Look.tries`."""
        by_export: dict[tuple[str, str], list[Due]] = {}
        for one in due:
            by_export.setdefault((one.connection, one.export), []).append(one)
        for (connection, export), found in sorted(by_export.items()):
            destination = self._destination_of(connection)
            if destination is None:
                continue
            settings = max(one.settings for one in found)
            shards = by_shard({one.profile for one in found}, self._shards_of(destination))
            looks = [
                (Look(connection, export, settings, ids, tries), group(connection, shard)) for shard, ids in shards
            ]
            self.send_again(destination, looks)

    def send_again(self, destination: str, messages: Iterable[tuple[Look | Page, str]]) -> None:
        """Put messages at the tails of the groups they came from."""
        bodies = [Message(body.to_json(), group_name) for body, group_name in messages]
        if bodies:
            self._queue_of(destination).send(bodies)

    def go_on(self, destination: str, pages: Iterable[Page]) -> None:
        """Send the pages of a run, each to the tail of its group."""
        self.send_again(destination, [(page, group(page.connection, page.shard)) for page in pages])

    def check_import(self, connection: str, call: str, number: int, delay: timedelta) -> None:
        """Ask for a look at an import after a delay."""
        self._checks.send([Message(CheckImport(connection, call, number).to_json(), delay=min(delay, LONGEST_DELAY))])

    def confirm(self, due: Iterable[Due]) -> None:
        """Ask for a look at what a destination holds of profiles that ended as unconfirmed."""
        by_export: dict[tuple[str, str, int], list[str]] = {}
        for connection, export, settings, profile in due:
            by_export.setdefault((connection, export, settings), []).append(profile)
        messages = [
            Message(Confirm(connection, export, settings, ids).to_json())
            for (connection, export, settings), found in sorted(by_export.items())
            for _, ids in by_shard(found, 1)
        ]
        if messages:
            self._checks.send(messages)
