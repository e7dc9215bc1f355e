"""The ActiveCampaign calls that read and write contacts: bulk import, contact/sync, contactLists, contacts."""

from __future__ import annotations

from flask import Flask, Response, request

from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.contacts import SUBSCRIBED, UNSUBSCRIBED, Contact, ListStatus
from sandboxes.activecampaign.imports import overview
from sandboxes.activecampaign.rows import (
    MAX_BODY_BYTES,
    RefusedImportError,
    as_id,
    contacts_of,
    is_email,
    read_rows,
)
from sandboxes.answers import body_object, json_answer, page_of


def attach_import_calls(app: Flask, account: ActiveCampaignAccount) -> None:
    """Add the bulk import and its status pages.

    https://developers.activecampaign.com/reference/bulk-import-contacts
    """

    @app.post("/api/3/import/bulk_import")
    def bulk_import() -> Response:
        body = request.get_data()
        if len(body) > MAX_BODY_BYTES:
            return _refusal(
                "The request is too large.",
                [f"An import takes up to {MAX_BODY_BYTES} bytes."],
                account.config.oversize_status,
            )
        try:
            contacts, no_automations = contacts_of(body)
        except RefusedImportError as refusal:
            return _refusal(refusal.message, refusal.reasons)
        limit = "single_imports_per_minute" if len(contacts) == 1 else "imports_per_minute"
        if account.admit(limit) is not None:
            return _refusal(
                "Rate limit exceeded.",
                [f"{account.quotas[limit].limit} such imports fit in a minute. Try again in a minute."],
            )
        try:
            rows = read_rows(contacts)
        except RefusedImportError as refusal:
            return _refusal(refusal.message, refusal.reasons)
        batch_id, queued = account.queue(rows, exclude_automations=no_automations)
        return json_answer(
            {"Success": 1, "queued_contacts": queued, "batchId": batch_id, "message": "Contact import queued"}
        )

    @app.get("/api/3/import/bulk_import")
    def import_overview() -> Response:
        return json_answer(overview(account.batches.values(), account.clock.timestamp()))

    @app.get("/api/3/import/info")
    def import_info() -> Response:
        batch_id = request.args.get("batchId")
        if not batch_id:
            return json_answer({"success": 0, "message": "'batchId' is a required field."}, 400)
        batch = account.batches.get(batch_id)
        # An unknown id is undocumented. The boolean false of an import's first second looks like a look-up that
        # finds nothing yet, so an unknown id gets the same: it never ends, and a client needs a bound of its own.
        status = False if batch is None else batch.status(account.clock.elapsed())
        return json_answer(
            {
                "status": status,
                "success": batch.success if batch is not None and status else [],
                "failure": batch.failure if batch is not None and status else [],
            }
        )


def _refusal(message: str, reasons: list[dict[str, object]] | list[str], status: int = 400) -> Response:
    return json_answer({"success": 0, "message": message, "failureReasons": reasons}, status)


def attach_contact_calls(app: Flask, account: ActiveCampaignAccount) -> None:
    """Add contact/sync, contactLists and the contact pages.

    https://developers.activecampaign.com/reference/sync-a-contacts-data
    https://developers.activecampaign.com/reference/update-list-status-for-contact
    """

    @app.post("/api/3/contact/sync")
    def sync() -> Response:
        return _sync(account)

    @app.post("/api/3/contactLists")
    def set_list_status() -> Response:
        return _set_list_status(account)

    @app.get("/api/3/contacts")
    def contacts() -> Response:
        found = _select_contacts(account)
        rows, meta = page_of(found)
        return json_answer({"contacts": [describe_contact(contact) for contact in rows], "meta": meta})

    @app.get("/api/3/contacts/<contact_id>")
    def one_contact(contact_id: str) -> Response:
        contact = account.contacts.get(as_id(contact_id) or 0)
        if contact is None:
            return _no_contact(contact_id)
        return json_answer({"contact": describe_contact(contact), "fieldValues": _field_values(contact)})

    @app.get("/api/3/contacts/<contact_id>/contactLists")
    def lists_of_contact(contact_id: str) -> Response:
        contact = account.contacts.get(as_id(contact_id) or 0)
        if contact is None:
            return _no_contact(contact_id)
        # Whether these come in pages as all else does is not documented: who reads pages is right in either case.
        rows, _ = page_of([_describe_standing(contact, number, standing) for number, standing in contact.lists.items()])
        return json_answer({"contactLists": rows})


def _no_contact(contact_id: object) -> Response:
    return json_answer({"message": f"No Result found for Subscriber with id {contact_id}"}, 404)


def describe_contact(contact: Contact) -> dict[str, object]:
    """Return a contact as the API shows it: ids are texts, keys are camelCase."""
    return {
        "id": str(contact.contact_id),
        "email": contact.email,
        "firstName": contact.first_name,
        "lastName": contact.last_name,
        "phone": contact.phone,
        "cdate": contact.created.isoformat(timespec="seconds"),
        "udate": contact.updated.isoformat(timespec="seconds"),
        "links": {"contactLists": f"/api/3/contacts/{contact.contact_id}/contactLists"},
    }


