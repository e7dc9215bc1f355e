"""Files in the bucket, from an event of S3 to who is in the segment."""

import io
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from functions.import_segment import app
from relay.domain import moments
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Busy
from relay.domain.segment_imports import FilePart, ImportState
from relay.files.rows import Row, Unreadable
from relay.segment_imports.applying import Applier
from relay.segment_imports.importer import Importer
from relay.segment_imports.s3 import NO_SOURCE, S3Files, S3Pages, segment_of
from relay.settings.names import UnknownSource
from relay.stores import notices, segment_imports, waits
from relay.stores.waits import SegmentWait
from relay.workers.announcing import imported
from relay.workers.segment_files import SegmentFiles
from tests.fakes.segment_files import NOON, OBSERVE, Outlines, World


class Bucket:
    """A bucket in memory that lists two objects at a time."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.trouble: Exception | None = None
        self.unreadable: Exception | None = None
        """Listed, and never given."""
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
        if self.unreadable is not None:
            raise self.unreadable
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
        return str(hash(self.objects[key][0]))

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

    def upload(self, name: str, numbers: Iterable[int]) -> None:
        rows = "".join(f"{number}@x.example\n" for number in numbers)
        self.write(name, f"email\n{rows}")

    def write(self, name: str, text: str) -> None:
        self.bucket.put(f"segments/shop/vip/{name}", text.encode(), self.world.clock.now())
        self.created(f"segments/shop/vip/{name}")

    def tick(self, minutes: int) -> None:
        """Let minutes pass; whatever is due is looked at."""
        for _ in range(minutes):
            self.world.clock.advance(60)
            due = [one for part in waits.due(self.world.database, self.world.clock.now()) for one in part]
            for one in due:
                assert isinstance(one, SegmentWait)
                self.send({"segment": one.segment, "about": one.about})
                waits.drop(self.world.database, [one])

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Return states and reasons, those of the newest sets first."""
        return [(one.state.value, one.reason) for one in segment_imports.latest(self.world.database)]


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
    assert one.state is ImportState.REFUSED
    assert one.reason == "manifest-1.json is no manifest that can be read, so nothing that lies there is imported"
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
    # What else lies there is looked at soon.
    stage.bucket.gone.clear()
    stage.bucket.put("segments/shop/vip/a.csv", b"email\n1@x.example\n", NOON)
    stage.tick(1)
    assert len(stage.world.members()) == 1


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


def test_parts_that_are_overwritten_one_after_the_other_take_nobody_out() -> None:
    stage = Stage()
    for number in (1, 0):
        stage.upload(f"vip_{number}.csv", [number])
    stage.tick(6)
    assert len(stage.world.members()) == 2
    stage.tick(20)
    stage.upload("vip_0.csv", [0])
    stage.tick(1)
    assert len(stage.world.members()) == 2
    stage.upload("vip_1.csv", [1])
    stage.tick(10)
    assert len(stage.world.members()) == 2
    assert [state for state, _ in stage.outcomes()] == ["done", "done"]


@pytest.mark.parametrize("unreadable", [True, False])
def test_what_is_left_of_a_set_is_no_set(unreadable: bool) -> None:
    stage = Stage()
    stage.upload("vip_0.csv", [0])
    if unreadable:
        stage.write("vip_0.csv", "email\n\x00")
        stage.bucket.put("segments/shop/vip/vip_0.csv", b"PK\x03\x04", stage.world.clock.now())
    stage.tick(1)
    stage.upload("vip_1.csv", [1])
    stage.tick(6)
    whole = segment_imports.latest(stage.world.database)[0]
    assert whole.state is (ImportState.REFUSED if unreadable else ImportState.DONE)
    before = stage.world.members()
    del stage.bucket.objects["segments/shop/vip/vip_0.csv"]
    stage.created("segments/shop/vip/_")
    assert stage.outcomes()[0] == ("superseded", f"all of it is part of the set of import {whole.id}")
    assert stage.world.members() == before
    # The same rows again are a set: they were written after it.
    stage.tick(1)
    stage.upload("vip_1.csv", [1])
    stage.tick(6)
    assert stage.outcomes()[0][0] == "done"
    assert len(stage.world.members()) == 1


