"""ActiveCampaign for the contract suite."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Flask

from local.sandboxes.activecampaign import create_app
from local.sandboxes.activecampaign_settings import ActiveCampaignConfig
from tests.contract.subject import Subject

_NAMES = {"firstName": "first_name", "lastName": "last_name", "phone": "phone"}


class ActiveCampaignSubject(Subject):
    """In bulk from two contacts up, as while single calls have to wait; a field marks who is in."""

    name = "activecampaign"
    backlog = timedelta(minutes=1)
    comes_back = True
    leaves_out = True
    secrets = ("s3cret-key",)
    delivery_path = "^/api/3/(import/bulk_import|contact/sync)"
    identity_rejections = {"no_email": None, "malformed_email": "anna@nowhere"}

    def create_app(self) -> Flask:
        lists, fields = {7: "News", 8: "Offers", 9: "Events"}, {1: "text", 2: "text"}
        config = ActiveCampaignConfig(api_key="s3cret-key", lists=lists, fields=fields)
        return create_app(config, clock=self.time, sleep=self.time.pass_)

    def connection_fields(self) -> dict[str, str]:
        return {"api_host": "acme.api-us1.com", "api_key": "s3cret-key"}

    def options(self) -> dict[str, Any]:
        return {"list_id": "7", "on_exit": "set_field", "exit_field": "2", "value_in": "among-us", "value_out": "gone"}

    def mapping(self) -> dict[str, str]:
        targets = ("email", "first_name", "last_name", "phone", "fields.1")
        return {target: f"attributes.{target.replace('.', '')}" for target in targets}

    def identity(self, number: int) -> str:
        return f"person{number}@example.com"

    def values(self, word: str) -> dict[str, str]:
        return {"first_name": word, "fields.1": f"{word} of field"}

    def leave_out(self, identity: str) -> None:
        answer = self.sandbox.post("/_sandbox/contacts", json={"email": identity, "excluded": True})
        assert answer.status_code == 200

    def members(self) -> set[str]:
        return {contact["email"] for contact in self.state()["contacts"] if contact["fields"].get("2") == "among-us"}

    def subscribed(self) -> set[str]:
        """Return who is subscribed to the list."""
        standings = {contact["email"]: contact["lists"].get("7") for contact in self.state()["contacts"]}
        return {email for email, standing in standings.items() if standing and standing["status"] == 1}

    def held_values(self, identity: str) -> Mapping[str, str]:
        (contact,) = (contact for contact in self.state()["contacts"] if contact["email"] == identity)
        names = {target: contact[name] for name, target in _NAMES.items() if contact[name]}
        fields = {f"fields.{number}": value for number, value in contact["fields"].items() if number != "2"}
        return {**names, **fields}


class ActiveCampaignFewSubject(ActiveCampaignSubject):
    """Up to ten contacts one by one; a single call does not say that an address is excluded."""

    backlog = timedelta()
    leaves_out = False


class ActiveCampaignUnsubscribingSubject(ActiveCampaignSubject):
    """Who leaves is unsubscribed, and comes back while nobody else touched the subscription."""

    def options(self) -> dict[str, Any]:
        return {"list_id": "7", "on_exit": "unsubscribe"}

    def members(self) -> set[str]:
        return self.subscribed()


class ActiveCampaignTaggingSubject(ActiveCampaignSubject):
    """A tag marks who is in."""

    def options(self) -> dict[str, Any]:
        return {"list_id": "7", "on_exit": "remove_tag", "tag": "Member"}

    def members(self) -> set[str]:
        return {contact["email"] for contact in self.state()["contacts"] if "Member" in contact["tags"]}
