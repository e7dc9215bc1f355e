"""Gainsight PX for the contract suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Flask

from relay.domain.exports import Export
from sandboxes.gainsight_px import create_app
from sandboxes.gainsight_px.settings import GainsightPxConfig
from tests.contract.subject import Subject


class GainsightPxSubject(Subject):
    """External segments, with a log-in; the sandbox's token address takes the place of the real one.

    An identity PX does not know is taken or refuses the call, as far as is documented; nothing tells afterwards.
    """

    name = "gainsight_px"
    reads = "^POST /oauth/token"
    prepares = "^(POST|PUT) /v1/external_segment/metadata"
    without_body = "^(POST /v1/external_segment/update_membership|PUT /v1/users/update|POST /v1/users)$"
    secrets: tuple[str, ...] = ("s3cret-password", "s3cret-client", "relay@example.com")
    delivery_path = "^/v1/external_segment/update_membership"
    identity_rejections = {"no_identity": None, "malformed_identity": {"id": "u1"}}
    config = GainsightPxConfig(
        username="relay@example.com", password="s3cret-password", client_id="sub-1", client_secret="s3cret-client"
    )

    def create_app(self) -> Flask:
        return create_app(self.config, clock=self.time, sleep=self.time.pass_)

    def connection_fields(self) -> dict[str, str]:
        return {
            "region": "eu",
            "username": "relay@example.com",
            "password": "s3cret-password",
            "client_id": "sub-1",
            "client_secret": "s3cret-client",
            "token_url": "https://login.invalid/oauth/token",
        }

    def options(self) -> dict[str, Any]:
        return {}

    def edits(self) -> Sequence[Export]:
        return [self.export_with({}, ("aep/three", "aep/two"))]

    def mapping(self) -> dict[str, str]:
        return {"IDENTIFY_ID": "identities.ECID"}

    def identity(self, number: int) -> str:
        return f"Person {number}/é"

    def values(self, word: str) -> dict[str, str]:
        return {}

    def introduce(self, identity: str) -> None:
        user = {"identifyId": identity, "propertyKeys": ["AP-SANDBOX0001-2"]}
        self.account_under_test.users.setdefault(identity, user)

    def refuse(self, identity: str) -> None:
        """PX does not know them."""
        account = self.account_under_test
        account.config = replace(account.config, unknown_users="reject")
        account.users.pop(identity)

    def spoil(self) -> None:
        account = self.account_under_test
        account.config = replace(account.config, feature="404")

    def delete(self, target: str) -> None:
        account = self.account_under_test
        one = account.segment_by_external_id(target.partition("/")[2])
        del account.segments[one.segment_id]

    def members(self, target: str) -> set[str]:
        kind, _, name = target.partition("/")
        if kind == "attribute":
            users = self.state()["users"]
            return {user["identifyId"] for user in users if user.get("customAttributes", {}).get(name) is True}
        return {member for one in self.state()["segments"] if one["externalId"] == name for member in one["members"]}

    def held(self, identity: str) -> Mapping[str, str]:
        return {}

    def last_time(self, target: str, identity: str) -> datetime | None:
        name = target.partition("/")[2]
        times: dict[str, str] = {}
        for one in self.state()["segments"]:
            times |= one["times"] if one["externalId"] == name else {}
        return datetime.fromisoformat(times[identity]) if identity in times else None


class GainsightPxAttributesSubject(GainsightPxSubject):
    """A Boolean attribute of users per segment, with a key, at a subscription without external segments."""

    delivery_path = "^/v1/users/update"
    secrets = ("sandbox-api-key",)
    config = GainsightPxConfig(feature="403", attributes=dict.fromkeys(("inOne", "inTwo", "inThree"), "BOOLEAN"))

    def connection_fields(self) -> dict[str, str]:
        return {"region": "us", "api_key": "sandbox-api-key"}

    def options(self) -> dict[str, Any]:
        return {"mode": "attributes", "attributes": {"aep/one": "inOne", "aep/two": "inTwo"}}

    def edits(self) -> Sequence[Export]:
        return [self.export_with({"attributes": {"aep/one": "inThree", "aep/two": "inTwo"}})]

    def spoil(self) -> None:
        account = self.account_under_test
        account.config = replace(account.config, attributes={"inTwo": "BOOLEAN"})

    def delete(self, target: str) -> None:
        account = self.account_under_test
        name = target.partition("/")[2]
        account.config = replace(
            account.config, attributes={one: kind for one, kind in account.config.attributes.items() if one != name}
        )
        for user in account.users.values():
            user.get("customAttributes", {}).pop(name, None)

    def held(self, identity: str) -> Mapping[str, str]:
        """All else of a user, which must stay as it is."""
        user = self.account_under_test.users.get(identity, {})
        return {name: str(value) for name, value in user.items() if name != "customAttributes"}

    def last_time(self, target: str, identity: str) -> datetime | None:
        return None


SUBJECTS = (GainsightPxSubject, GainsightPxAttributesSubject)
