"""All that commands need of AWS and of the network, as one interface: `aws.py` has the real one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer to a webhook."""

    status: int
    body: str
    sent_at: datetime
    """Before the request was sent."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule of an export's own. `name` is `connection.export`."""

    name: str
    expression: str
    timezone: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message of a dead-letter queue, without its body."""

    id: str
    sent_at: datetime | None
    received: int
    first_id: str | None = None
    """The id that it had before it was written again without a forgotten person."""


class Door(Protocol):
    """Methods raise AwsRefused where the caller lacks a right or credentials, and Failure where AWS does not answer."""

    @property
    def prefix(self) -> str:
        """What begins the names of all that belongs to the stack."""
        ...

    @property
    def webhook_url(self) -> str:
        """Where platforms post to, without the source's name."""
        ...

    def invoke(self, function: str, question: Mapping[str, Any]) -> Any:
        """Return what the function `{prefix}-{function}` answers."""
        ...

    def aws_time(self) -> datetime | None:
        """Return the time that the last answer of AWS had, None where it had none."""
        ...

    def secret_names(self, kind: str) -> Sequence[str]:
        """Return the names of all `sources` or `connections`."""
        ...

    def secret(self, kind: str, name: str) -> Mapping[str, str] | None:
        """Return the fields of a source or a connection, None where there is none; BeingDeleted when it was removed."""
        ...

    def put_secret(self, kind: str, name: str, fields: Mapping[str, str], *, new: bool) -> None:
        """Write a source or a connection; with `new` only where there is none."""
        ...

    def delete_secret(self, kind: str, name: str) -> None:
        """Schedule a source or a connection for deletion, which can be taken back for 30 days."""
        ...

    def restore_secret(self, kind: str, name: str) -> None:
        """Take the deletion of a source or a connection back; nothing happens where there is none to take back."""
        ...

    def export_keys(self) -> Sequence[str]:
        """Return the keys `connection/export` of all exports."""
        ...

    def export(self, key: str) -> str | None:
        """Return an export's text, None where there is none."""
        ...

    def export_version(self, key: str) -> int:
        """Return when an export was written last, in milliseconds of UNIX time: what runs name as their settings."""
        ...

    def put_export(self, key: str, text: str, *, new: bool) -> None:
        """Write an export; with `new` only where there is none."""
        ...

    def delete_export(self, key: str) -> None:
        """Delete an export."""
        ...

    def schedule(self, key: str) -> Schedule | None:
        """Return the export's own schedule, None where it has none."""
        ...

    def schedule_names(self) -> Sequence[str]:
        """Return the names of all schedules of exports' own."""
        ...

    def put_schedule(self, key: str, expression: str, timezone: str) -> None:
        """Give an export a schedule of its own, or change when it starts: all else about it stays as it is."""
        ...

    def delete_schedule(self, key: str) -> None:
        """Take an export's own schedule away."""
        ...

    def queue_depth(self, queue: str) -> int:
        """Return about how many messages the queue `{prefix}-{queue}` holds."""
        ...

    def messages(self, queue: str, most: int) -> Sequence[QueueMessage]:
        """Return messages of a queue, as many as show themselves: others may be hidden. They stay there."""
        ...

    def redrive(self, dead_letters: str, queue: str) -> Iterator[int]:
        """Put the messages of a dead-letter queue back into its queue; yield how many were put back so far.

        A message leaves the dead-letter queue after it lies in the other one, so stopping in the middle loses none.
        """
        ...

    def purge(self, queue: str) -> None:
        """Delete all messages of a queue."""
        ...

    def put_object(self, key: str, body: bytes | BinaryIO) -> None:
        """Write an object into the stack's bucket, whole or not at all; at most 5 GB."""
        ...

    def delete_object(self, key: str) -> None:
        """Delete an object of the stack's bucket; nothing where there is none."""
        ...

    def post(self, source: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Post a body to a source's webhook."""
        ...
