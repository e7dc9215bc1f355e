"""What a dialect is: a function from a raw body to the profiles in it."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from relay.domain import moments
from relay.domain.changes import Json, MembershipChange

MAX_PROFILES = 5_000
"""The most profiles one request may hold: what is parsed and queued well inside the strictest sender's 2 seconds
(Adobe: https://experienceleague.adobe.com/en/docs/experience-platform/destinations/catalog/streaming/http-destination).
Adobe sends up to 10, Twilio Segment up to 4,000."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One profile as a dialect read it; `at`, `snapshot` and None as a value mean what they do in a `Change`.

    `raw` is the profile as it came (an object), `place` where it stands in the body, as parts of a JSON Pointer.
    """

    raw: Mapping[str, Json]
    place: Sequence[str | int]
    snapshot: bool
    identities: Mapping[str, Sequence[str] | None]
    attributes: Mapping[str, Json]
    memberships: Sequence[MembershipChange]
    primary: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    """The identities marked as primary, by namespace, where the dialect marks them."""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """All profiles of a body, and how many memberships in it are none of this source's business."""

    profiles: Sequence[Incoming]
    ignored_memberships: int = 0


class Dialect(Protocol):
    """Turns a body into profiles."""

    def __call__(self, raw: bytes, *, source: str, namespaces: AbstractSet[str]) -> Reading:
        """Read a body; raises Refusal (400 or 422) and nothing else, whatever the bytes are.

        `source` begins the segment references; `namespaces` are the segment namespaces that count, for dialects
        that have any.
        """
        ...


def moment_of(value: Any, *, zoned: bool) -> datetime:
    """Read a time of a body; ValueError (with a text that can be shown) when it is none.

    `zoned` demands `Z` or an offset; otherwise a time without one is UTC. Times before 1970 are refused: no platform
    sends them, and the stored form would not sort.
    """
    if not isinstance(value, str):
        raise ValueError("must be an ISO 8601 time as text")
    try:
        moment = moments.parse(value)
        naive = zoned and datetime.fromisoformat(value).tzinfo is None
    except (ValueError, OverflowError):
        raise ValueError("must be an ISO 8601 time") from None
    if naive:
        raise ValueError("must be an ISO 8601 time with Z or an offset")
    if moment < _EPOCH:
        raise ValueError("must not be before 1970")
    return moment
