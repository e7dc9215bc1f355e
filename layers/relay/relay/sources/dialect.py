"""What a dialect is: how the bodies of a platform are read, and how they are answered.

Most platforms look at the status alone. Some want a body of their own, or stop sending after certain statuses.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

from relay.domain.changes import Json
from relay.problem_details import CONTENT_TYPE, MAX_ERRORS, Refusal
from relay.sources.reading import LeftOut, Reading

JSON = "application/json"
DEFAULT_NAMESPACE = "ups"
"""Of memberships: Adobe's own segmentation service. Others hold uploads and other products' audiences."""


class Source(Protocol):
    """What must be known of a source to read its bodies."""

    @property
    def name(self) -> str:
        """Begins the segment references."""
        ...

    @property
    def dialect(self) -> str:
        """One of `relay.sources.dialects.DIALECTS`."""
        ...

    @property
    def profile_key(self) -> str:
        """A valid expression, see `relay.sources.profile_key`."""
        ...

    @property
    def segment_namespaces(self) -> AbstractSet[str]:
        """Those whose memberships count, for dialects that have any."""
        ...

    @property
    def segments(self) -> AbstractSet[str] | None:
        """The only segments (`source/segment`) whose memberships are kept; None for all."""
        ...

    @property
    def mapping(self) -> Mapping[str, str]:
        """The expressions that say where a body has what, for the dialect that is told it; all of them valid."""
        ...


@dataclass(frozen=True, slots=True)
class Rejected:
    """A profile of which nothing is taken: why, and where it (or what is wrong with it) stands, as a JSON Pointer."""

    code: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that is queued. All counts but `accepted` are of what was not.

    `reply` is what the dialect read of the body for its answer (see `Reading`).
    """

    request_id: str
    accepted: int
    ignored_memberships: int
    rejections: Sequence[Rejected] = ()
    left_out: Sequence[LeftOut] = ()
    left_out_counts: Mapping[str, int] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=Counter)
    reply: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is not taken. `raw` is its body, which may be of anybody and hold anything."""

    refusal: Refusal
    request_id: str
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender is answered: status, headers and body."""

    status: HTTPStatus
    headers: Mapping[str, str]
    body: str


def in_json(status: HTTPStatus, body: Json, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is JSON."""
    return Answer(status, {"Content-Type": JSON, **(headers or {})}, json.dumps(body))


def accepted(taken: Taken, status: HTTPStatus = HTTPStatus.ACCEPTED) -> Answer:
    """Return the counts, the first rejections and the first parts that were left out."""
    return in_json(
        status,
        {
            "request_id": taken.request_id,
            "accepted": taken.accepted,
            "ignored_memberships": taken.ignored_memberships,
            "ignored": dict(taken.ignored),
            "rejected": len(taken.rejections),
            "rejections": [{"code": one.code, "pointer": one.pointer} for one in taken.rejections[:MAX_ERRORS]],
            "left_out": sum(taken.left_out_counts.values()),
            "left_out_parts": [
                {"code": part.code, "detail": part.error.detail, "pointer": part.error.pointer}
                for part in taken.left_out[:MAX_ERRORS]
            ],
        },
    )


def problem(refused: Refused) -> Answer:
    """Return problem details."""
    refusal = refused.refusal
    headers = {"Content-Type": CONTENT_TYPE, **refusal.headers}
    return Answer(refusal.status, headers, json.dumps(refusal.body(refused.request_id)))


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a platform's bodies are read and answered.

    `read` gets the body, the source, and when the request came. It raises Refusal (400, 413 or 422) and nothing else,
    whatever the bytes are. `answer` and `refuse` are pure and raise nothing.
    """

    read: Callable[[bytes, Source, datetime], Reading]
    answer: Callable[[Taken], Answer] = accepted
    refuse: Callable[[Refused], Answer] = problem