def test_a_set_that_was_taken_for_complete_too_early_is_healed_by_its_manifest() -> None:
    stage = Stage()
    stage.upload("0000_part_00", range(9))
    stage.upload("0001_part_00", [9])
    stage.tick(6)
    assert len(stage.world.members()) == 10
    stage.tick(60)
    stage.upload("tonight/0000_part_00", range(9))
    stage.tick(6)
    assert len(stage.world.members()) == 9
    stage.upload("tonight/0001_part_00", [9])
    entries = [{"url": f"s3://b/x/000{number}_part_00"} for number in range(2)]
    stage.write("tonight/manifest", json.dumps({"entries": entries}))
    assert len(stage.world.members()) == 10


def test_who_enters_while_a_set_is_written_stays() -> None:
    stage = Stage()
    stage.world.stream(7, realized=True, at=stage.world.clock.now() + timedelta(minutes=1))
    stage.upload("vip_0.csv", [0])
    stage.tick(2)
    stage.upload("vip_1.csv", [1])
    stage.tick(6)
    assert len(stage.world.members()) == 3


def test_what_is_older_or_of_the_same_time_has_a_record() -> None:
    stage = Stage()
    now = stage.world.clock.now()
    stage.upload("vip.csv", [1])
    stage.tick(6)
    for place, at in enumerate((now - timedelta(hours=1), now)):
        body = {"entries": [{"url": "a.csv"}], "scheduledTime": moments.text(at)}
        stage.upload(f"relay-{place}/a.csv", [2])
        stage.write(f"relay-{place}/manifest", json.dumps(body))
    assert sorted(state for state, _ in stage.outcomes()) == ["done", "superseded", "superseded"]
    assert len(stage.world.members()) == 1


def test_a_folder_of_a_source_that_there_is_not_is_looked_at_for_an_hour() -> None:
    stage = Stage()
    stage.bucket.put("segments/shopp/vip/a.csv", b"email\n1@x.example\n", stage.world.clock.now())
    stage.created("segments/shopp/vip/a.csv")
    stage.tick(50)
    assert stage.outcomes() == []
    stage.tick(20)
    assert stage.outcomes() == [("refused", NO_SOURCE)]
    assert list(waits.due(stage.world.database, stage.world.clock.now() + timedelta(days=9))) == []


def test_a_folder_of_no_source_is_forgotten_when_nothing_lies_there() -> None:
    stage = Stage()
    assert stage.created("segments/shopp/vip/a.csv") == []
    assert list(waits.due(stage.world.database, stage.world.clock.now() + timedelta(days=9))) == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("InvalidObjectState", "it is archived"),
        ("AccessDenied", "S3 does not let the stack read it"),
        ("InvalidRequest", "it is encrypted with a key that the stack does not have"),
        ("KMS.DisabledException", "its KMS key cannot be used (KMS.DisabledException)"),
    ],
)
@pytest.mark.parametrize("name", ["vip.csv", "manifest"])
def test_what_s3_never_gives_is_refused_with_the_reason(code: str, says: str, name: str) -> None:
    stage = Stage()
    stage.bucket.unreadable = ClientError({"Error": {"Code": code}}, "GetObject")
    stage.upload(name, [1])
    stage.tick(70)
    ((state, reason),) = stage.outcomes()
    assert (state, says in (reason or "")) == ("refused", True)
    assert list(waits.due(stage.world.database, stage.world.clock.now() + timedelta(days=9))) == []


def test_a_set_whose_refusal_had_its_cause_in_the_settings_is_imported_when_it_is_written_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    body = json.dumps({"entries": [{"url": "a.csv"}], "scheduledTime": moments.text(stage.world.clock.now())})
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", Source(segments=frozenset({"shop/other"})))
    for _ in range(2):
        stage.upload("a.csv", [1])
        stage.write("manifest", body)
    assert [state for state, _ in stage.outcomes()] == ["refused"]
    monkeypatch.undo()
    stage.created("segments/shop/vip/manifest")
    assert [state for state, _ in stage.outcomes()] == ["refused"]
    stage.tick(1)
    stage.upload("a.csv", [1])
    stage.write("manifest", body)
    assert sorted(state for state, _ in stage.outcomes()) == ["done", "refused"]
    assert len(stage.world.members()) == 1
    # Once it is imported, the same again has a record, too.
    stage.tick(1)
    stage.write("manifest", body)
    assert sorted(state for state, _ in stage.outcomes()) == ["done", "refused", "superseded"]
