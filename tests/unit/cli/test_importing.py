"""`relay segments import`: files of this machine become who is in a segment."""

import base64
import gzip
import json
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay_cli.failures import AwsRefused
from tests.unit.cli.stack_fake import NOW, FakeDoor, Terminal, run, text_of
from tests.unit.cli.test_segment_imports import picture

WRITTEN = NOW - timedelta(hours=3)


def write(folder: Path, name: str, content: bytes = b"crm\nc-1\nc-2\n", at: datetime = WRITTEN) -> None:
    (folder / name).write_bytes(content)
    os.utime(folder / name, (at.timestamp(), at.timestamp()))


def manifest_in(door: FakeDoor) -> Any:
    (manifest,) = (body for key, body in door.bucket.items() if key.rpartition("/")[2].startswith("manifest"))
    return json.loads(manifest)


def names_in(door: FakeDoor) -> list[str]:
    return [key.rpartition("/")[2] for key in door.bucket]


class Stack:
    """Imports what is uploaded, one state with every look."""

    def __init__(self, door: FakeDoor) -> None:
        self.door = door
        self.states = ["checking", "applying", "counting", "removing", "done"]
        self.counts = {"rows": 4, "entered": 2, "left": 1, "leaving": 1}
        self.more: dict[str, Any] = {"broken": []}
        self.runs = ["r-1"]
        door.answers |= {
            "segments": {
                "segments": [
                    {
                        "segment": name,
                        "name": None,
                        "first_seen": text_of(NOW),
                        "exports": exports,
                        "last_count": None,
                        "last_count_on": None,
                    }
                    for name, exports in (("crm/vip", ["newsletter/vip"]), ("crm/trial", []))
                ],
                "never_seen": ["crm/lapsed"],
            },
            "check_file": {"rows": 2, "usable": 2, "problem": None},
            "imports": self.imports,
            "import": self.next,
            "runs": self.look_at_runs,
        }

    def look_at_runs(self, question: Mapping[str, Any]) -> Any:
        name = self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]
        # Until the last of them has begun it is requested.
        return {"runs": [run(name)], "requested": [question["export"]] if name != self.runs[-1] else []}

    def imports(self, question: Mapping[str, Any]) -> Any:
        old = picture("i-0", "done", segment=question["segment"])
        if not self.door.bucket:
            return {"imports": [old]}
        return {"imports": [picture("i-1", "checking", at=manifest_in(self.door)["scheduledTime"], **self.more), old]}

    def next(self, question: Mapping[str, Any]) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        given = {"reason": None, "applied": 2 if state == "applying" else None, "counts": self.counts, **self.more}
        return picture(question["id"], state, **given)


@pytest.fixture
def stack(door: FakeDoor) -> Stack:
    return Stack(door)


