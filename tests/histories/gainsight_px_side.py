"""Gainsight PX in a history: two external segments, several identities a person, a key or a log-in."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from flask import Flask

from local.sandboxes.gainsight_px import create_app
from local.sandboxes.gainsight_px_account import GainsightPxAccount
from local.sandboxes.gainsight_px_settings import GainsightPxConfig
from relay.destinations.contract import Destination
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.exports import Export
from tests.fakes.virtual_clock import VirtualClock
from tests.histories import trouble
from tests.histories.people import Person
from tests.histories.side import SEGMENTS, Side, Stored
from tests.histories.trouble import Place

UPDATE = "/v1/external_segment/update_membership"
PLACES = (
    # A success has no documented body, so nobody can tell whether one in another shape is one.
    Place("POST", UPDATE, lies=False),
    Place("POST", UPDATE, lies=False),
    Place(None, "/v1/external_segment/metadata"),
    Place("GET", "/v1/admin/subscription"),
    Place("POST", "/oauth/token"),
    Place(None, "", lies=False),
)


class GainsightPxSide(Side):
    """By hand: users appear, tokens are made invalid, segments are deleted and renamed."""

    name = "gainsight_px"

    def __init__(self, chance: Random, clock: VirtualClock) -> None:
        super().__init__(chance, clock)
        self.account: GainsightPxAccount = self.app.extensions["sandbox"]
        self._unknown = chance.choice([0.08, 0.08, 0.3])
        """The share of people PX does not know at the beginning."""
        self._deletes = chance.random() < 0.3
        self._deleted: set[tuple[str, str]] = set()

    def _destination(self) -> Destination:
        return GainsightPx(Tokens(self.clock.timestamp))

    def _app(self) -> Flask:
        config = GainsightPxConfig(
            unknown_users=self.chance.choice(["accept", "reject"]),
            deleted_segment=self.chance.choice(["400", "404"]),
            renames=self.chance.choice(["taken", "refused"]),
            max_identities=self.chance.choice([None, 40]),
            token_lifetime=self.chance.choice([900.0, 86_400.0]),
        )
        return create_app(config, clock=self.clock.timestamp, sleep=self.clock.advance)

    def _export(self) -> Export:
        size = self.chance.choice([1000, 30, 7])
        options = GainsightPx.options_model.model_validate(
            {"multiple_identities": "all", "max_identities_per_call": size}
        )
        stream = self.chance.random() < 0.7
        mapping = {"IDENTIFY_ID": "identities.ECID"}
        return Export("acme", "everyone", self.name, True, stream, SEGMENTS, mapping, options, 1)

    def _secret(self) -> dict[str, str]:
        if self.chance.random() < 0.5:
            return {"region": "us", "api_key": "sandbox-api-key"}
        return {
            "region": "eu",
            "username": "sandbox@example.com",
            "password": "sandbox-password",
            "client_id": "sandbox-subscription",
            "client_secret": "sandbox-client-secret",
            "token_url": "https://login.invalid/oauth/token",
        }

    # People.

    def person(self, number: int, crowd: int) -> Person:
        if number == 0:
            users = [{"identifyId": f"user {place}"} for place in range(crowd) if self.chance.random() >= self._unknown]
            self.post("users", {"users": users})
        return Person(number, identities={"ECID": self._identities(number, crowd)})

    def edit(self, person: Person, crowd: int) -> None:
        person.identities["ECID"] = self._identities(person.number, crowd)

    def _identities(self, number: int, crowd: int) -> Any:
        roll = self.chance.random()
        if roll < 0.06:
            return self.chance.choice([None, [], [" "], [{"id": "user 1"}]])
        own = [f"user {number}"] if roll < 0.8 else []
        return own + [f"user {self.chance.randrange(crowd)}" for _ in range(self.chance.choice([0, 0, 1, 2]))]

    # Trouble.

    def fault(self) -> dict[str, Any]:
        return trouble.rule(self.chance, self.chance.choice(PLACES))

    def by_hand(self, people: Sequence[Person]) -> str | None:
        if self.chance.random() < 0.3:
            self.control.delete("/_sandbox/tokens")
            return "tokens are made invalid"
        if self._deletes and self.account.segments and self.chance.random() < 0.3:
            return self._touch_segment()
        user = f"user {self.chance.randrange(len(people))}"
        self.post("users", {"identifyId": user})
        return f"{user} appears"

    def _touch_segment(self) -> str:
        segment = self.chance.choice(list(self.account.segments.values()))
        if self.chance.random() < 0.3:
            segment.name = f"Renamed {self.chance.randrange(9)}"
            return f"{segment.external_id} is renamed"
        self._deleted |= {(f"segment/{segment.external_id}", identity) for identity in segment.members}
        self.control.delete(f"/_sandbox/segments/{segment.external_id}")
        return f"{segment.external_id} is deleted"

    # What must be true.

    def complaints(self) -> list[str]:
        """A qualification time that is sent never goes backwards."""
        backwards = self.account.times_backwards
        return [f"{backwards} qualification times went backwards"] if backwards else []

    def differences(self, stored: Stored) -> list[str]:
        found = []
        held = {
            (f"segment/{segment.external_id}", identity)
            for segment in self.account.segments.values()
            for identity in segment.members
        }
        for place in sorted(stored.wanted.keys() ^ held):
            # Nobody tells the relay who was in a segment that was deleted; an administrator raises `tell_again`.
            is_lost = place in stored.wanted and place in self._deleted
            if place not in stored.refused and not is_lost:
                found.append(f"{place} is {'not in' if place in stored.wanted else 'still in'}")
        return found
