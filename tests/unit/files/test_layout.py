"""Which objects below a segment make one set."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from relay.files.layout import PATIENCE, QUIET, Layout, Listed, layout_of
from relay.files.rows import Unreadable

START = datetime(2026, 4, 30, 9, 0, tzinfo=UTC)
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def listed(name: str, minute: float = 0, size: int = 10) -> Listed:
    return Listed(f"segments/dwh/vip/{name}", size, START + timedelta(minutes=minute))


def looked(*objects: Listed, minute: float = 1_000, texts: Mapping[str, object] | None = None) -> Layout:
    def read(key: str) -> bytes:
        return json.dumps((texts or {})[key.rpartition("/")[2]]).encode()

    return layout_of(objects, now=START + timedelta(minutes=minute), read=read)


def names(layout: Layout) -> list[str]:
    return [] if layout.newest is None else [one.key.removeprefix("segments/dwh/vip/") for one in layout.newest.objects]


@pytest.mark.parametrize(
    "parts",
    [
        ["vip.csv"],
        ["vip_20260430093000.csv", "vip_20260430093000_2.csv"],
        ["data_0_0_0.csv.gz", "data_0_1_0.csv.gz", "data_3_7_12.csv.gz"],
        [f"data_{UUID}_0_0_0.snappy.parquet", f"data_{UUID}_0_1_0.snappy.parquet"],
        ["0000_part_00.gz", "0001_part_00.gz"],
        ["country=DE/data_0_0_0.csv.gz", "country=FR/data_0_0_0.csv.gz"],
        ["vip_0000_part_00", "vip_0001_part_00"],
        ["file-000000000000.csv", "file-000000000001.csv"],
        ["2026/04/30/0930/vip_1.csv", "2026/04/30/0930/vip_2.csv"],
        [f"part-00000-{UUID}-c000.csv", f"part-00001-{UUID}-c000.csv"],
    ],
)
def test_parts_are_one_set_when_nothing_has_come_for_a_while(parts: list[str]) -> None:
    objects = [listed(name, minute) for minute, name in enumerate(parts)]
    last = START + timedelta(minutes=len(parts) - 1)
    assert looked(*objects, minute=len(parts)) == Layout((), last + QUIET)
    done = looked(*reversed(objects))
    assert names(done) == parts
    assert done.newest is not None
    assert (done.newest.at, done.newest.written) == (START, last)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vip_20260429093000.csv", "vip_20260430093000.csv"),
        ("vip_04292026_000000.csv", "vip_04302026_000000.csv"),
        ("2026/04/29/0930/vip_1.csv", "2026/04/30/0930/vip_1.csv"),
        ("vip-2025.csv", "vip-2026.csv"),
    ],
)
def test_runs_are_not_mixed_and_the_newest_counts(old: str, new: str) -> None:
    assert names(looked(listed(old, 0), listed(new, 60))) == [new]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("de.csv", "fr.csv"),
        ("vip-2026-04-29.csv", "vip-2026-04-30.csv"),
        ("dt=2026-04-29/data_0_0_0.csv.gz", "dt=2026-04-30/data_0_0_0.csv.gz"),
    ],
)
def test_two_names_that_were_written_at_once_are_no_set(first: str, second: str) -> None:
    objects = listed(first, 0), listed(second, 1)
    assert looked(*objects, minute=5) == Layout((), START + timedelta(minutes=1) + QUIET)
    found = looked(*objects)
    assert (found.newest, found.next_at) == (None, None)
    assert [one.problem for one in found.sets] == [
        f"{first} and {second} were written at once, and nothing says whether they are one set: write a manifest"
    ]


def test_parts_that_are_written_again_one_by_one_are_no_set_before_all_of_them_are() -> None:
    night = 24 * 60
    for done in range(1, 4):
        old = [listed(f"vip_{number}.csv", 0) for number in range(done, 3)]
        new = [listed(f"vip_{number}.csv", night + number) for number in range(done)]
        assert looked(*old, *new, minute=night + done) == Layout((), new[-1].modified + QUIET)
        later = looked(*old, *new, minute=night + 60)
        if old:
            [one] = later.sets
            assert one.objects == tuple(new)
            assert (one.problem or "").startswith(f"vip_{done - 1}.csv was written long after others whose names")
        else:
            assert names(later) == ["vip_0.csv", "vip_1.csv", "vip_2.csv"]


def test_a_newer_set_that_is_not_complete_leaves_the_older_one() -> None:
    layout = looked(listed("a/vip.csv", 0), listed("b/vip.csv", 60), minute=61)
    assert names(layout) == ["a/vip.csv"]
    assert layout.next_at == START + timedelta(minutes=60) + QUIET


def test_folders_and_marks_are_no_data() -> None:
    objects = [listed(name, 5) for name in (".vip.csv.crc", "_temporary", "a/", "model.json", "vip.csv.crc")]
    assert looked(*objects) == Layout((), None)


ADOBE = {
    "flowRunId": "1",
    "scheduledTime": "2026-04-30T08:00:00Z",
    "exportResults": [{"sinkPath": "/x", "name": "vip_1.csv", "size": 10}, {"name": "vip_2.csv", "size": 20}],
}
REDSHIFT = {
    "entries": [
        {"url": "s3://other/vip_1.csv", "meta": {"content_length": 10}},
        {"url": "s3://other/vip_2.csv", "mandatory": True, "meta": {"content_length": 20}},
    ],
    "schema": {"elements": [{"name": "crm"}, {"name": "city"}]},
}


@pytest.mark.parametrize(("name", "body"), [("manifest-a-b.json", ADOBE), ("vip_manifest", REDSHIFT)])
def test_a_manifest_says_what_belongs_and_when_it_is_complete(name: str, body: Mapping[str, object]) -> None:
    manifest = listed(name, 3)
    parts = [listed("vip_1.csv", 0), listed("vip_2.csv", 2, 20)]
    # What a manifest does not name is no set when silence follows: it is left of an earlier one.
    other = listed("vip_3.csv", -120)
    done = looked(manifest, *parts, other, minute=3, texts={name: body})
    assert names(done) == ["vip_1.csv", "vip_2.csv"]
    assert done.newest is not None
    assert (len(done.sets), done.newest.written) == (1, manifest.modified)
    assert done.newest.at == (START - timedelta(hours=1) if body is ADOBE else START)
    assert done.newest.columns == (None if body is ADOBE else ("crm", "city"))
    for few in (parts[:1], [parts[0], listed("vip_2.csv", 2, 19)]):
        waiting = looked(manifest, *few, minute=62, texts={name: body})
        assert waiting == Layout((), manifest.modified + PATIENCE)
        given_up = looked(manifest, *few, minute=63, texts={name: body})
        assert (given_up.newest, given_up.next_at) == (None, None)
        assert [one.problem for one in given_up.sets] == [
            f"{name} names 2 parts, and 1 of them are there in their sizes"
        ]


def test_parts_that_come_after_their_manifest_are_no_set_before_all_of_them_are_there() -> None:
    body = {**REDSHIFT, "scheduledTime": "2026-04-30T07:00:00Z"}
    manifest, first, last = listed("up/manifest"), listed("up/vip_1.csv", 1), listed("up/vip_2.csv", 90, 20)
    assert looked(manifest, first, minute=60, texts={"manifest": body}) == Layout((), first.modified + PATIENCE)
    done = looked(manifest, first, last, minute=90, texts={"manifest": body})
    assert done.newest is not None
    assert (names(done), done.newest.at) == (["up/vip_1.csv", "up/vip_2.csv"], START - timedelta(hours=2))


PLAIN = {"entries": [{"url": "s3://b/x/vip_1.csv"}, {"url": "s3://b/x/vip_2.csv"}]}


@pytest.mark.parametrize("body", [PLAIN, REDSHIFT, {**PLAIN, "scheduledTime": "2026-04-30T07:00:00Z"}])
def test_a_manifest_does_not_speak_for_parts_that_were_written_after_it(body: Mapping[str, object]) -> None:
    manifest, old, new = listed("manifest", 1), listed("vip_1.csv", 0), listed("vip_2.csv", 1_440, 20)
    texts = {"manifest": body}
    assert looked(manifest, old, new, minute=1_450, texts=texts) == Layout((), new.modified + PATIENCE)
    found = looked(manifest, old, new, minute=1_500, texts=texts)
    assert [one.problem for one in found.sets] == ["manifest names 2 parts, and 1 of them were written after it"]
    again = looked(listed("manifest", 1_441), old, new, minute=1_441, texts=texts)
    assert names(again) == ["vip_1.csv", "vip_2.csv"]


def test_what_a_newer_manifest_names_is_no_part_of_an_older_one() -> None:
    older, newer = listed("manifest-a.json", 0), listed("manifest-b.json", 60)
    parts = [listed("vip_1.csv", 59), listed("vip_2.csv", 59, 20)]
    body = {**ADOBE, "exportResults": [{"name": "vip_1.csv", "size": 99}]}
    found = looked(older, newer, *parts, texts={"manifest-a.json": body, "manifest-b.json": ADOBE})
    assert [(one.objects, one.problem) for one in found.sets] == [(tuple(parts), None)]


@pytest.mark.parametrize("end", ["manifest", "_SUCCESS"])
def test_where_marks_lie_silence_ends_nothing(end: str) -> None:
    marks = [listed(end, 0, 0), listed("a/vip.csv", 30)]
    assert looked(*marks, minute=60, texts={"manifest": PLAIN}).newest is None
    found = looked(*marks, minute=90, texts={"manifest": PLAIN})
    assert [one.problem for one in found.sets if one.objects == (marks[1],)] == [
        f"{end} lies in its folder, and no mark says that vip.csv is complete"
    ]


@pytest.mark.parametrize("with_manifest", [True, False])
def test_partitions_are_one_set_where_a_mark_above_them_says_so(with_manifest: bool) -> None:
    parts = [listed(f"country={country}/part-00000-{UUID}.c000.csv", 0) for country in ("DE", "FR")]
    entries = [{"url": f"s3://b/{one.key}", "meta": {"content_length": 10}} for one in parts]
    mark = listed("manifest" if with_manifest else "_SUCCESS", 2, 0)
    found = looked(*parts, mark, minute=2, texts={"manifest": {"entries": entries}})
    assert [(one.objects, one.at, one.problem) for one in found.sets] == [(tuple(parts), START, None)]
    fewer = looked(parts[0], mark, texts={"manifest": {"entries": entries}})
    assert (fewer.newest is None) is with_manifest


def test_one_object_is_not_two_parts() -> None:
    entries = [{"url": f"s3://b/{country}/vip.csv"} for country in ("DE", "FR")]
    found = looked(listed("manifest", 1), listed("vip.csv", 0), texts={"manifest": {"entries": entries}})
    assert [one.problem for one in found.sets] == ["manifest names 2 parts, and 1 of them are there in their sizes"]


@pytest.mark.parametrize("body", [[], {}, {"entries": [{}]}, {**ADOBE, "scheduledTime": "soon"}])
def test_a_manifest_that_cannot_be_read_is_a_problem_of_its_own_folder(body: object) -> None:
    manifest, part, other = listed("new/manifest-1.json", 9), listed("new/vip.csv"), listed("old/vip.csv")
    found = looked(manifest, part, other, texts={"manifest-1.json": body})
    assert [(one.objects, one.problem) for one in found.sets] == [
        ((manifest, part), "manifest-1.json is no manifest that can be read, so nothing that lies there is imported"),
        ((other,), None),
    ]


def test_what_is_written_beside_a_manifest_that_cannot_be_read_is_refused_each_time() -> None:
    manifest, old, new = listed("manifest"), listed("vip.csv", 0), listed("vip.csv", 60)
    texts: dict[str, object] = {"manifest": []}
    before, after = looked(manifest, old, texts=texts), looked(manifest, new, texts=texts)
    assert [one.objects for one in (*before.sets, *after.sets)] == [(manifest, old), (manifest, new)]
    assert looked(manifest, new, minute=61, texts=texts) == Layout((), new.modified + QUIET)


def test_a_spark_marker_ends_a_set_at_once() -> None:
    parts = [listed(f"out/part-0000{number}-{UUID}-c000.csv", number) for number in range(2)]
    assert names(looked(*parts, listed("out/_SUCCESS", 1, 0), minute=1)) == [
        f"out/part-0000{n}-{UUID}-c000.csv" for n in range(2)
    ]
    assert looked(*parts, listed("out/_SUCCESS", 0, 0), minute=1).newest is None


def test_a_commit_ends_a_set_of_databricks_and_what_is_only_started_never_counts() -> None:
    old = listed("part-00000-tid-11-x-1-c000.csv", 0)
    new = listed("part-00000-tid-22-x-1-c000.csv", 60)
    marks = [listed("_started_11", 0, 0), listed("_committed_11", 1), listed("_started_22", 59, 0)]
    assert names(looked(old, new, *marks)) == ["part-00000-tid-11-x-1-c000.csv"]
    assert [one.problem for one in looked(old, new, *marks).sets] == [
        "its writer has begun it, and did not say that it is complete",
        None,
    ]
    assert names(looked(old, new, *marks, listed("_committed_22", 61))) == ["part-00000-tid-22-x-1-c000.csv"]


def test_of_two_writes_under_one_marker_the_one_that_was_written_last_is_the_newest() -> None:
    old = listed("part-00000-ffffffff-d9cb-469f-a165-70867728950e-c000.csv", 0)
    new = listed(f"part-00000-{UUID}-c000.csv", 1_440)
    found = looked(old, new, listed("_SUCCESS", 1_441, 0), minute=1_441)
    assert [(one.objects, one.at) for one in found.sets] == [((new,), new.modified), ((old,), old.modified)]


def test_two_writes_at_once_under_one_marker_are_no_set() -> None:
    objects = listed("de.csv", 0), listed("fr.csv", 1)
    far = listed("it.csv", 60)
    found = looked(*objects, far, listed("_SUCCESS", 61, 0))
    assert [(one.objects, one.problem is None) for one in found.sets] == [(objects, False), ((far,), True)]


def test_parts_of_yesterday_among_those_of_today_are_no_set_under_one_marker() -> None:
    objects = listed("vip_0.csv", 1_440), listed("vip_1.csv", 0)
    found = looked(*objects, listed("_SUCCESS", 1_441, 0), minute=1_441)
    assert [(one.objects, "vip_0.csv was written long after" in (one.problem or "")) for one in found.sets] == [
        (objects, True)
    ]


def test_what_is_left_of_an_older_write_is_passed_over_where_others_are_committed() -> None:
    left, new = listed("part-00000-tid-11-x-1-c000.csv", 0), listed("part-00000-tid-22-x-1-c000.csv", 60)
    found = looked(left, new, listed("_started_22", 59, 0), listed("_committed_22", 61))
    assert [one.objects for one in found.sets] == [(new,)]


def test_what_a_writer_puts_aside_while_it_works_is_no_data() -> None:
    aside = listed(f"_temporary/0/part-00000-{UUID}-c000.csv", 0)
    assert looked(aside) == Layout((), None)
    assert names(looked(listed("_p=1/vip.csv"))) == ["_p=1/vip.csv"]


def test_a_manifest_that_is_nested_too_deeply_or_never_given_holds_up_its_folder_alone() -> None:
    def read(key: str) -> bytes:
        if "deep" in key:
            return b"[" * 100_000
        raise Unreadable("it is archived")

    objects = [listed("deep/manifest"), listed("away/manifest", 1), listed("away/model.json"), listed("vip.csv", 2)]
    found = layout_of([*objects, listed("model.json", 2)], now=START + timedelta(hours=2), read=read)
    assert [one.problem for one in found.sets] == [
        None,
        "manifest is no manifest that can be read, so nothing that lies there is imported: it is archived",
        "manifest is no manifest that can be read, so nothing that lies there is imported",
    ]


@pytest.mark.parametrize("name", ["vip-2026-05-01.csv", "vip_2.csv", "0001_part_00", f"part-00000-{UUID}-c000.csv"])
@pytest.mark.parametrize("is_marked", [True, False])
def test_a_file_without_bytes_that_was_written_by_itself_is_a_set(name: str, is_marked: bool) -> None:
    old, empty = listed("vip-2026-04-30.csv", 0), listed(name, 60, 0)
    marks = [listed("_SUCCESS", 61, 0)] if is_marked else []
    assert names(looked(old, empty, *marks)) == [name]


@pytest.mark.parametrize("name", ["vip.done", "done.csv", "vip_2.csv", "sub/vip.csv"])
@pytest.mark.parametrize("is_marked", [True, False])
def test_what_has_no_bytes_is_no_data_beside_what_has_some(name: str, is_marked: bool) -> None:
    marks = [listed("_SUCCESS", 2, 0)] if is_marked else []
    found = looked(listed("vip_1.csv", 0), listed(name, 1, 0), *marks)
    assert [[one.key.rpartition("/")[2] for one in each.objects] for each in found.sets] == [["vip_1.csv"]]


@pytest.mark.parametrize("name", ["vip.done", "ready", "sub/", "_SUCCESS", "sub_$folder$"])
def test_a_flag_without_bytes_is_no_set(name: str) -> None:
    assert len(looked(listed("vip.csv", 0), listed(name, 60, 0)).sets) <= 1
    assert looked(listed(name, 60, 0)) == Layout((), None)
