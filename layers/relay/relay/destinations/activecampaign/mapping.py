"""The fields of a mapping, values as custom fields take them, and what members are in and out of. Pure.

https://developers.activecampaign.com/reference/retrieve-fields
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.domain import moments
from relay.domain.values import text_of

TAGS = "tags"
PLAIN_FIELDS = ("first_name", "last_name", "phone")
_CUSTOM_FIELD = re.compile(r"fields\.([1-9][0-9]{0,17})")

LIST = "list"
"""The key of what is sent for every member of a marked target beside values: the list they are subscribed to."""


def field_id(field: str) -> str | None:
    """Return the custom field's id of a field `fields.<id>`, None for any other one."""
    match = _CUSTOM_FIELD.fullmatch(field)
    return None if match is None else match[1]


def encode(field: str, value: Any) -> str | None:
    """Encode a value (`text_of`); None where there is nothing to send.

    Tags and a list in a custom field become `||a||b||`; elsewhere the first item of a list that is not empty counts.
    """
    is_list = isinstance(value, list | tuple)
    items = [text for text in map(text_of, value if is_list else [value]) if text is not None]
    if not items:
        return None
    holds_several = field == TAGS or (is_list and field_id(field) is not None)
    return (several(items) or None) if holds_several else items[0]


def complete(options: ActiveCampaignOptions, values: Mapping[str, str]) -> Mapping[str, str]:
    """Add the field value or the tag by which the export marks its members, and the list that goes with it."""
    if options.exit_field is not None and options.value_in is not None:
        return {**values, f"fields.{options.exit_field}": options.value_in, LIST: options.list_id}
    if options.tag is not None:
        return {**values, TAGS: several([*items_of(values.get(TAGS, "||")), options.tag]), LIST: options.list_id}
    return values


# Values.

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


# Targets.


class Leaving(Enum):
    """What is done about one who leaves a target."""

    UNSUBSCRIBE = "unsubscribe"
    SET_FIELD = "set field"
    REMOVE_TAG = "remove tag"
    NOTHING = "nothing"


def target_of(options: ActiveCampaignOptions) -> str:
    """Return what members are in: the list, or the field or tag that marks them.

    The name carries what has to be taken back, so that what an edited export sent before can be.
    """
    if options.exit_field is not None:
        return f"field/{options.exit_field}"
    # ActiveCampaign compares tags without regard to case.
    return list_target(options.list_id) if options.tag is None else f"tag/{options.tag.lower()}"


def list_target(list_id: str) -> str:
    """Return the target that stands for a list."""
    return f"list/{list_id}"


def name_in(target: str) -> str:
    """Return the list's or field's id, or the tag, of a target."""
    return target.partition("/")[2]


def leaving(target: str, options: ActiveCampaignOptions) -> Leaving:
    """Return how a target is left under the export's options of today.

    A tag that marked members before an edit is taken off too; a field is written only while there is a value to write,
    and a list is left only by an export that unsubscribes.
    """
    kind = target.partition("/")[0]
    if kind == "tag":
        return Leaving.REMOVE_TAG
    if kind == "field" and options.value_out is not None:
        return Leaving.SET_FIELD
    return Leaving.UNSUBSCRIBE if kind == "list" and options.on_exit == "unsubscribe" else Leaving.NOTHING
