"""How a change is merged into a profile: the same result in any order, with any repeats. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.domain.changes import Change, Json
from relay.domain.profiles import Membership, Profile, Register

EXITS_KEPT = timedelta(days=30)
"""How long an exit is remembered after it was heard of. Longer than anything waits in our queues: the longest is a
dead-letter queue's 14 days, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
"""


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging one change gave.

    `changed`: the store has to be written. `visible`: a mapping or a target can see the difference (a register that
    only got a newer time cannot be seen). `relevant`: False when the change was ignored as a whole.
    `clamped` counts times from the future, `ignored_memberships` memberships of segments that are not stored.
    """

    profile: Profile | None
    changed: bool = False
    visible: bool = False
    relevant: bool = True
    clamped: int = 0
    ignored_memberships: int = 0


def merge(profile: Profile | None, change: Change, *, source: str, named: frozenset[str]) -> Merged:
    """Merge a change of `source` into its profile (None: not stored yet).

    `named` are the segments that are stored: those an export or a file names. A change that is not relevant (see
    `is_relevant`) leaves the profile as it is.

    For every identity namespace and attribute the newer value wins, between equal times the larger canonical JSON
    text; a cleared key stays as a register of None so that an older value cannot come back. The time of a value is the
    message's own, at most the time of receipt. A snapshot raises the floor to its time: what was set earlier is gone
    and cannot come back, what was set at the same time stays. For every segment the newest qualification wins, on a
    tie the exit. So profiles form a join-semilattice, and merging is commutative, associative and idempotent.

    Exits heard of longer than `EXITS_KEPT` ago (by the time of receipt) are dropped. That forgets what would beat an
    older `realized` of the same segment; it is safe because such a change would have had to be received before the exit
    and be merged only now, and no queue keeps a message that long. A platform that a month after an exit sends a
    qualification older than it is taken at its word.

    `version` and `changed_at` are left alone: they belong to the write. Raises ValueError when the change is not for
    this profile.
    """
    if change.profile_id is None or (profile is not None and profile.id != change.profile_id):
        raise ValueError("the change is not for this profile")
    stored = [membership for membership in change.memberships if membership.segment in named]
    ignored = len(change.memberships) - len(stored)
    if not is_relevant(change, named):
        return Merged(profile, relevant=False, ignored_memberships=ignored)

    old = profile if profile is not None else Profile(change.profile_id, source)
    at, clamped = _clamp(change.at, change.received_at)
    memberships = dict(old.memberships)
    for told in stored:
        qualified, late = _clamp(told.at, change.received_at)
        clamped += late
        held = memberships.get(told.segment)
        news = Membership(told.realized, qualified, change.received_at)
        if held is None or _rank(news) > _rank(held) or (_rank(news) == _rank(held) and news.heard_at < held.heard_at):
            memberships[told.segment] = news

    oldest = change.received_at - EXITS_KEPT
    floors = (at, at) if change.snapshot else (None, None)
    identities_floor, identities = _join(old.identities_floor, old.identities, floors[0], change.identities, at)
    attributes_floor, attributes = _join(old.attributes_floor, old.attributes, floors[1], change.attributes, at)
    new = replace(
        old,
        identities=identities,
        identities_floor=identities_floor,
        attributes=attributes,
        attributes_floor=attributes_floor,
        memberships=_without_old_exits(memberships, oldest),
    )
    was = replace(old, memberships=_without_old_exits(old.memberships, oldest))
    if profile is not None and _all(was) == _all(new):
        return Merged(profile, clamped=clamped, ignored_memberships=ignored)
    return Merged(new, True, _visible(was) != _visible(new), clamped=clamped, ignored_memberships=ignored)


def is_relevant(change: Change, named: frozenset[str]) -> bool:
    """Return whether a change names a stored segment, or names none at all and carries identities or attributes.

    This is decided from the change alone: if it depended on the profile, the order of changes would matter.
    """
    if not change.memberships:
        return bool(change.identities or change.attributes)
    return any(membership.segment in named for membership in change.memberships)


def canonical(value: Json) -> str:
    """Return the one JSON text of a value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _clamp(at: datetime | None, received_at: datetime) -> tuple[datetime, int]:
    if at is None:
        return received_at, 0
    return (received_at, 1) if at > received_at else (at, 0)


def _join(
    floor: datetime | None,
    registers: Mapping[str, Register],
    raised: datetime | None,
    told: Mapping[str, Json],
    at: datetime,
) -> tuple[datetime | None, Mapping[str, Register]]:
    """Join told values, all set at one time, with registers; `raised` is the floor that a snapshot asks for."""
    joined = dict(registers)
    for key, value in told.items():
        held = joined.get(key)
        if held is None or at > held.at or (at == held.at and canonical(value) > canonical(held.value)):
            joined[key] = Register(value, at)
    highest = max((time for time in (floor, raised) if time is not None), default=None)
    if highest is None:
        return None, joined
    return highest, {key: register for key, register in joined.items() if register.at >= highest}


def _rank(membership: Membership) -> tuple[datetime, bool]:
    return membership.at, not membership.realized


def _without_old_exits(memberships: Mapping[str, Membership], oldest: datetime) -> dict[str, Membership]:
    return {
        segment: membership
        for segment, membership in memberships.items()
        if membership.realized or membership.heard_at >= oldest
    }


def _texts(registers: Mapping[str, Register]) -> Iterator[tuple[str, datetime, str]]:
    # As texts, because to Python 1, 1.0 and True are equal.
    for key in sorted(registers):
        yield key, registers[key].at, canonical(registers[key].value)


def _all(profile: Profile) -> object:
    return (
        profile.identities_floor,
        list(_texts(profile.identities)),
        profile.attributes_floor,
        list(_texts(profile.attributes)),
        profile.memberships,
    )


def _visible(profile: Profile) -> object:
    view = profile.view()
    realized = {segment for segment, membership in profile.memberships.items() if membership.realized}
    return canonical([view["identities"], view["attributes"]]), realized