def test_a_file_is_uploaded_and_its_import_is_followed_to_the_run_after_it(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path
) -> None:
    write(tmp_path, "vip.csv")
    stack.runs = ["r-1", "r-1", "r-1", "r-2"]
    ended = relay("segments", "import", "crm/vip", "vip.csv")
    assert ended.code == 0, ended.err
    (key,) = (key for key in door.bucket if key.endswith("/vip.csv"))
    assert (key.startswith("segments/crm/vip/relay-"), door.bucket[key]) == (True, b"crm\nc-1\nc-2\n")
    assert manifest_in(door) == {
        "entries": [{"url": "vip.csv", "meta": {"content_length": 12}}],
        "scheduledTime": WRITTEN.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    assert ended.lines[0] == "Import i-1 of crm/vip is done."
    assert ended.lines[-1] == "newsletter/vip: run r-2 has begun."
    assert "2026-11-27 09:00:00 UTC: what is newer stays" in ended.err


def test_how_far_it_is_stands_on_standard_error(relay: Terminal, stack: Stack, tmp_path: Path) -> None:
    write(tmp_path, "vip.csv")
    looks = 20 * ["checking"] + 20 * ["applying"] + 20 * ["counting"] + 20 * ["removing"] + ["done"]
    stack.states = looks
    said = relay("segments", "import", "crm/vip", "vip.csv").err
    for words in ("checking, 4 rows read", "2 of 4 rows stored", "counting who is missing", "1 of 1 have left"):
        assert f"import into crm/vip: {words}" in said or f", {words}" in said


def test_the_manifest_comes_first_and_names_every_part(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "_temporary").mkdir()
    for name in ("part-1.csv", "part-0.csv", "_SUCCESS", ".part-0.csv.crc", "model.json", ".hidden"):
        write(tmp_path / "export", name)
    assert relay("segments", "import", "crm/trial", "export", "--no-follow", "--at", "2026-11-20T01:02:03Z").code == 0
    assert names_in(door) == ["manifest", "part-0.csv", "part-1.csv"]
    assert [one["url"] for one in manifest_in(door)["entries"]] == ["part-0.csv", "part-1.csv"]
    assert manifest_in(door)["scheduledTime"] == "2026-11-20T01:02:03.000000Z"


def test_a_manifest_that_lies_there_is_kept_with_the_time_beside_it(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path
) -> None:
    columns = {"schema": {"elements": [{"name": "crm"}]}}
    entries = [{"url": "s3://elsewhere/vip/0000_part_00", "mandatory": True}]
    write(tmp_path, "0000_part_00", b"c-1\nc-2\n")
    write(tmp_path, "manifest", json.dumps({"entries": entries, **columns}).encode())
    ended = relay("segments", "import", "crm/lapsed", "manifest", "0000_part_00", "--no-follow")
    assert ended.code == 0, ended.err
    found = manifest_in(door)
    # The stack takes a manifest that comes before its parts only where it says their sizes.
    with_size = [{"url": "0000_part_00", "meta": {"content_length": 8}}]
    assert (found["entries"], found["schema"]) == (with_size, columns["schema"])
    assert found["scheduledTime"].startswith("2026-11-27T09:00:00")


@pytest.mark.parametrize("parts", [["vip.csv"], ["vip_1.csv", "vip_2.csv"]])
def test_the_columns_of_customer_insights_come_into_the_manifest_and_are_asked_about(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, parts: list[str]
) -> None:
    others = {"name": "other", "attributes": [{"name": "id"}]}
    entity = {"name": "vip", "attributes": [{"name": "crm", "dataType": "string"}, {"name": "city"}]}
    (tmp_path / "export").mkdir()
    for name in parts:
        write(tmp_path / "export", name, b"c-1,Gent\n")
    write(tmp_path / "export", "model.json", json.dumps({"entities": [others, entity]}).encode())
    ended = relay("segments", "import", "crm/vip", "export", "--no-follow")
    assert ended.code == 0, ended.err
    assert names_in(door) == ["manifest", *parts]
    assert manifest_in(door)["schema"] == {"elements": [{"name": "crm"}, {"name": "city"}]}
    asked = [question["columns"] for _, question in door.asked if question["ask"] == "check_file"]
    assert asked == [["crm", "city"] for _ in parts]


@pytest.mark.parametrize("schema", [{"elements": [{}]}, []])
def test_columns_of_a_manifest_that_cannot_be_read_are_refused(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, schema: Any
) -> None:
    write(tmp_path, "vip.csv")
    write(tmp_path, "manifest", json.dumps({"entries": [{"url": "vip.csv"}], "schema": schema}).encode())
    ended = relay("segments", "import", "crm/vip", "vip.csv", "manifest")
    assert (ended.code, door.bucket) == (2, {})
    assert "leave it out" in ended.err


@pytest.mark.parametrize("entities", [[{"name": "other", "attributes": [{"name": "id"}]}], [{"name": "vip"}], 3])
def test_a_model_that_does_not_name_the_columns_of_these_files_says_nothing(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, entities: Any
) -> None:
    (tmp_path / "export").mkdir()
    write(tmp_path / "export", "vip.csv")
    write(tmp_path / "export", "model.json", json.dumps({"entities": entities}).encode())
    assert relay("segments", "import", "crm/vip", "export", "--no-follow").code == 0
    assert "schema" not in manifest_in(door)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([{"url": "s3://b/0001_part_00"}], "0001_part_00 is missing"),
        ([{"url": "0000_part_00", "meta": {"content_length": 9}}], "8 bytes, and the manifest says 9"),
        ([{"file": "0000_part_00"}], "names no files"),
    ],
)
def test_parts_that_are_not_what_a_manifest_names_are_not_uploaded(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, entries: list[Any], says: str
) -> None:
    write(tmp_path, "0000_part_00", b"c-1\nc-2\n")
    write(tmp_path, "vip_manifest", json.dumps({"entries": entries}).encode())
    ended = relay("segments", "import", "crm/vip", "vip_manifest", "0000_part_00")
    assert (ended.code, door.bucket) == (2, {})
    assert says in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("crmm/vip", "vip.csv"), "There is no source crmm."),
        (("crm/vipp", "vip.csv"), "Did you mean crm/vip or"),
        (("vip", "vip.csv"), "vip is no segment."),
        (("crm/vip", "nothing.csv"), "nothing.csv cannot be read."),
        (("crm/vip",), "There is no file to import."),
        (("crm/vip", "vip.csv", "vip.csv"), "Two files are called vip.csv."),
        (("crm/vip", "vip.csv", "--at", "yesterday"), "yesterday is no time."),
        (("crm/vip", "vip.csv", "a.manifest", "b.manifest"), "There are two manifests."),
        (("crm/vip", "vip.csv", "a.manifest"), "a.manifest is no manifest that can be read."),
        (("crm/vip", "vip.csv", "_0.csv"), "_0.csv would be left out."),
        (("crm/vip", "vip.csv", ".0.csv"), ".0.csv would be left out."),
        (("crm/vip", "numbered"), "_0.csv would be left out."),
        (("crm/vip", "export"), "export has a folder country=FR in it."),
    ],
)
def test_what_is_named_wrongly_is_told_before_anything_is_uploaded(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    for folder in ("numbered", "export/country=FR"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("vip.csv", "a.manifest", "b.manifest", "_0.csv", ".0.csv", "numbered/_0.csv", "export/a.csv"):
        write(tmp_path, name)
    ended = relay("segments", "import", *arguments)
    assert (ended.code, door.bucket) == (2, {})
    assert says in ended.err


def test_a_new_segment_is_said_to_be_new(relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path) -> None:
    write(tmp_path, "vip.csv")
    assert relay("segments", "import", "crm/gold", "vip.csv", "--no-follow").code == 2
    assert relay("segments", "import", "crm/gold", "vip.csv", "--no-follow", "--new").code == 0
    assert names_in(door) == ["manifest", "vip.csv"]


def test_a_file_that_is_packed_twice_is_not_uploaded(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path
) -> None:
    write(tmp_path, "vip.csv.gz", gzip.compress(gzip.compress(b"crm\nc-1\n")))
    ended = relay("segments", "import", "crm/vip", "vip.csv.gz")
    assert (ended.code, door.bucket) == (1, {})
    assert "packed by gzip twice" in ended.err


def test_the_stack_looks_at_the_beginning_out_of_gzip(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path
) -> None:
    write(tmp_path, "vip.csv.gz", gzip.compress(b"mail\n" + b"a@example.com\n" * 20_000))
    door.answers["check_file"] = {"rows": 0, "usable": 0, "problem": "vip.csv.gz has no column crm"}
    ended = relay("segments", "import", "crm/vip", "vip.csv.gz")
    assert (ended.code, door.bucket) == (1, {})
    assert "vip.csv.gz cannot be imported.\nhas no column crm\n" in ended.err
    (asked,) = (question for _, question in door.asked if question["ask"] == "check_file")
    assert (len(base64.b64decode(asked["head"])), asked["whole"]) == (131_072, False)
    write(tmp_path, "vip.csv.gz", gzip.compress(b"mail\n" * 9)[:-9])
    assert "is damaged" in relay("segments", "import", "crm/vip", "vip.csv.gz").err


@pytest.mark.parametrize(("head", "size"), [(b"PAR1", 600 * 1024**2), (b"crm\n", 6 * 1024**3)])
def test_a_file_that_is_too_large_is_to_come_in_parts(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, head: bytes, size: int
) -> None:
    write(tmp_path, "vip", head)
    os.truncate(tmp_path / "vip", size)
    ended = relay("segments", "import", "crm/vip", "vip")
    assert (ended.code, door.bucket, "vip is too large" in ended.err) == (1, {}, True)


@pytest.mark.parametrize(
    ("trouble", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "Nothing was imported.\n1 of 2 files were there."),
        (AwsRefused("AWS does not let you do this.", "s3:PutObject"), 4, "AWS does not let you do this."),
    ],
)
def test_what_was_uploaded_by_halves_is_taken_back(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, trouble: BaseException, code: int, says: str
) -> None:
    for name in ("part-0.csv", "part-1.csv"):
        write(tmp_path, name)
    door.denied["put part-1.csv"] = trouble
    ended = relay("segments", "import", "crm/vip", "part-0.csv", "part-1.csv")
    assert (ended.code, door.bucket) == (code, {})
    assert says in ended.err


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        ("needs-confirmation", "900 of 1000 members would leave", 3),
        ("refused", "unreadable: vip.csv is cut off", 1),
        ("superseded", "a newer set came", 1),
    ],
)
def test_what_becomes_of_it_is_the_exit_code(
    relay: Terminal, stack: Stack, tmp_path: Path, state: str, reason: str, code: int
) -> None:
    write(tmp_path, "vip.csv")
    stack.states, stack.more = [state], {"reason": reason}
    ended = relay("segments", "import", "crm/vip", "vip.csv")
    assert ended.code == code
    said = {"needs-confirmation": "needs confirmation"}.get(state, f"is {state}")
    assert f"Import i-1 of crm/vip {said}: {reason}." in ended.out
    assert ("relay segments imports confirm i-1" in ended.out) is (code == 3)


