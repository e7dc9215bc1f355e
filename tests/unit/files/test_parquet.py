"""Parquet to rows."""

import errno
import gzip
import io
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from relay.files.reader import read_rows
from relay.files.rows import BrokenRow, Part, Row, Unreadable


def parquet(columns: dict[str, list[Any]], **options: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file, **options)
    return file.getvalue()


def rows(raw: bytes) -> list[Row | BrokenRow]:
    return list(read_rows([Part("a.parquet", lambda: io.BytesIO(raw))], require=lambda *_: None))


@pytest.mark.parametrize("packed", [False, True])
def test_values_become_what_json_has(packed: bool) -> None:
    raw = parquet(
        {
            "crm": [Decimal("12345678901234567890"), None],
            "score": [Decimal("1.5"), Decimal("2")],
            "ratio": [float("nan"), 0.5],
            "at": [datetime(2026, 4, 30, 9, 30, tzinfo=UTC).replace(tzinfo=None), None],
            "zoned": [datetime(2026, 4, 30, 9, 30, tzinfo=UTC), None],
            "day": [date(2026, 4, 30), None],
            "hour": [time(9), None],
            "raw": [b"Oslo", b"\xff"],
            "person": [{"name": {"first": "Kim"}, "tags": ["a", None]}, None],
            "in": [True, False],
        }
    )
    found = rows(gzip.compress(raw) if packed else raw)
    assert [row.line for row in found] == [1, 2]
    assert [dict(row.values) for row in found if isinstance(row, Row)] == [
        {
            "crm": 12345678901234567890,
            "score": 1.5,
            "ratio": None,
            "at": "2026-04-30T09:30:00.000000Z",
            "zoned": "2026-04-30T09:30:00.000000Z",
            "day": "2026-04-30",
            "hour": None,
            "raw": "Oslo",
            "person": {"name": {"first": "Kim"}, "tags": ["a", None]},
            "in": True,
        },
        {
            "crm": None,
            "score": 2,
            "ratio": 0.5,
            "at": None,
            "zoned": None,
            "day": None,
            "hour": None,
            "raw": None,
            "person": None,
            "in": False,
        },
    ]


def test_a_file_that_is_cut_off_or_damaged_is_unreadable() -> None:
    raw = parquet({"crm": [str(number) for number in range(2_000)]}, compression="gzip")
    for broken in (raw[:-10], raw[:100] + b"\xff" * 200 + raw[300:]):
        with pytest.raises(Unreadable, match=r"a\.parquet is a Parquet file that cannot be read"):
            rows(broken)


@pytest.mark.parametrize(("number", "raises"), [(errno.ENOSPC, Unreadable), (errno.EIO, OSError)])
def test_a_file_that_does_not_fit_on_the_disk_is_unreadable(
    monkeypatch: pytest.MonkeyPatch, number: int, raises: type[Exception]
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(number, "")

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    with pytest.raises(raises):
        rows(b"PAR1")


def test_where_pyarrow_is_not_installed_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unreadable, match="pyarrow is not installed"):
        rows(b"PAR1")


def test_the_header_is_looked_at_before_any_row() -> None:
    def require(part: str, columns: Any) -> None:
        raise Unreadable(f"{part} has {', '.join(columns)}")

    raw = parquet({"city": ["Oslo"]})
    with pytest.raises(Unreadable, match=r"a\.parquet has city"):
        list(read_rows([Part("a.parquet", lambda: io.BytesIO(raw))], require=require))
