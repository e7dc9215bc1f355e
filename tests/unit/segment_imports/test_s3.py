"""Files in the bucket, from an event of S3 to who is in the segment."""

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from functions.import_segment import app
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Busy
from relay.domain.segment_imports import FilePart, ImportState
from relay.files.rows import Row, Unreadable
from relay.segment_imports.applying import Applier
from relay.segment_imports.importer import Importer
from relay.segment_imports.s3 import S3Files, S3Pages, segment_of
from relay.settings.names import UnknownSource
from relay.stores import notices, segment_imports, waits
from relay.workers.announcing import imported
from relay.workers.segment_files import SegmentFiles
from tests.fakes.segment_files import NOON, OBSERVE, Outlines, World


class Bucket:
    """A bucket in memory that lists two objects at a time."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.trouble: Exception | None = None
        self.gone: list[str] = []
        """Listed still, and deleted before they are read."""

    def put(self, key: str, body: bytes, at: datetime) -> None:
        self.objects[key] = body, at

    def list_objects_v2(self, **request: Any) -> Mapping[str, Any]:
        self._meet_trouble()
        keys = sorted(key for key in self.objects if key.startswith(request["Prefix"]))
        rest = [key for key in keys if key > request.get("ContinuationToken", "")]
        contents = [
            {
                "Key": key,
                "Size": len(self.objects[key][0]),
                "LastModified": self.objects[key][1],
                "ETag": self.etag(key),
            }
            for key in rest[:2]
        ]
        contents += [{"Key": key, "Size": 1, "LastModified": NOON, "ETag": "e"} for key in self.gone]
        return {"Contents": contents, "IsTruncated": len(rest) > 2, "NextContinuationToken": (rest[:2] or [""])[-1]}

    def get_object(self, **request: Any) -> Mapping[str, Any]:
        self._meet_trouble()
        if request["Key"] in self.gone:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        if request.get("IfMatch", self.etag(request["Key"])) != self.etag(request["Key"]):
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[request["Key"]][0])}

    def put_object(self, **request: Any) -> None:
        self.put(request["Key"], request["Body"], NOON)

    def delete_object(self, **request: Any) -> None:
        del self.objects[request["Key"]]

    def etag(self, key: str) -> str:
        return str(hash(self.objects[key]))

    def _meet_trouble(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@dataclass(frozen=True)
class Source:
    name: str = "shop"
    profile_key: str = "attributes.email"
    segments: frozenset[str] | None = None
    file_identities: Mapping[str, str] | None = None
    file_status: str | None = None
    allow_empty: bool = False


def source_of(name: str) -> Source:
    if name != "shop":
        raise UnknownSource("unknown_source", "there is no source of this name", field="source")
    return SOURCE


SOURCE = Source()


class Stage:
    def __init__(self) -> None:
        self.world, self.bucket = World(), Bucket()
        database, clock = self.world.database, self.world.clock
        self.files = S3Files("b", lambda: self.bucket, source_of, lambda: KeyedHash("k"), clock)
        pages = S3Pages("b", lambda: self.bucket)
        applier = Applier(self.world.writer, OBSERVE)
        importer = Importer(
            database, self.files, pages, applier, Outlines(), clock, OBSERVE, lambda: "w", page=3, chunk=2
        )
        self.worker = SegmentFiles(database, importer, clock, OBSERVE)

    def send(self, body: Mapping[str, Any]) -> list[str]:
        class Context:
            @staticmethod
            def get_remaining_time_in_millis() -> int:
                return 900_000

        record = {
            "messageId": "m",
            "body": json.dumps(body),
            "receiptHandle": "r",
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"},
            "eventSourceARN": "arn:aws:sqs:eu-west-1:1:p-segments",
        }
        answer = app.handler({"Records": [record]}, Context, worker=self.worker)
        return [one["itemIdentifier"] for one in answer["batchItemFailures"]]

    def created(self, key: str) -> list[str]:
        return self.send({"detail": {"object": {"key": key}}})


def test_an_object_in_the_folder_of_a_segment_replaces_it() -> None:
    stage = Stage()
    rows = "\n".join(f"{number}@x.example,Ulm" for number in range(7))
    key = "segments/shop/vip/2026-03-01.csv"
    stage.bucket.put(key, f"email,city\n{rows}\nnobody\n".encode(), NOON)
    assert stage.created(key) == []
    [one] = segment_imports.latest(stage.world.database)
    assert one.state is ImportState.DONE
    assert (one.segment, one.at, one.counts["entered"], one.counts["broken"]) == ("shop/vip", NOON, 7, 1)
    assert len(stage.world.members()) == 7
    assert list(stage.bucket.objects) == [key]
    told = imported(one)
    assert told["seconds"] == 0
    assert (told["state"], told["faults"][0]["line"]) == ("done", 9)
    assert notices.waiting(stage.world.database)[0].about == one.id


def test_the_sources_settings_say_what_columns_are_and_which_segments_count(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.world.clock.time = NOON + timedelta(days=1)
    stage.bucket.put("segments/shop/vip/f.csv", b"MAIL,IN\nann@x.example,yes\n", NOON)
    given = Source(profile_key="identities.email", file_identities={"MAIL": "email"})
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", given)
    [row] = stage.files.rows("shop/vip", [FilePart("segments/shop/vip/f.csv", 30, "")])
    assert isinstance(row, Row)
    assert stage.files.members("shop/vip")(row).identities == {"email": ["ann@x.example"]}
    assert stage.files.sets("shop/vip")
    assert not stage.files.allows_empty("shop/vip")
    limited = Source(segments=frozenset({"shop/other"}), allow_empty=True)
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", limited)
    assert [one.refused for one in stage.files.sets("shop/vip")] == ["the source keeps other segments alone (segments)"]
    assert stage.files.allows_empty("shop/vip")


def test_a_file_is_left_alone_until_nothing_more_comes() -> None:
    stage = Stage()
    stage.bucket.put("segments/shop/vip/a.csv", b"email\n1@x.example\n", stage.world.clock.now())
    assert stage.created("segments/shop/vip/a.csv") == []
    assert segment_imports.latest(stage.world.database) == []
    stage.world.clock.advance(3600)
    assert stage.send({"segment": "shop/vip", "about": ""}) == []
    assert len(stage.world.members()) == 1


def test_what_passes_is_looked_at_again_and_what_is_no_message_fails() -> None:
    stage = Stage()
    stage.bucket.put("segments/shop/vip/a.csv", b"email\n1@x.example\n", NOON)
    stage.bucket.put("segments/other/vip/a.csv", b"email\n1@x.example\n", NOON)
    stage.bucket.trouble = EndpointConnectionError(endpoint_url="https://s3")
    assert stage.created("segments/shop/vip/a.csv") == []
    stage.bucket.trouble = ClientError({"Error": {"Code": "SlowDown"}}, "ListObjectsV2")
    assert stage.created("segments/shop/vip/a.csv") == []
    stage.bucket.trouble = None
    assert stage.created("segments/other/vip/a.csv") == []
    assert stage.created("segments/" + "x" * 1000 + "/vip/a.csv") == []
    assert stage.created("runs/a.json") == []
    assert stage.send({"no": "message"}) == ["m"]
    stage.bucket.trouble = KeyError("a defect")
    assert stage.created("segments/shop/vip/a.csv") == ["m"]
    assert stage.world.members() == set()


def test_an_object_that_was_replaced_is_not_mixed_with_what_it_was() -> None:
    stage = Stage()
    stage.bucket.put("segments/shop/vip/a.csv", b"email\n1@x.example\n", NOON)
    part = FilePart("segments/shop/vip/a.csv", 18, "another")
    with pytest.raises(Unreadable, match="replaced"):
        list(stage.files.rows("shop/vip", [part]))


def test_a_manifest_that_cannot_be_read_is_recorded_and_starts_nothing() -> None:
    stage = Stage()
    stage.bucket.put("segments/shop/vip/manifest-1.json", b"{", NOON)
    stage.bucket.put("segments/shop/vip/a.csv", b"email\n1@x.example\n", NOON)
    assert stage.created("segments/shop/vip/a.csv") == []
    (one,) = segment_imports.latest(stage.world.database)
    assert (one.state, one.reason) == (ImportState.REFUSED, "manifest-1.json is no manifest that can be read")
    assert stage.world.members() == set()


def test_a_file_of_a_source_that_there_is_not_is_recorded_and_not_looked_at_for_ever() -> None:
    stage = Stage()
    stage.bucket.put("segments/shopp/vip/a.csv", b"email\n1@x.example\n", NOON)
    assert stage.created("segments/shopp/vip/a.csv") == []
    (one,) = segment_imports.latest(stage.world.database)
    assert (one.segment, one.state) == ("shopp/vip", ImportState.REFUSED)
    assert (one.reason or "").startswith("there is no source of this name")
    assert list(waits.due(stage.world.database, NOON + timedelta(days=90))) == []


def test_an_object_that_goes_while_the_folder_is_looked_at_starts_nothing() -> None:
    stage = Stage()
    stage.bucket.gone.append("segments/shop/vip/manifest-1.json")
    assert stage.created("segments/shop/vip/manifest-1.json") == []
    assert segment_imports.latest(stage.world.database) == []


def test_bytes_that_stop_coming_are_busy() -> None:
    stage = Stage()
    stage.bucket.put("segments/shop/vip/a.csv", b"email\n1@x.example\n", NOON)

    class Broken:
        def read(self, _: int) -> bytes:
            raise OSError

    stage.bucket.get_object = lambda **_: {"Body": Broken()}  # type: ignore[method-assign]
    with pytest.raises(Busy):
        list(stage.files.rows("shop/vip", [FilePart("segments/shop/vip/a.csv", 18, "")]))


@pytest.mark.parametrize(
    ("key", "segment"),
    [
        ("segments/shop/vip/a.csv", "shop/vip"),
        ("segments/shop/vip/day/a.csv", "shop/vip"),
        ("segments/shop/a.csv", None),
        ("segments//vip/a.csv", None),
        ("runs/shop/vip/a", None),
    ],
)
def test_the_folder_names_the_segment(key: str, segment: str | None) -> None:
    assert segment_of(key) == segment
