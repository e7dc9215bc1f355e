"""What it costs to import a segment file: CPU, memory, units and AWS's list price, by format.

The function as it is deployed takes the event of S3, and then what the tick sends until the import is done. It calls
DynamoDB with its own client, on a socket, in another process. The bucket is a folder of this machine. Each format has
a process and people of its own: first nobody is known, then a newer file says the same again.
"""

import csv
import gzip
import importlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Final, cast

from local.benchmarks.apart import apart
from local.benchmarks.aws_apart import PREFIX, Aws, Usage, aws_apart
from local.benchmarks.memory import peak_memory_mb
from local.benchmarks.prices import DYNAMODB_SECONDS, FULL_SHARE_GB, MEMORY_GB
from local.benchmarks.pricing import PRICED, Bill
from local.benchmarks.report import Figure, Goal, Report, Section
from local.benchmarks.worker import Log
from relay.domain.segment_imports import ENDED
from relay.segment_imports.importer import AT_ONCE
from relay.stores import segment_imports
from relay.stores.database import Database

Row = Mapping[str, str]

CASES: Final[Mapping[str, str]] = {"new": "nobody of the file is known", "unchanged": "a newer file says the same"}
GOALS: Final[Mapping[str, Mapping[str, Goal]]] = {
    "new": {"write_units_per_row": Goal("<=", 2.1), "cpu_seconds_per_million": Goal("<=", 150)},
    "unchanged": {"write_units_per_row": Goal("<=", 0.005), "cpu_seconds_per_million": Goal("<=", 150)},
}
PEAK: Final = Goal("<=", 512)
MEASURED: Final = (
    "CPU time is that of the function's process, by this machine's own Python, all threads together. DynamoDB is a "
    "stub of the wire in a process of its own, and the bucket is a folder. Their CPU is in no figure, nor are TLS and "
    "the client of S3. A new member costs an entry of the segment's index and an item."
)

_BUCKET: Final = "benchmark"
_SECRETS: Final = {
    f"{PREFIX}/sources/shop": json.dumps(
        {"dialect": "relay-json", "auth": "bearer", "secret": "b" * 40, "profile_key": "identities.crm_id"}
    ),
    f"{PREFIX}/stack/identity-key": "k" * 64,
}
_HOUR: Final = 3_600
_INVOCATION_SECONDS: Final = 900


def benchmark(folder: Path, rows: int, formats: Sequence[str]) -> Report:
    """Import a file of each format twice, each in a process of its own, and report."""
    figures: list[Figure] = []
    for name in formats:
        # What writes files must not count in the most memory, and a million people fill a stub.
        apart(write, folder / _BUCKET / _key(name), name, rows)
        with aws_apart({}, _SECRETS) as aws:
            found: Mapping[str, Any] = apart(measure, aws, folder, name)
        shutil.rmtree(folder / _BUCKET)
        for case in CASES:
            figures += _figures(name, case, found[case], rows)
        figures.append(Figure("peak_mb", "most memory, MB", found["peak_mb"], PEAK, 0, f"{name}_new"))
    titles = {f"{name}_{case}": f"{name}, {title}" for name in formats for case, title in CASES.items()}
    return Report("segment-file", {"rows": rows}, figures, (MEASURED, PRICED), titles)


def measure(aws: Aws, folder: Path, name: str) -> dict[str, Any]:
    """Import a file and then, newer, the same; return what was measured of both, and the most memory."""
    os.environ.update(aws.environment("importsegment"), RELAY_BUCKET=_BUCKET)
    wiring, app = importlib.import_module("relay.wiring"), importlib.import_module("functions.import_segment.app")
    key = _key(name)
    file = folder / _BUCKET / key
    wiring.Stack.bucket = property(lambda _: lambda: FolderBucket(folder))
    found: dict[str, Any] = {}
    for case, hours in zip(CASES, (2, 1), strict=True):
        at = time.time() - hours * _HOUR
        os.utime(file, (at, at))
        aws.usage()
        cpu, wall, calls = time.process_time(), time.monotonic(), 0
        body: Mapping[str, Any] = {"detail": {"object": {"key": key}}}
        with redirect_stdout(Log()) as log:
            while True:
                calls += 1
                if app.handler(_event(body), _Context())["batchItemFailures"]:
                    raise RuntimeError("the message failed")
                import_id, state, counts = aws.do(_latest)
                if state in ENDED:
                    break
                body = {"segment": "shop/vip", "about": import_id}
        found[case] = {
            "cpu": time.process_time() - cpu,
            "wall": time.monotonic() - wall,
            "usage": aws.usage(),
            "invocations": calls,
            "logs": log.bytes,
            "state": state.value,
            "counts": dict(counts),
        }
    return {**found, "peak_mb": peak_memory_mb()}


def _key(name: str) -> str:
    return f"segments/shop/vip/vip.{name}"


def _latest(database: Database) -> tuple[str, Any, Mapping[str, int]]:
    one = segment_imports.latest(database, count=1)[0]
    return one.id, one.state, one.counts


