"""The outside that is told what happened: an event bus and a bucket that keep what they get, and refuse on demand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError


class FakeBus:
    """EventBridge. `refuses` are the detail types that it takes none of; with `down` it answers nothing."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.requests = 0
        self.refuses: set[str] = set()
        self.down: str | None = None

    def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        self.requests += 1
        if self.down is not None:
            raise ClientError({"Error": {"Code": self.down}}, "PutEvents")
        results: list[dict[str, str]] = []
        for entry in Entries:
            if entry["DetailType"] in self.refuses:
                results.append({"ErrorCode": "InternalFailure"})
                continue
            self.events.append({**entry, "Detail": json.loads(entry["Detail"])})
            results.append({"EventId": str(len(self.events))})
        return {"FailedEntryCount": sum("ErrorCode" in one for one in results), "Entries": results}

    @property
    def said(self) -> list[str]:
        """Return the detail types, in order."""
        return [event["DetailType"] for event in self.events]


class FakeBucket:
    """S3: objects by bucket and key."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.down: str | None = None

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> Mapping[str, Any]:  # noqa: N803
        assert ContentType == "application/x-ndjson"
        if self.down is not None:
            raise ClientError({"Error": {"Code": self.down}}, "PutObject")
        self.objects[f"{Bucket}/{Key}"] = Body
        return {}
