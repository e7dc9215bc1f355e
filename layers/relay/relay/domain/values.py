"""JSON values as text: the one rule for identities, profile keys, mapped values, tags and settings."""

import math
from typing import Any

EXACT = 2**53
"""A double beyond this is no exact whole number: digits were lost before we saw it."""


def whole(value: Any) -> Any:
    """Return a whole number that was written as a double (`1001.0`, `1e3`) as an int, anything else as it is."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        return int(value)
    return value


def text_of(value: Any) -> str | None:
    """Return the text of one value, trimmed; None for what has none.

    Nothing is made of null, blank texts, lists, objects and numbers that are not finite. Booleans are `true` and
    `false`, whole numbers their digits however they were written, other numbers the shortest text that reads the same.
    """
    value = whole(value)
    match value:
        case str():
            return value.strip() or None
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case _:
            return None


def id_of(value: Any) -> str | None:
    """Return the text of an identifying value: a text exactly as it is (unless blank), or a whole number's digits.

    None for everything else: a boolean or a fraction identifies nobody, and neither does a number whose digits were
    lost.
    """
    value = whole(value)
    if isinstance(value, str):
        return value if value.strip() else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
