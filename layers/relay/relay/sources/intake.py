"""From a request's body to the messages of the Changes queue."""

import hashlib
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from relay.domain.changes import MAX_IDS, Change, MembershipChange, change_to_json, message_of
from relay.domain.closed_sets import SetPage
from relay.domain.expressions import Expression, compiled
from relay.domain.keyed_hash import KeyedHash
from relay.json_text import json_size
from relay.problem_details import InputError, pointer, too_large
from relay.sources.cloud_events import unwrapped
from relay.sources.dialect import Rejected, Source, Taken
from relay.sources.dialects import DIALECTS
from relay.sources.profile_key import keys_of
from relay.sources.reading import TOO_LARGE, Incoming, LeftOut

MAX_MESSAGE_BYTES = 200_000
"""The most bytes of changes in one message, as SQS counts them. It takes 1 MiB, but ten such messages would exceed the
6 MB that Lambda hands to one call, a profile near DynamoDB's 400 KB per item could not be stored, and small messages
spread over consumers. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

NO_IDENTITY = "no_identity"
"""The rejection of a profile in which `profile_key` finds nothing."""
MAX_NAMES = 12
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")

WRONG_SHAPE = "wrong_shape"
"""The rejection of a profile that does not have the dialect's shape, among others that do."""

_ID_LENGTH = 12
"""Hexadecimal digits of a webhook id's hash: it only has to differ from a profile's other messages."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What a request brings: the message bodies to queue, and what to answer with once they are.

    Changes that are `taken.accepted` are in the messages; of `taken.rejections` only the count travels on.
    """

    messages: Sequence[dict[str, Any]]
    taken: Taken


