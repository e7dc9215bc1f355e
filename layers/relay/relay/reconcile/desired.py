"""Desired state: what a profile's stored state says a destination should hold. Pure."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from relay.destinations.contract import Destination
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.expressions import Unfit, compiled
from relay.domain.identity import Content, Digest
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Rejection, RejectionKind
from relay.domain.profiles import Profile

MOST_PAIRS: Final = 5000
"""Pairs of an identity and a target that one profile may stand for in one export: what its assignment has room for."""

TOO_MANY_IDENTITIES: Final = Rejection(
    RejectionKind.DATA,
    "too_many_identities",
    f"the profile has more identities than fit: identities times targets (its segments) may be {MOST_PAIRS} at most",
)

UNFIT_EXPRESSION: Final = "unfit_expression"
"""An expression of the mapping cannot be worked out for a profile. A warning: the profile goes without that value. A
rejection where it is the identity."""


UNFIT_ONLY_IF: Final = Rejection(
    RejectionKind.DATA,
    "unfit_only_if",
    "the export's only_if yields neither true nor false for this profile, so nobody knows whether it belongs in",
)
"""Nothing is sent for such a profile: it neither joins nor leaves, since the mistake may be in the settings."""


class Role(NamedTuple):
    """What a profile wants of one identity at a target, since when: in with these values, or OUT."""

    pair: Pair
    content: Content
    at: datetime
    values: Mapping[str, str] = MappingProxyType({})


class Desired(NamedTuple):
    """What a profile wants, or why it cannot be taken; neither when it is no member.

    `warnings` are codes, each once, of what is left out of its values. `is_left_out` says that it is no member by the
    export's `only_if` alone. `stays` says that a rejected profile keeps what it has at the destination.
    """

    members: tuple[Role, ...] = ()
    rejection: Rejection | None = None
    warnings: tuple[str, ...] = ()
    is_left_out: bool = False
    stays: bool = False


NOTHING_DESIRED: Final = Desired()

# One encoder for all: `json.dumps` with options makes a new one each time.
_encode = json.JSONEncoder(sort_keys=True).encode


def desired_of(export: Export, destination: Destination, profile: Profile | None, keyed: KeyedHash) -> Desired:
    """Work out what a profile should be at an export's targets."""
    if profile is None or export.emptying:
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
    is_member = belongs(export, view)
    if is_member is None:
        return Desired(rejection=UNFIT_ONLY_IF, stays=True)
    if not is_member:
        return Desired(is_left_out=True)
    identities = identities_of(export, destination, view)
    if isinstance(identities, Rejection):
        return Desired(rejection=identities)
    if len(identities) * len(qualified) > MOST_PAIRS:
        return Desired(rejection=TOO_MANY_IDENTITIES)
    values, warnings = _values(export, destination, view)
    digest = Digest(keyed("payload", _encode(values)))
    members = tuple(
        Role(Pair(target, identity), digest, at, values) for target, at in qualified.items() for identity in identities
    )
    return Desired(members, warnings=warnings)


def identities_of(export: Export, destination: Destination, view: Mapping[str, object]) -> list[str] | Rejection:
    """Return the identities that the mapping makes of a profile's `view`, or why there is none."""
    try:
        identity = compiled(export.mapping[destination.identity]).value(view)
    except Unfit as unfit:
        what = f"the expression of mapping.{destination.identity} cannot be worked out for this profile: {unfit}"
        return Rejection(RejectionKind.DATA, UNFIT_EXPRESSION, what)
    return destination.identity_of(identity, export)


def belongs(export: Export, view: Mapping[str, object]) -> bool | None:
    """Return what an export's `only_if` says of a profile's view, None where that is neither true nor false.

    A missing value counts as false. A text does not count: "false" would be true by the rules of expressions.
    """
    if export.only_if is None:
        return True
    try:
        said = compiled(export.only_if).value(view)
    except Unfit:
        return None
    if said is None:
        return False
    return said if isinstance(said, bool) else None


def _values(
    export: Export, destination: Destination, view: Mapping[str, object]
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    values = {}
    warnings: tuple[str, ...] = ()
    for field, expression in export.mapping.items():
        if field == destination.identity:
            continue
        try:
            encoded = destination.encode(field, compiled(expression).value(view))
        except Unfit:
            warnings = (UNFIT_EXPRESSION,)
            continue
        if encoded is not None:
            values[field] = encoded
    return dict(destination.complete(export, values)), warnings


def left_at(export: Export, destination: Destination, profile: Profile | None, target: str, now: datetime) -> datetime:
    """Return when a profile left a target: its newest exit, or when it was forgotten.

    It is now when it was the settings that changed.
    """
    segments = destination.targets(export).get(target, frozenset())
    memberships = {} if profile is None else profile.memberships
    exits = [memberships[s].at for s in segments if s in memberships and not memberships[s].realized]
    if profile is not None and profile.is_tombstone and profile.forgotten is not None:
        return profile.forgotten.at
    return max(exits, default=now)


def exited_at(
    export: Export, destination: Destination, profile: Profile | None, targets: Iterable[str]
) -> datetime | None:
    """Return when we heard of the last of the exits for which a profile leaves targets.

    None when there is no exit: it is in a segment of one of them still, or the settings changed.
    """
    if profile is None:
        return None
    by_target = destination.targets(export)
    segments = frozenset[str]().union(*(by_target.get(target, ()) for target in targets))
    memberships = [profile.memberships[segment] for segment in segments if segment in profile.memberships]
    if any(membership.realized for membership in memberships):
        return None
    return max((membership.heard_at for membership in memberships), default=None)
