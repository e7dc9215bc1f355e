"""Decisions: one file each, all of one shape, and an index that agrees with them."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/decisions"
INDEX = FOLDER / "README.md"
DECISIONS = sorted(path for path in FOLDER.iterdir() if path != INDEX)

NAME = re.compile(r"(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md")
SHAPE = re.compile(
    r"# (?P<number>\d{4}): (?P<title>\S[^\n]*)\n\n"
    r"- Status: (?P<status>[^\n]+)\n"
    r"- Date: \d{4}-\d\d-\d\d\n\n"
    r"## Context\n\n(?P<context>\S.*?)\n\n"
    r"## Decision\n\n(?P<decision>\S.*?)\n\n"
    r"## Consequences\n\n(?P<consequences>\S.*?)\n",
    re.DOTALL,
)
SUPERSEDED = re.compile(r"superseded by \[(\d{4})\]\((\S+)\)")


def read(path: Path) -> re.Match[str]:
    found = SHAPE.fullmatch(path.read_text(encoding="utf-8"))
    assert found is not None, f"{path.name} lacks a section, or has them in another order"
    return found


def test_every_file_is_a_decision_and_no_two_have_the_same_number() -> None:
    numbers = [found[1] for path in DECISIONS if (found := NAME.fullmatch(path.name))]

    assert len(numbers) == len(DECISIONS) > 100
    assert sorted(set(numbers)) == sorted(numbers)


def test_a_decision_has_its_sections_and_says_whether_it_holds() -> None:
    for path in DECISIONS:
        decision = read(path)
        assert decision["number"] == path.name[:4]
        if decision["status"] == "accepted":
            continue
        superseded = SUPERSEDED.fullmatch(decision["status"])
        assert superseded is not None, f"{path.name} is neither accepted nor superseded by another one"
        number, successor = superseded.groups()
        assert successor.startswith(f"{number}-")
        assert (FOLDER / successor).is_file()
        assert read(FOLDER / successor)["status"] == "accepted", f"{path.name} names one that is given up, too"


def test_the_index_has_every_decision_as_its_file_says_it() -> None:
    rows = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \| (.+) \|$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)

    assert rows == [
        (one["number"], path.name, one["title"], one["status"]) for path in DECISIONS for one in [read(path)]
    ]
