"""Bytes of segment files to rows: formats, encodings, and what is broken."""

import bz2
import gzip
import io
from collections.abc import Sequence

import pytest

from relay.files import text
from relay.files.reader import read_rows
from relay.files.rows import BrokenRow, Part, Row, Unreadable

PEOPLE = [{"crm": "1", "city": "Oslo"}, {"crm": "2", "city": None}]


class Streamed(io.RawIOBase):
    """Has `read` alone, as the body of an answer has."""

    def __init__(self, raw: bytes) -> None:
        self._raw = io.BytesIO(raw)

    def read(self, size: int = -1, /) -> bytes:
        return self._raw.read(size)


def part(raw: bytes | str, name: str = "part") -> Part:
    return Part(name, lambda: Streamed(raw if isinstance(raw, bytes) else raw.encode()))  # type: ignore[arg-type, return-value]


def anything(name: str, columns: Sequence[str]) -> None:
    pass


def rows(*raw: bytes | str, columns: Sequence[str] | None = None) -> list[Row | BrokenRow]:
    parts = [part(one, f"part-{number}") for number, one in enumerate(raw)]
    return list(read_rows(parts, require=anything, columns=columns))


def values(*raw: bytes | str, columns: Sequence[str] | None = None) -> list[object]:
    return [dict(row.values) if isinstance(row, Row) else row.reason for row in rows(*raw, columns=columns)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_usual_delimiter_and_line_end_is_found(delimiter: str, end: str) -> None:
    lines = [["crm", '"a,b;c|d"'], ["1", '"Os""lo"'], ["2", ""]]
    found = values(end.join(delimiter.join(line) for line in lines) + end)
    assert found == [{"crm": "1", "a,b;c|d": 'Os"lo'}, {"crm": "2", "a,b;c|d": None}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("content", ["crm,city\n1,Zürich\n", '{"crm":"1","city":"Zürich"}\n'])
def test_encodings_and_gzip_are_told_by_content(encoding: str, packed: bool, content: str) -> None:
    raw = content.encode(encoding)
    assert values(gzip.compress(raw) if packed else raw) == [{"crm": "1", "city": "Zürich"}]


def test_parts_follow_each_other_and_each_may_have_its_own_format() -> None:
    assert values("crm,city\n1,Oslo\n", '{"crm": "2"}\n', gzip.compress(b"city;crm\nRom;3")) == [
        {"crm": "1", "city": "Oslo"},
        {"crm": "2"},
        {"city": "Rom", "crm": "3"},
    ]


@pytest.mark.parametrize("raw", [b"", b"\xef\xbb\xbf", b"crm,city\n", b"\n\n", gzip.compress(b"", mtime=0)])
def test_a_part_without_rows_has_none(raw: bytes) -> None:
    assert rows(raw) == []


def test_rows_know_their_line_also_behind_blank_and_long_rows() -> None:
    found = rows('\ncrm,note\n\n1,"two\nlines"\n2,x\n,\n3,y\n')
    assert [(row.part, row.line) for row in found] == [("part-0", 4), ("part-0", 6), ("part-0", 8)]


def test_nulls_of_warehouses_are_no_values() -> None:
    assert values("crm,city\n1,\\N\n2,\n") == [{"crm": "1", "city": None}, {"crm": "2", "city": None}]


def test_broken_rows_are_told_with_their_line_and_stop_nothing() -> None:
    found = rows("crm,city\n1,Oslo\n2\n3,a,b\n4,Rom\n")
    assert [(type(row), row.line) for row in found] == [(Row, 2), (BrokenRow, 3), (BrokenRow, 4), (Row, 5)]


def test_a_quote_that_is_never_closed_costs_its_own_row_alone() -> None:
    assert values('crm,city\n1,"Oslo\n2,Rom\n3,"Paris"\n4,Bonn\n') == [
        "has quotes that do not fit, or a field of more than 128 KB",
        {"crm": "2", "city": "Rom"},
        {"crm": "3", "city": "Paris"},
        {"crm": "4", "city": "Bonn"},
    ]


def test_an_open_quote_at_the_end_costs_its_own_row_alone() -> None:
    assert values('crm,city\n1,"Oslo\n2,Rom\n')[1:] == [{"crm": "2", "city": "Rom"}]


def test_two_stray_quotes_do_not_swallow_the_rows_between_them() -> None:
    assert values('crm,size\n1,"Big\n2,10\n3,11\n4,size 42"\n5,12\n') == [
        "has a quote that swallows the rows behind it",
        {"crm": "2", "size": "10"},
        {"crm": "3", "size": "11"},
        {"crm": "4", "size": 'size 42"'},
        {"crm": "5", "size": "12"},
    ]


def test_a_field_of_several_lines_is_read_but_not_one_of_too_many() -> None:
    [row] = values('crm,city,note\n1,Oslo,"Dear all,\n\nI came, I saw\nbye"\n')
    assert row == {"crm": "1", "city": "Oslo", "note": "Dear all,\n\nI came, I saw\nbye"}
    found = values('crm,city,note\n1,Oslo,"' + "line\n" * 200 + '"\n2,Rom,x\n')
    assert found[0] == "has a quote that swallows the rows behind it"
    assert found[-1] == {"crm": "2", "city": "Rom", "note": "x"}


@pytest.mark.parametrize("delimiter", [",", ";", "~"])
def test_the_line_that_tells_excel_the_delimiter_is_no_header(delimiter: str) -> None:
    found = rows(f"sep={delimiter}\r\ncrm{delimiter}city\r\n1{delimiter}Oslo\r\n")
    assert found == [Row("part-0", 3, {"crm": "1", "city": "Oslo"})]


@pytest.mark.parametrize("text", ["crm,city\n1,{}\n", '{{"crm":1,"city":"{}"}}\n'])
def test_rows_know_about_how_large_they_are(text: str) -> None:
    [row] = rows(text.format("x" * 1_000))
    assert isinstance(row, Row)
    assert 1_000 < row.size < 1_100


class TooLateError(Exception):
    pass


@pytest.mark.parametrize("head", ["crm\n1\n", '{"crm": 1}\n'])
def test_lines_without_anything_are_watched(head: str) -> None:
    calls = []

    def watch() -> None:
        calls.append(1)
        if len(calls) == 5:
            raise TooLateError

    packed = gzip.compress(head.encode() + b"\n" * 2_000_000)
    reading = read_rows([part(packed)], require=anything, watch=watch)
    assert isinstance(next(reading), Row)
    with pytest.raises(TooLateError):
        next(reading)


def test_quotes_behind_backslashes_are_read_as_spark_writes_them() -> None:
    text = r"""crm,city
1,"say \"hi\", ok"
2,"C:\new"
3,"two
 \"lines\""
4,Rom
"""
    assert [row["city"] for row in values(text) if isinstance(row, dict)] == [
        'say "hi", ok',
        r"C:\new",
        'two\n "lines"',
        "Rom",
    ]


def test_a_line_that_is_too_long_is_a_broken_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE", 20)
    long = "x" * 50
    assert values(f"crm,city\n1,{long}\n2,Rom\n")[1:] == [{"crm": "2", "city": "Rom"}]
    assert values(f'{{"crm": 1}}\n{{"a": "{long}"}}\n{{"crm": 2}}\n') == [
        {"crm": 1},
        "is longer than 20 characters",
        {"crm": 2},
    ]
    with pytest.raises(Unreadable, match="begins with a line that is longer"):
        rows(f"{long}\n")


def test_ndjson_that_is_none_is_a_broken_row() -> None:
    found = rows('{"crm": 1}\n\n{"crm": \n7\n{"crm": NaN}\n{"crm": "\\ud800"}\n{"crm": 2}')
    assert [(row.line, getattr(row, "reason", None)) for row in found] == [
        (1, None),
        (3, "is not JSON"),
        (4, "is not a JSON object"),
        (5, "is not JSON"),
        (6, "holds half a surrogate pair in a text"),
        (7, None),
    ]


WHOLE = gzip.compress(b"crm,city\n" + b"".join(b"%d,Oslo\n" % number for number in range(5_000)), mtime=0)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (WHOLE[:-20], "cut off"),
        (WHOLE[:-8] + b"12345678", "damaged"),
        (WHOLE[:40] + b"\xff" * 40 + WHOLE[80:], "damaged"),
        ("crm,city\n1,Zürich\n".encode("latin-1"), "neither in UTF-8 nor in UTF-16"),
        (b'[{"crm": 1}]', "JSON list"),
        (gzip.compress(gzip.compress(b"crm\n1\n", mtime=0), mtime=0), "packed by gzip twice"),
        (bz2.compress(b"crm\n1\n"), "bzip2"),
        (b"PARE\x15\x04", "an encrypted Parquet file"),
        (b"crm,city\n1,Oslo\n2", "cut off"),
        (b'crm,city\n1,Oslo\n2,"Os', "cut off"),
        (b'{"crm": 1}\n{"cr', "cut off"),
        *(("crm\n1\n".encode(encoding), "in UTF-32") for encoding in ("utf-32", "utf-32-be", "utf-32-le")),
        (b"PK\x03\x04....", "ZIP"),
        (b"PAR1\x15\x04", "a Parquet file that cannot be read"),
        (b"-----BEGIN PGP MESSAGE-----\n", "encrypted"),
        (b"crm,crm\n", "two columns of one name"),
        (b'crm,"city\n1,2\n', "begins with a row"),
        (b",".join(b"c%d" % number for number in range(2_001)), "more than 2,000 columns"),
    ],
)
def test_what_cannot_be_read_to_its_end_says_so(raw: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason) as raised:
        rows(raw)
    assert raised.value.reason.startswith("part-0 ")


def test_a_broken_first_part_names_itself_after_the_rows_before_it() -> None:
    reading = read_rows([part("crm\n1\n", "good"), part(WHOLE[:-20], "bad")], require=anything)
    assert isinstance(next(reading), Row)
    with pytest.raises(Unreadable, match="bad is cut off"):
        list(reading)


def test_announced_columns_serve_a_part_without_a_header_and_one_with() -> None:
    columns = ["crm", "city"]
    assert values("1,Oslo\n", "crm,city\n2,Rom\n", columns=columns) == [
        {"crm": "1", "city": "Oslo"},
        {"crm": "2", "city": "Rom"},
    ]
    with pytest.raises(Unreadable, match="has 3 columns where 2 are announced"):
        rows("1,Oslo,x\n", columns=columns)
