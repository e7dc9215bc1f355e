"""What a dialect is: a function from a raw body to the profiles in it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from relay.domain import moments
from relay.domain.changes import Json, MembershipChange
from relay.domain.values import whole
from relay.problem_details import MAX_ERRORS, InputError, pointer, too_large, wrong_shape
from relay.sources.json_body import flaw_of

MAX_PROFILES = 5_000
"""The most profiles one request may hold: what is parsed and queued well inside the strictest sender's 2 seconds
(Adobe: https://experienceleague.adobe.com/en/docs/experience-platform/destinations/catalog/streaming/http-destination).
Adobe sends up to 10, Twilio Segment up to 4,000."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Place = tuple[str | int, ...]
"""Where something stands in a body, as parts of a JSON Pointer."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One profile as a dialect read it; `at`, `snapshot` and None as a value mean what they do in a `Change`.

    `raw` is the profile as it came (an object), `place` where it stands in the body.
    """

    raw: Mapping[str, Json]
    place: Place
    snapshot: bool
    identities: Mapping[str, Sequence[str] | None]
    attributes: Mapping[str, Json]
    memberships: Sequence[MembershipChange]
    primary: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    """The identities marked as primary, by namespace, where the dialect marks them."""
    at: datetime | None = None
    ignored_memberships: int = 0
    """How many of its memberships are none of this source's business."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The profiles of a body that have the dialect's shape, and for each of the others the first thing wrong with it.

    There are no others without at least one profile: a body that is wrong throughout is refused.
    """

    profiles: Sequence[Incoming]
    misshapen: Sequence[InputError] = ()


class Misshapen(Exception):  # noqa: N818 - as Refusal: an answer to a sender, not an error of ours
    """A profile does not have the dialect's shape: `errors`, at least one."""

    def __init__(self, errors: Sequence[InputError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class Dialect(Protocol):
    """Turns a body into profiles."""

    def __call__(self, raw: bytes, *, source: str, namespaces: AbstractSet[str]) -> Reading:
        """Read a body; raises Refusal (400, 413 or 422) and nothing else, whatever the bytes are.

        `source` begins the segment references; `namespaces` are the segment namespaces that count, for dialects
        that have any.
        """
        ...


def read_each(told: Iterable[tuple[Place, Any]], read_one: Callable[[Place, Any], Incoming]) -> Reading:
    """Read every profile by itself, so that one of a wrong shape harms no other; `read_one` raises Misshapen for it.

    Raises Refusal: 413 when there are more than MAX_PROFILES, 422 when there are some and none has the right shape.
    """
    profiles: list[Incoming] = []
    misshapen: list[InputError] = []
    errors: list[InputError] = []
    for number, (place, value) in enumerate(told):
        if number == MAX_PROFILES:
            raise too_large(f"A request holds at most {MAX_PROFILES} profiles.")
        try:
            flaw = flaw_of(value)
            if flaw is not None:
                raise Misshapen([InputError(flaw, pointer(place))])
            profiles.append(read_one(place, value))
        except Misshapen as wrong:
            misshapen.append(wrong.errors[0])
            errors.extend(wrong.errors[: MAX_ERRORS - len(errors)])
    if errors and not profiles:
        raise wrong_shape(errors)
    return Reading(profiles, misshapen)


def moment_of(value: Any, *, zoned: bool) -> datetime:
    """Read a time of a body (`relay.domain.moments`); ValueError (with a text that can be shown) when it is none.

    `zoned` demands `Z` or an offset of a text that is no UNIX time; otherwise a time without one is UTC. Times before
    1970 are refused: no platform means them.
    """
    number = whole(value)
    try:
        if isinstance(number, int) and not isinstance(number, bool):
            return moments.from_unix(number)
        written = moments.as_written(value) if isinstance(value, str) else None
        moment = None if written is None else moments.in_utc(written)
    except ValueError:
        written = moment = None
    if written is None or moment is None:
        raise ValueError("must be a time such as 2026-04-30T09:30:00Z, or UNIX seconds or milliseconds")
    if zoned and written.tzinfo is None:
        raise ValueError("must be a time with Z or an offset")
    if moment < _EPOCH:
        raise ValueError("must not be before 1970")
    return moment
