"""POST /webhooks/{source}: authenticate, read, put on the Changes queue, answer; nothing else. The rest is refused.

Environment: RELAY_PREFIX, RELAY_CHANGES_QUEUE, and RELAY_SETTINGS_SECONDS (how long settings are kept).
"""

import base64
import binascii
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from relay import problem_details
from relay.breaker import failures
from relay.clock import Clock, SystemClock
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Actor
from relay.observability import Count, Observability
from relay.problem_details import Refusal
from relay.queues import Message, Queue
from relay.settings.doors import DEFAULT_SECONDS
from relay.settings.names import UnknownSource
from relay.settings.sources import Sources, SourceSettings, TooManyUnknownSources
from relay.sources.authentication import MODES, authentic
from relay.sources.dialect import Answer, Dialect, Refused, Taken
from relay.sources.dialects import DIALECTS
from relay.sources.intake import take_in
from relay.sources.repeats import webhook_id_of

MAX_BODY_BYTES = 2_000_000
"""Decoded. Every JSON body up to this gets through, whatever is in it. API Gateway takes 10 MB, but hands a body to
Lambda as a JSON text inside an event of at most 6 MiB. There quotes, backslashes and line breaks take twice the bytes,
and letters beyond ASCII up to three times (`\\u00e9` for the two bytes of an e with an accent). The rest of the event
takes less than 100 kB: headers have at most 10,240 bytes, and stand in it twice.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

NOT_TAKEN: Mapping[str, str] = {
    "source_not_usable": "This source is not set up correctly yet; its administrator has the reason.",
    "unavailable": "The request could not be taken for a moment; send it again.",
}
"""What a sender is told with 503, by code."""

_UNKNOWN = DIALECTS["relay-json"]
"""Answers for a source that is not known."""


def handler(
    event: Mapping[str, Any],
    context: Any,
    *,
    settings: Sources | None = None,
    queue: Queue | None = None,
    clock: Clock | None = None,
    observability: Observability | None = None,
) -> dict[str, Any]:
    """Answer an API Gateway REST proxy event.

    As the source's dialect says: by default with 202, counts, the first rejections and the first parts that were left
    out, or with problem details.
    """
    observability = _observability() if observability is None else observability
    settings = _sources() if settings is None else settings
    clock = SystemClock() if clock is None else clock
    request_id = _request_id(event, context)
    name = (event.get("pathParameters") or {}).get("source") or ""
    dialect, raw = _UNKNOWN, b""
    try:
        if not name:
            raise _misdirected(event)
        source = _source(settings, name)
        dialect = DIALECTS[source.dialect]
        raw = _body(event)
        taken = _take(raw, _headers(event), source, request_id, settings, queue, clock)
    except Refusal as refusal:
        return _refused(dialect, Refused(refusal, request_id, raw), observability)
    except Exception as error:  # noqa: BLE001 - the runtime would log the message, which may hold personal data
        trouble = _trouble(error, name, request_id, observability)
        return _refused(dialect, Refused(trouble, request_id, raw), observability)
    _count(taken, name, observability)
    return _event_of(dialect.answer(taken))


def _trouble(error: Exception, source: str, request_id: str, observability: Observability) -> Refusal:
    """Return what the table of failures says: there is no message yet, so the sender keeps the request."""
    row = failures.row_for(error)
    if row.do is failures.Do.DEAD_LETTER:
        observability.problem("defect", error, request_id=request_id)
        return problem_details.unexpected()
    event, code = (
        ("source not usable", "source_not_usable") if row.actor is Actor.ADMINISTRATOR else ("not taken", "unavailable")
    )
    observability.problem(event, error, request_id=request_id, source=source)
    return problem_details.unavailable(code, NOT_TAKEN[code])


def _source(settings: Sources, name: str) -> SourceSettings:
    try:
        return settings.source(name)
    except UnknownSource:
        raise problem_details.unknown_source() from None
    except TooManyUnknownSources:
        raise problem_details.too_many_unknown_sources() from None


def _take(
    body: bytes,
    headers: Mapping[str, Sequence[str]],
    source: SourceSettings,
    request_id: str,
    settings: Sources,
    queue: Queue | None,
    clock: Clock,
) -> Taken:
    received_at = clock.now()
    mode = MODES[source.auth]
    if not authentic(mode, source.secrets, headers, body, now=received_at, options=source.auth_options):
        raise problem_details.unauthorized(mode.scheme)
    if len(body) > MAX_BODY_BYTES:
        raise problem_details.too_large(f"A body holds at most {MAX_BODY_BYTES} bytes.")
    first = {name: values[0] for name, values in headers.items() if values}
    intake = take_in(
        body,
        source=source,
        identity_hash=KeyedHash(settings.identity_key()),
        received_at=received_at,
        webhook_id=webhook_id_of(first),
        request_id=request_id,
        content_type=first.get("content-type", ""),
    )
    (_queue() if queue is None else queue).send([Message(message) for message in intake.messages])
    return intake.taken


def _misdirected(event: Mapping[str, Any]) -> Refusal:
    """Return why a request is no webhook: what is posted to `/webhooks/{source}` comes with a source."""
    folder, _, name = str((event.get("pathParameters") or {}).get("proxy") or "").partition("/")
    is_webhook = folder == "webhooks" and name != "" and "/" not in name
    return problem_details.method_not_allowed() if is_webhook else problem_details.no_source()


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise problem_details.malformed_json("The body is not base64, though it is marked so.") from None


def _headers(event: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return all values of each header, its name in lower case."""
    found: dict[str, list[str]] = {}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        found.setdefault(name.lower(), []).extend(values)
    single = {name.lower(): [value] for name, value in (event.get("headers") or {}).items()}
    return single | found


