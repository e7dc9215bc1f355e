"""The ActiveCampaign calls that delete contacts and tags, as the smoke test of an account does: a contact also because
a person is forgotten there.

https://developers.activecampaign.com/reference/delete-contact
https://developers.activecampaign.com/reference/delete-a-tag
"""

from __future__ import annotations

from flask import Flask, Response

from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.rows import as_id
from sandboxes.answers import json_answer


def attach_deletion_calls(app: Flask, account: ActiveCampaignAccount) -> None:
    """Add the deletion of a contact and of a tag."""

    @app.delete("/api/3/contacts/<contact_id>")
    def delete_contact(contact_id: str) -> Response:
        contact = account.contacts.get(as_id(contact_id) or 0)
        if contact is None:
            return json_answer({"message": f"No Result found for Subscriber with id {contact_id}"}, 404)
        account.delete(contact.email)
        return json_answer({})

    @app.delete("/api/3/tags/<tag_id>")
    def delete_tag(tag_id: str) -> Response:
        if account.delete_tag(as_id(tag_id) or 0):
            return json_answer({})
        return json_answer({"message": f"No Result found for Tag with id {tag_id}"}, 404)
