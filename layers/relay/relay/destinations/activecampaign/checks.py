"""Looking at an account and its exports without changing anything: what is wrong, and who must do what."""

import json
from collections.abc import Callable, Mapping, Sequence

from relay.destinations.activecampaign import mapping as mapping_rules
from relay.destinations.activecampaign.client import Client, CustomField
from relay.destinations.activecampaign.fields import Kinds, fit, items_of
from relay.destinations.contract import Finding, Level, Notes
from relay.domain.exports import Export
from relay.domain.problems import Actor

Fields = Mapping[str, CustomField]

_KINDS = "ac field types"

MANY = 1_000
"""Contacts of a first run that are worth a reminder of automations."""


def findings(
    client: Client, notes: Notes, exports: Sequence[Export], first_run_exceeds: Callable[[Export, int], bool]
) -> list[Finding]:
    """Look at the key, the contact limit, and each export's list and custom fields (once for all exports).

    `first_run_exceeds` is the account's. Raises as the client does when the account or the network fails.
    """
    client.me()
    found = [Finding("connection", Level.OK, "ActiveCampaign accepts the key"), *_headroom(client)]
    wanted = {export.key: _fields_used(export) for export in exports}
    fields = _read_fields(client, notes) if any(wanted.values()) else None
    for export in exports:
        found.append(_list_finding(client, export))
        found.extend(_reminder(export, first_run_exceeds))
        if wanted[export.key]:
            found.extend(_field_findings(export, wanted[export.key], fields))
    return found


def kinds_for(client: Client, notes: Notes, export: Export) -> Kinds:
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


def _fields_used(export: Export) -> set[str]:
    used = {number for target in export.mapping if (number := mapping_rules.field_id(target)) is not None}
    return used if export.options.exit_field is None else used | {export.options.exit_field}


def _headroom(client: Client) -> list[Finding]:
    """Tell how much room the contact limit leaves; nothing where the key's user may not see it."""
    room = client.room()
    if room is None:
        return []
    left = room.limit - room.contacts
    if left > 0:
        return [Finding("contact limit", Level.OK, f"there is room for {left} more of {room.limit} contacts")]
    message = (
        f"the account has reached its limit of {room.limit} contacts: those it does not know yet will be refused; "
        "raise the plan's limit or remove contacts in ActiveCampaign"
    )
    return [Finding("contact limit", Level.WARNING, message, Actor.ADMINISTRATOR)]


def _list_finding(client: Client, export: Export) -> Finding:
    number = export.options.list_id
    problem = client.list_problem(number)
    if problem is None:
        return Finding(export.key, Level.OK, f"list {number} is there")
    if problem.code == "not_visible":
        message = f"the key's user may not see list {number}: give its group access to the list in ActiveCampaign"
    else:
        message = f"there is no list {number}: correct list_id in the export"
    return Finding(export.key, Level.ERROR, message, Actor.ADMINISTRATOR)


def _reminder(export: Export, first_run_exceeds: Callable[[Export, int], bool]) -> list[Finding]:
    """Remind an administrator who has not decided about automations before many contacts come at once."""
    if "exclude_automations" in export.options.model_fields_set or not first_run_exceeds(export, MANY):
        return []
    message = (
        f"its first run brings more than {MANY:,} contacts to list {export.options.list_id}, and each of them starts "
        "the automations that begin when somebody is subscribed: set exclude_automations in the export's options to "
        "true if they shall not start, or to false if they shall"
    )
    return [Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR)]


def _field_findings(export: Export, wanted: set[str], fields: Fields | None) -> list[Finding]:
    if fields is None:
        message = "the key's user may not see custom fields, so they were not checked"
        return [Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR)]
    missing = [
        Finding(
            export.key,
            Level.ERROR,
            f"there is no custom field {number}: its values would vanish; correct the mapping or the options",
            Actor.ADMINISTRATOR,
        )
        for number in sorted(wanted - fields.keys(), key=int)
    ]
    field = fields.get(export.options.exit_field or "")
    return missing if field is None else [*missing, *_exit_value_findings(export, field)]


def _exit_value_findings(export: Export, field: CustomField) -> list[Finding]:
    """Tell which of the two values the field cannot hold, or does not offer: what becomes of those nobody says."""
    options = export.options
    found = []
    for name in ("value_in", "value_out"):
        value = getattr(options, name)
        fitting = None if value is None else fit(field.kind, value)
        if value is not None and not fitting:
            message = (
                f"{name} does not fit custom field {options.exit_field}, which is of type {field.kind}: use another one"
            )
            found.append(Finding(export.key, Level.ERROR, message, Actor.ADMINISTRATOR))
        elif fitting and field.choices and not field.choices.issuperset(items_of(fitting)):
            message = (
                f"custom field {options.exit_field} does not offer {name}: add that value to its options or use another"
            )
            found.append(Finding(export.key, Level.WARNING, message, Actor.ADMINISTRATOR))
    return found
