"""The third step: what came for a customer is merged into what is stored. Nothing is written yet.

One profile stays one profile. A change names it by one or more ids, and whoever shares an id is the same profile. What
lies under the ids, aliases followed, decides:

- nothing: the smallest id becomes the profile, the others aliases of it;
- one profile: the ids that are not known yet become aliases of it;
- several: they are one customer. The smallest survives and gets what all of them know, then each other one becomes an
  alias of it. Merging is a join, so it does not matter who joins whom, how often, or what came meanwhile.

An id that never was a profile may become an alias of a greater id: so a profile's id does not change because a smaller
one joins. Why no cycle can arise is said in `relay.stores.profiles`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from relay.domain.changes import Change
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.merging import canonical, is_same, join, looks_different, merge
from relay.domain.profiles import NOTED_AGAIN, Alias, Profile
from relay.routing.coalesce import Customer
from relay.stores import profiles
from relay.stores.profiles import Stored
from relay.stores.receipts import Outcome


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes a profile may have (`profiles.size`): new values may fill `values`, memberships `most`."""

    values: int = 390_000
    most: int = profiles.MAX_BYTES


@dataclass(slots=True, eq=False)
class Draft:
    """A customer's profile as it will be, and what has to be written for that."""

    customer: Customer
    stored: Sequence[Profile]
    """The profiles stored under the customer's ids. The first survives."""
    survivor: Profile
    """The first of them; blank where there is none."""
    profile: Profile
    """The survivor as it will be."""
    is_changed: bool
    aliases: Sequence[Alias]
    """What has to be written under the other ids."""
    written_since: set[str]
    """The ids whose items were written since one of the changes was received: perhaps by an earlier try of it."""
    outcomes: Sequence[tuple[Outcome, bool]]
    """What becomes of each change when this is written, and whether its identities and attributes are left out."""
    clamped: int
    """How many times lay too far ahead to be meant."""
    is_squeezed: bool
    """Whether values that were stored have to give way."""

    def new_memberships(self) -> Iterator[str]:
        """Yield the segments the profile is in, and was not when it was loaded."""
        held = self.survivor.memberships
        for segment, membership in self.profile.memberships.items():
            if membership.realized and not (segment in held and held[segment].realized):
                yield segment

    def enters(self, segment: str, since: datetime) -> bool:
        """Return whether the profile is in a segment, and was not before; what was heard `since` is an earlier try."""
        now = self.profile.memberships.get(segment)
        before = [one.memberships[segment] for one in self.stored if segment in one.memberships]
        is_in = now is not None and now.realized
        return is_in and not any(one.realized and one.heard_at < since for one in before)

    def reject(self) -> None:
        """Give up: not even the memberships have room, and nothing of what came is stored."""
        self.outcomes = [(Outcome.REJECTED, left_out) for _, left_out in self.outcomes]
        self.profile, self.is_changed, self.aliases = self.survivor, False, []

    def note_outcomes(self) -> None:
        """Tell each change what became of it, when this is written or needs no write."""
        for arrival, (outcome, is_left_out) in zip(self.customer.arrivals, self.outcomes, strict=True):
            arrival.becomes(outcome, is_left_out=is_left_out)


