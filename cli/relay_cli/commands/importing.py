"""Importing a whole segment from files on this machine: looked at, uploaded, and followed to its end."""

import base64
import gzip
import json
import re
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from relay_cli.failures import Exit, Failure, Interrupted, TimedOut, UsageFailure
from relay_cli.files import LocalFile
from relay_cli.parts import number, parse_time, several, span
from relay_cli.relay import Answer, Injected, Relay, unknown
from relay_cli.views import segment_imports as view

HEAD: Final = 131_072
"""How much of a file the stack looks at beforehand."""
MAX_FILE: Final = 5 * 1024**3
"""What S3 takes at once. https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html"""
MAX_PARQUET: Final = 480 * 1024**2
"""What fits on the disk of the function, where a Parquet file is read."""
MAX_MANIFEST: Final = 1_000_000

LOOK_EVERY: Final = 2.0
SAY_EVERY: Final = 15.0
BEGINS_WITHIN: Final = 900.0
"""Seconds within which an import begins, unless an older one of the segment is under way."""
RUNS_WITHIN: Final = 90.0
"""Seconds within which runs begin that an import asks for."""
DAY: Final = 86_400
AHEAD: Final = timedelta(minutes=1)
"""How far this machine's clock may be behind that of whoever wrote the files."""

_OF_SOURCE: Final = ("profile_key", "file_identities", "file_status", "source's")
"""Words by which a problem of a file is one of the source's settings, too."""
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_MANIFEST = "manifest"
_MODEL = "model.json"
_MARKS: Final = frozenset({"_SUCCESS", "_metadata", "_common_metadata", _MODEL})
_NUMBER: Final = re.compile(r"[-_.]?\d{1,3}$")


def import_(
    segment: str,
    /,
    *files: str,
    at: str | None = None,
    new: bool = False,
    no_follow: bool = False,
    timeout: float = DAY,
    relay: Injected,
) -> int:
    """Replace who is in a segment by what files name: upload them, and follow the import to its end.

    All files together are the whole segment: whoever they do not name leaves. They are looked at before anything is
    uploaded. Exit code 3 when the import waits for somebody to confirm it, 1 when it was refused.

    Parameters
    ----------
    segment
        The segment, as source/segment.
    files
        The files, or one folder: CSV, NDJSON or Parquet, plain or gzip.
    at
        The time of what the files say: what is newer stays. By default when the oldest of them was written.
    new
        The segment is new: nothing was ever received of it, and no export names it.
    no_follow
        Only upload them.
    timeout
        Seconds to follow the import and the runs after it at most.
    """
    upload = _Upload.of(segment, relay.files(files), at, relay.now())
    exports = _known(relay, segment, new=new)
    for one in upload.parts:
        _check(relay, segment, one, upload.columns)
    before = {one["id"] for one in _imports(relay, segment)}
    relay.screen.note(f"The time of what it says is {view.moment(upload.at)}: what is newer stays (--at sets another).")
    _put(relay, upload)
    if no_follow:
        where = {"segment": segment, "folder": upload.folder, "files": [one.name for one in upload.parts]}
        relay.screen.show(where, view.uploaded(segment, len(upload.parts)))
        return Exit.WELL
    return _follow(relay, upload, before, exports, timeout)


@dataclass(frozen=True, slots=True)
class _Upload:
    """What is put into a folder of its own below the segment's. The manifest names all parts, in their sizes.

    `columns` are the names of theirs, where the manifest says them.
    """

    segment: str
    folder: str
    parts: Sequence[LocalFile]
    manifest_name: str
    manifest: bytes
    at: datetime
    columns: Sequence[str] | None

    @classmethod
    def of(cls, segment: str, files: Sequence[LocalFile], at: str | None, now: datetime) -> "_Upload":
        """Take files as one set. A manifest among them says which are the parts; otherwise all of them are."""
        if len(segment.split("/")) != 2 or not all(segment.split("/")):
            raise UsageFailure(f"{segment} is no segment.", "It is written source/segment.", "relay segments list")
        manifests = [one for one in files if _is_manifest(one.name)]
        if len(manifests) > 1:
            raise UsageFailure("There are two manifests.", ", ".join(one.name for one in manifests), "name the files")
        names = [one.name for one in files]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageFailure(f"Two files are called {twice}.", "", "give one of them another name")
        given = _read(manifests[0]) if manifests else {}
        parts = _named(given, files) if manifests else [one for one in files if not _is_mark(one.name)]
        hidden = next((one.name for one in parts if one.name[0] in "._"), None)
        if hidden is not None:
            why = "Below segments/, what begins with a dot or an underscore is no data."
            raise UsageFailure(f"{hidden} would be left out.", why, "give it another name")
        if not parts:
            raise UsageFailure("There is no file to import.", "", "relay segments import crm/vip vip.csv")
        written = min([now, *(one.modified for one in parts)])
        said = given.get("scheduledTime")
        time = _time(at) if at is not None else (parse_time(said) if isinstance(said, str) else None) or written
        if time > now + AHEAD:
            why = "It would keep all other files out until then."
            raise UsageFailure(f"The time of the files, {view.moment(time)}, is in the future.", why, "name it by --at")
        entries = [{"url": one.name, "meta": {"content_length": one.size}} for one in parts]
        # It comes first, so it says the sizes of all parts, and its time.
        more = {name: one for name, one in given.items() if name != "exportResults"}
        models = [one for one in files if one.name == _MODEL]
        if "schema" not in more and models:
            more |= _schema(models[0], parts)
        manifest = {**more, "entries": entries, "scheduledTime": _text(time)}
        return cls(
            segment,
            f"segments/{segment}/relay-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
            parts,
            manifests[0].name if manifests else _MANIFEST,
            json.dumps(manifest).encode(),
            time,
            _columns(manifest),
        )


