"""What tests do to an ActiveCampaign account beside its API.

- `POST /_sandbox/contacts` plants one contact or `{"contacts": [...]}`, as if edited by hand: `email` (required),
  `firstName`, `lastName`, `phone`, `fields` {id: text}, `tags` [name], `lists` {list id: status},
  `excluded` and `bounced` (true puts the address on the account's exclusion or bounce list)
- `DELETE /_sandbox/contacts/{email}` deletes a contact
- `POST /_sandbox/import_outcomes` takes a list of endings for the next imports, e.g.
  `[{"status": "interrupted"}, {"unreported": ["ann@example.com"]}, {"seconds": 3600}]`
"""

from __future__ import annotations

from flask import Flask, Response, request

from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.rows import as_id, is_email
from sandboxes.activecampaign.settings import ImportOutcome
from sandboxes.answers import InvalidControlError, body_object, json_answer


def attach_control_extras(app: Flask, account: ActiveCampaignAccount) -> None:
    """Add planting and deleting of contacts, and the endings of the next imports."""

    @app.post("/_sandbox/contacts")
    def plant() -> Response:
        body = body_object()
        given = body.get("contacts", [body]) if body is not None else None
        if not isinstance(given, list):
            raise InvalidControlError("give one contact, or a list under contacts")
        return json_answer({"contacts": [_plant_contact(account, contact) for contact in given]})

    @app.delete("/_sandbox/contacts/<email>")
    def delete(email: str) -> Response:
        return json_answer({"deleted": account.delete(email)})

    @app.post("/_sandbox/import_outcomes")
    def next_import_outcomes() -> Response:
        outcomes: object = request.get_json(force=True)
        if not isinstance(outcomes, list):
            raise InvalidControlError("give a list of import outcomes")
        account.next_outcomes.extend([_outcome(given) for given in outcomes])
        return json_answer({"waiting": len(account.next_outcomes)})


def _plant_contact(account: ActiveCampaignAccount, given: object) -> dict[str, object]:
    if not isinstance(given, dict):
        raise InvalidControlError("a contact is an object")
    known = {"email", "firstName", "lastName", "phone", "fields", "tags", "lists", "excluded", "bounced"}
    if set(given) - known:
        raise InvalidControlError(f"a contact takes {', '.join(sorted(known))}")
    email, fields, lists = given.get("email"), given.get("fields", {}), given.get("lists", {})
    tags = given.get("tags", [])
    if not isinstance(email, str) or not is_email(email):
        raise InvalidControlError("a contact needs an email")
    if not isinstance(fields, dict) or not isinstance(lists, dict) or not isinstance(tags, list):
        raise InvalidControlError("fields and lists are objects by id, tags are a list")
    statuses = {as_id(number): status for number, status in lists.items()}
    if any(n not in account.config.lists or as_id(status) is None for n, status in statuses.items()):
        raise InvalidControlError("lists maps known list ids to a status, a number")
    texts = {int(number): str(value) for number, value in fields.items() if as_id(number) is not None}
    contact, _created = account.upsert(email, given.get("firstName"), given.get("lastName"), given.get("phone"), texts)
    for name in tags:
        account.add_tag(contact, account.tag_id(str(name)))
    for number, status in statuses.items():
        account.set_list_status(contact, int(number or 0), int(status), by="hand")
    if given.get("excluded"):
        account.exclude(email)
    if given.get("bounced"):
        account.bounce(email)
    return account.describe(contact)


def _outcome(given: object) -> ImportOutcome:
    if not isinstance(given, dict):
        raise InvalidControlError("an import outcome is an object")
    return ImportOutcome().changed(given)
