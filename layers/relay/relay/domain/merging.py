"""How a change is merged into a profile: the same result in any order, with any repeats. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from relay.domain.changes import Change, Forget, Json, MembershipChange
from relay.domain.profiles import Forgotten, Membership, Profile, Register, Stamp

EXITS_KEPT = timedelta(days=30)
"""How long an exit is remembered after it was heard of. Longer than anything waits in our queues: the longest is a
dead-letter queue's 14 days, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
"""

AHEAD = timedelta(hours=24)
"""How far a source's clock may run ahead. Local time labelled as UTC is at most 14 hours ahead."""

RECEIPTS_KEPT = 16
"""How many messages a profile remembers, to know them when they come again."""


class Merged(NamedTuple):
    """What merging one change gave.

    `changed`: the store has to be written (`is_same`). `clamped` counts times too far ahead to be meant.
    """

    profile: Profile
    changed: bool
    clamped: int


def merge(profile: Profile, change: Change) -> Merged:
    """Merge a change into its profile, which may be blank.

    A change is joined as the little profile that it describes (`join`), so the order of changes does not matter, and
    repeats change nothing. The times of one source are compared as it wrote them: a clock that runs ahead is ahead for
    all of them. Only a time more than `AHEAD` of receipt counts as receipt.

    A change has been received when its request came, at its place in it: within one request the later entry wins. A
    message with a webhook id that the profile remembers counts as received when it first came. That holds when it is
    merged after the first one. Overtaken by its own repeat, a message counts as received with that repeat: what it
    beat meanwhile is gone.

    Exits heard of longer than `EXITS_KEPT` ago (by the time of receipt) are dropped. That forgets what would beat an
    older `realized` of the same segment; it is safe because such a change would have had to be received before the exit
    and be merged only now, and no queue keeps a message that long. A platform that a month after an exit sends a
    qualification older than it is taken at its word.

    A change that forgets the person leaves a tombstone, whether or not anything was stored: older messages may still
    come. What is as old as the forgetting by its own time or by its receipt is dropped then (`join`).

    Of a change that restates, only what is not stored is merged. Where that is nothing, nothing is written.

    `version` and `changed_at` are left alone: they belong to the write.
    """
    if change.restates:
        news = _news(change, profile)
        if news is None:
            return Merged(profile, changed=False, clamped=0)
        change = news
    described, clamped = _described(change, profile)
    oldest = change.received_at - EXITS_KEPT
    was = _without_old_exits(profile, oldest)
    new = _without_old_exits(join(was, described), oldest)
    if not _is_same_but_for_receipts(was, new):
        return Merged(new, changed=True, clamped=clamped)
    if new.receipts != was.receipts:
        if clamped or change.at is None:
            return Merged(new, changed=True, clamped=clamped)
        # Where its receipt decided nothing and nothing else is new, a message is not worth remembering.
        new = replace(new, receipts=was.receipts)
    return Merged(new, changed=False, clamped=clamped)


def join(profile: Profile, other: Profile) -> Profile:
    """Return the profile with all that the other one knows: id, source, trace, version and time of writing are its own.

    For every identity namespace and attribute the later stamp wins, between equal ones the larger canonical JSON text.
    A cleared key stays as a register of None, so that an older value cannot come back. The later floor counts: what was
    set before it is gone and cannot come back. For every segment the newest qualification wins, on a tie the exit. Of a
    message the earliest receipt counts. The latest forgetting counts: what either of them was told by then is gone, for
    they are one person. So profiles form a join-semilattice: joining is commutative, associative and
    idempotent (but for messages that are forgotten because there are too many).
    """
    forgotten = _later_forgotten(profile.forgotten, other.forgotten)
    if forgotten is not None:
        # Before they compete: what is dropped must not beat what is kept.
        profile, other = _since(profile, forgotten), _since(other, forgotten)
    identities_floor = _later(profile.identities_floor, other.identities_floor)
    attributes_floor = _later(profile.attributes_floor, other.attributes_floor)
    return Profile(
        profile.id,
        profile.source,
        _joined(profile.identities, other.identities, identities_floor),
        identities_floor,
        _joined(profile.attributes, other.attributes, attributes_floor),
        attributes_floor,
        _joined_memberships(profile.memberships, other.memberships),
        _joined_receipts(profile.receipts, other.receipts),
        profile.joined if other.id == profile.id else (profile.joined | other.joined | {other.id}) - {profile.id},
        forgotten,
        profile.trace,
        profile.changed_at,
        profile.version,
    )


