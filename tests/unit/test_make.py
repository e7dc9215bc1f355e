"""`make down` and `make clean` on a fresh clone: nothing is installed, nothing runs, and they go well all the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTHING_INSTALLED = f"PYTHON={sys.executable} -S"
"""Without the folder of installed packages."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for folder in ("local", "sandboxes"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _by_hand() -> dict[str, str]:
    """Return the environment of somebody at a terminal, whatever make the tests themselves are run by."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


@pytest.mark.parametrize("command", ["down", "clean"])
def test_it_goes_well_on_a_fresh_clone_and_twice(clone: Path, command: str) -> None:
    before = {path.relative_to(clone) for path in clone.rglob("*") if "__pycache__" not in path.parts}
    for _ in range(2):
        done = subprocess.run(
            ["make", command, NOTHING_INSTALLED], cwd=clone, env=_by_hand(), capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert {path.relative_to(clone) for path in clone.rglob("*") if "__pycache__" not in path.parts} == before


def test_clean_removes_what_the_other_commands_made_and_nothing_else(clone: Path) -> None:
    before = {path.name for path in clone.iterdir()}
    for made in (".venv", ".tools", ".local", ".aws-sam"):
        (clone / made).mkdir()
    (clone / "mine.txt").write_text("stays")
    subprocess.run(["make", "clean", NOTHING_INSTALLED], cwd=clone, env=_by_hand(), check=True, capture_output=True)
    assert {path.name for path in clone.iterdir()} == before | {"mine.txt"}
