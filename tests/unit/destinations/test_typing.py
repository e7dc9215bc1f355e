"""The type checker knows whose options and connection fields are in hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

HEAD = """
from relay.destinations.contract import Account, Destination
from relay.domain.exports import Export
from scaffold.model.package import ConnectionFields, NewsletterTool, Options

def use(account: Account[ConnectionFields], export: Export[Options], anybodys: Export) -> None:
"""

SAID: Mapping[str, str] = {
    "reveal_type(export.options.list_id)": 'Revealed type is "int"',
    "reveal_type(account.connection.settings.region)": "Revealed type is \"Literal['eu'] | Literal['us']\"",
    "export.options.lst_id": '"Options" has no attribute "lst_id"',
    "account.connection.settings.api_kee": '"ConnectionFields" has no attribute "api_kee"',
    "anybodys.options.whatever": "",
    "right: Destination[ConnectionFields, Options] = NewsletterTool()": "",
    "wrong: Destination[Options, Options] = NewsletterTool()": "Incompatible types in assignment",
}
"""What is said of a line that has an account and an export of the newsletter tool; nothing where all is well."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What the type checker says, by line."""
    file = tmp_path_factory.mktemp("typing") / "used.py"
    file.write_text(HEAD + "".join(f"    {line}\n" for line in SAID))
    # In a process of its own: the type checker changes how deep a process may recurse.
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    first = HEAD.count("\n") + 1
    return {
        line: "".join(one for one in done.stdout.splitlines() if f"used.py:{first + place}: " in one)
        for place, line in enumerate(SAID)
    }


@pytest.mark.parametrize("line", SAID)
def test_options_and_fields_are_known_by_their_types(line: str, said: Mapping[str, str]) -> None:
    assert SAID[line] in said[line]
    assert (said[line] == "") == (SAID[line] == "")
