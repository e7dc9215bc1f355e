"""Which objects below a segment's folder make one set, whether all of it is there, and of when it is.

Objects of one set lie in one folder, and their names differ in the number of the part alone. It is complete by what
its writer says of it, or when nothing has come for a while:

| written by | complete |
|---|---|
| Adobe, with `manifest-*.json` | when all of `exportResults` is there, in the sizes it says |
| Redshift's `UNLOAD ... MANIFEST` (`...manifest`) | when all of `entries` is there, in the sizes it says |
| Databricks (`_started_<id>`, `_committed_<id>`) | when `_committed_<id>` is there |
| Spark (`_SUCCESS`) | when the marker is there, and as new as the parts |
| anybody else: Snowflake, BigQuery, Customer Insights, a single file | when nothing has been written to it for QUIET |

What its writer has begun and does not end within PATIENCE is a set with a problem, and so is a manifest that cannot be
read.

Parts may lie in folders such as `country=BE`; those that name a time, such as `dt=2026-11-27`, hold sets of their own.
What lies in a folder whose name begins with a dot or an underscore is no data.

Where nothing but quiet ends a set, what is written to the same names after a longer silence is another set.
https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html
https://docs.snowflake.com/en/sql-reference/sql/copy-into-location
https://cloud.google.com/bigquery/docs/exporting-data
https://docs.databricks.com/en/archive/legacy/dbio-commit.html
https://learn.microsoft.com/en-us/dynamics365/customer-insights/data/export-azure-blob-storage
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from relay.domain import moments

QUIET: Final = timedelta(minutes=5)
"""How long nothing has to be written before a set without a mark of its end counts as complete."""

PATIENCE: Final = timedelta(hours=1)
"""How long a set may lack what its writer announced."""

_SUCCESS = "_SUCCESS"
_MODEL = "model.json"
_ROOT = 3
"""How many folders lead to a segment's: `segments/{source}/{segment}/`."""
_MANIFEST = re.compile(r"manifest-.*\.json|.*manifest")
_PARTITION = re.compile(r"[^=]+=.*")
_TIME = re.compile(
    r"(?:year|month|day|hour|minute|date|time|dt|ds|ts|run|load|batch|export|snapshot)[^=]*=.*|.*\d{8}.*"
)
"""A folder of a time: what lies in another one is another set."""
_SPARK = re.compile(r"part-\d{5,}-(?:tid-(\d+)-)?([0-9a-f]{8}-[0-9a-f-]{27})?.*")
_ENDING = re.compile(r"(\.(?:csv|txt|tsv|json|jsonl|ndjson|parquet|gz|gzip|snappy))+$", re.IGNORECASE)
_NUMBER = re.compile(r"[-_.]?(?:\d{4}_part_\d{2,}|(?<!\d)\d{12}|(?<!\d)\d{1,3}(?:[-_]\d{1,3}){0,3})$")
"""The number of a part: Redshift's, BigQuery's, and short ones; not a time."""
_DATE = re.compile(r"\d{4}[-_.]\d{2}[-_.]\d{2}$")


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as S3 lists it; `modified` is aware."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class SegmentSet:
    """A set: its objects in their order, and the time of what they say.

    `columns` are the names of its columns, where a manifest says them: then a CSV part may have no header. `problem` is
    why it cannot be used; its objects are then those that show it.
    """

    objects: tuple[Listed, ...]
    at: datetime
    columns: tuple[str, ...] | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """`sets` are those that are complete or have a problem, the newest first. `next_at` is when there may be another
    without another object being written; None where there will be none."""

    sets: tuple[SegmentSet, ...]
    next_at: datetime | None

    @property
    def newest(self) -> SegmentSet | None:
        """The newest complete set."""
        return next((one for one in self.sets if one.problem is None), None)


@dataclass(frozen=True, slots=True)
class _Lacking:
    """What is announced, and not all there; `since` is when something of it was written last."""

    objects: tuple[Listed, ...]
    since: datetime
    what: str


def layout_of(
    objects: Sequence[Listed], *, now: datetime, read: Callable[[str], bytes], quiet: timedelta = QUIET
) -> Layout:
    """Return which of the objects below a segment are sets. `read` returns the bytes of a small object by its key."""
    found = _Folder(objects, read)
    sets: list[SegmentSet] = []
    next_ats: list[datetime] = []
    for one in [*found.manifests(), *found.spark()]:
        if isinstance(one, SegmentSet):
            sets.append(one)
        elif one.since + PATIENCE <= now:
            sets.append(SegmentSet(one.objects, one.since, problem=one.what))
        else:
            next_ats.append(one.since + PATIENCE)
    for run in found.runs(quiet):
        newest = max(one.modified for one in run)
        if newest + quiet <= now:
            sets.append(SegmentSet(tuple(run), newest, found.columns_of(run)))
        else:
            next_ats.append(newest + quiet)
    sets.sort(key=lambda one: (one.at, one.objects[0].key), reverse=True)
    return Layout(tuple(sets), min(next_ats, default=None))


