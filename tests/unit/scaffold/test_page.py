"""The page about adding a destination, followed to the letter in a copy of the repository."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from scaffold.__main__ import main
from tests.contract.test_mistakes import ENOUGH

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/adding-a-destination.md"
NAME = "acmelist"
"""Instead of the name on the page, which may be a destination by now."""


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line.replace("klaviyo", NAME) for block in blocks for line in block.splitlines()]


def follow(command: str, copy: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the page in the copy, with the tools that run this test."""
    words = shlex.split(command)
    if words[0] == "make":
        # A copy has no environment of its own: what make would run there is run with this one.
        dry = ["make", "-n", "-o", ".venv/installed", *words[1:]]
        words = shlex.split(
            subprocess.run(dry, cwd=copy, env=clean_environment(), capture_output=True, text=True, check=True).stdout
        )
    tool = Path(words[0])
    assert tool.parent == Path(".venv/bin"), f"not a tool of the environment: {command}"
    program = [sys.executable] if tool.name == "python" else [sys.executable, "-m", tool.name]
    # So it names every test. Planted mistakes of the template judge its rules, not the destination, and take long.
    options = f"-vv -p no:cacheprovider --ignore {copy / 'tests/unit/template/test_mistakes.py'}"
    environment = {**clean_environment(), "PYTEST_ADDOPTS": options}
    return subprocess.run(
        [*program, *words[1:]], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


def clean_environment() -> dict[str, str]:
    """Return the environment without what it says of this test run, and of the make that started it."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "MAKE", "MFLAGS"))
    }


def test_whoever_follows_the_page_has_a_destination_that_passes_at_once(repository: Path) -> None:
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", repository / ".mypy_cache")
    said = {}
    for command in commands():
        done = follow(command, repository)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout
    first, suite, *_ = said
    assert first == f"make destination NAME={NAME}"
    played = said[suite]
    assert len(re.findall(rf"test_mistakes.py::test_a_mistake_is_noticed\[{NAME}: .*PASSED", played)) >= ENOUGH
    for module in ("membership", "calls", "faults", "pages", "limits", "declarations"):
        assert re.search(rf"contract/test_{module}.py::\w+\[.*{NAME}.*PASSED", played, re.IGNORECASE), module
    for of_all in ("template/test_destinations", "test_option_tables", "test_rooms", "workers/operators/test_checker"):
        assert re.search(rf"unit/{of_all}.py::\w+\[.*{NAME}.*PASSED", played), of_all
    assert f"tests/unit/destinations/test_{NAME}.py::" in played


def test_every_path_that_the_page_names_is_there_or_is_written(repository: Path) -> None:
    assert main([NAME], repository) == 0
    named = set(re.findall(r"`((?:tests|docs|sandboxes|layers)/[\w/.]+)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 3
    paths = sorted(path.replace("klaviyo", NAME) for path in named)
    assert [path for path in paths if not (repository / path).exists()] == []
