"""CSV with any of the usual delimiters. https://www.rfc-editor.org/rfc/rfc4180

A row that RFC 4180 does not allow is tried again with a backslash before quotes, as Spark writes them by default:
https://spark.apache.org/docs/latest/sql-data-sources-csv.html. A quote that is never closed costs its own line alone:
the lines behind it are read as rows of their own. So does a pair of them that swallows the rows between: each of three
lines or more would be a row by itself.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Final

from relay.domain.changes import Json
from relay.files.columns import refuse_names
from relay.files.rows import BrokenRow, Require, Row, Unreadable
from relay.files.text import Lines

DELIMITERS: Final = ",;\t|"
MAX_LINES: Final = 100
"""The most lines of a row."""

_NULLS: Final = frozenset({"", "\\N"})
"""What stands for no value: nothing, and what Snowflake and Hive write."""
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""The line by which Excel is told the delimiter."""
_SWALLOWS = "has a quote that swallows the rows behind it"
_UNFIT = "has quotes that do not fit, or a field of more than 128 KB"


def read(name: str, lines: Lines, columns: Sequence[str] | None, require: Require) -> Iterator[Row | BrokenRow]:
    """Yield the rows of a part. `columns` are the names where the part may have no header.

    A first row that consists of these names is a header all the same. Values are texts, None where there is none.
    Columns without a name are one, named by an empty text. Raises Unreadable.
    """
    try:
        first = next((line for line in _marked(lines) if not line.isspace()), None)
    except csv.Error as error:
        raise Unreadable(f"{name} begins with a line that {error}") from None
    if first is None:
        return
    if told := _SEPARATOR.fullmatch(first):
        lines.mark()
        table = _Table(name, lines, told[1])
    else:
        table = _Table(name, lines, _delimiter(first, columns))
        lines.give_back(0)
    header = table.header(columns)
    require(name, [column for column in header if column])
    yield from table.rows(header)


def _delimiter(first: str, columns: Sequence[str] | None) -> str:
    """Return the delimiter that makes as many fields as there are columns; otherwise the most frequent one."""
    plain = _QUOTED.sub("", first)
    fitting = [one for one in DELIMITERS if columns is not None and plain.count(one) == len(columns) - 1]
    # On a tie the one that is named first.
    return max(fitting or DELIMITERS, key=plain.count)


def _marked(lines: Lines) -> Iterator[str]:
    for line in lines:
        yield line
        lines.mark()


class _Table:
    def __init__(self, name: str, lines: Lines, delimiter: str) -> None:
        self._name = name
        self._lines = lines
        self._delimiter = delimiter

    def header(self, columns: Sequence[str] | None) -> Sequence[str]:
        """Return the names of the columns, empty for one without."""
        try:
            names = [field.strip() for field in next(self._reader())]
        except csv.Error:
            raise Unreadable(f"{self._name} begins with a row that cannot be read") from None
        if columns is None:
            refuse_names(self._name, names)
        elif len(names) != len(columns):
            raise Unreadable(f"{self._name} has {len(names)} columns where {len(columns)} are announced")
        elif names != list(columns):
            self._lines.give_back(0)
        return names if columns is None else columns

    def rows(self, header: Sequence[str]) -> Iterator[Row | BrokenRow]:
        """Yield the rows that follow."""
        name, lines, width = self._name, self._lines, len(header)
        reader, taken = self._reader(), lines.taken
        while True:
            lines.mark()
            fault = None
            try:
                row = next(reader, None)
            except csv.Error:
                row, fault = [], _UNFIT
            if row is None:
                return
            if fault is None and not any(row):
                continue
            if fault is None and len(row) != width:
                fault = "has another number of columns than the header"
            if fault is not None:
                row = self._repaired(width)
                if row is None:
                    yield lines.broken(name, fault)
                    continue
            if len(taken) > 2 and self._swallows(width):
                lines.give_back(1)
                yield lines.broken(name, _SWALLOWS)
                continue
            # Not zip's strict: both are as long, and there are many rows.
            values: dict[str, Json] = {key: None if text in _NULLS else text for key, text in zip(header, row)}  # noqa: B905
            yield Row(name, lines.number, values, len(taken[0]) if len(taken) == 1 else sum(map(len, taken)))

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._lines, delimiter=self._delimiter, strict=True)

    def _swallows(self, width: int) -> bool:
        """Return whether the lines of a row are rows by themselves, or too many."""
        taken, delimiter = self._lines.taken, self._delimiter
        return len(taken) > MAX_LINES or all(_QUOTED.sub("", one).count(delimiter) == width - 1 for one in taken)

    def _repaired(self, width: int) -> list[str] | None:
        """Read the lines that were taken once more, with backslashes as escapes; give back those not needed."""
        reader = csv.reader(self._lines.taken, delimiter=self._delimiter, strict=True, escapechar="\\")
        try:
            row = next(reader, [])
            needed = reader.line_num
        except csv.Error:
            row, needed = [], 1
        fits = len(row) == width
        self._lines.give_back(needed if fits else 1)
        return row if fits else None