def take_in(
    raw: bytes,
    *,
    source: Source,
    identity_hash: KeyedHash,
    received_at: datetime,
    webhook_id: str | None = None,
    request_id: str | None = None,
    content_type: str = "",
) -> Intake:
    """Read a body and make its messages. `webhook_id` is the sender's own id of the message, if its headers gave one.

    `content_type` is the header's value: it tells whether the body is wrapped in CloudEvents.
    `request_id` is what the sender is answered with; it becomes the id of every message, so that logs lead on from it.

    What cannot be taken is left out or rejected, and harms no other profile. Raises Refusal: 400 or 422 when nothing
    can be read, 413 when too much is sent, or nothing is left to queue because of profiles that are too large.
    """
    request_id = request_id or str(uuid.uuid4())
    reading = unwrapped(raw, content_type, lambda inner: DIALECTS[source.dialect].read(inner, source, received_at))
    request = _Request(source, compiled(source.profile_key), identity_hash, received_at, webhook_id, raw)
    for position, incoming in enumerate(reading.profiles):
        request.add(incoming, position)
    large = [rejected for rejected in request.rejections if rejected.code == TOO_LARGE]
    if large and len(request.rejections) == len(request.packed):
        detail = f"is larger than {MAX_MESSAGE_BYTES} bytes"
        raise too_large("A profile is too large.", [InputError(detail, rejected.pointer) for rejected in large])
    for error in reading.misshapen:
        request.reject(WRONG_SHAPE, error.pointer)
    return Intake(
        list(_messages(source.name, request.packed, request_id, request.kept_page(reading.page))),
        Taken(
            request_id,
            accepted=len(request.packed) - len(request.rejections),
            ignored_memberships=request.ignored_memberships,
            rejections=request.rejections,
            left_out=[*reading.left_out, *request.left_out],
            left_out_counts=request.left_out_counts + Counter(part.code for part in reading.left_out),
            ignored=reading.ignored,
            reply=reading.reply,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Packed:
    """A change as it will lie in a message, and how many bytes of it it takes."""

    body: dict[str, Any]
    size: int

    @classmethod
    def of(cls, change: Change) -> "_Packed":
        body = change_to_json(change)
        return cls(body, json_size(body) + len(","))


class _Request:
    """Makes the changes of one request."""

    def __init__(
        self,
        source: Source,
        profile_key: Expression,
        identity_hash: KeyedHash,
        received_at: datetime,
        webhook_id: str | None,
        raw: bytes,
    ) -> None:
        self._source = source
        self._profile_key = profile_key
        self._hash = identity_hash
        self._received_at = received_at
        # With the body, so that a sender that gives every message the same id is not taken to repeat itself.
        self._webhook_id = None if webhook_id is None else self._hashed(webhook_id, raw)
        self.packed: list[_Packed] = []
        self.rejections: list[Rejected] = []
        self.left_out: list[LeftOut] = []
        self.left_out_counts: Counter[str] = Counter()
        self.ignored_memberships = 0

    def add(self, incoming: Incoming, position: int) -> None:
        """Add what can be taken of a profile, or its rejection."""
        memberships = self._kept(incoming.memberships)
        self.ignored_memberships += incoming.ignored_memberships + len(incoming.memberships) - len(memberships)
        ids = {self._hash(self._source.name, key) for key in keys_of(incoming, self._profile_key)}
        if not ids:
            self.reject(NO_IDENTITY, pointer(incoming.place), names=_names_of(incoming))
            return
        whole = Change(
            profile_ids=tuple(sorted(ids)[:MAX_IDS]),
            received_at=self._received_at,
            position=position,
            webhook_id=(
                self._webhook_id
                if incoming.webhook_id is None
                else self._hashed(incoming.webhook_id, json.dumps(incoming.raw).encode())
            ),
            at=incoming.at,
            snapshot=incoming.snapshot,
            identities=incoming.identities,
            attributes=incoming.attributes,
            memberships=memberships,
        )
        if incoming.forget is not None:
            # Who it is has been worked out: nothing else of the person travels.
            whole = Change(whole.profile_ids, self._received_at, position, whole.webhook_id, forget=incoming.forget)
        packed = _Packed.of(whole)
        room = _room(self._source.name)
        parts = [packed] if packed.size <= room else list(_cut(whole, packed.size - room, room))
        if not parts:
            self.reject(TOO_LARGE, pointer(incoming.place))
            return
        self.packed += parts
        self.left_out += incoming.left_out
        self.left_out_counts.update(incoming.left_out_counts)
        if packed.size > room:
            detail = f"is larger than {MAX_MESSAGE_BYTES} bytes: beside its memberships only what has room is taken"
            self.left_out.append(LeftOut(TOO_LARGE, InputError(detail, pointer(incoming.place))))
            self.left_out_counts[TOO_LARGE] += 1

    def reject(self, code: str, place: str, *, names: Sequence[str] = ()) -> None:
        """Add a change of which nothing travels on but what its identities are called: it is only counted."""
        self.packed.append(_Packed.of(Change((), self._received_at, identities=dict.fromkeys(names), rejection=code)))
        self.rejections.append(Rejected(code, place))

    def kept_page(self, page: SetPage | None) -> SetPage | None:
        """Return the page that the profiles are, if its segment is one that the source keeps."""
        kept = self._source.segments
        return page if page is None or kept is None or page.segment in kept else None

    def _hashed(self, webhook_id: str, told: bytes) -> str:
        return self._hash("webhook", self._source.name, webhook_id, hashlib.sha256(told).hexdigest())[:_ID_LENGTH]

    def _kept(self, memberships: Sequence[MembershipChange]) -> Sequence[MembershipChange]:
        kept = self._source.segments
        return memberships if kept is None else [one for one in memberships if one.segment in kept]


def _cut(change: Change, excess: int, room: int) -> Iterator[_Packed]:
    """Yield what travels instead of a change that is too large: all its memberships, and what else has room.

    What is left out may have been set before, so the rest is no snapshot. Yields nothing when nothing is left.
    """
    sizes = {key: json_size({key: value}) for key, value in change.attributes.items()}
    attributes = dict(change.attributes)
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        if excess <= 0:
            break
        excess -= sizes[key] - 1
        del attributes[key]
    rest = replace(change, snapshot=False, attributes=attributes)
    packed = _Packed.of(rest)
    if packed.size <= room:
        if rest.memberships or attributes:
            yield packed
    elif rest.memberships:
        yield from _in_parts(rest.memberships_alone(), room)


def _in_parts(change: Change, room: int) -> Iterator[_Packed]:
    packed = _Packed.of(change)
    if packed.size <= room:
        yield packed
        return
    middle = len(change.memberships) // 2
    for part in (change.memberships[:middle], change.memberships[middle:]):
        yield from _in_parts(replace(change, memberships=part), room)


def in_messages(source: str, changes: Iterable[Change]) -> Iterator[dict[str, Any]]:
    """Cut changes into message bodies of at most MAX_MESSAGE_BYTES, in their order.

    Raises ValueError for a change that is too large by itself (see `fits`).
    """
    return _messages(source, map(_Packed.of, changes), str(uuid.uuid4()))


def fits(source: str, change: Change) -> bool:
    """Return whether a change can travel in a message."""
    return _Packed.of(change).size <= _room(source)


def _messages(
    source: str, packed: Iterable[_Packed], batch_id: str, page: SetPage | None = None
) -> Iterator[dict[str, Any]]:
    if page is None:
        for part in _parted(packed, _room(source)):
            yield message_of(batch_id, source, part)
        return
    # A page without members is a message, too: it completes the set.
    parts = list(_parted(packed, _room(source))) or [[]]
    for number, part in enumerate(parts, 1):
        yield message_of(batch_id, source, part, page._replace(part=number, parts=len(parts)))


def _parted(packed: Iterable[_Packed], room: int) -> Iterator[list[dict[str, Any]]]:
    waiting: list[dict[str, Any]] = []
    taken = 0
    for one in packed:
        if one.size > room:
            raise ValueError(f"a change of {one.size} bytes")
        if taken + one.size > room:
            yield waiting
            waiting, taken = [], 0
        waiting.append(one.body)
        taken += one.size
    if waiting:
        yield waiting


@lru_cache(maxsize=64)
def _room(source: str) -> int:
    return MAX_MESSAGE_BYTES - json_size(message_of(str(uuid.uuid4()), source, []))


def _names_of(incoming: Incoming) -> list[str]:
    """Return what a profile's identities are called: a check shows it beside a `profile_key` that finds nobody.

    Only what looks like a name of a schema, since a sender may name its keys after people.
    """
    return sorted(filter(_NAME.fullmatch, incoming.identities))[:MAX_NAMES]
