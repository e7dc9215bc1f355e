"""Which objects below a segment's folder make one set, whether all of it is there, and of when it is.

Who writes a set may say where it ends. That mark speaks for its folder, and for the folders below that have none:

| written by | complete |
|---|---|
| Adobe, with `manifest-*.json` | when all of `exportResults` is there, in the sizes it says |
| Redshift's `UNLOAD ... MANIFEST` (`...manifest`) | when all of `entries` is there, in the sizes it says |
| Databricks (`_started_<id>`, `_committed_<id>`) | when `_committed_<id>` is there |
| Spark and others (`_SUCCESS`) | when the marker is there |
| anybody else: Snowflake, BigQuery, Customer Insights, a single file | when nothing has been written for QUIET |

- A mark covers no part that is newer than itself. A manifest that names its own time and the sizes may come first.
- Where a mark lies, silence ends nothing. What no mark covers within PATIENCE is a set with a problem.
- Elsewhere objects make one set when they lie in one folder, and their names differ in the number of the part alone.
  Parts may lie in folders such as `country=BE`; such as name a time (`dt=2026-11-27`) hold sets of their own.
  What cannot be told apart is a set with a problem: two names that were written at once, or one name that was written
  to again after a silence while other parts of that name stayed.
- An object without bytes is no data beside such as have some. By itself it is an empty set.
- The time of a set is what its manifest says, else when its oldest part was written: who wrote it has looked by then.

https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html
https://docs.snowflake.com/en/sql-reference/sql/copy-into-location
https://cloud.google.com/bigquery/docs/exporting-data
https://docs.databricks.com/en/archive/legacy/dbio-commit.html
https://learn.microsoft.com/en-us/dynamics365/customer-insights/data/export-azure-blob-storage
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from relay.domain import moments
from relay.files.rows import Replaced, Unreadable

QUIET: Final = timedelta(minutes=5)
"""How long nothing has to be written before a set without a mark of its end counts as complete."""

PATIENCE: Final = timedelta(hours=1)
"""How long a set may lack what its writer announced."""

_SUCCESS = "_SUCCESS"
_MODEL = "model.json"
_ROOT = 3
"""How many folders lead to a segment's: `segments/{source}/{segment}/`."""
_MARK = re.compile(r"_SUCCESS|_(?:started|committed)_.+")
_MANIFEST = re.compile(r"manifest-.*\.json|.*manifest")
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
    """An object as S3 lists it: `key` is `segments/source/segment/...`, `modified` is aware."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class SegmentSet:
    """A set: its objects in their order, the time of what they say, and when the last of it was written.

    `columns` are the names of its columns, where a manifest says them: then a CSV part may have no header. `problem` is
    why it cannot be used; its objects are then those that show it.
    """

    objects: tuple[Listed, ...]
    at: datetime
    written: datetime
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
class _Found:
    """A set as it will be at `due`, unless something is written before."""

    what: SegmentSet
    due: datetime


def layout_of(
    objects: Sequence[Listed], *, now: datetime, read: Callable[[str], bytes], quiet: timedelta = QUIET
) -> Layout:
    """Return which of the objects below a segment are sets.

    `read` returns the bytes of a small object by its key. It raises Unreadable for one that can never be read. Raises
    Replaced, as `read` does, when an object was replaced since it was listed.
    """
    folder = _Folder(objects, read, quiet)
    found = [*folder.named(), *folder.marked(), *folder.ended_by_silence()]
    sets = [one.what for one in found if one.due <= now]
    sets.sort(key=lambda one: (one.at, one.written, one.objects[0].key), reverse=True)
    return Layout(tuple(sets), min((one.due for one in found if one.due > now), default=None))


class _Folder:
    """What is left of the objects, after those who say more of theirs have taken them."""

    def __init__(self, objects: Sequence[Listed], read: Callable[[str], bytes], quiet: timedelta) -> None:
        self._read = read
        self._quiet = quiet
        self._all = {one.key: one for one in sorted(objects, key=lambda one: one.key) if not _is_hidden(one.key)}
        self._marks: defaultdict[str, dict[str, Listed]] = defaultdict(dict)
        self._left: dict[str, Listed] = {}
        for one in self._all.values():
            name = _name(one.key)
            if _MARK.fullmatch(name) or _MANIFEST.fullmatch(name):
                self._marks[_parent(one.key)][name] = one
            elif _is_data(name) and (one.size or _is_part(name)):
                self._left[one.key] = one
        for run in self._runs(self._left.values()):
            if any(one.size for one in run):
                for one in run:
                    if not one.size:
                        del self._left[one.key]

    def named(self) -> Iterator[_Found]:
        """Yield the sets that manifests name, the newest manifest first: what one names is no older one's."""
        marks = (one for named in self._marks.values() for one in named.values())
        manifests = [one for one in marks if _MANIFEST.fullmatch(_name(one.key))]
        taken: set[str] = set()
        for manifest in sorted(manifests, key=lambda one: one.modified, reverse=True):
            found, keys = self._named_by(manifest)
            if taken.isdisjoint(keys):
                yield found
            taken |= keys
            for key in keys:
                self._left.pop(key, None)

    def marked(self) -> Iterator[_Found]:
        """Yield what lies where there are marks, and no manifest names it."""
        homes = defaultdict(list)
        for one in self._left.values():
            homes[self._home(one.key)].append(one)
        for folder, marks in self._marks.items():
            ends = [one.modified for name, one in marks.items() if not name.startswith("_started_")]
            by_success: list[Listed] = []
            success = marks.get(_SUCCESS)
            for write, parts in _grouped(homes[folder]).items():
                for one in parts:
                    del self._left[one.key]
                newest = _newest(parts)
                committed = marks.get(f"_committed_{write}")
                if committed is not None and committed.modified >= newest:
                    yield _complete(parts, committed)
                elif success is not None and success.modified >= newest:
                    by_success += parts
                elif f"_started_{write}" in marks:
                    yield _Found(_problem(parts, newest, _UNENDED), newest + PATIENCE)
                elif newest > max(ends, default=newest):
                    what = f"{min(marks)} lies in its folder, and no mark says that {_name(parts[-1].key)} is complete"
                    yield _Found(_problem(parts, newest, what), newest + PATIENCE)
            if success is not None:
                yield from self._ended_by(success, by_success)

    def ended_by_silence(self) -> Iterator[_Found]:
        """Yield the sets where there are no marks."""
        runs = self._runs(self._left.values())
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for place, run in enumerate(runs):
            for write in _grouped(run):
                first.setdefault(write, place)
                last[write] = place
        for place, run in enumerate(runs):
            writes = _grouped(run)
            if any(last[one] > place for one in writes):
                continue  # Some of it was written again: what stayed is no set any more.
            written, problem = _newest(run), _at_once(run)
            if problem is None and any(first[one] < place for one in writes):
                problem = _left_over(run)
            found = (
                replace(_set(run, written), columns=self._columns_of(run))
                if problem is None
                else _problem(run, written, problem)
            )
            yield _Found(found, written + self._quiet)

    def _ended_by(self, success: Listed, objects: Sequence[Listed]) -> Iterator[_Found]:
        """Yield the sets that a marker ends which does not name them."""
        unclear: set[str] = set()
        for run in self._runs(objects):
            if (problem := _at_once(run)) is not None:
                unclear |= set(_grouped(run))
                yield _Found(_problem(run, success.modified, problem), success.modified)
        for write, parts in _grouped(objects).items():
            times = sorted(one.modified for one in parts)
            # The id of a write tells its parts; where there is none, those of yesterday may lie among them.
            has_id = "/" not in write
            if not has_id and any(later - one > PATIENCE for one, later in pairwise(times)):
                newest = max(parts, key=lambda one: one.modified)
                yield _Found(_problem(parts, success.modified, _left_over([newest])), success.modified)
            elif write not in unclear:
                yield _complete(parts, success)

    def _columns_of(self, run: Sequence[Listed]) -> tuple[str, ...] | None:
        """Return the names of the columns by Customer Insights' `model.json`, where there is one that has these files.

        https://learn.microsoft.com/en-us/common-data-model/model-json
        """
        name = _name(_write(run[0].key))
        for one in self._all.values():
            if _name(one.key) == _MODEL:
                with suppress(*_NO_JSON):
                    for entity in self._said(one.key)["entities"]:
                        if entity["name"] == name:
                            return tuple(column["name"] for column in entity["attributes"])
        return None

    def _runs(self, objects: Iterable[Listed]) -> list[list[Listed]]:
        """Return objects by time, parted where nothing was written for a while."""
        runs: list[list[Listed]] = []
        for one in sorted(objects, key=lambda each: (each.modified, each.key)):
            if not runs or one.modified - runs[-1][-1].modified > self._quiet:
                runs.append([])
            runs[-1].append(one)
        return runs

    def _of(self, folder: str) -> list[Listed]:
        """Return what is left that the marks of a folder speak for."""
        return [one for one in self._left.values() if self._home(one.key) == folder]

    def _home(self, key: str) -> str | None:
        """Return the nearest folder above an object that has marks."""
        folder = _parent(key)
        while folder and folder not in self._marks:
            folder = _parent(folder)
        return folder or None

    def _named_by(self, manifest: Listed) -> tuple[_Found, set[str]]:
        """Return the set of a manifest, and the keys of all that it speaks for."""
        folder, name = _parent(manifest.key), _name(manifest.key)
        try:
            body = self._said(manifest.key)
            wanted = list(_wanted(body))
            said = moments.parse(body["scheduledTime"]) if "scheduledTime" in body else None
            columns = _columns(body)
        except _NO_JSON as error:
            # What it names must not be taken for something else.
            beside = self._of(folder)
            written = _newest([manifest, *beside])
            why = f": {error}" if isinstance(error, _NotGivenError) else ""
            what = f"{name} is no manifest that can be read, so nothing that lies there is imported{why}"
            found = _Found(_problem([manifest, *beside], written, what), written + self._quiet)
            return found, {one.key for one in beside}
        there: dict[str, Listed] = {}
        late = 0
        keys = set()
        for path, size in wanted:
            one = self._at(folder, path)
            if one is None:
                continue
            keys.add(one.key)
            if size is None or one.size == size:
                there[one.key] = one
                late += one.modified > manifest.modified and (said is None or size is None)
        parts = list(there.values())
        written = _newest([manifest, *parts])
        if not parts or len(parts) < len(wanted):
            what = f"{name} names {len(wanted)} parts, and {len(parts)} of them are there in their sizes"
        elif late:
            what = f"{name} names {len(wanted)} parts, and {late} of them were written after it"
        else:
            at = min(one.modified for one in parts) if said is None else said
            return _Found(SegmentSet(tuple(parts), at, written, columns), written), keys
        return _Found(_problem([manifest, *parts], written, what), written + PATIENCE), keys

    def _said(self, key: str) -> Any:
        """Return the JSON of a small object; raises Replaced, and one of _NO_JSON where that can never be read."""
        try:
            return json.loads(self._read(key))
        except Replaced:
            raise
        except Unreadable as why:
            raise _NotGivenError(why.reason) from None

    def _at(self, folder: str, path: str) -> Listed | None:
        """Return the object below a folder that a manifest names.

        Buckets and the folders above may be others than where the objects lie now.
        """
        steps = path.split("/")
        ends = ("/".join((folder, *steps[start:])) for start in range(len(steps)))
        return next((self._all[end] for end in ends if end in self._all), None)


