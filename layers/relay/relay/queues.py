"""The only door to SQS."""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from relay import aws
from relay.aws.clients import QueueClient
from relay.clock import Clock, SystemClock
from relay.domain import moments
from relay.domain.problems import Busy
from relay.json_text import json_text

MAX_ENTRIES = 10
MAX_BATCH_BYTES = 1_048_576
"""Of one message, and of all messages of one call.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
MAX_DELAY = timedelta(minutes=15)
MAX_VISIBILITY_SECONDS = 12 * 60 * 60
TRIES = 3
FIRST_PAUSE_SECONDS = 0.1
HIDDEN_SECONDS = 60
"""How long a message is hidden while its queue is looked through."""
FIRST_ID = "first_message_id"
"""The attribute of a message that was written again: the id under which the reason of its failure is recorded."""


@dataclass(frozen=True, slots=True)
class Message:
    """What to send. A FIFO queue needs a `group`; a `delay` (whole seconds, at most MAX_DELAY) works elsewhere only."""

    body: Mapping[str, Any]
    group: str | None = None
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as Lambda hands it over. A body that is not a JSON object reads as {}, so that only it fails."""

    id: str
    body: dict[str, Any]
    receive_count: int
    """1 at the first try."""
    group: str | None
    receipt_handle: str
    sent_at: datetime
    queue: str = ""
    """The name of the queue it came from."""


class Sender(Protocol):
    """A queue that takes messages; all of them are in it when it returns."""

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages on the queue; Busy when that fails."""
        ...


class WorkQueue(Sender, Protocol):
    """A queue whose messages are worked on, too."""

    def retry_later(self, receipt_handle: str, seconds: float) -> None:
        """Hide a received message for some more seconds."""
        ...


class DeadLetters(Protocol):
    """A dead-letter queue that is looked through."""

    def rewrite(self, rewritten: Callable[[dict[str, Any]], dict[str, Any] | None], until: datetime) -> bool:
        """Replace each message by what `rewritten` makes of its body; see `Queue.rewrite`."""
        ...


class Queue:
    """One queue. Bodies travel as compact JSON (`relay.json_text`)."""

    def __init__(self, url: str, *, client: QueueClient | None = None, clock: Clock | None = None) -> None:
        self._url = url
        self._fifo = url.endswith(".fifo")
        self._client = client
        self._clock = SystemClock() if clock is None else clock

    def prepare(self) -> None:
        """Make the client and open its connection ahead of the first call; raises BotoCoreError."""
        aws.connect(self._sqs())

    def send(self, messages: Sequence[Message]) -> None:
        """Send all messages, in calls of at most MAX_ENTRIES and MAX_BATCH_BYTES.

        Every message on a FIFO queue gets a deduplication id of its own, kept over the retries of this call. Entries
        that SQS refuses are tried TRIES times. Raises Busy when some remain: others may have been sent, so callers
        must bear duplicates; ValueError for a message that no queue would take.
        """
        for batch in _batches([self._entry(message) for message in messages]):
            self._send(batch)

    def rewrite(self, rewritten: Callable[[dict[str, Any]], dict[str, Any] | None], until: datetime) -> bool:
        """Look through a queue that nobody works on, and replace each message by what `rewritten` makes of its body.

        None drops it. Messages that cannot be read stay. Return whether all were seen before `until`; not when somebody
        else hides some at the moment. What is changed is sent before the message is deleted: whoever dies in between
        leaves it twice. SQS gives it a new id and a new age; the first id goes with it (`FIRST_ID`). Raises Busy.
        """
        held: list[str] = []
        try:
            while self._clock.now() < until:
                answer = self._sqs().receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=MAX_ENTRIES,
                    MessageAttributeNames=[FIRST_ID],
                    VisibilityTimeout=HIDDEN_SECONDS,
                    WaitTimeSeconds=1,
                )
                messages = answer.get("Messages", [])
                if not messages:
                    return self._depth() <= len(held)
                for message in messages:
                    body = _body(message["Body"])
                    new = rewritten(body) if body else body
                    if new == body:
                        held.append(message["ReceiptHandle"])
                        continue
                    if new is not None:
                        self._send([{**self._entry(Message(new)), "MessageAttributes": _first_id(message)}])
                    self._sqs().delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        except (ClientError, BotoCoreError) as error:
            raise Busy("queue_unavailable", type(error).__name__) from None
        finally:
            self._show(held)
        return False

    def _depth(self) -> int:
        """Return how many messages there are, whether or not somebody hides them; SQS says it about right."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self._sqs().get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)

    def _show(self, handles: Sequence[str]) -> None:
        """Let others see messages again. A refusal is not raised: then they come back by themselves."""
        for start in range(0, len(handles), MAX_ENTRIES):
            part = handles[start : start + MAX_ENTRIES]
            entries = [{"Id": str(i), "ReceiptHandle": one, "VisibilityTimeout": 0} for i, one in enumerate(part)]
            try:
                self._sqs().change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
            except (ClientError, BotoCoreError):
                return

    def retry_later(self, receipt_handle: str, seconds: float) -> None:
        """Hide a received message for some more seconds (at most 12 hours since it was received).

        A refusal is not raised: the message then comes back after the queue's own visibility timeout.
        """
        hidden = max(0, min(int(seconds), MAX_VISIBILITY_SECONDS))
        try:
            self._sqs().change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=hidden
            )
        except (ClientError, BotoCoreError):
            return

    def _entry(self, message: Message) -> dict[str, Any]:
        entry: dict[str, Any] = {"MessageBody": json_text(message.body)}
        if _size(entry) > MAX_BATCH_BYTES:
            raise ValueError(f"a message of {_size(entry)} bytes")
        if self._fifo:
            if message.group is None or message.delay:
                raise ValueError("a FIFO queue takes messages with a group and without a delay")
            entry["MessageDeduplicationId"] = str(uuid.uuid4())
        if message.group is not None:
            entry["MessageGroupId"] = message.group
        if message.delay:
            if message.delay > MAX_DELAY:
                raise ValueError(f"a delay of {message.delay}")
            entry["DelaySeconds"] = int(message.delay.total_seconds())
        return entry

    def _send(self, entries: Sequence[dict[str, Any]]) -> None:
        waiting = [{"Id": str(index), **entry} for index, entry in enumerate(entries)]
        pause = FIRST_PAUSE_SECONDS
        codes: list[str] = []
        for attempt in range(TRIES):
            if attempt:
                self._clock.sleep(pause)
                pause *= 2
            try:
                answer = self._sqs().send_message_batch(QueueUrl=self._url, Entries=waiting)
            except ClientError as error:
                raise Busy("queue_unavailable", error.response.get("Error", {}).get("Code", "unknown")) from None
            except BotoCoreError as error:
                raise Busy("queue_unavailable", type(error).__name__) from None
            refused = {shown["Id"]: shown["Code"] for shown in answer.get("Failed", [])}
            waiting = [entry for entry in waiting if entry["Id"] in refused]
            codes = sorted(set(refused.values()))
            if not waiting:
                return
        raise Busy("queue_refused", f"{len(waiting)} messages: {', '.join(codes)}")

    def _sqs(self) -> QueueClient:
        if self._client is None:
            self._client = aws.sqs()
        return self._client


