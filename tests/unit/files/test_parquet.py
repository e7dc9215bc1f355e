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
            "hour": "09:00:00",
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


def values(raw: bytes) -> list[object]:
    return [dict(row.values) if isinstance(row, Row) else row.reason for row in rows(raw)]


@pytest.mark.parametrize("old", [False, True])
def test_digits_below_a_microsecond_are_cut_off(old: bool) -> None:
    times = pyarrow.array([1_700_000_000_123_456_789, -1], pyarrow.timestamp("ns"))
    found = values(parquet({"at": times}, use_deprecated_int96_timestamps=old))
    assert found == [{"at": "2023-11-14T22:13:20.123456Z"}, {"at": "1969-12-31T23:59:59.999999Z"}]


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (pyarrow.timestamp("us"), 316_000_000_000_000_000, None),
        (pyarrow.timestamp("us", "America/New_York"), 253_402_300_799_000_000 + 3_600_000_000, None),
        (pyarrow.timestamp("us", "Mars/Base"), 1, "1970-01-01T00:00:00.000001Z"),
        (pyarrow.timestamp("ms", "+02:00"), 1, "1970-01-01T00:00:00.001000Z"),
        (pyarrow.date32(), 3_000_000, None),
        (pyarrow.date32(), -3_000_000, None),
        (pyarrow.date32(), 1, "1970-01-02"),
        (pyarrow.time64("ns"), 1_001, "00:00:00.000001"),
        (pyarrow.duration("ns"), 1, None),
        (pyarrow.duration("us"), 1, None),
    ],
)
def test_a_time_that_python_does_not_know_costs_neither_its_row_nor_the_file(
    kind: Any, number: int, text: str | None
) -> None:
    at = pyarrow.array([number, None], kind)
    nested = pyarrow.StructArray.from_arrays([at], ["at"])
    lists = pyarrow.array([[number], None], pyarrow.list_(kind))
    found = values(parquet({"crm": ["1", "2"], "at": at, "person": nested, "all": lists}))
    assert found == [
        {"crm": "1", "at": text, "person": {"at": text}, "all": [text]},
        {"crm": "2", "at": None, "person": {"at": None}, "all": None},
    ]


def test_a_text_that_is_none_is_a_broken_row() -> None:
    texts = pyarrow.array([b"a", b"\xff", b"c"]).cast(pyarrow.binary()).view(pyarrow.string())
    assert values(parquet({"crm": texts})) == [{"crm": "a"}, "has a value that cannot be read", {"crm": "c"}]


def test_maps_are_objects_and_uuids_texts() -> None:
    entries = pyarrow.list_(pyarrow.struct([("id", pyarrow.string())]))
    raw = parquet(
        {
            "identityMap": pyarrow.array([[("crm", [{"id": "1"}])], [], None], pyarrow.map_(pyarrow.string(), entries)),
            "sizes": pyarrow.array([[(7, 1)], [(8, None)], []], pyarrow.map_(pyarrow.int32(), pyarrow.int32())),
            "key": pyarrow.array([b"0" * 16, None, b"1" * 16], pyarrow.uuid()),
        }
    )
    assert values(raw) == [
        {"identityMap": {"crm": [{"id": "1"}]}, "sizes": {"7": 1}, "key": "30303030-3030-3030-3030-303030303030"},
        {"identityMap": {}, "sizes": {"8": None}, "key": None},
        {"identityMap": None, "sizes": {}, "key": "31313131-3131-3131-3131-313131313131"},
    ]


def test_two_columns_of_one_name_are_refused() -> None:
    file = io.BytesIO()
    column = pyarrow.array(["1"])
    pyarrow.parquet.write_table(pyarrow.table([column, column], names=["crm", "crm"]), file)
    with pytest.raises(Unreadable, match="two columns of one name"):
        rows(file.getvalue())


def test_a_large_text_is_left_out_and_few_rows_with_large_texts_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relay.files.parquet.MAX_CELL", 100)
    monkeypatch.setattr("relay.files.parquet.BYTES_AT_ONCE", 3_000)
    indices = pyarrow.array([0] * 20 + [1], pyarrow.int32())
    large = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x" * 1_000, "short"])).dictionary_decode()
    columns: dict[str, Any] = {
        "crm": [str(number) for number in range(21)],
        "page": large,
        "person": pyarrow.StructArray.from_arrays([large], ["page"]),
        "all": pyarrow.array([["x" * 1_000]] * 20 + [None]),
    }
    file = pyarrow.parquet.ParquetFile
    most: list[int] = []

    class Watched(file):  # type: ignore[misc, valid-type]
        def iter_batches(self, **options: Any) -> Any:
            for batch in super().iter_batches(**options):
                most.append(batch.nbytes)
                yield batch

    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", Watched)
    for options in ({}, {"use_dictionary": False}):
        most.clear()
        found = values(parquet(columns, **options))
        assert found[0] == {"crm": "0", "person": {"page": None}, "all": [None]}
        assert found[20] == {"crm": "20", "page": "short", "person": {"page": "short"}, "all": None}
        assert len(found) == 21
        assert max(most) < 10_000


@pytest.mark.parametrize(("error", "reason"), [(MemoryError, "more memory"), (RuntimeError, "cannot be read")])
def test_whatever_pyarrow_raises_the_file_is_unreadable(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], reason: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    raw = parquet({"crm": ["1"]})
    monkeypatch.setattr(pyarrow.parquet, "read_metadata", fails)
    with pytest.raises(Unreadable, match=reason):
        rows(raw)
