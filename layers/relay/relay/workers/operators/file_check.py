"""Whether a file could replace a segment: its first bytes are read as the import reads the whole. Nothing is stored."""

import base64
import binascii
import codecs
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from pydantic import Field

from relay.domain.expressions import compiled
from relay.domain.problems import QuestionProblem
from relay.files import parquet
from relay.files.members import Members
from relay.files.reader import read_rows
from relay.files.rows import BrokenRow, Part, Row, Unreadable
from relay.files.text import encoding_of
from relay.segment_imports.s3 import OTHERS_ALONE, Source
from relay.sources.profile_key import keys_of
from relay.workers.operators.protocol import Answer, Question

MAX_HEAD: Final = 131_072
"""The most bytes of a file that are looked at."""
MAX_COLUMNS: Final = 10_000


class CheckFile(Question):
    """Could a file replace a segment? Its first bytes are read as an import reads it."""

    segment: str = Field(min_length=3, max_length=900, description="`source/segment`.")
    name: str = Field(min_length=1, max_length=1_024, description="The file's name.")
    head: str = Field(
        max_length=MAX_HEAD * 4 // 3 + 4,
        description=f"The first {MAX_HEAD:,} bytes at most, out of gzip, as base64. They are not logged.",
    )
    whole: bool = Field(description="Whether this is all of the file.")
    columns: Sequence[str] | None = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="The names of the columns, where a manifest says them: then a CSV file may have no header.",
    )


class CheckedFile(Answer):
    """What an import would say. It reads all of the file before it changes anything."""

    rows: int = Field(description="Rows that were looked at; none of a Parquet file, whose columns stand at its end.")
    usable: int = Field(description="Rows that name a profile.")
    problem: str | None = Field(description="Why an import would refuse it.")


class FileChecker:
    """Answers `check_file`. `source_of` raises SettingsProblem for a source that there is not."""

    def __init__(self, source_of: Callable[[str], Source]) -> None:
        self._source_of = source_of

    def check(self, question: CheckFile) -> CheckedFile:
        """Return what an import would say of a file."""
        try:
            head = base64.b64decode(question.head, validate=True)
        except binascii.Error:
            raise QuestionProblem("wrong_question", "is no base64", field="head") from None
        source = self._source_of(question.segment.partition("/")[0])
        if source.segments is not None and question.segment not in source.segments:
            return CheckedFile(rows=0, usable=0, problem=OTHERS_ALONE)
        if head.startswith(parquet.MARK):
            return CheckedFile(rows=0, usable=0, problem=None)
        members = Members(
            segment=question.segment,
            at=datetime.max,  # noqa: DTZ901 - no membership is stored
            profile_key=source.profile_key,
            identities=source.file_identities,
            status=source.file_status,
        )
        part = Part(question.name, lambda: io.BytesIO(head if question.whole else _whole_lines(head)))
        try:
            rows = list(read_rows([part], require=members.require, columns=question.columns))
        except Unreadable as why:
            return CheckedFile(rows=0, usable=0, problem=why.reason)
        return _judged(rows, members, source.profile_key)


def _judged(rows: Sequence[Row | BrokenRow], members: Members, profile_key: str) -> CheckedFile:
    reasons: list[str] = []
    usable = 0
    for row in rows:
        read = row if isinstance(row, BrokenRow) else members.change_of(row)
        if isinstance(read, BrokenRow):
            reasons.append(f"line {read.line} {read.reason}")
        elif keys_of(read, compiled(profile_key)):
            usable += 1
    problem = None
    if rows and not usable:
        nobody = f"none of its first {len(rows)} rows names a profile: see the source's profile_key"
        problem = next(iter(reasons), nobody)
    return CheckedFile(rows=len(rows), usable=usable, problem=problem)


def _whole_lines(head: bytes) -> bytes:
    """Return the beginning of a file without the line that it ends in."""
    try:
        text = codecs.getincrementaldecoder(encoding_of(head))().decode(head)
    except UnicodeError:
        return head
    return text[: text.rfind("\n") + 1].encode() or head