class _NotGivenError(ValueError):
    """S3 never gives an object."""


_NO_JSON: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading JSON raises that is another than it should be."""
_UNENDED: Final = "its writer has begun it, and did not say that it is complete"


def _newest(objects: Iterable[Listed]) -> datetime:
    return max(one.modified for one in objects)


def _grouped(objects: Iterable[Listed]) -> dict[str, list[Listed]]:
    """Return objects by what those of one set have in common."""
    groups = defaultdict(list)
    for one in objects:
        groups[_write(one.key)].append(one)
    return groups


def _set(objects: Iterable[Listed], written: datetime) -> SegmentSet:
    parts = sorted(objects, key=lambda one: one.key)
    return SegmentSet(tuple(parts), min(one.modified for one in parts), written)


def _complete(objects: Iterable[Listed], mark: Listed) -> _Found:
    return _Found(_set(objects, mark.modified), mark.modified)


def _problem(objects: Iterable[Listed], written: datetime, what: str) -> SegmentSet:
    return SegmentSet(tuple(objects), written, written, problem=what)


def _at_once(run: Sequence[Listed]) -> str | None:
    """Return why objects that were written one after the other are not clearly one set, None where they are."""
    groups = list(_grouped(run).values())
    if len(groups) == 1:
        return None
    first, second = (one[0].key.split("/", _ROOT)[-1] for one in groups[:2])
    return f"{first} and {second} were written at once, and nothing says whether they are one set: write a manifest"


def _left_over(run: Sequence[Listed]) -> str:
    """Return why a run is no set beside older parts of its name."""
    return (
        f"{_name(run[-1].key)} was written long after others whose names differ in a number alone: "
        "delete those and write the set again, or write each set to a folder of its own"
    )


def _wanted(body: Any) -> Iterator[tuple[str, int | None]]:
    """Yield path and size of what a manifest names."""
    if "exportResults" in body:
        for one in body["exportResults"]:
            yield one["name"].strip("/"), one.get("size")
        return
    for one in body["entries"]:
        yield one["url"].strip("/"), one.get("meta", {}).get("content_length")


def _columns(body: Any) -> tuple[str, ...] | None:
    elements = body.get("schema", {}).get("elements")
    return None if elements is None else tuple(str(one["name"]) for one in elements)


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _parent(key: str) -> str:
    return key.rpartition("/")[0]


def _folder_of(key: str) -> str:
    """Return the folder that a set lies in: parts of it may lie in folders such as `country=BE` there."""
    folders = key.split("/")[:-1]
    while len(folders) > _ROOT and "=" in folders[-1] and not _is_of_a_time(folders[-1]):
        folders.pop()
    return "/".join(folders)


def _is_of_a_time(folder: str) -> bool:
    return _TIME.fullmatch(folder.lower().replace("-", "").replace("_", "")) is not None


def _is_hidden(key: str) -> bool:
    """Whether an object lies in a folder that is no data, such as Spark's `_temporary`; partitions are no such ones."""
    folders = key.split("/")[_ROOT:-1]
    return any(one.startswith(("_", ".")) and "=" not in one for one in folders)


def _is_data(name: str) -> bool:
    return bool(name) and name[0] not in "._" and name != _MODEL and not name.endswith(".crc")


def _is_part(name: str) -> bool:
    """Whether a name is that of a part, also of one without bytes; a flag such as `vip.done` is none."""
    return _ENDING.search(name) is not None or _NUMBER.search(name) is not None


def _write(key: str) -> str:
    """Return what all parts of a set have in common: the id of the write, else their folder and their name."""
    name = _name(key)
    spark = _SPARK.fullmatch(name)
    if spark is not None:
        return spark[1] or spark[2] or f"{_folder_of(key)}/part"
    bare = _ENDING.sub("", name)
    return f"{_folder_of(key)}/{bare if _DATE.search(bare) else _NUMBER.sub('', bare)}"
