"""From a request's body to the messages of the Changes queue."""

import json
import uuid
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from relay.domain.changes import Change, ChangeBatch, to_json
from relay.domain.expressions import Expression, compiled
from relay.domain.keyed_hash import KeyedHash
from relay.problem_details import InputError, pointer, too_large
from relay.sources.dialects import DIALECTS
from relay.sources.profile_key import key_of
from relay.sources.reading import Incoming

MAX_MESSAGE_BYTES = 200_000
"""The most bytes of changes in one message. SQS takes 1 MiB, but ten such messages would exceed the 6 MB that Lambda
hands to one call, a profile near DynamoDB's 400 KB per item could not be stored, and small messages spread over
consumers. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

NO_IDENTITY = "no_identity"
"""The rejection of a profile in which `profile_key` finds nothing."""
WRONG_SHAPE = "wrong_shape"
"""The rejection of a profile that does not have the dialect's shape, among others that do."""
TOO_LARGE = "too_large"
"""The rejection of a profile that fits no message, among others that do."""


class Source(Protocol):
    """What must be known of a source to read its bodies."""

    @property
    def name(self) -> str:
        """Begins the segment references."""
        ...

    @property
    def dialect(self) -> str:
        """One of DIALECTS."""
        ...

    @property
    def profile_key(self) -> str:
        """A valid expression, see `relay.sources.profile_key`."""
        ...

    @property
    def segment_namespaces(self) -> AbstractSet[str]:
        """Those whose memberships count, for dialects that have any."""
        ...


@dataclass(frozen=True, slots=True)
class Rejected:
    """A profile of which nothing is taken: why, and where it (or what is wrong with it) stands, as a JSON Pointer."""

    code: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Intake:
    """What a request brings: the message bodies to queue, and the counts to answer with.

    `accepted` counts changes, `rejections` tells those of them of which only the count travels on.
    """

    messages: Sequence[dict[str, Any]]
    accepted: int
    ignored_memberships: int
    rejections: Sequence[Rejected]


def take_in(
    raw: bytes,
    *,
    source: Source,
    identity_hash: KeyedHash,
    received_at: datetime,
) -> Intake:
    """Read a body and make its messages.

    What cannot be taken is rejected, and harms no other profile. Raises Refusal: 400 or 422 when nothing can be read,
    413 when too much is sent, or nothing is left to queue because of profiles that are too large.
    """
    reading = DIALECTS[source.dialect](raw, source=source.name, namespaces=source.segment_namespaces)
    expression = compiled(source.profile_key)
    changes = [_change(source.name, one, expression, identity_hash, received_at) for one in reading.profiles]
    rejections = [
        Rejected(change.rejection, pointer(incoming.place))
        for incoming, change in zip(reading.profiles, changes, strict=True)
        if change.rejection is not None
    ]
    large = [rejected for rejected in rejections if rejected.code == TOO_LARGE]
    if large and len(rejections) == len(changes):
        detail = f"is larger than {MAX_MESSAGE_BYTES} bytes"
        raise too_large("A profile is too large.", [InputError(detail, rejected.pointer) for rejected in large])
    rejections += [Rejected(WRONG_SHAPE, error.pointer) for error in reading.misshapen]
    changes += [_rejection(WRONG_SHAPE, received_at) for _ in reading.misshapen]
    return Intake(
        messages=list(in_messages(source.name, changes)),
        accepted=len(changes),
        ignored_memberships=sum(incoming.ignored_memberships for incoming in reading.profiles),
        rejections=rejections,
    )


def in_messages(source: str, changes: Sequence[Change]) -> Iterator[dict[str, Any]]:
    """Cut changes into message bodies of at most MAX_MESSAGE_BYTES as `encoded_size` counts, in their order.

    Raises ValueError for a change that is too large by itself (see `fits`).
    """
    room = _room(source)
    waiting: list[Change] = []
    taken = 0
    for change in changes:
        size = _size(change)
        if size > room:
            raise ValueError(f"a change of {size} bytes")
        if taken + size > room:
            yield _message(source, waiting)
            waiting, taken = [], 0
        waiting.append(change)
        taken += size
    if waiting:
        yield _message(source, waiting)


def fits(source: str, change: Change) -> bool:
    """Return whether a change can travel in a message."""
    return _size(change) <= _room(source)


def encoded_size(body: Any) -> int:
    """Return the bytes of a value as a message carries it: compact JSON in ASCII."""
    return len(json.dumps(body, separators=(",", ":")))


def _room(source: str) -> int:
    return MAX_MESSAGE_BYTES - encoded_size(to_json(ChangeBatch(str(uuid.uuid4()), source, [])))


def _size(change: Change) -> int:
    return encoded_size(to_json(ChangeBatch("", "", [change]))["changes"][0]) + len(",")


def _message(source: str, changes: Sequence[Change]) -> dict[str, Any]:
    return to_json(ChangeBatch(str(uuid.uuid4()), source, changes))


def _change(
    source: str, incoming: Incoming, profile_key: Expression, identity_hash: KeyedHash, received_at: datetime
) -> Change:
    key = key_of(incoming, profile_key)
    if key is None:
        return _rejection(NO_IDENTITY, received_at)
    change = Change(
        profile_id=identity_hash(source, key),
        received_at=received_at,
        at=incoming.at,
        snapshot=incoming.snapshot,
        identities=incoming.identities,
        attributes=incoming.attributes,
        memberships=incoming.memberships,
    )
    return change if fits(source, change) else _rejection(TOO_LARGE, received_at)


def _rejection(code: str, received_at: datetime) -> Change:
    # Nothing of it can be stored, so nothing of it travels on; it is only counted.
    return Change(profile_id=None, received_at=received_at, rejection=code)
