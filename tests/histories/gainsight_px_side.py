"""Gainsight PX in a history: two external segments or attributes, several identities a person, a key or a log-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from flask import Flask

from relay.destinations.contract import Destination
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.targets import kind_of, name_in
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from sandboxes.gainsight_px import create_app
from sandboxes.gainsight_px.account import GainsightPxAccount
from sandboxes.gainsight_px.settings import GainsightPxConfig
from tests.fakes.virtual_clock import VirtualClock
from tests.histories import trouble
from tests.histories.people import Person
from tests.histories.side import CONNECTION, FIRST, SECOND, SEGMENTS, Side, Stored
from tests.histories.trouble import Place

UPDATE = "/v1/external_segment/update_membership"
PLACES = (
    # A success has no documented body, so nobody can tell whether one in another shape is one.
    Place("POST", UPDATE, lies=False),
    Place("POST", UPDATE, lies=False),
    Place(None, "/v1/external_segment/metadata"),
    Place("GET", "/v1/admin/subscription"),
    Place("POST", "/oauth/token"),
    Place("PUT", "/v1/users/update", untrue=frozenset({404}), lies=False),
    Place("GET", "/v1/admin/model/user/attributes"),
    Place(None, "", untrue=frozenset({404}), lies=False),
)

ATTRIBUTES = dict(zip(SEGMENTS, ("isVip", "hasLapsed"), strict=True))


class GainsightPxSide(Side):
    """By hand: users appear, tokens are made invalid, segments are deleted and renamed."""

    name = "gainsight_px"

    def __init__(self, chance: Random, clock: VirtualClock) -> None:
        super().__init__(chance, clock)
        self.account: GainsightPxAccount = self.app.extensions["sandbox"]
        self._unknown = chance.choice([0.08, 0.08, 0.3])
        """The share of people PX does not know at the beginning."""
        self._deletes = chance.random() < 0.3
        self._deleted: set[Pair] = set()

    def new_destination(self) -> Destination:
        return GainsightPx(Tokens(self.clock.timestamp))

    def _app(self) -> Flask:
        config = GainsightPxConfig(
            unknown_users=self.chance.choice(["accept", "reject"]),
            deleted_segment=self.chance.choice(["400", "404"]),
            renames=self.chance.choice(["taken", "refused"]),
            max_identities=self.chance.choice([None, 40]),
            token_lifetime=self.chance.choice([900.0, 86_400.0]),
            workspaces=self.export.options.identity_type == "GLOBAL_ID",
            attributes=dict.fromkeys(ATTRIBUTES.values(), "BOOLEAN"),
        )
        return create_app(config, clock=self.clock.timestamp, sleep=self.clock.advance)

    def _export(self) -> Export:
        options: dict[str, Any] = {
            "multiple_identities": "all",
            "max_identities_per_call": self.chance.choice([1000, 30, 7]),
        }
        roll = self.chance.random()
        if roll < 0.15:
            options |= {"mode": "attributes", "attributes": ATTRIBUTES, "create_users": self.chance.random() < 0.5}
        elif roll < 0.3:
            options["identity_type"] = "GLOBAL_ID"
        stream = self.chance.random() < 0.7
        mapping = {"IDENTIFY_ID": "identities.ECID"}
        return Export(CONNECTION, FIRST, self.name, True, stream, SEGMENTS, mapping, _options(options), 0)

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

    # Settings.

    def _edited(self, export: Export, *, alone: bool) -> Export:
        options, roll = export.options.model_dump(exclude_unset=True), self.chance.random()
        if roll < 0.3 and alone:
            return replace(export, segments=SEGMENTS if len(export.segments) == 1 else SEGMENTS[:1])
        if roll < 0.5 and "identity_type" not in options:
            # What is in segments by then is taken out of them, and the other way round.
            own = ("mode", "attributes", "create_users")
            other = {"mode": "attributes", "attributes": ATTRIBUTES} if "mode" not in options else {}
            kept = {name: value for name, value in options.items() if name not in own}
            return replace(export, options=_options(kept | other))
        if roll < 0.7:
            options["multiple_identities"] = self.chance.choice(["all", "first", "reject"])
        elif roll < 0.8:
            options["tell_again"] = options.get("tell_again", 0) + 1
        else:
            options["max_identities_per_call"] = self.chance.choice([1000, 30, 7])
        return replace(export, options=_options(options))

    def _second(self, first: Export) -> Export:
        return replace(first, name=SECOND if first.name == FIRST else FIRST, segments=SEGMENTS)

    def _shared(self, first: Export, second: Export) -> tuple[Export, Export]:
        segments = self.chance.sample(SEGMENTS, 2)
        return replace(first, segments=(segments[0],)), replace(second, segments=(segments[1],))

    # People.

    def person(self, number: int, crowd: int) -> Person:
        if number == 0:
            users = [_user(place) for place in range(crowd) if self.chance.random() >= self._unknown]
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
        if self.chance.random() < 0.1:
            name = self.chance.choice(list(ATTRIBUTES.values()))
            self._set_attributes({name: "BOOLEAN DISABLED"})
            return f"{name} is disabled"
        user = _user(self.chance.randrange(len(people)))
        if user["identifyId"] in self.account.users:
            return None
        self.post("users", user)
        return f"{user['identifyId']} appears"

    def _set_attributes(self, changed: dict[str, str]) -> None:
        self.post("settings", {"attributes": {**dict.fromkeys(ATTRIBUTES.values(), "BOOLEAN"), **changed}})

    def _touch_segment(self) -> str:
        segment = self.chance.choice(list(self.account.segments.values()))
        if self.chance.random() < 0.3:
            segment.name = f"Renamed {self.chance.randrange(9)}"
            return f"{segment.external_id} is renamed"
        self._deleted |= {Pair(f"segment/{segment.external_id}", identity) for identity in segment.members}
        self.control.delete(f"/_sandbox/segments/{segment.external_id}")
        return f"{segment.external_id} is deleted"

    def calm(self) -> None:
        super().calm()
        self._set_attributes({})

    # What must be true.

    def complaints(self) -> list[str]:
        """A qualification time that is sent never goes backwards."""
        backwards = self.account.times_backwards
        return [f"{backwards} qualification times went backwards"] if backwards else []

    def differences(self, stored: Stored) -> list[str]:
        found = []
        for target in sorted(stored.owners):
            wanted = {pair for pair in stored.wanted if pair.target == target}
            for pair in sorted(wanted ^ self._held(target)):
                # Nobody tells the relay who was in a segment that was deleted; an administrator raises `tell_again`.
                is_lost = pair in wanted and pair in self._deleted
                if stored.reason(pair) is None and not is_lost:
                    found.append(f"{pair} is {'not in' if pair in wanted else 'still in'}: {stored.record(pair)}")
        return found

    def _held(self, target: str) -> set[Pair]:
        name = name_in(target)
        if kind_of(target) == "segment":
            segment = self.account.segment_by_external_id(name)
            return set() if segment is None else {Pair(target, identity) for identity in segment.members}
        users: dict[str, Any] = self.account.users
        return {Pair(target, one) for one, user in users.items() if user.get("customAttributes", {}).get(name) is True}


def _user(number: int) -> dict[str, str]:
    # The ids of other namespaces are of no interest here, so the global one reads the same.
    return {"identifyId": f"user {number}", "globalId": f"user {number}"}


def _options(options: dict[str, Any]) -> GainsightPxOptions:
    return GainsightPxOptions.model_validate(options)
