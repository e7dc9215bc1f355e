"""The columns of a segment file: their names, and which are identities, as a source's settings name them."""

from collections.abc import Mapping, Sequence
from typing import Final

from relay.files.rows import Unreadable

MAX_COLUMNS: Final = 2_000


def refuse_names(part: str, names: Sequence[str]) -> None:
    """Raise Unreadable for too many columns, or two of one name. Any number may have none."""
    named = [one for one in names if one]
    if len(names) > MAX_COLUMNS:
        raise Unreadable(f"{part} has more than {MAX_COLUMNS:,} columns")
    if len(set(named)) < len(named):
        raise Unreadable(f"{part} has two columns of one name")


def identity_columns(text: str) -> Mapping[str, str]:
    """Read the option `file_identities`: `namespace=column` or a name that is both, with commas between.

    Returns the namespaces by their columns; raises ValueError.
    """
    found: dict[str, str] = {}
    for one in text.split(","):
        namespace, _, column = (part.strip() for part in one.partition("="))
        if not namespace:
            raise ValueError("must name columns, with commas between: crm, email=EMAIL_ADDRESS")
        if found.setdefault(column or namespace, namespace) != namespace:
            raise ValueError("names a column twice")
    return found