def is_same(one: Profile, other: Profile) -> bool:
    """Return whether two profiles hold the same, so that neither need be written over the other.

    A later receipt of a value with a time of its own is no difference: sources send all they have every night. It
    decides only between values of one and the same time, and there the last to be stored may as well win.
    """
    return one.receipts == other.receipts and _is_same_but_for_receipts(one, other)


def looks_different(one: Profile, other: Profile) -> bool:
    """Return whether a mapping or a target can tell two profiles apart: a newer time alone cannot be seen."""
    return (
        _look_different(one.identities, other.identities)
        or _look_different(one.attributes, other.attributes)
        or _segments_of(one) != _segments_of(other)
    )


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical(value: Json) -> str:
    """Return the one JSON text of a value, whatever the order of its keys."""
    return _encode(value)


def _news(change: Change, profile: Profile) -> Change | None:
    """Return what a change says that is not stored yet, whatever its time; None where that is nothing."""
    identities = _not_held(change.identities, profile.identities)
    attributes = _not_held(change.attributes, profile.attributes)
    memberships = [
        one
        for one in change.memberships
        if (held := profile.memberships.get(one.segment)) is None or held.realized is not one.realized
    ]
    if not (identities or attributes or memberships or change.snapshot):
        return None
    return replace(change, identities=identities, attributes=attributes, memberships=memberships)


def _not_held(given: Mapping[str, Json], registers: Mapping[str, Register]) -> Mapping[str, Json]:
    if not registers and None not in given.values():
        return given
    return {
        name: value
        for name, value in given.items()
        if not _is_same_json(value, None if (held := registers.get(name)) is None else held.value)
    }


def _described(change: Change, profile: Profile) -> tuple[Profile, int]:
    """Return what a change says as a profile of its own, and how many of its times were too far ahead."""
    webhook_id = change.webhook_id
    known = None if webhook_id is None else profile.receipts.get(webhook_id)
    first = change.received_at if known is None else min(known, change.received_at)
    receipt = change.receipt(first)
    latest = receipt + AHEAD
    at, clamped = receipt, 0
    if change.at is not None and change.at <= latest:
        at = change.at
    elif change.at is not None:
        clamped = 1
    memberships, late = _memberships(change.memberships, receipt, latest)
    clamped += late
    floor = (at, receipt) if change.snapshot else None
    # A qualification has a time of its own, whenever it is received.
    is_kept = webhook_id is not None and (clamped > 0 or change.sets_values)
    if change.forget is not None:
        forgotten = Forgotten(receipt, change.forget is Forget.AT_DESTINATIONS)
        receipts = {webhook_id: first} if webhook_id is not None else {}
        return Profile(profile.id, profile.source, receipts=receipts, forgotten=forgotten), 0
    return Profile(
        profile.id,
        profile.source,
        {name: Register(ids, at, receipt) for name, ids in change.identities.items()},
        floor,
        {name: Register(value, at, receipt) for name, value in change.attributes.items()},
        floor,
        memberships,
        {webhook_id: first} if webhook_id is not None and is_kept else {},
    ), clamped


def _memberships(
    changes: Sequence[MembershipChange], receipt: datetime, latest: datetime
) -> tuple[dict[str, Membership], int]:
    """Return memberships by segment, and how many of their times lie after the latest that is meant."""
    found: dict[str, Membership] = {}
    late = 0
    for change in changes:
        at = change.at
        if at > latest:
            at, late = receipt, late + 1
        membership, held = Membership(change.realized, at, receipt), found.get(change.segment)
        if held is None or _outranks(membership, held):
            found[change.segment] = membership
    return found, late


def _later(one: Stamp | None, other: Stamp | None) -> Stamp | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _later_forgotten(one: Forgotten | None, other: Forgotten | None) -> Forgotten | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _since(profile: Profile, forgotten: Forgotten) -> Profile:
    """Return what a profile holds that is newer than a forgetting, by its own time and by its receipt.

    Keyed hashes of messages stay: one that comes again is as old as when it came first.
    """
    bound = forgotten.at

    def newer(registers: Mapping[str, Register]) -> dict[str, Register]:
        return {name: held for name, held in registers.items() if min(held.stamp) > bound}

    def floor(stamp: Stamp | None) -> Stamp | None:
        return stamp if stamp is not None and min(stamp) > bound else None

    memberships = {
        segment: held for segment, held in profile.memberships.items() if min(held.at, held.heard_at) > bound
    }
    return replace(
        profile,
        identities=newer(profile.identities),
        identities_floor=floor(profile.identities_floor),
        attributes=newer(profile.attributes),
        attributes_floor=floor(profile.attributes_floor),
        memberships=memberships,
    )


