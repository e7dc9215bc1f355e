"""What a profile's stored state says a destination should hold: pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from relay.destinations.contract import Destination
from relay.domain.deliveries import Want
from relay.domain.exports import Export
from relay.domain.expressions import Unfit, compiled
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Rejection, RejectionKind
from relay.domain.profiles import Profile

OUT = "out"
"""The digest of leaving: it carries no values."""

UNFIT_EXPRESSION = "unfit_expression"
"""An expression of the mapping cannot be worked out for a profile. A warning: the profile goes without that value. A
rejection where it is the identity."""


@dataclass(frozen=True, slots=True)
class Wished:
    """The claims a profile wants, by claim key, or why it cannot be taken. Neither when it is no member.

    `warnings` are codes, each once, of what is left out of its values.
    """

    wanted: Mapping[str, Want]
    rejection: Rejection | None = None
    warnings: tuple[str, ...] = ()


NOTHING = Wished({})

# One encoder for all: `json.dumps` with options makes a new one each time.
_encode = json.JSONEncoder(sort_keys=True).encode


def claim_key(keyed: KeyedHash, connection: str, target: str, identity: str) -> str:
    """Return the key of the claim on one identity at one target."""
    return keyed("claim", connection, target, identity)


def wish_of(export: Export, destination: Destination, profile: Profile | None, keyed: KeyedHash) -> Wished:
    """Work out what the profile should be told for an export."""
    if profile is None:
        return NOTHING
    qualified = {
        target: max(profile.memberships[segment].at for segment in inside)
        for target, segments in destination.targets(export).items()
        if (inside := [s for s in segments if s in profile.memberships and profile.memberships[s].realized])
    }
    if not qualified:
        return NOTHING
    view = profile.view()
    try:
        identity = compiled(export.mapping[destination.identity]).value(view)
    except Unfit as unfit:
        return Wished({}, _unfit_identity(destination.identity, unfit))
    identities = destination.identity_of(identity, export)
    if isinstance(identities, Rejection):
        return Wished({}, identities)
    values = {}
    warnings: tuple[str, ...] = ()
    for target, expression in export.mapping.items():
        if target == destination.identity:
            continue
        try:
            encoded = destination.encode(target, compiled(expression).value(view))
        except Unfit:
            warnings = (UNFIT_EXPRESSION,)
            continue
        if encoded is not None:
            values[target] = encoded
    values = dict(destination.complete(export, values))
    digest = keyed("payload", _encode(values))
    return Wished(
        {
            claim_key(keyed, export.connection, target, identity): Want(target, identity, digest, at, values)
            for target, at in qualified.items()
            for identity in identities
        },
        warnings=warnings,
    )


def left_at(export: Export, destination: Destination, profile: Profile | None, target: str, now: datetime) -> datetime:
    """Return when a profile left a target: its newest exit, or now when it was the settings that changed."""
    segments = destination.targets(export).get(target, frozenset())
    memberships = {} if profile is None else profile.memberships
    exits = [memberships[s].at for s in segments if s in memberships and not memberships[s].realized]
    return max(exits, default=now)


def _unfit_identity(field: str, unfit: Unfit) -> Rejection:
    what = f"the expression of mapping.{field} cannot be worked out for this profile: {unfit}"
    return Rejection(RejectionKind.DATA, UNFIT_EXPRESSION, what)
