"""A Gainsight PX subscription held in memory: users, external segments, memberships and access tokens.

https://px-apidocs.gainsight.com
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from datetime import datetime

from sandboxes.account import DAY, Account
from sandboxes.gainsight_px.settings import GainsightPxConfig


@dataclass
class Segment:
    """An external segment; `times` keeps the last qualification time sent per identity, members or not."""

    segment_id: str
    external_id: str
    name: str
    description: str
    members: set[str] = field(default_factory=set)
    times: dict[str, datetime] = field(default_factory=dict)

    def describe(self) -> dict[str, str]:
        """Return the segment as the API shows it."""
        return {
            "id": self.segment_id,
            "externalId": self.external_id,
            "name": self.name,
            "description": self.description,
        }


@dataclass(frozen=True)
class Attribute:
    """An attribute of users."""

    type: str
    state: str = "ENABLED"
    origin: str = "CUSTOM"


class GainsightPxAccount(Account[GainsightPxConfig]):
    """The subscription behind the sandbox."""

    limits = {"requests_per_second": 1, "requests_per_day": DAY}

    def fill(self) -> None:
        """Hold nobody and no segment; issued tokens stop working."""
        self.users: dict[str, dict[str, object]] = {}
        self.segments: dict[str, Segment] = {}
        self.token_fetches = 0
        self.token_refusals = 0
        self.times_backwards = 0
        self.identities_told = 0
        self.unfit_values = 0
        self._tokens: dict[str, float] = {}

    def counters(self) -> dict[str, object]:
        """Return counts of tokens and memberships.

        `times_backwards` counts identities sent with an older qualification time than the last one sent for the same
        segment; `identities_told` counts identities in accepted membership requests; `unfit_values` counts values sent
        for custom attributes that are not there, not enabled or of another type.
        """
        return {
            "token_fetches": self.token_fetches,
            "token_refusals": self.token_refusals,
            "times_backwards": self.times_backwards,
            "identities_told": self.identities_told,
            "unfit_values": self.unfit_values,
        }

    def state(self, *, summary: bool) -> dict[str, object]:
        """Return users and segments with members (sorted) and times; with `summary` only sizes."""
        segments: list[dict[str, object]] = []
        for segment in self.segments.values():
            shown: dict[str, object] = {**segment.describe(), "member_count": len(segment.members)}
            if not summary:
                shown["members"] = sorted(segment.members)
                shown["times"] = {identity: at.isoformat() for identity, at in segment.times.items()}
            segments.append(shown)
        state: dict[str, object] = {"user_count": len(self.users), "segments": segments}
        return state if summary else {**state, "users": list(self.users.values())}

    # Users.

    def attributes(self) -> dict[str, Attribute]:
        """Return the attributes of users by apiName."""
        return {name: Attribute(*words.split()) for name, words in self.config.attributes.items()}

    def count_unfit(self, values: object) -> None:
        """Count custom values that no attribute can take. What the vendor does with them is not documented."""
        known = self.attributes()
        for name, value in values.items() if isinstance(values, dict) else ():
            attribute = known.get(name, Attribute("", "MISSING"))
            fits = attribute.state == "ENABLED" and attribute.origin == "CUSTOM"
            if not fits or isinstance(value, bool) != (attribute.type == "BOOLEAN"):
                self.unfit_values += 1

    def known(self, identity_type: object) -> Set[object]:
        """Return the ids of all users, by one of the two types of identity."""
        if identity_type == "GLOBAL_ID":
            return {user.get("globalId") for user in self.users.values()}
        return self.users.keys()

    # Tokens.

    def issue_token(self) -> str:
        """Return a new access token that works for `token_lifetime` seconds of wall time."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = self.clock.timestamp() + self.config.token_lifetime
        self.token_fetches += 1
        return token

    def is_valid_token(self, token: str) -> bool:
        """Tell whether a token was issued here and has not run out."""
        return self._tokens.get(token, 0.0) > self.clock.timestamp()

    def revoke_tokens(self) -> int:
        """Make all tokens invalid before their time; return how many there were."""
        revoked = len(self._tokens)
        self._tokens.clear()
        return revoked

    # Segments.

    def segment_by_external_id(self, external_id: str) -> Segment | None:
        """Return the external segment with this id of ours."""
        if not external_id:
            return None
        return next((s for s in self.segments.values() if s.external_id == external_id), None)

    def create_segment(self, external_id: str, name: str, description: str) -> Segment:
        """Create an external segment with a generated id."""
        segment = Segment(str(uuid.uuid4()), external_id, name, description)
        self.segments[segment.segment_id] = segment
        return segment

    def segment_for_membership(self, reference: str) -> Segment | None:
        """Return the segment a membership action means, by the configured kind of reference."""
        if self.config.segment_ref != "external_id" and reference in self.segments:
            return self.segments[reference]
        return None if self.config.segment_ref == "id" else self.segment_by_external_id(reference)

    def tell(self, segment: Segment, identities: Iterable[str], at: datetime, *, member: bool) -> None:
        """Take identities in or out.

        The vendor does not say whether an older qualification time loses against a newer one. Here the last call wins
        and times that went backwards are counted, so that a client leaning on the vendor to sort it out is seen.
        """
        for identity in identities:
            last = segment.times.get(identity)
            if last is not None and at < last:
                self.times_backwards += 1
            segment.times[identity] = at
            if member:
                segment.members.add(identity)
            else:
                segment.members.discard(identity)
            self.identities_told += 1
