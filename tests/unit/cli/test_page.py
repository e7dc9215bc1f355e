"""docs/cli.md is printed from the commands, and every `relay` that a page shows is a command there is."""

import re
import shlex
from pathlib import Path

import pytest
from cyclopts.exceptions import CycloptsError

from local import command_page
from local.command_page import commands, tree
from relay.workers.operators import findings
from relay_cli.views import runs

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "cli/README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^(?:\. \S+ && )?(relay [^\n]*)$", re.MULTILINE)


def shown(text: str) -> list[str]:
    """Return the command lines in blocks of a page, without their comments, and in backticks."""
    blocks = "\n".join(re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL))
    lines = [line.split("  #")[0].strip() for line in FENCED.findall(blocks.replace("\\\n", ""))]
    return lines + [line for line in re.findall(r"`(relay [^`]+)`", text) if "|" not in line]


def refused(line: str) -> str | None:
    """Return why a command line cannot be, None when it can."""
    words = shlex.split(re.sub(r" --(local|json|(stack|region|profile) \S+)", "", line.replace("...", "X")))[1:]
    if tuple(words) in {path[: len(words)] for path in commands(tree())}:
        return None
    try:
        tree().parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return str(error)
    return None


def test_the_page_is_as_the_commands_are() -> None:
    text = command_page.PAGE.read_text(encoding="utf-8")

    assert command_page.written(text) == text, "make pages"


def test_a_page_without_marks_is_not_written() -> None:
    with pytest.raises(ValueError, match="has no"):
        command_page.written("# A page\n")


def test_every_command_line_of_the_pages_can_be_typed() -> None:
    lines = {
        f"{page.name}: {line}": refused(line) for page in PAGES for line in shown(page.read_text(encoding="utf-8"))
    }

    assert len(lines) > 15
    assert {line: why for line, why in lines.items() if why is not None} == {}


def test_a_command_line_that_cannot_be_typed_is_noticed() -> None:
    assert refused("relay runs shoe 01RUN") is not None
    assert refused("relay plan newsletter/vip --exit-cod") is not None
    assert refused("relay plan newsletter/vip --exit-code") is None


def test_every_command_that_a_finding_names_can_be_typed() -> None:
    named = {*findings._BY_CODE.values(), *findings._BY_KIND.values()}
    lines = [line.format(name="a/b", connection="a") for line in named if line.startswith("relay ")]

    assert len(lines) > 5
    assert {line: why for line in lines if (why := refused(line)) is not None} == {}


def test_every_command_that_a_run_is_shown_with_can_be_typed() -> None:
    texts = [text.split(",")[0].format(run="01RUN", export="a/b", connection="a") for text in runs._NEXT.values()]

    assert {line: why for line in texts if (why := refused(line)) is not None} == {}
