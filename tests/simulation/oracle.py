"""What should be, worked out from what is stored by other means than the relay's.

It knows how this simulation writes settings (a mapping is `attributes.name`, options are `Options`) and what its
destinations are, and nothing of the relay's own desired state.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from relay.domain.exports import Export
from relay.domain.profiles import Profile
from tests.simulation.destinations import Kind, Place, targets_of

Values = Mapping[str, str]


class Wanted(NamedTuple):
    """What a profile wants: by place, with values; `is_rejected` where it is a member that has no identity."""

    places: Mapping[Place, Values]
    is_rejected: bool = False

    @property
    def is_member(self) -> bool:
        return self.is_rejected or bool(self.places)


NOTHING = Wanted({})


def wanted_by(kind: Kind, export: Export, profile: Profile) -> Wanted:
    """Return what a profile wants of an export."""
    inside = {segment for segment, held in profile.memberships.items() if held.realized}
    targets = [target for target, segments in targets_of(kind, export).items() if segments & inside]
    if not targets:
        return NOTHING
    given = {name: held.value for name, held in profile.attributes.items() if held.value is not None}
    address = given.get(export.mapping["email"].removeprefix("attributes."))
    addresses: list[Any] = address if isinstance(address, list) else [address]
    if not addresses or any(one is None or "@" not in one for one in addresses):
        return Wanted({}, is_rejected=True)
    name = given.get(export.mapping["name"].removeprefix("attributes."))
    values = {} if name is None else {"name": str(name)}
    return Wanted({(target, one.strip().lower()): values for target in targets for one in addresses})
