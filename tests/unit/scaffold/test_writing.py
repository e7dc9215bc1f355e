"""Writing a new destination: everything or nothing, and never over what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scaffold.__main__ import main
from scaffold.names import LONGEST, Name, UnusableNameError
from scaffold.writing import INDEX, MODEL, PARTS, TEMPLATE, path_of, planned, write

ROOT = Path(__file__).parents[3]
LONG = Name("a" * (LONGEST // 2) + "_" + "b" * (LONGEST - LONGEST // 2 - 1))


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", [Name("acmemail"), Name("x"), Name("newslettertool_x"), LONG], ids=lambda name: name.snake
)
def test_nothing_of_the_model_is_left_but_its_shape(name: Name) -> None:
    texts = planned(name)
    assert texts.keys() == {*(path_of(part, name) for part in PARTS), TEMPLATE, INDEX}
    for path, text in texts.items():
        if path in (TEMPLATE, INDEX):
            continue
        assert "newsletter" not in re.sub(name.camel, "", re.sub(r"[-_ ]", "", text), flags=re.IGNORECASE).lower(), path
        assert "scaffold" not in text, path
        if path.endswith(".py"):
            ast.parse(text)
            assert max(map(len, text.splitlines())) <= 120, path


def test_every_file_of_the_model_is_a_part() -> None:
    files = {file.name for file in (ROOT / "scaffold/model").iterdir() if file.is_file()} - {"__init__.py"}
    assert files == {part.model for part in PARTS}


def test_the_edited_files_change_by_what_names_the_destination() -> None:
    texts = planned(Name("acmemail"))
    for path, lines in ((TEMPLATE, 1), (INDEX, 1)):
        before = (ROOT / path).read_text().splitlines()
        added = [line for line in texts[path].splitlines() if line not in before]
        assert len(added) == lines
        assert "acmemail" in added[0]


def test_it_says_what_it_wrote_and_what_to_change(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(repository)
    assert main(["acme_mail"], repository) == 0
    said = capsys.readouterr().out
    written = {path for path, content in tree(repository).items() if before.get(path) != content}
    assert len(written) == len(PARTS) + 2
    assert all(path in said for path in written)
    assert '-k "acmemail or acme_mail"' in said


def test_a_second_time_refuses_and_changes_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acmemail"], repository) == 0
    before = tree(repository)
    assert main(["acmemail"], repository) == 2
    assert "is there already. Nothing was written." in capsys.readouterr().err
    assert tree(repository) == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("activecampaign", "sandboxes/activecampaign is there"),
        ("registry", "destinations/registry.py is there"),
        ("account", "sandboxes/account.py is there"),
        ("shared", "tests/contract/shared_mistakes.py is there"),
        ("operations", "docs/operations.md is there"),
        ("gainsightpx", "has the word gainsightpx"),
        ("gain_sight_px", "has the word gainsightpx"),
        ("changes", "has the word changes"),
        (MODEL.snake, "the model of destinations has this name"),
        (MODEL.word, "the model of destinations has this name"),
        ("AcmeMail", "small letters"),
    ],
)
def test_a_name_that_is_taken_is_refused(
    name: str, why: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(repository)
    assert main([name], repository) == 2
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""
    assert tree(repository) == before


@pytest.mark.parametrize(
    "word",
    [
        *("step", "key", "field", "quota", "reply", "rejection", "options", "destination", "subject", "mistake"),
        *("connection_fields", "standard_destination", "export_problem", "fields_model", "flask", "any", "literal"),
    ],
)
def test_a_name_hides_nothing_that_its_own_files_use(word: str) -> None:
    with pytest.raises(UnusableNameError, match=f"the class would be {Name(word).camel}"):
        planned(Name(word))


@pytest.mark.parametrize("arguments", [[], [""], ["acmemail", "more"]])
def test_it_takes_one_name(arguments: list[str], repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, repository) == 2
    assert "make destination NAME=klaviyo" in capsys.readouterr().err


@pytest.mark.parametrize("broken", range(len(PARTS) + 2))
def test_when_a_file_cannot_be_written_everything_is_as_before(broken: int, repository: Path) -> None:
    texts = planned(Name("acmemail"), repository)
    before = tree(repository)
    folders = {path for path in repository.rglob("*") if path.is_dir()}
    texts[list(texts)[broken]] = "\udcff is no text"
    with pytest.raises(UnicodeEncodeError):
        write(texts, repository)
    assert tree(repository) == before
    assert {path for path in repository.rglob("*") if path.is_dir()} == folders