def parse_records(event: Mapping[str, Any]) -> list[Received]:
    """Read the records of a Lambda event from SQS.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event
    """
    return [_received(record) for record in event["Records"]]


def failures(ids: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """Return the partial batch response that makes SQS keep the messages of these ids.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """
    return {"batchItemFailures": [{"itemIdentifier": one} for one in ids]}


def _received(record: Mapping[str, Any]) -> Received:
    attributes = record["attributes"]
    return Received(
        id=record["messageId"],
        body=_body(record["body"]),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        group=attributes.get("MessageGroupId"),
        receipt_handle=record["receiptHandle"],
        sent_at=moments.from_milliseconds(int(attributes["SentTimestamp"])),
        queue=record.get("eventSourceARN", "").rpartition(":")[2],
    )


def _first_id(message: Mapping[str, Any]) -> dict[str, Any]:
    given = message.get("MessageAttributes", {}).get(FIRST_ID, {})
    return {FIRST_ID: {"DataType": "String", "StringValue": given.get("StringValue", message["MessageId"])}}


def _body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _size(entry: Mapping[str, Any]) -> int:
    return len(entry["MessageBody"].encode())


def _batches(entries: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    taken = 0
    for entry in entries:
        size = _size(entry)
        if batch and (len(batch) == MAX_ENTRIES or taken + size > MAX_BATCH_BYTES):
            yield batch
            batch, taken = [], 0
        batch.append(entry)
        taken += size
    if batch:
        yield batch
