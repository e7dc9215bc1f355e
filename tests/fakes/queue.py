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
        self.deleted: list[str] = []
        self.receive_fails: Exception | None = None
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

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
        WaitTimeSeconds: int,  # noqa: N803
    ) -> Mapping[str, Any]:
        if self.receive_fails is not None:
            raise self.receive_fails
        given, self.waiting = self.waiting[:MaxNumberOfMessages], self.waiting[MaxNumberOfMessages:]
        shown = [{"MessageId": text, "ReceiptHandle": f"handle of {text}", "Body": text} for text in given]
        return {"Messages": shown} if shown else {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        self.deleted.append(ReceiptHandle.removeprefix("handle of "))
