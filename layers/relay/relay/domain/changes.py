"""Canonical changes: what every source dialect is parsed into and what the Changes queue carries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from relay.domain import moments
from relay.domain.closed_sets import SetPage

Json = Any
"""A value as `json.loads` returns it."""

FORMAT = 2
"""The version of the message's form. 1 had one profile id, no position and no webhook id."""

MAX_IDS = 100
"""The most ids by which one change may name its profile."""

MAX_SEGMENT_BYTES = 1_024
"""The most bytes of a segment reference `source/segment` in UTF-8: DynamoDB's limit for a sort key.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


class Forget(StrEnum):
    """Where a person is to be forgotten. Every export sees the person leave in any case."""

    HERE = "here"
    AT_DESTINATIONS = "at_destinations"
    """The contact or user is deleted at the destinations, too, where the vendor's API can."""


class MembershipChange(NamedTuple):
    """A profile qualified for a segment (`realized`) or left it, at a time of qualification."""

    segment: str
    """`source/segment`, the platform's own id after the slash, opaque."""
    realized: bool
    at: datetime
    name: str | None = None
    """The segment's display name, where the platform sends it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One profile's update as a source sent it.

    `profile_ids` are the ids by which it names its profile, sorted: whoever shares one of them is the same profile.
    `received_at` is when the request came, `position` the place of the change in it. `snapshot` says that identities
    and attributes not named here are gone; otherwise the change is a patch, in which a value of None clears a key.
    Memberships are always a patch. `forget` says that the person is to be forgotten, as of its receipt; it says nothing
    else then. A change that cannot name its profile has no ids and a `rejection` code.
    """

    profile_ids: tuple[str, ...]
    received_at: datetime
    position: int = 0
    webhook_id: str | None = None
    """A keyed hash of the sender's id of the message, where it has one: the same when the message comes again."""
    at: datetime | None = None
    """The message's own time, where the dialect has one; never a qualification time."""
    snapshot: bool = False
    identities: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    attributes: Mapping[str, Json] = field(default_factory=dict)
    memberships: Sequence[MembershipChange] = ()
    rejection: str | None = None
    forget: Forget | None = None
    restates: bool = False
    """Whether it says how things stood at its time, as a file does: what is stored already is no news, and keeps its
    stored time. Such a change travels in no message."""

    def receipt(self, first: datetime) -> datetime:
        """Return when it was received, if its request first came at `first`: later entries of it are later."""
        return first + timedelta(microseconds=self.position)

    @property
    def sets_values(self) -> bool:
        """Whether it says anything of identities or attributes."""
        return bool(self.identities or self.attributes or self.snapshot)

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all."""
        return not self.sets_values and not self.memberships and self.forget is None

    def memberships_alone(self) -> "Change":
        """Return the part that is never left out for want of room. It is no snapshot: nothing else is said by it."""
        return replace(self, snapshot=False, identities={}, attributes={})


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """One message of the Changes queue: changes of one source.

    Its id is the trace: the `request_id` of the webhook that brought them, the same in all messages of one request.
    """

    id: str
    source: str
    changes: Sequence[Change]
    page: SetPage | None = None
    """They are a page, or a part of one, of all members of a segment."""


def to_json(batch: ChangeBatch) -> dict[str, Json]:
    """Return the message body of a batch."""
    return message_of(batch.id, batch.source, [change_to_json(change) for change in batch.changes], batch.page)


def message_of(batch_id: str, source: str, changes: Sequence[Json], page: SetPage | None = None) -> dict[str, Json]:
    """Return the message body of a batch of changes that are JSON already (see `change_to_json`)."""
    whole = {"format": FORMAT, "id": batch_id, "source": source, "changes": list(changes)}
    return whole if page is None else {**whole, "set": page._asdict()}


def change_to_json(change: Change) -> dict[str, Json]:
    """Return a change as it lies in a message."""
    return {
        "profile": list(change.profile_ids),
        "received_at": moments.text(change.received_at),
        "position": change.position,
        "webhook_id": change.webhook_id,
        "at": None if change.at is None else moments.text(change.at),
        "snapshot": change.snapshot,
        "identities": {name: None if ids is None else list(ids) for name, ids in change.identities.items()},
        "attributes": dict(change.attributes),
        "memberships": [
            {"segment": m.segment, "realized": m.realized, "at": moments.text(m.at), "name": m.name}
            for m in change.memberships
        ],
        "rejection": change.rejection,
        **({} if change.forget is None else {"forget": change.forget.value}),
    }


def from_json(body: Mapping[str, Any]) -> ChangeBatch:
    """Read a message body made by `to_json`; AttributeError, KeyError, TypeError or ValueError on anything else."""
    if body["format"] != FORMAT:
        raise ValueError("a message of another version")
    moment = _Moments()
    page = SetPage(**body["set"]) if "set" in body else None
    return ChangeBatch(body["id"], body["source"], [_change(entry, moment) for entry in body["changes"]], page)


class _Moments(dict[str, datetime]):
    """Times by their texts, each read once: the changes of a message share most of theirs."""

    def __missing__(self, text: str) -> datetime:
        moment = self[text] = moments.parse(text)
        return moment


def _change(entry: Mapping[str, Any], moment: _Moments) -> Change:
    at = entry["at"]
    return Change(
        tuple(entry["profile"]),
        moment[entry["received_at"]],
        entry["position"],
        entry["webhook_id"],
        None if at is None else moment[at],
        entry["snapshot"],
        entry["identities"],
        entry["attributes"],
        [
            MembershipChange(one["segment"], one["realized"], moment[one["at"]], one["name"])
            for one in entry["memberships"]
        ],
        entry["rejection"],
        Forget(entry["forget"]) if "forget" in entry else None,
    )
