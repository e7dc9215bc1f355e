"""Looking at an account and its exports without changing anything: what is wrong, and who must do what."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from relay.destinations.activecampaign.client import Client, CustomField
from relay.destinations.activecampaign.errors import NOT_VISIBLE
from relay.destinations.activecampaign.mapping import Kinds, field_id, fit, items_of
from relay.destinations.activecampaign.settings import AcExport
from relay.destinations.contract import Finding, Level, Notes
from relay.domain.problems import Actor

Fields = Mapping[str, CustomField]

_KINDS = "ac field types"

_LIST = "options.list_id"

SHOWN = 8
"""Lists that are named where there is none of a number."""

MANY = 1_000
"""Contacts of a first run that are worth a reminder of automations."""


def findings(
    client: Client, notes: Notes, exports: Sequence[AcExport], first_run_exceeds: Callable[[AcExport, int], bool]
) -> list[Finding]:
    """Look at the key, the contact limit, and each export's list and custom fields (once for all exports).

    `first_run_exceeds` is the account's. Raises as the client does when the account or the network fails.
    """
    client.me()
    found = [Finding("connection", Level.OK, "ActiveCampaign accepts the key"), *_headroom(client)]
    fields = _read_fields(client, notes) if any(map(_fields_used, exports)) else None
    for export in exports:
        found.append(_list_finding(client, export))
        found.extend(_reminder(export, first_run_exceeds))
        if _fields_used(export):
            found.extend(_field_findings(export, fields))
    return found


def kinds_for(client: Client, notes: Notes, export: AcExport) -> Kinds:
    """Return the types of custom fields as they were last seen; they are read when nobody has looked yet."""
    if not _fields_used(export):
        return {}
    kept = notes.get(_KINDS)
    if kept is not None:
        kinds: Kinds = json.loads(kept)
        return kinds
    return _kinds_of(_read_fields(client, notes) or {})


def _read_fields(client: Client, notes: Notes) -> Fields | None:
    kept, fields = notes.get(_KINDS), client.fields()
    now = json.dumps(_kinds_of(fields or {}), sort_keys=True)
    if kept is None or (fields is not None and now != kept):
        notes.keep(_KINDS, now, replaces=kept)
    return fields


def _kinds_of(fields: Fields) -> Kinds:
    return {number: field.kind for number, field in fields.items()}


def _fields_used(export: AcExport) -> set[str]:
    used = {number for field in export.mapping if (number := field_id(field)) is not None}
    return used if export.options.exit_field is None else used | {export.options.exit_field}


def _headroom(client: Client) -> Iterator[Finding]:
    """Tell how much room the contact limit leaves; nothing where the key's user may not see it."""
    room = client.room()
    if room is None:
        return
    left = room.limit - room.contacts
    if left > 0:
        yield Finding("contact limit", Level.OK, f"there is room for {left} more of {room.limit} contacts")
        return
    yield _finding(
        "contact limit",
        Level.WARNING,
        f"the account has reached its limit of {room.limit} contacts: those it does not know yet will be refused; "
        "raise the plan's limit or remove contacts in ActiveCampaign",
    )


def _list_finding(client: Client, export: AcExport) -> Finding:
    number = export.options.list_id
    why = client.why_no_list(number)
    if why is None:
        return Finding(export.key, Level.OK, f"list {number} is there")
    if why == NOT_VISIBLE:
        message = f"the key's user may not see list {number}: give its group access to the list in ActiveCampaign"
        return _finding(export.key, Level.ERROR, message, _LIST)
    there = client.lists()
    shown = ", ".join(f"{one} ({name})" for one, name in sorted(there.items(), key=lambda one: len(one[0]))[:SHOWN])
    message = f"there is no list {number}: correct list_id in the export. There are {shown or 'none'}"
    near = next(iter(get_close_matches(number, there, n=1)), None)
    return _finding(export.key, Level.ERROR, message, _LIST, near)


def _reminder(export: AcExport, first_run_exceeds: Callable[[AcExport, int], bool]) -> Iterator[Finding]:
    """Remind an administrator who has not decided about automations before many contacts come at once."""
    if "exclude_automations" not in export.options.model_fields_set and first_run_exceeds(export, MANY):
        yield _finding(
            export.key,
            Level.WARNING,
            f"its first run brings more than {MANY:,} contacts to list {export.options.list_id}, and each of them "
            "starts the automations that begin when somebody is subscribed: set exclude_automations in the export's "
            "options to true if they shall not start, or to false if they shall",
        )


def _field_findings(export: AcExport, fields: Fields | None) -> Iterator[Finding]:
    if fields is None:
        message = "the key's user may not see custom fields, so they were not checked"
        yield _finding(export.key, Level.WARNING, message)
        return
    for number in sorted(_fields_used(export) - fields.keys(), key=int):
        message = f"there is no custom field {number}: its values would vanish; correct the mapping or the options"
        yield _finding(export.key, Level.ERROR, message)
    field = fields.get(export.options.exit_field or "")
    if field is not None:
        yield from _exit_value_findings(export, field)


def _exit_value_findings(export: AcExport, field: CustomField) -> Iterator[Finding]:
    """Tell which of the two values the field cannot hold, or does not offer: what becomes of those nobody says."""
    number = export.options.exit_field
    for name, value in (("value_in", export.options.value_in), ("value_out", export.options.value_out)):
        fitting = None if value is None else fit(field.kind, value)
        if value is not None and not fitting:
            message = f"{name} does not fit custom field {number}, which is of type {field.kind}: use another one"
            yield _finding(export.key, Level.ERROR, message)
        elif fitting and field.choices and not field.choices.issuperset(items_of(fitting)):
            message = f"custom field {number} does not offer {name}: add that value to its options or use another"
            yield _finding(export.key, Level.WARNING, message)


def _finding(subject: str, level: Level, message: str, field: str | None = None, near: str | None = None) -> Finding:
    return Finding(subject, level, message, Actor.ADMINISTRATOR, field=field, near=near)
