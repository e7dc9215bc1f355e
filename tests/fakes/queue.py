"""SQS in memory, as strict as SQS about the sizes of a call, and scripted to refuse."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


class FakeQueueClient:
    """`script` says per call what happens: an exception to raise, or the positions of entries to refuse."""

    def __init__(self, script: Sequence[Exception | Sequence[int]] = ()) -> None:
        self.sent: list[dict[str, Any]] = []
        self.calls: list[list[dict[str, Any]]] = []
        self.hidden: list[tuple[str, int]] = []
        self.waiting: list[str] = []
        """Bodies that a look through the queue finds."""
        self.hidden_by_others = 0
        self.first_ids: dict[str, str] = {}
        """By the bodies of messages that were written again."""
        self.deleted: list[str] = []
        self.receive_fails: Exception | None = None
        self._received: set[str] = set()
        self._script = list(script)

    def __len__(self) -> int:
        return len(self.sent)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(entry["MessageBody"]) for entry in self.sent]

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> Mapping[str, Any]:  # noqa: N803
        entries = list(Entries)
        assert 1 <= len(entries) <= 10
        assert len({entry["Id"] for entry in entries}) == len(entries)
        assert sum(len(entry["MessageBody"].encode()) for entry in entries) <= 1024 * 1024
        self.calls.append(entries)
        step = self._script.pop(0) if self._script else ()
        if isinstance(step, Exception):
            raise step
        self.sent.extend(entry for position, entry in enumerate(entries) if position not in step)
        refused = [{"Id": entries[position]["Id"], "Code": "InternalError", "SenderFault": False} for position in step]
        return {"Successful": [], "Failed": refused}

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> None:
        step = self._script.pop(0) if self._script else ()
        if isinstance(step, Exception):
            raise step
        self.hidden.append((ReceiptHandle, VisibilityTimeout))

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> None:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        assert len({entry["Id"] for entry in Entries}) == len(Entries)
        for entry in Entries:
            self.change_message_visibility(
                QueueUrl=QueueUrl,
                ReceiptHandle=entry["ReceiptHandle"],
                VisibilityTimeout=entry["VisibilityTimeout"],
            )

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str]) -> Mapping[str, Any]:  # noqa: N803
        lying = self.hidden_by_others + len(self._received)
        shown = {"ApproximateNumberOfMessages": len(self.waiting), "ApproximateNumberOfMessagesNotVisible": lying}
        return {"Attributes": {name: str(shown[name]) for name in AttributeNames}}

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        MessageAttributeNames: Sequence[str],  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
        WaitTimeSeconds: int,  # noqa: N803
    ) -> Mapping[str, Any]:
        if self.receive_fails is not None:
            raise self.receive_fails
        given, self.waiting = self.waiting[:MaxNumberOfMessages], self.waiting[MaxNumberOfMessages:]
        self._received |= set(given)
        shown = [
            {"MessageId": f"id of {text}", "ReceiptHandle": f"handle of {text}", "Body": text, **self._attributes(text)}
            for text in given
        ]
        return {"Messages": shown} if shown else {}

    def _attributes(self, text: str) -> dict[str, Any]:
        if text not in self.first_ids:
            return {}
        first = {"DataType": "String", "StringValue": self.first_ids[text]}
        return {"MessageAttributes": {"first_message_id": first}}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        self.deleted.append(ReceiptHandle.removeprefix("handle of "))
        self._received -= {ReceiptHandle.removeprefix("handle of ")}
