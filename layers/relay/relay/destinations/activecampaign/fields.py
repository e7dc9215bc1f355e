"""Custom fields: what a value must look like for the type of its field. Pure.

https://developers.activecampaign.com/reference/retrieve-fields
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from relay.domain import moments

MULTIPLE = re.compile(r"\|\|(?:.+\|\|)?", re.DOTALL)
"""Several values in one text, `||a||b||`: how ActiveCampaign writes them and how `mapping.encode` writes a list."""

_ONE_OF = ("dropdown", "radio")
_SEVERAL = ("listbox", "checkbox", "multiselect")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_NUMBERS = ("number", "currency")

Kinds = Mapping[str, str]
"""Types of custom fields by their id; of a field that is missing here nothing is known."""


def several(items: list[str]) -> str:
    """Write several values as one text; nothing ("") when none is left after taking pipes off their ends."""
    clean = [item.replace("||", "|").strip("|") for item in items]
    filled = [item for item in clean if item]
    return f"||{'||'.join(filled)}||" if filled else ""


def items_of(value: str) -> list[str]:
    """Read the values of a text that may hold several."""
    return [item for item in value.split("||") if item] if MULTIPLE.fullmatch(value) else [value]


def fit(kind: str | None, value: str) -> str | None:
    """Return the value as a field of this type takes it, None when it cannot; nothing ("") of a text of no values.

    A `date` takes the date of any date or time (`relay.domain.moments`) as it is written, whatever its offset; a
    `datetime` gets an offset (UTC where there is none). A choice takes one value, a multiple choice any number of them,
    a number digits. Texts and unknown types take all.
    """
    if not items_of(value):
        return ""
    match kind:
        case "date":
            moment = _moment(_only(value))
            return None if moment is None else moment.date().isoformat()
        case "datetime":
            moment = _moment(_only(value))
            return None if moment is None else _zoned(moment).isoformat(timespec="seconds")
        case str() if kind in _NUMBERS:
            return _only(value) if _NUMBER.fullmatch(_only(value)) else None
        case str() if kind in _ONE_OF:
            return _only(value) or None
        case str() if kind in _SEVERAL:
            return several(items_of(value))
        case "text" | "textarea" | "hidden":
            return ", ".join(items_of(value))
        case _:
            return value


def _only(value: str) -> str:
    """Return the one value of a text that may hold several; nothing when it holds several."""
    items = items_of(value)
    return items[0] if len(items) == 1 else ""


def _moment(value: str) -> datetime | None:
    try:
        return moments.as_written(value)
    except ValueError:
        return None


def _zoned(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