class _Folder:
    """What is left of the objects, after those who say more of theirs have taken them."""

    def __init__(self, objects: Sequence[Listed], read: Callable[[str], bytes]) -> None:
        self._read = read
        self._all = sorted(objects, key=lambda one: one.key)
        self._left = {one.key: one for one in self._all if one.size and _is_data(one.key)}

    def manifests(self) -> Iterator["SegmentSet | _Lacking"]:
        """Yield the sets that manifests name; what they name is taken."""
        for one in self._all:
            if _MANIFEST.fullmatch(_name(one.key)):
                self._left.pop(one.key, None)
                yield self._named_by(one)

    def spark(self) -> Iterator["SegmentSet | _Lacking"]:
        """Yield the sets in folders with Spark's marks."""
        marks: defaultdict[str, dict[str, Listed]] = defaultdict(dict)
        for one in self._all:
            if _name(one.key).startswith("_"):
                marks[_parent(one.key)][_name(one.key)] = one
        for folder, named in marks.items():
            for write, parts in self._writes(folder).items():
                mark = named.get(f"_committed_{write}") or named.get(_SUCCESS)
                if mark is None and f"_started_{write}" not in named:
                    continue
                for one in parts:
                    del self._left[one.key]
                newest = max(one.modified for one in parts)
                if mark is not None and mark.modified >= newest:
                    yield SegmentSet(tuple(parts), mark.modified)
                else:
                    yield _Lacking(tuple(parts), newest, "its writer has begun it, and did not say that it is complete")

    def runs(self, quiet: timedelta) -> Iterator[list[Listed]]:
        """Yield the objects that are left by set: one folder, one name, no silence longer than `quiet` between."""
        by_name = defaultdict(list)
        for one in self._left.values():
            by_name[_parent(one.key), _stem(_name(one.key))].append(one)
        for objects in by_name.values():
            run: list[Listed] = []
            for one in sorted(objects, key=lambda each: each.modified):
                if run and one.modified - run[-1].modified > quiet:
                    yield sorted(run, key=lambda each: each.key)
                    run = []
                run.append(one)
            yield sorted(run, key=lambda each: each.key)

    def columns_of(self, run: Sequence[Listed]) -> tuple[str, ...] | None:
        """Return the names of the columns by Customer Insights' `model.json`, where there is one that has these files.

        https://learn.microsoft.com/en-us/common-data-model/model-json
        """
        for one in self._all:
            if _name(one.key) == _MODEL:
                with suppress(ValueError, KeyError, TypeError, AttributeError):
                    for entity in json.loads(self._read(one.key))["entities"]:
                        if entity["name"] == _stem(_name(run[0].key)):
                            return tuple(column["name"] for column in entity["attributes"])
        return None

    def _writes(self, folder: str) -> Mapping[str, list[Listed]]:
        writes = defaultdict(list)
        for one in self._left.values():
            part = _SPARK.fullmatch(_name(one.key))
            if part is not None and _parent(one.key) == folder:
                writes[part[1] or part[2] or ""].append(one)
        return writes

    def _named_by(self, manifest: Listed) -> SegmentSet | _Lacking:
        # By name: Adobe's paths and Redshift's buckets may be others than where the objects lie now.
        near = {_local(one.key): one for one in self._all if _parent(one.key) == _parent(manifest.key)}
        try:
            body = json.loads(self._read(manifest.key))
            wanted = list(_wanted(body))
            at = moments.parse(body["scheduledTime"]) if "scheduledTime" in body else manifest.modified
            columns = _columns(body)
        except (ValueError, KeyError, TypeError, AttributeError):
            # What it names must not be taken for something else.
            for one in near.values():
                self._left.pop(one.key, None)
            problem = f"{_name(manifest.key)} is no manifest that can be read"
            return SegmentSet((manifest,), manifest.modified, problem=problem)
        found = [near.get(name) for name, _ in wanted]
        for each in found:
            if each is not None:
                self._left.pop(each.key, None)
        fitting = (
            one
            for one, (_, size) in zip(found, wanted, strict=True)
            if one is not None and (size is None or one.size == size)
        )
        there = list({one.key: one for one in fitting}.values())
        if there and len(there) == len(wanted):
            return SegmentSet(tuple(there), at, columns)
        since = max(one.modified for one in (manifest, *there))
        what = f"{_name(manifest.key)} names {len(wanted)} parts, and {len(there)} of them are there in their sizes"
        return _Lacking((manifest, *there), since, what)


def _wanted(body: Any) -> Iterator[tuple[str, int | None]]:
    """Yield name and size of what a manifest names."""
    if "exportResults" in body:
        for one in body["exportResults"]:
            yield _local(one["name"]), one.get("size")
        return
    for one in body["entries"]:
        yield _local(one["url"]), one.get("meta", {}).get("content_length")


def _columns(body: Any) -> tuple[str, ...] | None:
    elements = body.get("schema", {}).get("elements")
    return None if elements is None else tuple(one["name"] for one in elements)


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _parent(key: str) -> str:
    """Return the folder that a set lies in: parts of it may lie in folders such as `country=BE` there."""
    folders = key.split("/")[:-1]
    while len(folders) > _ROOT and _PARTITION.fullmatch(folders[-1]) and not _is_of_a_time(folders[-1]):
        folders.pop()
    return "/".join(folders)


def _local(path: str) -> str:
    """Return the name of a part with the folders below `_parent`."""
    *folders, name = path.split("/")
    while folders and _PARTITION.fullmatch(folders[-1]) and not _is_of_a_time(folders[-1]):
        name = f"{folders.pop()}/{name}"
    return name


def _is_of_a_time(folder: str) -> bool:
    return _TIME.fullmatch(folder.lower().replace("-", "").replace("_", "")) is not None


def _is_data(key: str) -> bool:
    name = _name(key)
    hidden = any(one[:1] in ("_", ".") for one in (*key.split("/")[_ROOT:-1], name))
    return bool(name) and not hidden and name != _MODEL and not name.endswith(".crc")


def _stem(name: str) -> str:
    """Return what the names of all parts of a set have in common."""
    spark = _SPARK.fullmatch(name)
    if spark is not None:
        return spark[1] or spark[2] or "part"
    bare = _ENDING.sub("", name)
    return bare if _DATE.search(bare) else _NUMBER.sub("", bare)
