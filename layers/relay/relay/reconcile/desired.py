"""Desired state: what a profile's stored state says a destination should hold. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from relay.destinations.contract import Destination
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.identity import Digest
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Rejection
from relay.domain.profiles import Profile


class Member(NamedTuple):
    """One identity that belongs in a target, with the values it is sent with, since a time of qualification."""

    pair: Pair
    digest: Digest
    values: Mapping[str, str]
    at: datetime


class Desired(NamedTuple):
    """What a profile wants, or why it cannot be taken; neither when it is no member."""

    members: tuple[Member, ...] = ()
    rejection: Rejection | None = None


NOTHING_DESIRED: Final = Desired()

# One encoder for all: `json.dumps` with options makes a new one each time.
_encode = json.JSONEncoder(sort_keys=True).encode


def desired_of(export: Export, destination: Destination, profile: Profile | None, keyed: KeyedHash) -> Desired:
    """Work out what a profile should be at an export's targets."""
    if profile is None:
        return NOTHING_DESIRED
    memberships = profile.memberships
    qualified = {}
    for target, segments in destination.targets(export).items():
        inside = [memberships[s].at for s in segments if s in memberships and memberships[s].realized]
        if inside:
            qualified[target] = max(inside)
    if not qualified:
        return NOTHING_DESIRED
    view = profile.view()
    identities = destination.identity_of(mapped(export.mapping[destination.identity], view), export)
    if isinstance(identities, Rejection):
        return Desired(rejection=identities)
    values = {}
    for field, expression in export.mapping.items():
        if field != destination.identity:
            encoded = destination.encode(field, mapped(expression, view))
            if encoded is not None:
                values[field] = encoded
    values = dict(destination.complete(export, values))
    digest = Digest(keyed("payload", _encode(values)))
    return Desired(
        tuple(
            Member(Pair(target, identity), digest, values, at)
            for target, at in qualified.items()
            for identity in identities
        )
    )


def left_at(export: Export, destination: Destination, profile: Profile | None, target: str, now: datetime) -> datetime:
    """Return when a profile left a target: its newest exit, or now when it was the settings that changed."""
    segments = destination.targets(export).get(target, frozenset())
    memberships = {} if profile is None else profile.memberships
    exits = [memberships[s].at for s in segments if s in memberships and not memberships[s].realized]
    return max(exits, default=now)
