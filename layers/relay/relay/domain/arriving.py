"""Whether what a change says has come into the store: read off the profile, since nothing is kept of a change. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum

from relay.domain.changes import Change, Json
from relay.domain.merging import AHEAD, canonical
from relay.domain.profiles import Profile, Register, Stamp


class Arrived(StrEnum):
    """How far a change has come."""

    WAITING = "waiting"
    """Not all that it says was merged yet."""
    MERGED = "merged"
    """All that it says is in the profile."""
    STALE = "stale"
    """It was merged, and something newer has taken the place of what it says, or of some of it."""


def arrived(profile: Profile | None, change: Change) -> Arrived:
    """Return how far a change has come that was received at `change.received_at` or later."""
    if profile is None:
        return Arrived.WAITING
    found = list(_parts(profile, change))
    if Arrived.WAITING in found:
        return Arrived.WAITING
    return Arrived.STALE if Arrived.STALE in found else Arrived.MERGED


def _parts(profile: Profile, change: Change) -> Iterator[Arrived]:
    receipt = change.receipt(change.received_at)
    own = change.at if change.at is not None and change.at <= receipt + AHEAD else None
    stamp = (receipt if own is None else own), receipt
    forgotten_at = None if profile.forgotten is None else profile.forgotten.at
    if change.forget is not None:
        yield Arrived.MERGED if forgotten_at is not None and forgotten_at >= receipt else Arrived.WAITING

    def missing(at: datetime) -> Arrived:
        """Return what it means that a part is not there: whoever was forgotten since lets nothing older in."""
        return Arrived.STALE if forgotten_at is not None and min(at, receipt) <= forgotten_at else Arrived.WAITING

    for one in change.memberships:
        held = profile.memberships.get(one.segment)
        at = one.at if one.at <= receipt + AHEAD else receipt
        if held is None or held.at < at or (held.at == at and held.realized and not one.realized):
            yield missing(at)
        elif held.realized is not one.realized:
            yield Arrived.STALE
        else:
            yield Arrived.MERGED
    sides = (
        (change.identities, profile.identities, profile.identities_floor),
        (change.attributes, profile.attributes, profile.attributes_floor),
    )
    for given, held_values, floor in sides:
        if change.snapshot and (floor is None or _is_before(floor, stamp, own)):
            yield missing(stamp[0])
        for found in _values(given, held_values, floor, stamp, own):
            yield missing(stamp[0]) if found is Arrived.WAITING else found


def _values(
    given: Mapping[str, Json], held: Mapping[str, Register], floor: Stamp | None, stamp: Stamp, own: datetime | None
) -> Iterator[Arrived]:
    for name, value in given.items():
        register = held.get(name)
        if register is None:
            is_gone = floor is not None and _is_before(stamp, floor, own)
            yield Arrived.STALE if is_gone else Arrived.WAITING
        elif register.at >= stamp[0] and canonical(register.value) == canonical(value):
            yield Arrived.MERGED
        elif _is_before(register.stamp, stamp, own) or _loses_a_tie(register, value, stamp, own):
            yield Arrived.WAITING
        else:
            yield Arrived.STALE


def _is_before(held: Stamp, stamp: Stamp, own: datetime | None) -> bool:
    """Return whether what is held was set before: by its own time where there is one, else by receipt."""
    if own is None:
        return held[0] < stamp[0]
    return held < stamp


def _loses_a_tie(register: Register, value: Json, stamp: Stamp, own: datetime | None) -> bool:
    """Return whether a value of the very same time would take the place of what is held (`merging.join`)."""
    is_tie = register.at == stamp[0] if own is None else register.stamp == stamp
    return is_tie and canonical(value) > canonical(register.value)
