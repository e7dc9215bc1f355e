"""The destinations of a case: each with an account in its sandbox, and what that account holds."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from flask import Flask

from relay.destinations.activecampaign import ActiveCampaign
from relay.destinations.contract import Destination
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.token import Tokens
from sandboxes import activecampaign, gainsight_px
from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.contacts import Contact
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from sandboxes.answers import InvalidControlError
from sandboxes.config import AccountConfig
from sandboxes.gainsight_px.account import GainsightPxAccount
from sandboxes.gainsight_px.settings import GainsightPxConfig
from tests.fakes.virtual_clock import VirtualClock
from tests.field.reading import CaseError

ConfigT = TypeVar("ConfigT", bound=AccountConfig)


class Vendor(ABC):
    """One account in a sandbox, and the destination that writes to it."""

    mapping: Mapping[str, str]
    """The export's mapping where a case names none."""
    options: Mapping[str, Any] = {}
    """The export's options, as far as a case does not name them."""
    secret: Mapping[str, str]
    """The connection's fields."""
    destination: Destination
    app: Flask

    @abstractmethod
    def held(self) -> dict[str, Any]:
        """Return what the account holds, as the line of a case shows it."""


class ActiveCampaignVendor(Vendor):
    """An account with list 7."""

    mapping = {"email": "attributes.email"}
    options = {"list_id": "7"}
    secret = {"api_host": "acme.api-us1.com", "api_key": ActiveCampaignConfig.api_key}

    def __init__(self, options: Mapping[str, Any], clock: VirtualClock) -> None:
        config = _config(ActiveCampaignConfig(lists={7: "News"}), options)
        self.destination = ActiveCampaign()
        self.app = activecampaign.create_app(config, clock=clock.timestamp, sleep=clock.advance)

    def held(self) -> dict[str, Any]:
        account: ActiveCampaignAccount = self.app.extensions["sandbox"]
        account.settle()
        contacts = sorted(account.contacts.values(), key=lambda contact: contact.email)
        return {"contacts": [_picture(account, contact) for contact in contacts]}


def _picture(account: ActiveCampaignAccount, contact: Contact) -> dict[str, Any]:
    return {
        "email": contact.email,
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "phone": contact.phone,
        "fields": {str(number): text for number, text in sorted(contact.fields.items())},
        "tags": sorted(account.tags[tag] for tag in contact.tags),
        "lists": {str(number): standing.status for number, standing in sorted(contact.lists.items())},
    }


class GainsightPxVendor(Vendor):
    """A subscription with external segments."""

    mapping = {"IDENTIFY_ID": "identities.crm"}
    secret = {"region": "us", "api_key": GainsightPxConfig.api_key}

    def __init__(self, options: Mapping[str, Any], clock: VirtualClock) -> None:
        config = _config(GainsightPxConfig(), options)
        self.destination = GainsightPx(Tokens(clock.timestamp))
        self.app = gainsight_px.create_app(config, clock=clock.timestamp, sleep=clock.advance)

    def held(self) -> dict[str, Any]:
        account: GainsightPxAccount = self.app.extensions["sandbox"]
        segments = sorted(account.segments.values(), key=lambda segment: segment.external_id)
        return {"members": {segment.external_id: sorted(segment.members) for segment in segments}}


def _config(config: ConfigT, options: Mapping[str, Any]) -> ConfigT:
    """Return the settings of a sandbox with a case's options."""
    known = {own.name for own in dataclasses.fields(config)}
    if unknown := sorted(options.keys() - known):
        raise CaseError(f"setup: neither ours nor an option of the sandbox: {', '.join(unknown)}")
    try:
        return config.changed(options)
    except InvalidControlError as error:
        raise CaseError(f"setup: {error}") from None


VENDORS: Mapping[str, type[ActiveCampaignVendor | GainsightPxVendor]] = {
    "ac": ActiveCampaignVendor,
    "px": GainsightPxVendor,
}
"""The values of a case's `kind`."""