def _joined(
    registers: Mapping[str, Register], others: Mapping[str, Register], floor: Stamp | None
) -> Mapping[str, Register]:
    if not registers:
        joined = others
    elif not others:
        joined = registers
    else:
        changed = dict(registers)
        for key, register in others.items():
            held = changed.get(key)
            if held is None or _beats(register, held):
                changed[key] = register
        joined = changed
    return joined if floor is None else {key: register for key, register in joined.items() if register.stamp >= floor}


def _beats(register: Register, held: Register) -> bool:
    if register.at != held.at:
        return register.at > held.at
    if register.received_at != held.received_at:
        return register.received_at > held.received_at
    return canonical(register.value) > canonical(held.value)


def _joined_memberships(
    memberships: Mapping[str, Membership], others: Mapping[str, Membership]
) -> Mapping[str, Membership]:
    if not memberships:
        return others
    if not others:
        return memberships
    joined = dict(memberships)
    for segment, membership in others.items():
        held = joined.get(segment)
        if held is None or _outranks(membership, held):
            joined[segment] = membership
    return joined


def _outranks(membership: Membership, held: Membership) -> bool:
    """Return whether a membership takes the place of another: by its time, as the exit, as heard of earlier."""
    if membership.at != held.at:
        return membership.at > held.at
    if membership.realized is not held.realized:
        return held.realized
    return membership.heard_at < held.heard_at


def _joined_receipts(receipts: Mapping[str, datetime], others: Mapping[str, datetime]) -> Mapping[str, datetime]:
    if not others:
        return receipts
    joined = dict(receipts)
    for webhook_id, first in others.items():
        joined[webhook_id] = min(first, joined.get(webhook_id, first))
    if len(joined) <= RECEIPTS_KEPT:
        return joined
    newest = sorted(joined.items(), key=lambda receipt: (receipt[1], receipt[0]))[-RECEIPTS_KEPT:]
    return dict(newest)


def _without_old_exits(profile: Profile, oldest: datetime) -> Profile:
    for membership in profile.memberships.values():
        if not membership.realized and membership.heard_at < oldest:
            break
    else:
        return profile
    kept = {
        segment: membership
        for segment, membership in profile.memberships.items()
        if membership.realized or membership.heard_at >= oldest
    }
    return replace(profile, memberships=kept)


def _segments_of(profile: Profile) -> set[str]:
    return {segment for segment, membership in profile.memberships.items() if membership.realized}


def _is_same_but_for_receipts(one: Profile, other: Profile) -> bool:
    return (
        one.memberships == other.memberships
        and one.forgotten == other.forgotten
        and one.joined == other.joined
        and _own_time(one.identities_floor) == _own_time(other.identities_floor)
        and _own_time(one.attributes_floor) == _own_time(other.attributes_floor)
        and _are_same(one.identities, other.identities)
        and _are_same(one.attributes, other.attributes)
    )


def _own_time(floor: Stamp | None) -> datetime | None:
    return None if floor is None else floor[0]


def _are_same(registers: Mapping[str, Register], others: Mapping[str, Register]) -> bool:
    return registers is others or (
        registers.keys() == others.keys()
        and all(
            register is others[key] or (register.at == others[key].at and _is_same_value(register, others[key]))
            for key, register in registers.items()
        )
    )


def _look_different(registers: Mapping[str, Register], others: Mapping[str, Register]) -> bool:
    if registers is others:
        return False
    return any(not _is_same_value(registers.get(key), others.get(key)) for key in registers.keys() | others.keys())


def _is_same_value(one: Register | None, other: Register | None) -> bool:
    return one is other or _is_same_json(None if one is None else one.value, None if other is None else other.value)


def _is_same_json(value: Json, held: Json) -> bool:
    # To Python 1, 1.0 and True are equal: only texts and lists of them need no second look.
    return value == held and (_is_text(value) or canonical(value) == canonical(held))


def _is_text(value: Json) -> bool:
    if isinstance(value, list):
        return all(isinstance(entry, str) for entry in value)
    return isinstance(value, str)
