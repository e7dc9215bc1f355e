"""From a request's body to the messages of the Changes queue."""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.domain.changes import Change, ChangeBatch, to_json
from relay.domain.keyed_hash import KeyedHash
from relay.problem_details import InputError, pointer, too_large
from relay.settings import SourceSettings
from relay.sources.dialects import DIALECTS
from relay.sources.profile_key import Expression, compiled, key_of
from relay.sources.reading import Incoming

MAX_MESSAGE_BYTES = 200_000
"""The most bytes of changes in one message. SQS takes 1 MiB, but ten such messages would exceed the 6 MB that Lambda
hands to one call, a profile near DynamoDB's 400 KB per item could not be stored, and small messages spread over
consumers. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

NO_IDENTITY = "no_identity"
"""The rejection of a profile in which `profile_key` finds nothing."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What a request brings: the message bodies to queue, and the counts to answer with.

    `accepted` counts changes, `rejected` those of them that name no profile.
    """

    messages: Sequence[dict[str, Any]]
    accepted: int
    ignored_memberships: int
    rejected: int


def take_in(
    raw: bytes,
    *,
    source: SourceSettings,
    identity_hash: KeyedHash,
    received_at: datetime,
) -> Intake:
    """Read a body and make its messages; raises Refusal (400, 413 or 422) when any of it cannot be taken."""
    reading = DIALECTS[source.dialect](raw, source=source.name, namespaces=source.segment_namespaces)
    expression = compiled(source.profile_key)
    changes = [_change(source.name, one, expression, identity_hash, received_at) for one in reading.profiles]
    places = [incoming.place for incoming in reading.profiles]
    return Intake(
        messages=list(in_messages(source.name, changes, places)),
        accepted=len(changes),
        ignored_memberships=reading.ignored_memberships,
        rejected=sum(change.rejection is not None for change in changes),
    )


def in_messages(
    source: str, changes: Sequence[Change], places: Sequence[Sequence[str | int]] | None = None
) -> Iterator[dict[str, Any]]:
    """Cut changes into message bodies of at most MAX_MESSAGE_BYTES as `encoded_size` counts, in their order.

    Raises Refusal 413 for a change that is too large by itself, with its place in the body where places are given.
    """
    room = MAX_MESSAGE_BYTES - encoded_size(to_json(ChangeBatch(str(uuid.uuid4()), source, [])))
    waiting: list[Change] = []
    taken = 0
    for index, change in enumerate(changes):
        size = encoded_size(to_json(ChangeBatch("", "", [change]))["changes"][0]) + len(",")
        if size > room:
            place = (index,) if places is None else places[index]
            detail = f"is larger than {MAX_MESSAGE_BYTES} bytes"
            raise too_large("One profile is too large.", [InputError(detail, pointer(place))])
        if taken + size > room:
            yield _message(source, waiting)
            waiting, taken = [], 0
        waiting.append(change)
        taken += size
    if waiting:
        yield _message(source, waiting)


def encoded_size(body: Any) -> int:
    """Return the bytes of a value as a message carries it: compact JSON in ASCII."""
    return len(json.dumps(body, separators=(",", ":")))


def _message(source: str, changes: Sequence[Change]) -> dict[str, Any]:
    return to_json(ChangeBatch(str(uuid.uuid4()), source, changes))


def _change(
    source: str, incoming: Incoming, profile_key: Expression, identity_hash: KeyedHash, received_at: datetime
) -> Change:
    key = key_of(incoming, profile_key)
    if key is None:
        # Nothing of it can be stored, so nothing of it travels on; it is only counted.
        return Change(profile_id=None, received_at=received_at, rejection=NO_IDENTITY)
    return Change(
        profile_id=identity_hash(source, key),
        received_at=received_at,
        at=incoming.at,
        snapshot=incoming.snapshot,
        identities=incoming.identities,
        attributes=incoming.attributes,
        memberships=incoming.memberships,
    )
