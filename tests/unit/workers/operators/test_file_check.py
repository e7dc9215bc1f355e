"""Whether a file could replace a segment, by its beginning."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from relay.domain.problems import QuestionProblem
from relay.workers.operators.file_check import CheckedFile, CheckFile, FileChecker


@dataclass(frozen=True)
class Source:
    name: str = "shop"
    profile_key: str = "identities.crm"
    segments: frozenset[str] | None = None
    file_identities: Mapping[str, str] | None = None
    file_status: str | None = None
    allow_empty: bool = False


@dataclass
class Sources:
    all: dict[str, Source] = field(default_factory=lambda: {"shop": Source(), "app": Source("app", "attributes.mail")})

    def check(
        self, head: bytes, segment: str = "shop/vip", *, whole: bool = True, columns: Sequence[str] | None = None
    ) -> CheckedFile:
        text = base64.b64encode(head).decode()
        question = CheckFile(segment=segment, name="vip.csv", head=text, whole=whole, columns=columns)
        return FileChecker(self.all.__getitem__).check(question)


def test_rows_that_name_a_profile_are_counted() -> None:
    assert Sources().check(b"crm,city\n1,Gent\n,Gent\n2\n") == CheckedFile(rows=3, usable=1, problem=None)
    assert Sources().check(b'{"mail": "a@example.com"}\n', "app/vip") == CheckedFile(rows=1, usable=1, problem=None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_beginning_that_ends_within_a_letter_is_read_up_to_its_last_line(encoding: str) -> None:
    head = "crm,city\n1,Gent\n2,Genè".encode(encoding)[:-1]
    assert Sources().check(head, whole=False) == CheckedFile(rows=1, usable=1, problem=None)
    assert Sources().check("crm,city".encode(encoding), whole=False) == CheckedFile(rows=0, usable=0, problem=None)


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"mail,city\na@example.com,Gent\n", "has no column that identifies a person"),
        (b"PK\x03\x04", "is a ZIP archive or an Excel workbook"),
        (b"crm\n\xff\xfe\xff\n", "neither in UTF-8 nor in UTF-16"),
        (b"crm,city\n,Gent\n,Brugge\n", "none of its first 2 rows names a profile"),
        (b'{"crm": 1}\n{"crm": \n'.replace(b"1", b"[]"), "line 2 "),
    ],
)
def test_what_an_import_would_refuse_is_said(head: bytes, problem: str) -> None:
    for whole in (True, False):
        assert problem in str(Sources().check(head, whole=whole).problem)


def test_a_source_says_which_columns_and_which_segments_it_takes() -> None:
    sources = Sources()
    sources.all["shop"] = Source(file_identities={"ID": "crm"}, segments=frozenset({"shop/vip"}))
    assert "has no column ID" in str(sources.check(b"crm\n1\n").problem)
    assert sources.check(b"ID\n1\n").usable == 1
    assert "keeps other segments" in str(sources.check(b"ID\n1\n", "shop/other").problem)


def test_a_file_without_a_header_is_read_by_the_columns_of_its_manifest() -> None:
    head = b"c-1,Gent\nc-2,Brugge\n"
    assert Sources().check(head, columns=["crm", "city"]) == CheckedFile(rows=2, usable=2, problem=None)
    assert "has no column that identifies a person" in str(Sources().check(head).problem)


def test_the_columns_of_a_parquet_file_are_left_to_the_import() -> None:
    assert Sources().check(b"PAR1\x15\x04") == CheckedFile(rows=0, usable=0, problem=None)


def test_what_is_no_base64_is_no_question() -> None:
    question = CheckFile(segment="shop/vip", name="vip.csv", head="?", whole=True)
    with pytest.raises(QuestionProblem, match="is no base64"):
        FileChecker(Sources().all.__getitem__).check(question)
