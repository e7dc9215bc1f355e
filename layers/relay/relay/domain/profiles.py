"""Profiles as they are stored: registers that merge the same way in any order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relay.domain.changes import Json


@dataclass(frozen=True, slots=True)
class Membership:
    """In or out of one segment, when the profile qualified, and when we first heard of that (exits are forgotten)."""

    realized: bool
    at: datetime
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class Register:
    """A value and the time it was set; the newer wins. A value of None means cleared."""

    value: Json
    at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """One customer: identities by namespace, attributes, and memberships by `source/segment`.

    `identities_floor` and `attributes_floor` are the times of the newest snapshot: what is older is gone.
    `changed_at` is when the store last changed; `version` counts its writes (0: not stored yet).
    """

    id: str
    source: str
    identities: Mapping[str, Register] = field(default_factory=dict)
    identities_floor: datetime | None = None
    attributes: Mapping[str, Register] = field(default_factory=dict)
    attributes_floor: datetime | None = None
    memberships: Mapping[str, Membership] = field(default_factory=dict)
    changed_at: datetime | None = None
    version: int = 0

    def view(self) -> dict[str, Any]:
        """Return what mappings are evaluated on: `{"source", "identities": {namespace: [id]}, "attributes": {...}}`."""
        identities: dict[str, Sequence[str]] = {
            name: register.value for name, register in self.identities.items() if register.value is not None
        }
        attributes = {name: register.value for name, register in self.attributes.items() if register.value is not None}
        return {"source": self.source, "identities": identities, "attributes": attributes}
