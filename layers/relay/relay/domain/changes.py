"""Canonical changes: what every source dialect is parsed into and what the Changes queue carries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relay.domain import moments

Json = Any
"""A value as `json.loads` returns it."""


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A profile qualified for a segment (`realized`) or left it, at a time of qualification."""

    segment: str
    """`source/segment`, the platform's own id after the slash, opaque."""
    realized: bool
    at: datetime
    name: str | None = None
    """The segment's display name, where the platform sends it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One profile's update as a source told it.

    `snapshot` says that identities and attributes not named here are gone; otherwise the change is a patch,
    in which a value of None clears a key. Memberships are always a patch. A change that cannot name its profile
    has `profile_id` None and a `rejection` code.
    """

    profile_id: str | None
    received_at: datetime
    at: datetime | None = None
    """The message's own time, where the dialect has one; never a qualification time."""
    snapshot: bool = False
    identities: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    attributes: Mapping[str, Json] = field(default_factory=dict)
    memberships: Sequence[MembershipChange] = ()
    rejection: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """One message of the Changes queue: changes of one source, counted in the ledger as a whole, once."""

    id: str
    source: str
    changes: Sequence[Change]


def to_json(batch: ChangeBatch) -> dict[str, Json]:
    """Return the message body of a batch."""
    return {
        "id": batch.id,
        "source": batch.source,
        "changes": [
            {
                "profile": change.profile_id,
                "received_at": moments.text(change.received_at),
                "at": None if change.at is None else moments.text(change.at),
                "snapshot": change.snapshot,
                "identities": {name: None if ids is None else list(ids) for name, ids in change.identities.items()},
                "attributes": dict(change.attributes),
                "memberships": [
                    {"segment": m.segment, "realized": m.realized, "at": moments.text(m.at), "name": m.name}
                    for m in change.memberships
                ],
                "rejection": change.rejection,
            }
            for change in batch.changes
        ],
    }


def from_json(body: Mapping[str, Any]) -> ChangeBatch:
    """Read a message body made by `to_json`; KeyError or ValueError on anything else."""
    return ChangeBatch(
        id=body["id"],
        source=body["source"],
        changes=[
            Change(
                profile_id=change["profile"],
                received_at=moments.parse(change["received_at"]),
                at=None if change["at"] is None else moments.parse(change["at"]),
                snapshot=change["snapshot"],
                identities=change["identities"],
                attributes=change["attributes"],
                memberships=[
                    MembershipChange(m["segment"], m["realized"], moments.parse(m["at"]), m["name"])
                    for m in change["memberships"]
                ],
                rejection=change["rejection"],
            )
            for change in body["changes"]
        ],
    )
