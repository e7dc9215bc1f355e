"""The columns of a segment file that are identities, as a source's settings name them."""

from collections.abc import Mapping


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
