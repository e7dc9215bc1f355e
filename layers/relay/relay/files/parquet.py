"""Parquet, read with pyarrow. It lies in a layer of its own, so it is imported only where a Parquet file is met.

Values become what JSON has: times are texts in UTC, dates texts, decimals numbers (whole ones exactly), bytes in UTF-8
texts. What is none of these, such as other bytes, is no value.
https://arrow.apache.org/docs/python/parquet.html
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from relay.domain import moments
from relay.domain.changes import Json
from relay.files.rows import BrokenRow, Require, Row, Unreadable
from relay.sources.json_body import flaw_of

MARK = b"PAR1"
ROWS_AT_ONCE = 1_000


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
        table = pyarrow.parquet.ParquetFile(file)
        require(name, table.schema_arrow.names)
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False):
            for given in batch.to_pylist():
                line += 1
                values = {key: _json(value) for key, value in given.items()}
                flaw = flaw_of(values)
                yield Row(name, line, values) if flaw is None else BrokenRow(name, line, flaw)
    except (pyarrow.ArrowException, OSError):
        raise Unreadable(f"{name} is a Parquet file that cannot be read") from None


def _json(value: Any) -> Json:
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return moments.text(value if value.tzinfo is not None else value.replace(tzinfo=UTC))
        case date():
            return value.isoformat()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
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
