"""From mapped values to rows of a bulk import: pure functions.

Bulk import spells names with underscores; names in the wrong case are dropped without a word:
https://developers.activecampaign.com/reference/bulk-import-contacts
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.destinations.contract import Step
from relay.domain.problems import Rejection, RejectionKind

EMAIL = "email"
PLAIN_TARGETS = ("first_name", "last_name", "phone")
_FIELD_TARGET = re.compile(r"fields\.([1-9][0-9]{0,17})")

# https://help.activecampaign.com/hc/en-us/articles/360017846539-Use-the-Bulk-Contact-Importer-API lists what an address
# may not hold. Blanks, control characters, empty labels and surrogate halves are ours: no mail server takes them.
_LOCAL = r"[^\s\x00-\x1f\x7f\ud800-\udfff\"(),:;<>@\[\\\]]+"
_LABEL = r"[^\s\x00-\x1f\x7f\ud800-\udfff\"(),:;<>@\[\\\].]+"
_ADDRESS = re.compile(rf"{_LOCAL}@(?:{_LABEL}\.)+(?:[^\W\d_]{{2,}}|xn--[a-z0-9-]+)")

NO_EMAIL = Rejection(RejectionKind.DATA, "no_email", "the profile has no e-mail address where the mapping looks for it")
MALFORMED_EMAIL = Rejection(
    RejectionKind.DATA, "malformed_email", "the e-mail address breaks ActiveCampaign's rules: correct it at the source"
)


def field_id(target: str) -> str | None:
    """Return the custom field's id of a target `fields.<id>`, None for any other target."""
    match = _FIELD_TARGET.fullmatch(target)
    return None if match is None else match[1]


def mapping_problems(mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield (target, reason) for what is missing or unknown in an export's mapping."""
    if EMAIL not in mapping:
        yield EMAIL, "is required"
    for target in mapping:
        if target != EMAIL and target not in PLAIN_TARGETS and field_id(target) is None:
            yield target, f"is not a target: use {EMAIL}, {', '.join(PLAIN_TARGETS)} or fields.<id of a custom field>"


def identity_of(value: Any) -> list[str] | Rejection:
    """Return the one e-mail, trimmed and in lower case; of several the first that is not blank counts."""
    candidates = value if isinstance(value, list) else [value]
    filled = [item for item in candidates if item is not None and item != "" and not _is_blank(item)]
    if not filled:
        return NO_EMAIL
    if not isinstance(filled[0], str):
        return MALFORMED_EMAIL
    address = filled[0].strip().lower()
    if ".." in address or not _ADDRESS.fullmatch(address):
        return MALFORMED_EMAIL
    return [address]


def encode(target: str, value: Any) -> str | None:
    """Encode a value; None (send nothing) for None, blank strings, empty lists, objects and infinite numbers.

    A list becomes `||a||b||` in a custom field; elsewhere its first item that is not empty counts.
    """
    if isinstance(value, list | tuple):
        items = [item for item in (_encode_one(item) for item in value) if item is not None]
        if not items:
            return None
        return f"||{'||'.join(items)}||" if field_id(target) is not None else items[0]
    return _encode_one(value)


def list_target(list_id: str) -> str:
    """Return the name of the target that stands for a list; it carries the id, so that a former list can be left."""
    return f"list/{list_id}"


def list_of(target: str) -> str:
    """Return the list's id of a target made by `list_target`."""
    return target.removeprefix("list/")


def row_of(step: Step, options: ActiveCampaignOptions) -> dict[str, Any]:
    """Return the contact of a bulk import for one step. Values that are empty are left out, never sent empty."""
    row: dict[str, Any] = {"email": step.identity}
    listed = [{"listid": int(list_of(step.target))}]
    fields: dict[str, str] = {}
    if step.joins:
        row.update({name: step.values[name] for name in PLAIN_TARGETS if step.values.get(name)})
        fields = {number: value for target, value in step.values.items() if (number := field_id(target)) and value}
        row["subscribe"] = listed
    elif options.on_exit == "unsubscribe":
        row["unsubscribe"] = listed
    if options.exit_field is not None:
        value = options.value_in if step.joins else options.value_out
        assert value is not None  # noqa: S101 -- the options model guarantees it; this tells the type checker
        fields[options.exit_field] = value
    if fields:
        row["fields"] = [{"id": int(number), "value": value} for number, value in fields.items()]
    return row


def _encode_one(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip() or None
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                return None
            return str(int(value)) if value.is_integer() else repr(value)
        case datetime() | date():
            return value.isoformat()
        case _:
            return None


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()
