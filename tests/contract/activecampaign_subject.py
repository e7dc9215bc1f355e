"""ActiveCampaign for the contract suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask import Flask

from relay.domain.exports import Export
from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.contacts import SUBSCRIBED
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from tests.contract.subject import Subject

_NAMES = {"firstName": "first_name", "lastName": "last_name", "phone": "phone"}


class ActiveCampaignSubject(Subject):
    """In bulk from two contacts up, as while single calls have to wait; a field marks who is in."""

    name = "activecampaign"
    backlog = timedelta(minutes=1)
    leaves_out = True
    settles_within = timedelta(seconds=30)
    prepares = "^POST /api/3/tags$"
    without_body = "^DELETE "
    page_size = 100
    secrets = ("s3cret-key",)
    delivery_path = "^/api/3/(import/bulk_import|contact/sync)"
    identity_rejections = {"no_email": None, "malformed_email": "anna@nowhere"}

    def create_app(self) -> Flask:
        lists, fields = {7: "News", 8: "Offers", 9: "Events"}, {1: "text", 2: "text", 3: "text"}
        config = ActiveCampaignConfig(api_key="s3cret-key", lists=lists, fields=fields)
        return create_app(config, clock=self.time, sleep=self.time.pass_)

    def connection_fields(self) -> dict[str, str]:
        return {"api_host": "acme.api-us1.com", "api_key": "s3cret-key"}

    def options(self) -> dict[str, Any]:
        return {"list_id": "7", "on_exit": "set_field", "exit_field": "2", "value_in": "among-us", "value_out": "gone"}

    def edits(self) -> Sequence[Export]:
        return [self.export_with({"exit_field": "3"})]

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

    def refuse(self, identity: str) -> None:
        """They have unsubscribed by hand."""
        answer = self.sandbox.post("/_sandbox/contacts", json={"email": identity, "lists": {"7": 2}})
        assert answer.status_code == 200

    def spoil(self) -> None:
        account = self.account_under_test
        account.config = replace(account.config, lists={8: "Offers"})

    def delete(self, target: str) -> None:
        """What a contact shows of a list that is gone is not documented: as before, which is harder."""
        account = self.account_under_test
        kind, _, name = target.partition("/")
        if kind == "tag":
            account.delete_tag(account.tag_id(name))
            return
        kept = {"list": "lists", "field": "fields"}[kind]
        left = {number: text for number, text in getattr(account.config, kept).items() if str(number) != name}
        account.config = replace(account.config, **{kept: left})
        if kind == "field":
            for contact in account.contacts.values():
                contact.fields.pop(int(name), None)

    def crowd(self, count: int) -> None:
        """Custom fields, lists, and tags with similar names; person 1 is on all the lists and has all the tags."""
        account = self.account_under_test
        crowd = range(1_001, 1_001 + count)
        fields = dict.fromkeys(crowd, "text") | dict(account.config.fields)
        lists = {number: f"List {number}" for number in crowd} | dict(account.config.lists)
        account.config = replace(account.config, fields=fields, lists=lists)
        contact, _ = account.upsert(self.identity(1))
        for number in crowd:
            account.set_list_status(contact, number, SUBSCRIBED, by="hand")
            account.add_tag(contact, account.tag_id(f"Member of club {number}"))

    def members(self, target: str) -> set[str]:
        kind, _, name = target.partition("/")
        contacts = self.state()["contacts"]
        if kind == "field":
            return {contact["email"] for contact in contacts if contact["fields"].get(name) == "among-us"}
        if kind == "tag":
            return {contact["email"] for contact in contacts if name in map(str.lower, contact["tags"])}
        return {contact["email"] for contact in contacts if contact["lists"].get(name, {}).get("status") == SUBSCRIBED}

    def held(self, identity: str) -> Mapping[str, str]:
        for contact in self.state()["contacts"]:
            if contact["email"] == identity:
                names = {target: contact[name] for name, target in _NAMES.items() if contact[name]}
                fields = {f"fields.{number}": value for number, value in contact["fields"].items()}
                lists = {f"list/{number}": str(standing["status"]) for number, standing in contact["lists"].items()}
                return {**names, **fields, **lists, "tags": ",".join(contact["tags"])}
        return {}


class ActiveCampaignFewSubject(ActiveCampaignSubject):
    """Up to ten contacts one by one; a single call does not say that an address is excluded."""

    backlog = timedelta()
    leaves_out = False


class ActiveCampaignUnsubscribingSubject(ActiveCampaignSubject):
    """One by one, as few are while nobody waits; who leaves is unsubscribed, and comes back while nobody objected."""

    backlog = timedelta()
    leaves_out = False

    def options(self) -> dict[str, Any]:
        return {"list_id": "7", "on_exit": "unsubscribe"}

    def edits(self) -> Sequence[Export]:
        return [self.export_with({"list_id": "8"})]


class ActiveCampaignTaggingSubject(ActiveCampaignSubject):
    """In bulk; a tag marks who is in."""

    def options(self) -> dict[str, Any]:
        return {"list_id": "7", "on_exit": "remove_tag", "tag": "Member"}

    def edits(self) -> Sequence[Export]:
        edited = ({"tag": "Customer"}, {"on_exit": "unsubscribe", "tag": None}, {**super().options(), "tag": None})
        return [self.export_with(options) for options in edited]


class ActiveCampaignFewTagsSubject(ActiveCampaignTaggingSubject):
    """One by one; a tag marks who is in."""

    backlog = timedelta()
    leaves_out = False


class ActiveCampaignQuietSubject(ActiveCampaignSubject):
    """In bulk even where it is one alone, so that no automation starts; nobody comes back."""

    comes_back = False

    def options(self) -> dict[str, Any]:
        return {"list_id": "7", "on_exit": "unsubscribe", "resubscribe": False, "exclude_automations": True}

    def edits(self) -> Sequence[Export]:
        return [self.export_with({"list_id": "8"})]


SUBJECTS = (
    ActiveCampaignSubject,
    ActiveCampaignUnsubscribingSubject,
    ActiveCampaignTaggingSubject,
    ActiveCampaignQuietSubject,
)