def draft(customer: Customer, found: Mapping[str, Stored], room: Room, now: datetime) -> Draft:
    """Merge all changes of a customer into what is stored now; `found` is what `profiles.follow` found."""
    reached = _reached(customer.ids, found)
    stored = [held for _, held in sorted(reached.items()) if isinstance(held, Profile)]
    survivor = stored[0] if stored else Profile(_smallest_unknown(reached), customer.source)
    profile = survivor
    for other in stored[1:]:
        profile = join(profile, other)
    is_changed = len(stored) > 1 and not is_same(profile, survivor)
    is_squeezed = False
    if customer.is_large:
        profile, is_squeezed = _squeezed(profile, room)
    clamped = 0
    outcomes: list[tuple[Outcome, bool]] = []
    for arrival in customer.arrivals:
        change, left_out = arrival.change, False
        merged = merge(profile, change)
        if customer.is_large and merged.changed and not _has_room_for(merged.profile, profile, room):
            change, left_out = change.memberships_alone(), True
            merged = merge(profile, change)
        profile = merged.profile
        if left_out:
            profile, gave_way = _squeezed(profile, room)
            is_squeezed |= gave_way
        is_changed |= merged.changed
        if merged.changed:
            profile = replace(profile, trace=arrival.trace)
        clamped += merged.clamped
        outcomes.append((_outcome(change, is_changed=merged.changed), left_out))
    if is_changed and len(customer.arrivals) > 1 and _restate_what_is_stored(customer, stored, profile):
        profile, is_changed = survivor, False
    # Where nothing is stored, there is no profile for aliases to point to.
    is_there = bool(stored) or is_changed or is_squeezed
    aliases = list(_aliases(survivor.id, reached, now)) if len(reached) > 1 and is_there else []
    joined = profile.joined.union(alias.id for alias in aliases)
    if joined != profile.joined:
        profile, is_changed = replace(profile, joined=joined), True
    is_changed |= is_squeezed or (bool(stored) and _is_to_be_noted(profile, now))
    return Draft(
        customer,
        stored,
        survivor,
        profile,
        is_changed,
        aliases,
        _written_since(reached, customer),
        outcomes,
        clamped,
        is_squeezed,
    )


def _restate_what_is_stored(customer: Customer, stored: Sequence[Profile], profile: Profile) -> bool:
    """Return whether changes that restate say what is stored, taken together: one may take back another's value."""
    return (
        len(stored) == 1
        and all(arrival.change.restates for arrival in customer.arrivals)
        and not looks_different(profile, stored[0])
    )


def _is_to_be_noted(profile: Profile, now: datetime) -> bool:
    changed_at = profile.changed_at
    return changed_at is not None and now - changed_at >= NOTED_AGAIN and not profile.is_tombstone


def _outcome(change: Change, *, is_changed: bool) -> Outcome:
    if change.is_empty:
        # All it said was left out.
        return Outcome.REJECTED
    return Outcome.MERGED if is_changed else Outcome.STALE


def _reached(ids: Sequence[str], found: Mapping[str, Stored]) -> dict[str, Stored]:
    """Return what lies under ids, and under all that they lead to."""
    reached: dict[str, Stored] = {}
    for one in ids:
        held = reached[one] = found[one]
        while isinstance(held, Alias):
            one = held.of
            held = reached[one] = found[one]
    return reached


def _smallest_unknown(reached: Mapping[str, Stored]) -> str:
    return min(one for one, held in reached.items() if held is None)


def _aliases(survivor: str, reached: Mapping[str, Stored], now: datetime) -> Iterator[Alias]:
    """Yield what has to be written so that all ids lead to the survivor. What is an alias leads there already."""
    for one, held in sorted(reached.items()):
        if one != survivor and not isinstance(held, Alias):
            yield Alias(one, survivor, now, 0 if held is None else held.version)


def _written_since(reached: Mapping[str, Stored], customer: Customer) -> set[str]:
    """Return the ids whose items were written since the first of the changes was received, by somewhat unequal clocks.

    Nobody wrote what a change says before it was received. So where an earlier try of it died after a write, the item
    is one of these.
    """
    received = min([arrival.change.received_at for arrival in customer.arrivals]) - CLOCK_MARGIN
    return {
        one for one, held in reached.items() if held is not None and held.changed_at and held.changed_at >= received
    }


def _has_room_for(new: Profile, old: Profile, room: Room) -> bool:
    size = profiles.size(new)
    return size <= room.values or (size <= room.most and size <= profiles.size(old))


def _squeezed(profile: Profile, room: Room) -> tuple[Profile, bool]:
    """Drop the largest attributes until the profile fits, for a membership has the right of way; say whether any."""
    excess = profiles.size(profile) - room.most
    if excess <= 0:
        return profile, False
    attributes = dict(profile.attributes)
    sizes = {key: len(canonical([key, held.value]).encode(errors="replace")) for key, held in attributes.items()}
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        if excess <= 0:
            break
        del attributes[key]
        excess -= sizes[key]
    return replace(profile, attributes=attributes), True