def _field_values(contact: Contact) -> list[dict[str, str]]:
    return [
        {
            "id": f"{contact.contact_id}{number}",
            "contact": str(contact.contact_id),
            "field": str(number),
            "value": value,
        }
        for number, value in contact.fields.items()
    ]


def _describe_standing(contact: Contact, list_id: int, standing: ListStatus) -> dict[str, object]:
    return {
        "id": str(standing.relation_id),
        "contact": str(contact.contact_id),
        "list": str(list_id),
        "status": str(standing.status),
        "sourceid": str(standing.sourceid),
        "sdate": standing.changed.isoformat(timespec="seconds") if standing.status == SUBSCRIBED else None,
        "udate": standing.changed.isoformat(timespec="seconds") if standing.status == UNSUBSCRIBED else None,
        "unsubreason": "",
    }


def _sync(account: ActiveCampaignAccount) -> Response:
    body = body_object()
    given = body.get("contact") if body is not None else None
    if not isinstance(given, dict):
        return json_answer({}, 400)
    email = given.get("email")
    if not email:
        error = {"status": 400, "title": "Bad Request", "detail": "Contact email must be provided for sync"}
        return json_answer({"errors": [error]}, 400)
    if not isinstance(email, str) or not is_email(email):
        return json_answer(
            {
                "errors": [
                    {
                        "title": "Contact Email Address is not valid.",
                        "code": "email_invalid",
                        "error": "must_be_valid_email_address",
                        "source": {"pointer": "/data/attributes/email"},
                    }
                ]
            },
            422,
        )
    values = given.get("fieldValues", [])
    if not isinstance(values, list):
        return json_answer({}, 400)
    fields: dict[int, str] = {}
    for entry in values:
        number = as_id(entry.get("field")) if isinstance(entry, dict) else None
        if number is not None:
            fields[number] = str(entry.get("value", ""))
    # Single calls still work over the contact limit, as far as anything is known of it.
    contact, created = account.upsert(email, given.get("firstName"), given.get("lastName"), given.get("phone"), fields)
    held = _field_values(contact)
    described = {**describe_contact(contact), "fieldValues": [value["id"] for value in held]}
    return json_answer({"fieldValues": held, "contact": described}, 201 if created else 200)


def _set_list_status(account: ActiveCampaignAccount) -> Response:
    body = body_object()
    given = body.get("contactList") if body is not None else None
    if not isinstance(given, dict) or not {"list", "contact", "status"} <= set(given):
        return json_answer({}, 400)
    list_id, contact_id = as_id(given["list"]), as_id(given["contact"])
    status = as_id(given["status"])
    if status not in (SUBSCRIBED, UNSUBSCRIBED):
        # The vendor also takes 0 and 3; nobody has a reason to write those through the API, so a client that does
        # is told. The envelope of this error is not documented, its text is.
        error: dict[str, object] = {
            "title": "The value you selected is not a valid choice.",
            "source": {"pointer": "status"},
        }
        return json_answer({"errors": [error]}, 422)
    contact = account.contacts.get(contact_id or 0)
    if contact is None:
        return _no_contact(given["contact"])
    if list_id is None or list_id not in account.config.lists:
        return json_answer({"message": f"No Result found for _List with id {given['list']}"}, 404)
    # Unlike the import, this call does subscribe someone who unsubscribed by hand: the docs warn of it.
    standing = account.set_list_status(contact, list_id, status, by="api", sourceid=as_id(given.get("sourceid")) or 0)
    # Here the status comes back as a number, on the pages of a contact as a text.
    described: dict[str, object] = {**_describe_standing(contact, list_id, standing), "status": status}
    return json_answer({"contacts": [describe_contact(contact)], "contactList": described})


def _by_ids(account: ActiveCampaignAccount, ids: list[str]) -> list[Contact]:
    """Return contacts by `ids[]`, all where none are asked for: https://developers.activecampaign.com/reference/list-all-contacts."""
    if not ids or not account.config.ids_filter:
        return list(account.contacts.values())
    wanted = dict.fromkeys(as_id(number) or 0 for number in ids)
    return [account.contacts[number] for number in wanted if number in account.contacts]


def _select_contacts(account: ActiveCampaignAccount) -> list[Contact]:
    args = request.args
    email, list_id = args.get("email"), as_id(args.get("listid"))
    if email is None:
        found = _by_ids(account, args.getlist("ids[]"))
    else:
        known = account.contact_by_email(email)
        found = [known] if known is not None else []
    status = args.get("status", "-1")
    if list_id is not None:
        found = [c for c in found if list_id in c.lists and status in ("-1", str(c.lists[list_id].status))]
    elif status != "-1":
        found = [c for c in found if any(str(standing.status) == status for standing in c.lists.values())]
    tag = as_id(args.get("tagid"))
    if tag is not None:
        found = [contact for contact in found if tag in contact.tags]
    after = as_id(args.get("id_greater"))
    return found if after is None else [contact for contact in found if contact.contact_id > after]