def _event(body: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1795708800000"}
    record = {
        "messageId": "message",
        "receiptHandle": "r" * 400,
        "body": json.dumps(body),
        "attributes": attributes,
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:123456789012:{PREFIX}-segments",
    }
    return {"Records": [record]}


class _Context(SimpleNamespace):
    """Lambda's context, of an invocation that begins now."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _INVOCATION_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1_000)


class FolderBucket:
    """What is used of S3's client, on a folder that has a folder for each bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_objects_v2(self, **request: Any) -> Mapping[str, Any]:
        """List all objects below a prefix at once."""
        root = self._folder / request["Bucket"]
        place = root / request["Prefix"]
        found = sorted(one for one in place.rglob("*") if one.is_file()) if place.exists() else []
        contents = [
            {
                "Key": str(one.relative_to(root)),
                "Size": one.stat().st_size,
                "LastModified": datetime.fromtimestamp(one.stat().st_mtime, UTC),
                "ETag": str(one.stat().st_mtime_ns),
            }
            for one in found
        ]
        return {"Contents": contents}

    def get_object(self, **request: Any) -> Mapping[str, Any]:
        """Open an object."""
        return {"Body": self._path(request).open("rb")}

    def put_object(self, **request: Any) -> None:
        """Write an object."""
        self._path(request).parent.mkdir(parents=True, exist_ok=True)
        self._path(request).write_bytes(request["Body"])

    def delete_object(self, **request: Any) -> None:
        """Delete an object."""
        self._path(request).unlink()

    def _path(self, request: Mapping[str, Any]) -> Path:
        return cast("Path", self._folder / request["Bucket"] / request["Key"])


def write(file: Path, name: str, rows: int) -> None:
    """Write a segment file of so many rows: two identities and six attributes each."""
    file.parent.mkdir(parents=True)
    FORMATS[name](file, rows_of(rows))


def rows_of(count: int) -> Iterator[Row]:
    """Yield so many rows."""
    for number in range(count):
        yield {
            "crm_id": f"HB-{number}",
            "identities.email": f"customer{number}@harbour-books.example",
            **{f"attribute{n}": f"value {n} of {number}" for n in range(6)},
        }


def _csv(file: Path, rows: Iterator[Row]) -> None:
    with file.open("wb") as stream:
        _write_csv(stream, rows)


def _gzip(file: Path, rows: Iterator[Row]) -> None:
    with file.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) as stream:
        _write_csv(cast("BinaryIO", stream), rows)


def _write_csv(stream: BinaryIO, rows: Iterator[Row]) -> None:
    text = io.TextIOWrapper(stream, "utf-8", newline="")
    first = next(rows)
    table = csv.DictWriter(text, first)
    table.writeheader()
    table.writerow(first)
    table.writerows(rows)
    text.flush()
    text.detach()


def _ndjson(file: Path, rows: Iterator[Row]) -> None:
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def _parquet(file: Path, rows: Iterator[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    writer = None
    while batch := list(islice(rows, 50_000)):
        table = pyarrow.Table.from_pylist(batch)
        writer = pyarrow.parquet.ParquetWriter(file, table.schema) if writer is None else writer
        writer.write_table(table)
    if writer is not None:
        writer.close()


FORMATS: Final[Mapping[str, Callable[[Path, Iterator[Row]], None]]] = {
    "csv": _csv,
    "ndjson": _ndjson,
    "parquet": _parquet,
    "gzip": _gzip,
}
"""What writes a file of each format; gzip is around CSV."""


def _figures(name: str, case: str, measured: Mapping[str, Any], rows: int) -> Iterator[Figure]:
    usage: Usage = measured["usage"]
    full, goals, millions = f"{name}_{case}", GOALS[case], rows / 1e6
    calls = usage.calls.total()
    writes, reads = sum(usage.write_units.values()), sum(usage.read_units.values())
    # Chunks wait at the same time.
    waited = calls * DYNAMODB_SECONDS / AT_ONCE
    bill = Bill(
        write_units=writes,
        read_units=reads,
        standard_requests=3 * measured["invocations"],
        invocations=measured["invocations"],
        cpu_seconds=measured["cpu"],
        # The function has a whole processor, and memory to match.
        waited_seconds=waited * FULL_SHARE_GB / MEMORY_GB,
        log_bytes=measured["logs"],
    )
    kind = "new member" if case == "new" else "unchanged row"

    def figure(name: str, text: str, value: float, digits: int) -> Figure:
        return Figure(name, text, value, goals.get(name), digits, full)

    yield figure("cpu_seconds_per_million", "CPU seconds per million rows", measured["cpu"] / millions, 1)
    yield figure("write_units_per_row", f"write units per {kind}", writes / rows, 3)
    yield figure("read_units_per_row", f"read units per {kind}", reads / rows, 3)
    yield figure("calls_per_1000", "calls to DynamoDB per 1,000 rows", calls / rows * 1e3, 1)
    seconds = measured["cpu"] + waited
    yield figure("reckoned_seconds", "seconds on AWS per million rows, reckoned", seconds / millions, 0)
    price = {part: dollars / millions for part, dollars in bill.parts().items()}
    yield figure("list_price_per_million", "list price per million rows, $", sum(price.values()), 3)
    for part, dollars in price.items():
        yield Figure(
            f"{part}_price_per_million", f"  {part.replace('_', ' ')}, $", dollars, None, 3, full, Section.PARTS
        )
    yield Figure("wall_seconds", "seconds here", measured["wall"], None, 1, full, Section.OUTCOME)
    of_kind = measured["counts"].get("entered" if case == "new" else "unchanged", 0)
    yield Figure("of_its_kind", f"rows of a {kind}", of_kind, Goal("=", rows), 0, full, Section.OUTCOME)