def _is_manifest(name: str) -> bool:
    return name.endswith("manifest") or (name.startswith("manifest-") and name.endswith(".json"))


def _is_mark(name: str) -> bool:
    """Return whether a name is that of what Spark, Databricks and Customer Insights write beside the parts."""
    return name in _MARKS or name.startswith(("_started_", "_committed_")) or name.endswith(".crc")


def _schema(model: LocalFile, parts: Sequence[LocalFile]) -> dict[str, Any]:
    """Return what a manifest says of the columns, by Customer Insights' `model.json`; nothing where that is silent.

    https://learn.microsoft.com/en-us/common-data-model/model-json
    """
    names = {one.name.partition(".")[0] for one in parts}
    names |= {_NUMBER.sub("", name) for name in names}
    with suppress(UsageFailure, KeyError, TypeError):
        for entity in _read(model)["entities"]:
            if entity["name"] in names:
                return {"schema": {"elements": [{"name": str(one["name"])} for one in entity["attributes"]]}}
    return {}


def _columns(manifest: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the names of the columns that a manifest says, as the import reads them."""
    try:
        elements = manifest.get("schema", {}).get("elements")
        return None if elements is None else [str(one["name"]) for one in elements]
    except (KeyError, TypeError, AttributeError):
        raise UsageFailure("The manifest says its columns in no way that can be read.", "", "leave it out") from None


def _read(manifest: LocalFile) -> dict[str, Any]:
    try:
        with manifest.open() as file:
            found = json.loads(file.read(MAX_MANIFEST))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageFailure(f"{manifest.name} is no manifest that can be read.", "", "leave it out")
    return found


def _named(manifest: Mapping[str, Any], files: Sequence[LocalFile]) -> list[LocalFile]:
    """Return the files that a manifest names; raises UsageFailure where one is missing or of another size."""
    by_name = {one.name: one for one in files}
    found = []
    for name, size in _wanted(manifest):
        one = by_name.get(name)
        if one is None:
            raise UsageFailure(f"{name} is missing, which the manifest names.", "", "download all parts")
        if size is not None and size != one.size:
            what = f"It has {number(one.size)} bytes, and the manifest says {number(size)}."
            raise UsageFailure(f"{name} is not what the manifest names.", what, "download it again")
        found.append(one)
    return found


def _wanted(manifest: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Yield what the manifests of Adobe and of Redshift name."""
    try:
        if "exportResults" in manifest:
            yield from ((one["name"].rpartition("/")[2], one.get("size")) for one in manifest["exportResults"])
        else:
            for one in manifest["entries"]:
                yield one["url"].rpartition("/")[2], one.get("meta", {}).get("content_length")
    except (KeyError, TypeError, AttributeError):
        raise UsageFailure("The manifest names no files.", "", "leave it out") from None


def _time(text: str) -> datetime:
    found = parse_time(text)
    if found is None:
        raise UsageFailure(f"{text} is no time.", "It is written like 2026-11-27T03:00:00Z.")
    return found


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _known(relay: Relay, segment: str, *, new: bool) -> Sequence[str]:
    """Return the exports of a segment; raises UsageFailure for a source or a segment that nobody knows."""
    source = segment.partition("/")[0]
    names = relay.door.secret_names("sources")
    if source not in names:
        raise unknown("source", source, names, "relay sources list")
    answer = relay.ask("segments")
    by_name = {one["segment"]: one["exports"] for one in answer["segments"]}
    if segment in by_name:
        exports: Sequence[str] = by_name[segment]
        return exports
    if segment in answer["never_seen"]:
        return ()
    if not new:
        of_source = [one for one in (*by_name, *answer["never_seen"]) if one.startswith(f"{source}/")]
        raise unknown("segment", segment, of_source, f"relay segments import {segment} FILE --new, if it is new")
    return ()


def _check(relay: Relay, segment: str, file: LocalFile, columns: Sequence[str] | None) -> None:
    """Raise Failure for a file that the import would refuse, as far as its beginning tells."""
    if file.size > MAX_FILE:
        raise _too_large(file, MAX_FILE)
    try:
        with file.open() as raw:
            is_packed = raw.read(2) == _GZIP
            raw.seek(0)
            head = (gzip.GzipFile(fileobj=raw) if is_packed else raw).read(HEAD + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise Failure(f"{file.name} is damaged: its gzip stream cannot be unpacked.") from None
    if is_packed and head.startswith(_GZIP):
        raise Failure(f"{file.name} is packed by gzip twice.", "", "pack it once")
    if head.startswith(_PARQUET) and file.size > MAX_PARQUET:
        raise _too_large(file, MAX_PARQUET)
    found = relay.ask(
        "check_file",
        segment=segment,
        name=file.name,
        head=base64.b64encode(head[:HEAD]).decode(),
        whole=len(head) <= HEAD,
        columns=columns,
    )
    if found["problem"] is not None:
        why = str(found["problem"]).removeprefix(f"{file.name} ")
        is_of_source = any(word in why for word in _OF_SOURCE)
        helps = f"relay sources show {segment.partition('/')[0]}" if is_of_source else ""
        raise Failure(f"{file.name} cannot be imported.", why, helps)


def _too_large(file: LocalFile, most: int) -> Failure:
    return Failure(f"{file.name} is too large.", f"It may have {number(most)} bytes.", "write it in several parts")


def _put(relay: Relay, upload: _Upload) -> None:
    """Upload all. The manifest goes first: without it, parts that lie there would count as a set after some minutes."""
    keys = [f"{upload.folder}/{upload.manifest_name}", *(f"{upload.folder}/{one.name}" for one in upload.parts)]
    done = 0
    try:
        with relay.screen.progress("upload", relay.now, SAY_EVERY) as move:
            relay.door.put_object(keys[0], upload.manifest)
            for one, key in zip(upload.parts, keys[1:], strict=True):
                move(done / len(upload.parts), f"{one.name}, {number(one.size)} bytes")
                with one.open() as body:
                    relay.door.put_object(key, body)
                done += 1
    except BaseException as error:
        # The manifest goes last, so that what is left of the parts is never taken for a set.
        with suppress(Failure):
            for key in reversed(keys):
                relay.door.delete_object(key)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                "Nothing was imported.", f"{done} of {several(len(upload.parts), 'file', 'files')} were there."
            ) from None
        raise


def _imports(relay: Relay, segment: str) -> Sequence[Answer]:
    found: Sequence[Answer] = relay.ask("imports", segment=segment, limit=100)["imports"]
    return found


def _follow(relay: Relay, upload: _Upload, before: set[str], exports: Sequence[str], timeout: float) -> int:
    """Follow an import until it ends or waits for somebody. Ctrl-C does not end it."""
    newest = {export: _newest(relay, export) for export in exports}
    until = relay.now() + timedelta(seconds=timeout)

    def left() -> float:
        return (until - relay.now()).total_seconds()

    what = f"import into {upload.segment}"
    with relay.screen.progress(what, relay.now, SAY_EVERY) as move:

        def begun() -> str | None:
            move(None, "waits for the stack to begin")
            found = (one for one in _imports(relay, upload.segment) if one["id"] not in before)
            return next((str(one["id"]) for one in found if parse_time(one["at"]) == upload.at), None)

        name = relay.wait(min(left(), BEGINS_WITHIN), begun, every=LOOK_EVERY)
        if name is None:
            why = "The files are uploaded. An older import of the segment may be under way, or the queue waits."
            raise TimedOut("No import began in time.", why, f"relay segments imports list {upload.segment}")

        def ended() -> Answer | None:
            shown = relay.ask("import", id=name)
            move(*view.progress(shown))
            return shown if shown["state"] in view.STILL else None

        shown = relay.wait(left(), ended, every=LOOK_EVERY)
    if shown is None:
        raise TimedOut(
            f"Import {name} goes on.", f"It did not end within {span(timeout)}.", f"relay segments imports show {name}"
        )
    runs = _runs(relay, newest, left()) if shown["state"] == view.DONE and view.has_changed(shown) else {}
    relay.screen.show({**shown, "runs": runs}, [*view.one(shown), *view.runs(runs)])
    return Exit.WELL if shown["state"] == view.DONE else view.EXITS.get(shown["state"], Exit.WRONG)


def _newest(relay: Relay, export: str) -> str | None:
    runs = relay.ask("runs", export=export, limit=1)["runs"]
    return str(runs[0]["run"]) if runs else None


def _runs(relay: Relay, before: Mapping[str, str | None], seconds: float) -> dict[str, str | None]:
    """Return the runs that began since, by export; None for one that is requested. An export without either has none.

    A run begins within a minute or two. Who does not wait for it misses nothing.
    """
    latest: dict[str, str | None] = {}

    def look() -> bool | None:
        latest.clear()
        for export, known in before.items():
            answer = relay.ask("runs", export=export, limit=1)
            newest = str(answer["runs"][0]["run"]) if answer["runs"] else None
            if newest != known or export in answer["requested"]:
                latest[export] = newest if newest != known else None
        return True if None not in latest.values() else None

    if before:
        relay.screen.note(f"Waiting for the runs that follow: {', '.join(before)}. They begin by themselves.")
    relay.wait(min(seconds, RUNS_WITHIN), look, every=LOOK_EVERY)
    return latest
