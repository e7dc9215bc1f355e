"""The ActiveCampaign calls for tags; a tag is taken off by the id of the association, not of the tag.

https://developers.activecampaign.com/reference/create-contact-tag
"""

from __future__ import annotations

from flask import Flask, Response, request

from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.contacts import Contact
from sandboxes.activecampaign.rows import as_id
from sandboxes.answers import body_object, json_answer, page_of


def attach_tag_calls(app: Flask, account: ActiveCampaignAccount) -> None:
    """Add tags and contactTags."""

    @app.get("/api/3/tags")
    def tags() -> Response:
        search = request.args.get("search", "").lower()
        found = [_describe_tag(n, name) for n, name in account.tags.items() if search in name.lower()]
        rows, meta = page_of(found)
        return json_answer({"tags": rows, "meta": meta})

    @app.post("/api/3/tags")
    def create_tag() -> Response:
        body = body_object()
        given = body.get("tag") if body is not None else None
        name = given.get("tag") if isinstance(given, dict) else None
        if not isinstance(name, str) or not name:
            return _missing("tag")
        if name.lower() in account.tag_ids:
            # Undocumented; answered like the documented duplicate of POST /contacts.
            return json_answer({"errors": [{"title": "The tag exists.", "code": "duplicate"}]}, 422)
        return json_answer({"tag": _describe_tag(account.tag_id(name), name)}, 201)

    @app.post("/api/3/contactTags")
    def add_tag() -> Response:
        return _add_tag(account)

    @app.delete("/api/3/contactTags/<association_id>")
    def remove_tag(association_id: str) -> Response:
        if account.remove_tag(as_id(association_id) or 0):
            return json_answer({})
        return json_answer({"message": f"No Result found for SubscriberTag with id {association_id}"}, 404)

    @app.get("/api/3/contacts/<contact_id>/contactTags")
    def tags_of_contact(contact_id: str) -> Response:
        contact = account.contacts.get(as_id(contact_id) or 0)
        if contact is None:
            return json_answer({"message": f"No Result found for Subscriber with id {contact_id}"}, 404)
        # Whether these come in pages as all else does is not documented: who reads pages is right in either case.
        rows, _ = page_of([_describe_association(contact, tag, number) for tag, number in contact.tags.items()])
        return json_answer({"contactTags": rows})


def _add_tag(account: ActiveCampaignAccount) -> Response:
    body = body_object()
    given = body.get("contactTag") if body is not None else None
    if not isinstance(given, dict):
        return json_answer({}, 400)
    for key in ("contact", "tag"):
        if given.get(key) in (None, ""):
            return _missing(key)
    contact = account.contacts.get(as_id(given["contact"]) or 0)
    if contact is None:
        return _not_found("Contact not found")
    tag = as_id(given["tag"])
    if tag is None or tag not in account.tags:
        return _not_found("Tag not found")
    association, new = account.add_tag(contact, tag)
    return json_answer({"contactTag": _describe_association(contact, tag, association)}, 201 if new else 200)


def _describe_tag(number: int, name: str) -> dict[str, str]:
    return {"id": str(number), "tag": name, "tagType": "contact", "description": ""}


def _describe_association(contact: Contact, tag: int, association: int) -> dict[str, str]:
    return {"id": str(association), "contact": str(contact.contact_id), "tag": str(tag)}


def _missing(key: str) -> Response:
    error = {
        "status": 422,
        "title": "Missing attribute",
        "source": {"pointer": f"/data/attributes/{key}"},
    }
    return json_answer({"errors": [error]}, 422)


def _not_found(detail: str) -> Response:
    return json_answer({"errors": [{"status": 404, "title": "Not Found", "detail": detail}]}, 404)
