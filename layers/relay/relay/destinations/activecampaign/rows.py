"""From steps to contacts as the two ways of writing them spell it. Pure.

Bulk import spells names with underscores, contact/sync in camel case; a name in the wrong case is dropped silently:
https://developers.activecampaign.com/reference/bulk-import-contacts
https://developers.activecampaign.com/reference/sync-a-contacts-data
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.destinations.activecampaign.errors import MOST_TAGS, TAG_REFUSED, TOO_MANY_TAGS, UNFIT_VALUE
from relay.destinations.activecampaign.mapping import (
    PLAIN_FIELDS,
    TAGS,
    Kinds,
    Leaving,
    field_id,
    fit,
    items_of,
    leaving,
    name_in,
)
from relay.destinations.activecampaign.settings import LONGEST_TAG, ActiveCampaignOptions
from relay.destinations.calling import encode_json
from relay.destinations.contract import Step
from relay.domain.problems import Rejection

SYNC_NAMES = {"first_name": "firstName", "last_name": "lastName", "phone": "phone"}

_GROWTH = 32
"""Bytes by which fitting a value to its field can lengthen it, at most."""

_ABOUT_A_FIELD = 100
_ABOUT_A_ROW = 300
"""More than the bytes of names, numbers and punctuation around the values of a field, and around a row."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What is written of one contact; values that are empty are left out, never sent empty."""

    email: str
    names: Mapping[str, str]
    fields: Mapping[str, str]
    """By the id of the custom field."""
    tags: tuple[str, ...]

    @property
    def for_import(self) -> dict[str, Any]:
        """The contact as a bulk import's row, without lists."""
        row: dict[str, Any] = {"email": self.email, **self.names}
        if self.tags:
            row["tags"] = list(self.tags)
        if self.fields:
            row["fields"] = [{"id": int(number), "value": value} for number, value in self.fields.items()]
        return row

    @property
    def for_sync(self) -> dict[str, Any]:
        """The contact as contact/sync takes it, without tags."""
        contact: dict[str, Any] = {"email": self.email}
        contact.update({SYNC_NAMES[name]: value for name, value in self.names.items()})
        if self.fields:
            contact["fieldValues"] = [{"field": number, "value": value} for number, value in self.fields.items()]
        return contact


def contact_of(step: Step, options: ActiveCampaignOptions, kinds: Kinds) -> Contact | Rejection:
    """Return what a step writes; a rejection when a value does not fit its custom field, or a tag is no name."""
    values = dict(step.values)
    if not step.joins and options.value_out is not None and leaving(step.target, options) is Leaving.SET_FIELD:
        values[f"fields.{name_in(step.target)}"] = options.value_out
    fields: dict[str, str] = {}
    for name, value in values.items():
        number = field_id(name)
        if number is None:
            continue
        fitting = fit(kinds.get(number), value)
        if fitting is None:
            return UNFIT_VALUE
        if fitting:
            fields[number] = fitting
    tags = tuple({tag.lower(): tag for tag in items_of(values[TAGS])}.values()) if TAGS in values else ()
    if any(len(tag) > LONGEST_TAG for tag in tags):
        return TAG_REFUSED
    if len(own_tags(tags, options)) > MOST_TAGS:
        return TOO_MANY_TAGS
    names = {name: values[name] for name in PLAIN_FIELDS if name in values}
    return Contact(email=step.identity, names=names, fields=fields, tags=tags)


def own_tags(tags: Iterable[str], options: ActiveCampaignOptions) -> frozenset[str]:
    """Return the different tags that come from the profile, not from the export's options; in lower case.

    ActiveCampaign compares tags without regard to case.
    """
    return frozenset(tag.lower() for tag in tags) - {(options.tag or "").lower()}


def row_of(step: Step, contact: Contact, options: ActiveCampaignOptions) -> dict[str, Any]:
    """Return a bulk import's row for a step."""
    row = contact.for_import
    if step.joins:
        row["subscribe"] = [{"listid": int(options.list_id)}]
    elif leaving(step.target, options) is Leaving.UNSUBSCRIBE:
        row["unsubscribe"] = [{"listid": int(name_in(step.target))}]
    return row | _about_automations(options)


def body_of(rows: Sequence[Mapping[str, Any]], options: ActiveCampaignOptions) -> dict[str, Any]:
    """Return the body of a bulk import."""
    return {"contacts": list(rows)} | _about_automations(options)


def _about_automations(options: ActiveCampaignOptions) -> dict[str, Any]:
    """Return what is said at both places where the docs put it: their prose the payload, their example each contact."""
    return {"exclude_automations": True} if options.exclude_automations else {}


def is_certainly_within(step: Step, options: ActiveCampaignOptions, limit: int) -> bool:
    """Return whether a step's row, with its comma, is certainly no larger than so many bytes.

    A character takes 6 bytes at most. This is so much sooner known than `most_bytes` that most rows need no more.
    """
    texts = (step.identity, options.value_out or "", *step.values, *step.values.values())
    return 6 * sum(map(len, texts)) + _ABOUT_A_FIELD * len(step.values) + _ABOUT_A_ROW <= limit


def most_bytes(step: Step, options: ActiveCampaignOptions) -> int:
    """Return the most bytes a step's row can take in a body, with its comma, whatever the types of its fields are."""
    contact = contact_of(step, options, {})
    # Without types everything fits.
    row = {} if isinstance(contact, Rejection) else row_of(step, contact, options)
    return len(encode_json(row)) + 1 + _GROWTH * len(row.get("fields", ()))
