"""Logs and metrics: structured lines of known fields, so that no personal data and no secret can get in.

Lines go to standard output, where Lambda picks them up; metrics are in CloudWatch's embedded format.
"""

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import IO, Any, TypedDict, Unpack

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from relay.domain.problems import Busy, Problem
from relay.version import VERSION

DEFAULT_NAMESPACE = "audience-relay"
"""The metrics' namespace where POWERTOOLS_METRICS_NAMESPACE names none."""
MAX_TEXT = 300
MAX_LISTED = 500
"""How many entries of a list a line has: more than any call has rows."""
WITHHELD = "[withheld]"
_LISTS = frozenset({"traces", "profiles"})
_CALL: ContextVar[str | None] = ContextVar("call", default=None)
_CALLER = 3
"""Frames between Powertools and whoever logs, so that `location` names the latter."""


class Fields(TypedDict, total=False):
    """The only fields a log line may have. Names, codes, opaque ids and numbers; no identity, attribute or secret."""

    request_id: str
    message_id: str
    batch_id: str
    receive_count: int
    source: str
    connection: str
    export: str
    destination: str
    segment: str
    run: str
    shard: int
    version: int
    profile: str
    import_id: str
    call: str
    traces: Sequence[str]
    profiles: Sequence[str]
    operation: str
    method: str
    path: str
    problem: str
    attempt: int
    status: int
    outcome: str
    code: str
    reason: str
    subject: str
    field: str
    actor: str
    next_step: str
    pause_seconds: float
    milliseconds: float
    bytes: int
    accepted: int
    ignored_memberships: int
    rejected: int
    left_out: int
    merged: int
    stale: int
    ignored: int
    delivered: int
    unchanged: int
    duplicate: int
    outstanding: int
    calls: int
    refused: int
    queued: int


class Dimensions(TypedDict, total=False):
    """The only dimensions of a metric: as many values as there are settings, never one per profile or request."""

    source: str
    connection: str
    destination: str
    subject: str
    outcome: str
    export: str


class Count(Enum):
    """The metrics there are: counts, and the share of its daily budget that a connection has used, in percent."""

    ACCEPTED = "ChangesAccepted"
    REJECTED = "ChangesRejected"
    IGNORED_MEMBERSHIPS = "MembershipsIgnored"
    LEFT_OUT = "PartsLeftOut"
    REFUSED_REQUESTS = "RequestsRefused"
    MERGED = "ChangesMerged"
    STALE = "ChangesStale"
    IGNORED = "ChangesIgnored"
    PROFILES_JOINED = "ProfilesJoined"
    UNROUTED = "LooksUnrouted"
    FROM_THE_FUTURE = "TimesFromTheFuture"
    DELIVERED = "ProfilesDelivered"
    UNCHANGED = "ProfilesUnchanged"
    PROFILES_REJECTED = "ProfilesRejected"
    REJECTIONS = "RejectionsByCode"
    """As `ProfilesRejected`, by the code of the reason, which the dimension `outcome` holds."""
    DUPLICATE = "ProfilesDuplicate"
    CALLS = "DestinationCalls"
    STOPPED = "ConnectionStopped"
    SET_ASIDE = "ProfilesSetAside"
    ATTENTION = "NeedsAttention"
    UNSCHEDULED = "ExportsUnscheduled"
    CALLS_ALLOWED = "CallsAllowed"
    """Calls a minute that a connection is held to, by its widest quota."""
    BUDGET_PERCENT = "DailyBudgetPercent"
    RUN_SECONDS = "RunSeconds"
    """How long a run took that went through, by export."""
    REJECTIONS_RISE = "RejectionsRise"
    """How many percent points more of the selected a run has rejected than the one before; by export, and of all."""
    IMPORTS_ENDED = "ImportsEnded"
    """Imports of segments; the dimension `outcome` holds the state they ended in."""
    IMPORT_COUNTS = "ImportCounts"
    """What an import that is done has counted; the dimension `outcome` holds of what: entered, left, broken."""
    IMPORT_SECONDS = "ImportSeconds"
    """How long an import took that is done, a wait for somebody included."""
    WARNINGS = "Warnings"
    """What an administrator should know of though the work went on; the dimension `outcome` holds its code."""


class Observability:
    """Where everything that is logged or counted passes."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        # A stream of its own needs a logger of its own: Powertools keeps one handler per service name.
        service = os.environ.get("POWERTOOLS_SERVICE_NAME", "relay")
        self._logger = Logger(
            service=service if stream is None else f"{service}-{id(stream)}",
            stream=stream or sys.stdout,
            service_version=VERSION,
        )

    def info(self, event: str, **fields: Unpack[Fields]) -> None:
        """Log something that went as it should; `event` is a fixed text."""
        self._logger.info(event, extra=_allowed(fields), stacklevel=_CALLER)

    def problem(self, event: str, error: BaseException, **fields: Unpack[Fields]) -> None:
        """Log an exception by class, code and place in the code; only our own problems may speak for themselves.

        Waiting for our own side (Busy) is part of ordinary work, and no warning.
        """
        details: dict[str, Any] = {**_allowed(fields), "error": type(error).__name__, "at": places(error)}
        if isinstance(error, Problem):
            own = Fields(code=error.code, reason=error.what, actor=error.actor.value, next_step=error.next_step)
            log = self._logger.info if isinstance(error, Busy) else self._logger.warning
            log(event, extra={**details, **_allowed(own)}, stacklevel=_CALLER)
        else:
            self._logger.error(event, extra=details, stacklevel=_CALLER)

    def count(self, metric: Count, value: int = 1, **dimensions: Unpack[Dimensions]) -> None:
        """Add to a metric; adding 0 writes nothing."""
        if value == 0:
            return
        namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", DEFAULT_NAMESPACE)
        with single_metric(name=metric.value, unit=MetricUnit.Count, value=value, namespace=namespace) as one:
            for name, details in dimensions.items():
                if name in Dimensions.__annotations__:
                    one.add_dimension(name=name, value=str(details))


@contextmanager
def during_call(call: str) -> Iterator[None]:
    """Let every line that is logged meanwhile, in this thread, name the call that it belongs to."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


def places(error: BaseException) -> list[str]:
    """Return where an exception passed through our code, innermost last: module file, line, function."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames[-5:]]


def _allowed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Type checking already refuses other names; this holds for what it does not see."""
    call = _CALL.get()
    given = fields if call is None else {"call": call, **fields}
    return {name: _of_field(name, value) for name, value in given.items() if name in Fields.__annotations__}


def _of_field(name: str, value: Any) -> str | int | float | list[str | int | float | None] | None:
    if name in _LISTS and isinstance(value, list):
        return [_safe(entry) for entry in value[:MAX_LISTED]]
    return _safe(value)


def safe_text(text: str) -> str:
    """Return a text that may be shown outside: cut to `MAX_TEXT`, and withheld where it may be an address."""
    return WITHHELD if "@" in text else text[:MAX_TEXT]


def _safe(value: Any) -> str | int | float | None:
    if value is None or isinstance(value, int | float):
        return value
    return safe_text(value) if isinstance(value, str) else WITHHELD
