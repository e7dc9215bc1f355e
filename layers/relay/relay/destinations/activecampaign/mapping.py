"""The targets of a mapping, and raw values to e-mails and encoded values. Pure."""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from relay.destinations.activecampaign.fields import items_of, several
from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.domain.addresses import normal_address
from relay.domain.problems import Rejection, RejectionKind
from relay.domain.values import text_of

EMAIL = "email"
TAGS = "tags"
LIST = "list"
"""The key of what is sent for every member of a marked target beside values: the list they are subscribed to."""

PLAIN_TARGETS = ("first_name", "last_name", "phone")
_FIELD_TARGET = re.compile(r"fields\.([1-9][0-9]{0,17})")

NO_EMAIL = Rejection(RejectionKind.DATA, "no_email", "the profile has no e-mail address where the mapping looks for it")
MALFORMED_EMAIL = Rejection(
    RejectionKind.DATA, "malformed_email", "the e-mail address breaks ActiveCampaign's rules: correct it at the source"
)

REJECTIONS = (NO_EMAIL, MALFORMED_EMAIL)


def field_id(target: str) -> str | None:
    """Return the custom field's id of a target `fields.<id>`, None for any other target."""
    match = _FIELD_TARGET.fullmatch(target)
    return None if match is None else match[1]


def mapping_problems(mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield (target, reason) for what is missing or unknown in an export's mapping."""
    if EMAIL not in mapping:
        yield EMAIL, "is required"
    for target in mapping:
        if target not in (EMAIL, TAGS, *PLAIN_TARGETS) and field_id(target) is None:
            known = ", ".join((EMAIL, *PLAIN_TARGETS, TAGS))
            yield target, f"is not a target: use {known} or fields.<id of a custom field>"


def identity_of(value: Any) -> list[str] | Rejection:
    """Return the one e-mail, normalised (`normal_address`); of several the smallest, in whatever order they come.

    What is no address does not count beside one that is.
    """
    candidates = value if isinstance(value, list | tuple) else [value]
    filled = [item for item in candidates if item is not None and not (isinstance(item, str) and not item.strip())]
    addresses = [address for item in filled if isinstance(item, str) and (address := normal_address(item)) is not None]
    if addresses:
        return [min(addresses)]
    return MALFORMED_EMAIL if filled else NO_EMAIL


def encode(target: str, value: Any) -> str | None:
    """Encode a value (`text_of`); None where there is nothing to send.

    Tags and a list in a custom field become `||a||b||`; elsewhere the first item of a list that is not empty counts.
    """
    is_list = isinstance(value, list | tuple)
    items = [text for text in map(text_of, value if is_list else [value]) if text is not None]
    if not items:
        return None
    holds_several = target == TAGS or (is_list and field_id(target) is not None)
    return (several(items) or None) if holds_several else items[0]


def complete(options: ActiveCampaignOptions, values: Mapping[str, str]) -> Mapping[str, str]:
    """Add the field value or the tag by which the export marks its members, and the list that goes with it."""
    if options.exit_field is not None and options.value_in is not None:
        return {**values, f"fields.{options.exit_field}": options.value_in, LIST: options.list_id}
    if options.tag is not None:
        return {**values, TAGS: several([*items_of(values.get(TAGS, "||")), options.tag]), LIST: options.list_id}
    return values


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