def _request_id(event: Mapping[str, Any], context: Any) -> str:
    known = (event.get("requestContext") or {}).get("requestId") or getattr(context, "aws_request_id", None)
    return str(known or uuid.uuid4())


def _count(taken: Taken, source: str, observability: Observability) -> None:
    rejected, ignored = len(taken.rejections), sum(taken.ignored.values())
    observability.info(
        "accepted",
        request_id=taken.request_id,
        source=source,
        accepted=taken.accepted,
        ignored_memberships=taken.ignored_memberships,
        ignored=ignored,
        rejected=rejected,
        left_out=sum(taken.left_out_counts.values()),
    )
    for code, number in sorted(taken.left_out_counts.items()):
        observability.count(Count.LEFT_OUT, number, source=source, outcome=code)
    observability.count(Count.ACCEPTED, taken.accepted, source=source)
    observability.count(Count.REJECTED, rejected, source=source)
    # A membership that is not kept and an event that is not ours are the same to whoever watches.
    observability.count(Count.IGNORED_MEMBERSHIPS, taken.ignored_memberships + ignored, source=source)


def _refused(dialect: Dialect, refused: Refused, observability: Observability) -> dict[str, Any]:
    answer, code = dialect.refuse(refused), refused.refusal.code
    observability.info("refused", request_id=refused.request_id, code=code, status=int(answer.status))
    observability.count(Count.REFUSED_REQUESTS, outcome=code)
    return _event_of(answer)


def _event_of(answer: Answer) -> dict[str, Any]:
    return {"statusCode": int(answer.status), "headers": dict(answer.headers), "body": answer.body}


@cache
def _sources() -> Sources:
    seconds = float(os.environ.get("RELAY_SETTINGS_SECONDS", DEFAULT_SECONDS))
    return Sources(os.environ["RELAY_PREFIX"], seconds=seconds)


@cache
def _queue() -> Queue:
    return Queue(os.environ["RELAY_CHANGES_QUEUE"])


@cache
def _observability() -> Observability:
    return Observability()


def _prepare() -> None:
    # A starting function has a whole processor, a request only its share. Trouble here is met again, and logged, by the
    # first request; a start that failed would be tried again and again without telling any sender.
    with suppress(Exception):
        _observability()
        _queue().prepare()
        _sources().identity_key()


_prepare()
