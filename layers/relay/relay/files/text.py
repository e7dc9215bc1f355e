"""From the bytes of a part to lines of text: gzip, byte order marks, UTF-8 and UTF-16."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from relay.files.rows import BrokenRow, Part, Unreadable

MAX_LINE = 1_000_000
"""The most characters of a line that is kept in memory. A change of 200 KB is the largest that travels."""

_GZIP = b"\x1f\x8b"
_HEAD = 512
_UTF_32 = "is in UTF-32; UTF-8 and UTF-16 are read"
_FOREIGN = (
    (_GZIP, "is packed by gzip twice; once is read"),
    (b"PARE", "is an encrypted Parquet file; it has to come in the clear"),
    (b"\xff\xfe\0\0", _UTF_32),
    (b"\0\0\xfe\xff", _UTF_32),
    (b"PK\x03\x04", "is a ZIP archive or an Excel workbook; save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook; save it as CSV"),
    (b"\x28\xb5\x2f\xfd", "is compressed by Zstandard; gzip is read"),
    (b"BZh91AY&SY", "is compressed by bzip2; gzip is read"),
    (b"\xff\x06\x00\x00sNaPpY", "is compressed by Snappy; gzip is read"),
    (b"Obj\x01", "is an Avro file; CSV, NDJSON and Parquet are read"),
    (b"-----BEGIN PGP", "is encrypted by PGP; it has to come in the clear"),
)
_PLAIN_UTF_32 = re.compile(rb"[^\0]\0\0\0|\0\0\0[^\0]")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class LongLine(csv.Error):
    """A line is longer than MAX_LINE; it has been passed over. A csv.reader passes it on."""


@contextmanager
def opened(part: Part, watch: Callable[[], None] | None = None) -> Iterator[io.BufferedReader]:
    """Open a part, unpacked where its content is gzip. Raises Unreadable, also from within, for what cannot be read.

    `watch` is called for every 128 KB of what is unpacked. What it raises ends the reading.
    """
    with part.open() as raw:
        stream = _buffered(raw)
        try:
            if stream.peek(2)[:2] == _GZIP:
                stream = _buffered(cast("BinaryIO", gzip.GzipFile(fileobj=stream, mode="rb")))
            yield stream if watch is None else _buffered(cast("BinaryIO", _Watched(stream, watch)))
        except EOFError:
            raise Unreadable(f"{part.name} is cut off: its gzip stream has no end") from None
        except (gzip.BadGzipFile, zlib.error):
            raise Unreadable(f"{part.name} is damaged: its gzip stream cannot be unpacked") from None
        except UnicodeError:
            raise Unreadable(f"{part.name} is neither in UTF-8 nor in UTF-16") from None


def refuse_foreign(name: str, head: bytes) -> None:
    """Raise Unreadable for a part whose first bytes are those of a format that is not read."""
    for mark, what in _FOREIGN:
        if head.startswith(mark):
            raise Unreadable(f"{name} {what}")
    if _PLAIN_UTF_32.match(head):
        raise Unreadable(f"{name} {_UTF_32}")


def head_of(stream: io.BufferedReader) -> bytes:
    """Return the first bytes of a stream, and leave them in it."""
    return stream.peek(_HEAD)[:_HEAD]


def encoding_of(head: bytes) -> str:
    """Return the encoding by a byte order mark, or by where the zero bytes of UTF-16 stand; UTF-8 otherwise."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if head[1:2] == b"\0" and head[:1] != b"\0":
        return "utf-16-le"
    if head[:1] == b"\0" and head[1:2] != b"\0":
        return "utf-16-be"
    return "utf-8"


class Lines(Iterator[str]):
    """The lines of a text with their ends, and the way back: lines that were taken can be given back.

    `taken` has the lines since `mark`, `number` is the first one's, counted from 1. Raises LongLine.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._text = io.TextIOWrapper(stream, encoding_of(head_of(stream)), newline="")
        self._again: list[str] = []
        self.taken: list[str] = []
        self.number = 1

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            while len(rest := self._text.readline(MAX_LINE)) == MAX_LINE and rest[-1] not in "\r\n":
                pass
            self.taken.append("")
            raise LongLine(f"is longer than {MAX_LINE:,} characters")
        self.taken.append(line)
        return line

    def mark(self) -> None:
        """Begin a new row after the lines that were taken."""
        self.number += len(self.taken)
        self.taken.clear()

    def give_back(self, keep: int) -> None:
        """Give back the lines that were taken but for the first `keep`."""
        self._again.extend(reversed(self.taken[keep:]))
        del self.taken[keep:]

    def broken(self, name: str, reason: str) -> BrokenRow:
        """Return the row that was taken as a broken one. Raises Unreadable where the text ends within it."""
        if self.taken and self.taken[-1] and self.taken[-1][-1] not in "\r\n":
            raise Unreadable(f"{name} is cut off: its last line {reason}, and does not end")
        return BrokenRow(name, self.number, reason)

    def close(self) -> None:
        """Leave the stream below open: it belongs to whoever opened it."""
        self._text.detach()


class _Watched:
    def __init__(self, raw: io.BufferedReader, watch: Callable[[], None]) -> None:
        self._raw = raw
        self._watch = watch

    def read(self, size: int) -> bytes:
        self._watch()
        return self._raw.read(size)


def _buffered(raw: BinaryIO) -> io.BufferedReader:
    if isinstance(raw, io.BufferedReader):
        return raw
    return io.BufferedReader(_Readable(raw), buffer_size=1 << 17)


class _Readable(io.RawIOBase):
    """Lets a buffer read whatever has `read`, such as a body that S3 streams."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
