"""Validation of a bulk-import request, before anything is queued.

https://developers.activecampaign.com/reference/bulk-import-contacts
Email rules: https://help.activecampaign.com/hc/en-us/articles/360017846539-Use-the-Bulk-Contact-Importer-API
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

MAX_BODY_BYTES = 399_999
MAX_CONTACTS = 250

_FORBIDDEN_IN_EMAIL = re.compile(r'["(),:;<>@\[\\\]\s]')
_TOP_LEVEL_DOMAIN = re.compile(r"[A-Za-z]{2,}")
_TEXT_KEYS = ("first_name", "last_name", "phone", "customer_acct_name")


class RefusedImportError(Exception):
    """The whole request is refused with 400: `reasons` are objects per row (form A) or texts (form B)."""

    def __init__(self, message: str, reasons: list[dict[str, object]] | list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One contact of an import; None and missing keys mean "leave as it is"."""

    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    fields: dict[int, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    subscribe: tuple[int, ...] = ()
    unsubscribe: tuple[int, ...] = ()
    exclude_automations: bool = False


def is_email(text: str) -> bool:
    """Tell whether the import would take this address (rules of the help page)."""
    if text.count("@") != 1:
        return False
    local, _, domain = text.partition("@")
    if not local or _FORBIDDEN_IN_EMAIL.search(local) or _FORBIDDEN_IN_EMAIL.search(domain):
        return False
    rest, dot, top = domain.rpartition(".")
    return bool(rest) and bool(dot) and _TOP_LEVEL_DOMAIN.fullmatch(top) is not None


def contacts_of(body: bytes) -> tuple[list[object], bool]:
    """Return the raw `contacts` of a request body, and whether it asks for no automations.

    Raises `RefusedImportError` when there are no contacts to be found.
    """
    try:
        request = json.loads(body)
    except ValueError as error:
        raise RefusedImportError("The request could not be read.", ["Invalid or unparsable json"]) from error
    contacts = request.get("contacts") if isinstance(request, dict) else None
    if not isinstance(contacts, list) or not contacts:
        raise RefusedImportError("The request holds no contacts.", ["'contacts' is a required field."])
    return contacts, request.get("exclude_automations") is True


def read_rows(contacts: list[object]) -> list[ImportRow]:
    """Return the rows of an import of at most 250 contacts.

    One bad row refuses the whole request; bad rows are named by their place, counted from 1. Keys the import does not
    know, such as the camelCase ones of contact/sync, are dropped silently, as the vendor does.
    """
    if len(contacts) > MAX_CONTACTS:
        raise RefusedImportError(
            "Too many contacts in one request.", [f"An import takes up to {MAX_CONTACTS} contacts."]
        )
    rows: list[ImportRow] = []
    reasons: list[dict[str, object]] = []
    for place, contact in enumerate(contacts, start=1):
        try:
            rows.append(_read_row(contact))
        except ValueError as error:
            reasons.append({"contact": place, "failureReason": str(error)})
    if reasons:
        raise RefusedImportError("Validation failed: the import was not queued. See failureReasons.", reasons)
    return rows


def _read_row(contact: object) -> ImportRow:
    if not isinstance(contact, dict):
        raise ValueError("Contact is not an object")
    email = contact.get("email")
    if email is None or email == "":
        raise ValueError("Field 'email' not found")
    if not isinstance(email, str) or not is_email(email):
        raise ValueError("Field 'email' incorrect format")
    texts: dict[str, str | None] = {}
    for key in _TEXT_KEYS:
        value = contact.get(key)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"Field '{key}' incorrect format")
        texts[key] = value
    return ImportRow(
        email=email,
        first_name=texts["first_name"],
        last_name=texts["last_name"],
        phone=texts["phone"],
        fields=_read_fields(contact.get("fields", [])),
        tags=_read_tags(contact.get("tags", [])),
        subscribe=_read_list_ids(contact.get("subscribe", []), "subscribe"),
        unsubscribe=_read_list_ids(contact.get("unsubscribe", []), "unsubscribe"),
        exclude_automations=contact.get("exclude_automations") is True,
    )


def _read_fields(fields: object) -> dict[int, str]:
    if not isinstance(fields, list):
        raise ValueError("Field 'fields' incorrect format")
    read: dict[int, str] = {}
    for entry in fields:
        if not isinstance(entry, dict):
            raise ValueError("Field 'fields' incorrect format")
        number, value = entry.get("id"), entry.get("value")
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError("Field 'fields.id' incorrect format")
        if not isinstance(value, str):
            raise ValueError("Field 'fields.value' incorrect format")
        read[number] = value
    return read


def _read_tags(tags: object) -> tuple[str, ...]:
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise ValueError("Field 'tags' incorrect format")
    return tuple(tags)


def _read_list_ids(entries: object, key: str) -> tuple[int, ...]:
    if not isinstance(entries, list):
        raise ValueError(f"Field '{key}' incorrect format")
    read: list[int] = []
    for entry in entries:
        number = as_id(entry.get("listid")) if isinstance(entry, dict) else None
        if number is None:
            raise ValueError(f"Field '{key}.listid' incorrect format")
        read.append(number)
    return tuple(read)


def as_id(value: object) -> int | None:
    """Return an id given as a number or as digits: the vendor's schema says string, its examples say number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return None
