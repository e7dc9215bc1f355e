"""Parquet, read with pyarrow. It lies in a layer of its own, so it is imported only where a Parquet file is met.

Values become what JSON has: times are texts in UTC, to the microsecond; dates, times of day and UUIDs are texts,
decimals numbers (whole ones exactly), bytes in UTF-8 texts, maps objects. What is none of these, such as other bytes or
a time after the year 9999, is no value.
https://arrow.apache.org/docs/python/parquet.html
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, BinaryIO, Final
from uuid import UUID

from relay.domain import moments
from relay.domain.changes import Json
from relay.files.columns import refuse_names
from relay.files.rows import BrokenRow, Require, Row, Unreadable
from relay.sources.json_body import flaw_of

MARK: Final = b"PAR1"
ROWS_AT_ONCE: Final = 1_000
BYTES_AT_ONCE: Final = 64 << 20
"""The most bytes of texts that are unpacked together."""
MAX_CELL: Final = 131_072
"""The most characters of a text that is taken, as in CSV. A longer one is left out: what is stored stays. Within
an object or a list it is no value."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Final = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_UNFIT: Final = "has a value that cannot be read"


def read(name: str, file: BinaryIO, require: Require) -> Iterator[Row | BrokenRow]:
    """Yield the rows of a file that can be read at any place. Raises Unreadable."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Unreadable(
            f"{name} is a Parquet file, and pyarrow is not installed for this Python and processor"
        ) from None

    line = 0
    try:
        metadata = pyarrow.parquet.read_metadata(file)
        table = pyarrow.parquet.ParquetFile(file, metadata=metadata, coerce_int96_timestamp_unit="us")
        refuse_names(name, table.schema_arrow.names)
        require(name, table.schema_arrow.names)
        for batch in _batches(pyarrow.parquet, file, table, metadata):
            for given in _rows(batch):
                line += 1
                yield _row(name, line, given)
    except Unreadable:
        raise
    except MemoryError:
        raise Unreadable(f"{name} needs more memory than there is; write smaller row groups") from None
    except Exception:  # noqa: BLE001 - what pyarrow raises is no closed set, and it says that the file cannot be read
        raise Unreadable(f"{name} is a Parquet file that cannot be read") from None


def _batches(parquet: Any, file: BinaryIO, table: Any, metadata: Any) -> Iterator[Any]:
    """Yield the rows of all row groups, fewer at once where the texts of a row group are large."""
    texts = [metadata.schema.column(one) for one in range(metadata.num_columns)]
    places = [place for place, column in enumerate(texts) if column.physical_type == "BYTE_ARRAY"]
    for group in range(metadata.num_row_groups):
        of_group = metadata.row_group(group)
        chunks = [of_group.column(place) for place in places]
        most = min(ROWS_AT_ONCE, max(of_group.num_rows, 1))
        plain = sum(one.total_uncompressed_size for one in chunks)
        packed = [one.path_in_schema for one in chunks if one.has_dictionary_page]
        if packed and plain * most > BYTES_AT_ONCE:
            # A text of a dictionary may stand in every row, so a small file may hold much.
            lengths = _longest(parquet.ParquetFile(file, metadata=metadata, read_dictionary=packed), group, packed)
            most = max(1, min(most, BYTES_AT_ONCE // max(lengths, 1)))
        if plain // max(of_group.num_rows, 1) * most > BYTES_AT_ONCE:
            most = max(1, BYTES_AT_ONCE * of_group.num_rows // plain)
        yield from table.iter_batches(batch_size=most, row_groups=[group], use_threads=False)


def _longest(table: Any, group: int, columns: Sequence[str]) -> int:
    """Return the most bytes that texts of the dictionaries of a row group have in one row."""
    import pyarrow.compute

    first = next(table.iter_batches(batch_size=1, row_groups=[group], columns=columns, use_threads=False), None)
    found = chain.from_iterable(_dictionaries(column) for column in (() if first is None else first.columns))
    return sum(pyarrow.compute.max(pyarrow.compute.binary_length(one)).as_py() or 0 for one in found)


def _dictionaries(array: Any) -> Iterator[Any]:
    if hasattr(array, "dictionary"):
        yield array.dictionary
    elif hasattr(array, "flatten"):
        inner = array.flatten()
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not array:
                yield from _dictionaries(one)


def _rows(batch: Any) -> Iterator[Mapping[str, Any] | None]:
    """Yield the cells of a batch by columns; None for a row in which one cannot be read."""
    try:
        # Of maps this would not tell the empty ones from empty lists.
        whole = None if any("map<" in str(one) for one in batch.schema.types) else batch.to_pylist()
    except Exception:  # noqa: BLE001 - whatever it is, it is looked for cell by cell
        whole = None
    if whole is not None:
        yield from whole
        return
    names = batch.schema.names
    for cells in zip(*batch.columns, strict=True):
        try:
            yield {name: _plain(cell) for name, cell in zip(names, cells, strict=True)}
        except Exception:  # noqa: BLE001 - it concerns one row
            yield None


def _plain(cell: Any) -> Any:
    """Return a cell as what Python has for it, of times also what pyarrow does not convert."""
    if not cell.is_valid:
        return None
    kind = str(cell.type)
    if kind.startswith("map<"):
        return {_key(one["key"]): _plain(one["value"]) for one in cell.values}
    if kind.startswith("struct<"):
        return {cell.type.field(place).name: _plain(cell[place]) for place in range(cell.type.num_fields)}
    if hasattr(cell, "values"):
        return [_plain(one) for one in cell.values]
    if kind.startswith("timestamp["):
        more, less = _MICROSECONDS[cell.type.unit]
        return _after(_EPOCH, timedelta(microseconds=1), cell.value * more // less)
    if kind.startswith("time64[ns"):
        return _after(_EPOCH, timedelta(microseconds=1), cell.value // 1_000, lambda at: at.time())
    if kind.startswith("date32"):
        return _after(_EPOCH, timedelta(days=1), cell.value, lambda at: at.date())
    if kind.startswith(("date64", "duration")):
        with suppress(ValueError, OverflowError):
            return cell.as_py()
        return None
    return cell.as_py()


def _key(cell: Any) -> str:
    value = _json(_plain(cell))
    return value if isinstance(value, str) else json.dumps(value)


def _after(start: datetime, step: timedelta, steps: int, part: Callable[[datetime], Any] = lambda at: at) -> Any:
    """Return a time, None where Python has none."""
    try:
        return part(start + step * steps)
    except OverflowError:
        return None


def _row(name: str, line: int, given: Mapping[str, Any] | None) -> Row | BrokenRow:
    if given is None:
        return BrokenRow(name, line, _UNFIT)
    values: dict[str, Json] = {}
    for key, one in given.items():
        value = one if type(one) in _AS_THEY_ARE else _json(one)
        if type(value) is str and len(value) > MAX_CELL:
            continue
        values[key] = value
    flaw = flaw_of(values)
    return Row(name, line, values) if flaw is None else BrokenRow(name, line, flaw)


_AS_THEY_ARE: Final = frozenset({str, int, bool, type(None)})


def _json(value: Any) -> Json:
    match value:
        case None | bool() | int():
            return value
        case str():
            return value if len(value) <= MAX_CELL else None
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            with suppress(OverflowError):
                return moments.text(value if value.tzinfo is not None else value.replace(tzinfo=UTC))
            return None
        case date() | time():
            return value.isoformat()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case UUID():
            return str(value)
        case bytes():
            with suppress(UnicodeDecodeError):
                return value.decode()
            return None
        case dict():
            return {str(key): _json(one) for key, one in value.items()}
        case list():
            return [_json(one) for one in value]
        case _:
            return None