def test_broken_rows_are_named_with_their_lines(relay: Terminal, stack: Stack, tmp_path: Path) -> None:
    write(tmp_path, "vip.csv")
    stack.more = {"broken": [{"part": "vip.csv", "line": 7, "reason": "has another number of columns than the header"}]}
    ended = relay("segments", "import", "crm/vip", "vip.csv", "--json")
    assert (ended.code, ended.json["broken"]) == (0, stack.more["broken"])
    assert ended.json["runs"] == {}


def test_the_timeout_bounds_the_wait_for_the_runs_too_and_it_is_said_what_it_waits_for(
    relay: Terminal, stack: Stack, tmp_path: Path
) -> None:
    write(tmp_path, "vip.csv")
    stack.states, stack.runs = ["applying", "done"], [*(["r-1"] * 100), "r-2"]
    ended = relay("segments", "import", "crm/vip", "vip.csv", "--timeout", "6")
    assert (ended.code, ended.lines[-1]) == (0, "newsletter/vip: a run is requested and begins by itself.")
    assert relay.now - NOW <= timedelta(seconds=6)
    assert "Waiting for the runs that follow: newsletter/vip." in ended.err


def test_a_time_in_the_future_is_refused_before_anything_is_uploaded(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path
) -> None:
    write(tmp_path, "vip.csv")
    ended = relay("segments", "import", "crm/vip", "vip.csv", "--at", "2027-01-01T00:00:00Z")
    assert (ended.code, door.bucket) == (2, {})
    assert "is in the future" in ended.err


@pytest.mark.parametrize(
    ("problem", "helps"),
    [
        ("has no column that identifies a person: profile_key looks for identities.crm", True),
        ("is a ZIP archive", False),
    ],
)
def test_the_source_is_shown_to_whom_its_settings_are_in_the_way_of(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path, problem: str, helps: bool
) -> None:
    write(tmp_path, "vip.csv")
    door.answers["check_file"] = {"rows": 0, "usable": 0, "problem": f"vip.csv {problem}"}
    ended = relay("segments", "import", "crm/vip", "vip.csv")
    assert (ended.code, "Next: relay sources show crm" in ended.err) == (1, helps)


def test_who_waits_too_long_is_told_where_to_look(
    relay: Terminal, door: FakeDoor, stack: Stack, tmp_path: Path
) -> None:
    write(tmp_path, "vip.csv")
    stack.states = ["applying"]
    ended = relay("segments", "import", "crm/vip", "vip.csv", "--timeout", "30")
    assert (ended.code, "Import i-1 goes on." in ended.err) == (5, True)
    door.answers["imports"] = {"imports": []}
    ended = relay("segments", "import", "crm/vip", "vip.csv")
    assert (ended.code, "No import began in time." in ended.err) == (5, True)
