"""The type checker knows whose options and connection fields are in hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[3]

HEAD = """
from relay.destinations.contract import Account, Destination
from relay.domain.exports import Export
from tests.fakes.newsletter_tool import ConnectionFields, NewsletterTool, Options

def use(account: Account[ConnectionFields], export: Export[Options], anybodys: Export) -> None:
"""


def said_of(line: str, where: Path) -> str:
    """Return what the type checker says of a line that has an account and an export of the newsletter tool."""
    file = where / "used.py"
    file.write_text(f"{HEAD}    {line}\n")
    said, trouble, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), str(file)])
    assert trouble == ""
    return said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("reveal_type(export.options.list_id)", 'Revealed type is "int"'),
        ("reveal_type(account.connection.settings.region)", "Revealed type is \"Literal['eu'] | Literal['us']\""),
        ("export.options.lst_id", '"Options" has no attribute "lst_id"'),
        ("account.connection.settings.api_kee", '"ConnectionFields" has no attribute "api_kee"'),
        ("anybodys.options.whatever", "Success"),
        ("held: Destination[ConnectionFields, Options] = NewsletterTool()", "Success"),
        ("held: Destination[Options, Options] = NewsletterTool()", "Incompatible types in assignment"),
    ],
)
def test_options_and_fields_are_known_by_their_types(line: str, said: str, tmp_path: Path) -> None:
    assert said in said_of(line, tmp_path)
