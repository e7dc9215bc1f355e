"""The rows of a set, part by part, in whatever format each is. Memory is flat: a few rows at a time."""

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from relay.files import delimited, ndjson, parquet
from relay.files.rows import BrokenRow, Part, Require, Row, Unreadable
from relay.files.text import Lines, encoding_of, head_of, opened, refuse_foreign


def read_rows(
    parts: Sequence[Part],
    *,
    require: Require,
    columns: Sequence[str] | None = None,
    watch: Callable[[], None] | None = None,
) -> Iterator[Row | BrokenRow]:
    """Yield the rows of all parts in their order; what a part is is told by its content.

    `require` is called with the names of the columns of every part that has a header. `columns` are the names of a
    CSV part that may have none. `watch` is called again and again, whether or not there are rows; what it raises ends
    the reading. Raises Unreadable when a part cannot be read to its end: what came before it may then
    be no whole set. A part without a row (no bytes, a byte order mark, a header alone) is none of that: it has no rows.
    """
    for part in parts:
        yield from _rows(part, require, columns, watch)


def _copy(part: Part, stream: BinaryIO, file: BinaryIO) -> None:
    try:
        shutil.copyfileobj(stream, file, 1 << 20)
        file.seek(0)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Unreadable(f"{part.name} does not fit on the disk of the function; write several files") from None


def _rows(
    part: Part, require: Require, columns: Sequence[str] | None, watch: Callable[[], None] | None
) -> Iterator[Row | BrokenRow]:
    with opened(part, watch) as stream:
        head = head_of(stream)
        refuse_foreign(part.name, head)
        if head.startswith(parquet.MARK):
            # Its directory stands at its end, and what S3 or gzip streams cannot be read from there.
            with tempfile.TemporaryFile() as file:
                _copy(part, stream, file)
                yield from parquet.read(part.name, file, require)
            return
        start = head.decode(encoding_of(head), errors="ignore").lstrip()
        if start.startswith("["):
            raise Unreadable(f"{part.name} is a JSON list; it has to hold one object a line")
        lines = Lines(stream)
        try:
            if start.startswith("{"):
                yield from ndjson.read(part.name, lines)
            else:
                yield from delimited.read(part.name, lines, columns, require)
        finally:
            lines.close()
