"""Profiles as they are stored: registers that merge the same way in any order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from relay.domain.changes import Json

Stamp = tuple[datetime, datetime]
"""When something was set: by its own time first, then by when it was received; the later is the greater."""


NOTED_AGAIN: Final = timedelta(days=30)
"""How long after its last write a profile is written again though a change says nothing new: so `changed_at` says, as
exactly as this, when the profile was last named."""


class Membership(NamedTuple):
    """In or out of one segment, when the profile qualified, and when we first heard of that (exits are forgotten)."""

    realized: bool
    at: datetime
    heard_at: datetime


class Register(NamedTuple):
    """A value and when it was set; the newer wins. A value of None means cleared.

    `at` is the value's own time; where the source gave none it is that of receipt.
    """

    value: Json
    at: datetime
    received_at: datetime

    @property
    def stamp(self) -> Stamp:
        """What registers are ordered by."""
        return self.at, self.received_at


class Forgotten(NamedTuple):
    """The person was forgotten at this time: nothing set, or heard of, by then is kept.

    `at_destinations` says that contacts and users are deleted at the destinations, too.
    """

    at: datetime
    at_destinations: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """One customer: identities by namespace, attributes, and memberships by `source/segment`.

    `identities_floor` and `attributes_floor` are the stamps of the newest snapshot: what is older is gone.
    `receipts` says when the last messages were first received, by the keyed hash of their webhook id. `trace` is the id
    of the request that changed it last.
    `changed_at` is when the store last changed; `version` counts its writes (0: not stored yet).
    `joined` are the ids that were made aliases of it. A profile that was forgotten stays as a tombstone: its
    id and the time keep older messages from bringing the person back. A newer change makes a new person of it.
    """

    id: str
    source: str
    identities: Mapping[str, Register] = field(default_factory=dict)
    identities_floor: Stamp | None = None
    attributes: Mapping[str, Register] = field(default_factory=dict)
    attributes_floor: Stamp | None = None
    memberships: Mapping[str, Membership] = field(default_factory=dict)
    receipts: Mapping[str, datetime] = field(default_factory=dict)
    joined: frozenset[str] = frozenset()
    forgotten: Forgotten | None = None
    trace: str | None = None
    changed_at: datetime | None = None
    version: int = 0

    @property
    def is_tombstone(self) -> bool:
        """Return whether the person was forgotten, and nothing is known since."""
        return self.forgotten is not None and not (self.identities or self.attributes or self.memberships)

    @property
    def as_tombstone(self) -> "Profile":
        """Return the profile without what is known since the person was forgotten."""
        return replace(self, identities={}, identities_floor=None, attributes={}, attributes_floor=None, memberships={})

    def view(self) -> dict[str, Any]:
        """Return what mappings are evaluated on: `{"source", "identities": {namespace: [id]}, "attributes": {...}}`."""
        identities: dict[str, Sequence[str]] = {
            name: register.value for name, register in self.identities.items() if register.value is not None
        }
        attributes = {name: register.value for name, register in self.attributes.items() if register.value is not None}
        return {"source": self.source, "identities": identities, "attributes": attributes}


@dataclass(frozen=True, slots=True)
class Alias:
    """Another id of a profile: `of` is that profile's id, or an alias of it. An alias is never a profile again."""

    id: str
    of: str
    changed_at: datetime
    version: int = 0
