"""What is checked before a commit is what `make check` runs, with the same tools."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# They take minutes; whoever commits runs them when they want.
NOT_BEFORE_A_COMMIT = ("pytest", "tests.simulation", "coverage")


def commands_of_make_check() -> list[str]:
    makefile = (ROOT / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) [:?]?= (.*)$", makefile, re.MULTILINE))
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    lines = re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], recipe[1]).replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("@").removeprefix("nice ") for line in lines]


def test_the_hooks_are_the_commands_of_make_check_that_take_seconds() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    # `local` fetches nothing, so the versions are those of the lock files.
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == [
        command for command in commands_of_make_check() if not any(slow in command for slow in NOT_BEFORE_A_COMMIT)
    ]


def test_a_hook_checks_everything_and_not_only_what_is_committed() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    assert {(hook["language"], hook["pass_filenames"]) for hook in repository["hooks"]} == {("system", False)}
