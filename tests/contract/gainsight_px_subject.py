"""Gainsight PX for the contract suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from local.sandboxes.gainsight_px import create_app
from local.sandboxes.gainsight_px_settings import GainsightPxConfig
from tests.contract.subject import Subject


class GainsightPxSubject(Subject):
    """With a log-in; the sandbox's token address takes the place of the real one."""

    name = "gainsight_px"
    comes_back = True
    # An identity PX does not know is taken or refuses the call, as far as is documented; nothing tells afterwards.
    leaves_out = False
    secrets: tuple[str, ...] = ("s3cret-password", "s3cret-client", "relay@example.com")
    delivery_path = "^/v1/external_segment/update_membership"
    identity_rejections = {"no_identity": None, "malformed_identity": {"id": "u1"}}

    def create_app(self) -> Flask:
        config = GainsightPxConfig(
            username="relay@example.com",
            password="s3cret-password",
            client_id="sub-1",
            client_secret="s3cret-client",
        )
        return create_app(config, clock=self.time, sleep=self.time.pass_)

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

    def mapping(self) -> dict[str, str]:
        return {"IDENTIFY_ID": "identities.ECID"}

    def identity(self, number: int) -> str:
        return f"Person {number}/é"

    def values(self, word: str) -> dict[str, str]:
        return {}

    def members(self) -> set[str]:
        segments = {segment["externalId"]: set(segment["members"]) for segment in self.state()["segments"]}
        return segments.get("aep/one", set())

    def held_values(self, identity: str) -> Mapping[str, str]:
        return {}


class GainsightPxByKeySubject(GainsightPxSubject):
    """With an API key."""

    secrets = ("sandbox-api-key",)

    def connection_fields(self) -> dict[str, str]:
        return {"region": "us", "api_key": "sandbox-api-key"}


class GainsightPxAttributesSubject(GainsightPxSubject):
    """With a Boolean attribute of users per segment, at a subscription without external segments."""

    delivery_path = "^/v1/users/update"

    def create_app(self) -> Flask:
        app = super().create_app()
        client = app.test_client()
        changes = {"feature": "403", "attributes": {"inOne": "BOOLEAN", "inTwo": "BOOLEAN"}}
        assert client.post("/_sandbox/settings", json=changes).status_code == 200
        # Whom the suite tells of: PX knows its users before their segments come.
        users = [{"identifyId": self.identity(number)} for number in range(1_010)]
        assert client.post("/_sandbox/users", json={"users": users}).status_code == 200
        return app

    def options(self) -> dict[str, Any]:
        return {"mode": "attributes", "attributes": {"aep/one": "inOne", "aep/two": "inTwo"}}

    def members(self) -> set[str]:
        users = self.state()["users"]
        return {user["identifyId"] for user in users if user.get("customAttributes", {}).get("inOne") is True}
