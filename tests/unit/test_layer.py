"""How the layer is built: no bytecode is ever missing without a word, and what is there can be used on Lambda."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
MAKEFILE = ROOT / "layers/relay/Makefile"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a folder for PATH with the tools of the build and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("make", "sh", "echo", "test", "mkdir"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    return folder


def install(machine: Path, version: str, *, works: bool = True) -> None:
    """Put an interpreter there: one that works is this test's own, another is a shim as pyenv leaves it."""
    file = machine / f"python{version}"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n' if works else "#!/bin/sh\nexit 127\n")
    file.chmod(0o755)


def make(machine: Path, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(machine / "make"), "-C", str(MAKEFILE.parent), target]
    environment = {"PATH": str(machine), "PYTHON": sys.executable, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shim", [False, True])
def test_a_missing_interpreter_is_an_error_that_names_it_and_the_way_out(machine: Path, shim: bool) -> None:
    if shim:
        install(machine, "3.13", works=False)

    run = make(machine, "interpreters")

    assert run.returncode != 0
    assert "python3.13 is not on this machine" in run.stderr
    assert "uv python install 3.13" in run.stderr
    assert "RELAY_LAYER_BYTECODE= sam build" in run.stderr
    assert "3.14" not in run.stderr


@pytest.mark.parametrize(
    ("versions", "there", "missing"),
    [
        ("3.13", ["3.13"], []),
        ("3.14", ["3.13"], ["3.14"]),
        ("3.13 3.14", [], ["3.13", "3.14"]),
        ("", [], []),
    ],
)
def test_whoever_deploys_another_runtime_names_it_and_whoever_cannot_names_none(
    machine: Path, versions: str, there: list[str], missing: list[str]
) -> None:
    for version in there:
        install(machine, version)
    run = make(machine, "interpreters", RELAY_LAYER_BYTECODE=versions)
    assert re.findall(r"python(3\.\d+) is not on this machine", run.stderr) == missing
    assert (run.returncode != 0) is bool(missing)


def test_what_is_not_a_target_is_not_asked_for(machine: Path) -> None:
    assert make(machine, "interpreters", RELAY_LAYER_TARGETS="host").returncode == 0
    assert make(machine, "interpreters", RELAY_LAYER_TARGETS="3.14/aarch64").returncode == 0


def test_the_versions_are_those_of_the_template() -> None:
    runtime = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]["Runtime"]
    variables = dict(re.findall(r"^(RELAY_LAYER_\w+) \?= (.*)$", MAKEFILE.read_text(), re.MULTILINE))
    assert f"python{variables['RELAY_LAYER_BYTECODE']}" == runtime["Default"]
    assert {target.split("/")[1] for target in variables["RELAY_LAYER_TARGETS"].split()} == {"aarch64", "x86_64"}


def test_bytecode_is_made_where_it_can_be_and_the_rest_is_told(machine: Path, tmp_path: Path) -> None:
    site = tmp_path / "built" / "python"
    site.mkdir(parents=True)
    (site / "part.py").write_text("NUMBER = 1\n")
    install(machine, "3.13")

    run = make(machine, "bytecode", ARTIFACTS_DIR=str(site.parent))

    assert run.returncode == 0, run.stderr
    assert re.findall(r"bytecode for (\S+): (yes|NO)", run.stdout) == [("python3.13", "yes"), ("python3.14", "NO")]
    compiled = Path(importlib.util.cache_from_source(str(site / "part.py")))
    # Flags 1: checked by hash, and never against the source. https://peps.python.org/pep-0552/
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1
    # As on Lambda, where a file's time is another one.
    os.utime(site / "part.py", (0, 0))
    shown = subprocess.run(
        [sys.executable, "-v", "-c", "import part"],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"matches {site / 'part.py'}" in shown.stderr
