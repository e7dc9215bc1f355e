"""POST /webhooks/{source}: authenticate, read, put on the Changes queue, answer 202; nothing else.

Environment: RELAY_PREFIX, RELAY_CHANGES_QUEUE, and RELAY_SETTINGS_SECONDS (how long settings are kept).
"""

import base64
import binascii
import json
import os
import uuid
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from relay import problem_details
from relay.clock import Clock, SystemClock
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import SettingsProblem, Transient
from relay.observability import Count, Observability
from relay.problem_details import MAX_ERRORS, Refusal
from relay.queues import Message, Queue
from relay.settings import DEFAULT_SECONDS, Settings, UnknownSource
from relay.sources.authentication import MODES, authentic
from relay.sources.intake import Intake, take_in
from relay.sources.repeats import webhook_id_of

MAX_BODY_BYTES = 5 * 1024 * 1024
"""Decoded. Lambda takes 6 MB, of which the event around the body and its base64 form have to have their part.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


def handler(
    event: Mapping[str, Any],
    context: Any,
    *,
    settings: Settings | None = None,
    queue: Queue | None = None,
    clock: Clock | None = None,
    observability: Observability | None = None,
) -> dict[str, Any]:
    """Answer an API Gateway REST proxy event.

    With 202, counts, the first rejections and the first parts that were left out, or with problem details.
    """
    observability = _observability() if observability is None else observability
    request_id = _request_id(event, context)
    source = (event.get("pathParameters") or {}).get("source") or ""
    try:
        taken = _take(
            event,
            source,
            settings=_settings() if settings is None else settings,
            queue=_queue() if queue is None else queue,
            clock=SystemClock() if clock is None else clock,
        )
    except Refusal as refusal:
        observability.info("refused", request_id=request_id, code=refusal.code, status=int(refusal.status))
        return _refused(refusal, request_id, observability)
    except SettingsProblem as problem:
        observability.problem("source not usable", problem, request_id=request_id, source=source)
        detail = "This source is not set up correctly yet; its administrator has the reason."
        return _refused(problem_details.unavailable("source_not_usable", detail), request_id, observability)
    except Transient as problem:
        observability.problem("not taken", problem, request_id=request_id, source=source)
        detail = "The request could not be taken for a moment; send it again."
        return _refused(problem_details.unavailable("unavailable", detail), request_id, observability)
    except Exception as error:  # noqa: BLE001 - the runtime would log the message, which may hold personal data
        observability.problem("defect", error, request_id=request_id)
        return _refused(problem_details.unexpected(), request_id, observability)
    return _accepted(taken, source, request_id, observability)


def _take(event: Mapping[str, Any], source: str, *, settings: Settings, queue: Queue, clock: Clock) -> Intake:
    received_at = clock.now()
    try:
        known = settings.source(source)
    except UnknownSource:
        raise problem_details.unknown_source() from None
    body = _body(event)
    mode = MODES[known.auth]
    headers = _headers(event)
    if not authentic(mode, known.secrets, headers, body):
        raise problem_details.unauthorized(mode.scheme)
    if len(body) > MAX_BODY_BYTES:
        raise problem_details.too_large(f"A body holds at most {MAX_BODY_BYTES} bytes.")
    taken = take_in(
        body,
        source=known,
        identity_hash=KeyedHash(settings.identity_key()),
        received_at=received_at,
        webhook_id=webhook_id_of(headers),
    )
    queue.send([Message(message) for message in taken.messages])
    return taken


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise problem_details.malformed_json("The body is not base64, though it is marked so.") from None


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    single = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    several = {name.lower(): values for name, values in (event.get("multiValueHeaders") or {}).items()}
    return {name: ", ".join(values) for name, values in several.items()} | single


def _request_id(event: Mapping[str, Any], context: Any) -> str:
    told = (event.get("requestContext") or {}).get("requestId") or getattr(context, "aws_request_id", None)
    return str(told or uuid.uuid4())


def _accepted(taken: Intake, source: str, request_id: str, observability: Observability) -> dict[str, Any]:
    rejected = len(taken.rejections)
    observability.info(
        "accepted",
        request_id=request_id,
        source=source,
        accepted=taken.accepted,
        ignored_memberships=taken.ignored_memberships,
        rejected=rejected,
        left_out=sum(taken.left_out_counts.values()),
    )
    for code, number in sorted(taken.left_out_counts.items()):
        observability.count(Count.LEFT_OUT, number, source=source, outcome=code)
    observability.count(Count.ACCEPTED, taken.accepted, source=source)
    observability.count(Count.REJECTED, rejected, source=source)
    observability.count(Count.IGNORED_MEMBERSHIPS, taken.ignored_memberships, source=source)
    told = {
        "request_id": request_id,
        "accepted": taken.accepted,
        "ignored_memberships": taken.ignored_memberships,
        "rejected": rejected,
        "rejections": [{"code": one.code, "pointer": one.pointer} for one in taken.rejections[:MAX_ERRORS]],
        "left_out": sum(taken.left_out_counts.values()),
        "left_out_parts": [
            {"code": part.code, "detail": part.error.detail, "pointer": part.error.pointer}
            for part in taken.left_out[:MAX_ERRORS]
        ],
    }
    return _answer(HTTPStatus.ACCEPTED, told, {"Content-Type": "application/json"})


def _refused(refusal: Refusal, request_id: str, observability: Observability) -> dict[str, Any]:
    observability.count(Count.REFUSED_REQUESTS, outcome=refusal.code)
    headers = {"Content-Type": problem_details.CONTENT_TYPE, **refusal.headers}
    return _answer(refusal.status, refusal.body(request_id), headers)


def _answer(status: HTTPStatus, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    return {"statusCode": int(status), "headers": dict(headers), "body": json.dumps(body)}


@cache
def _settings() -> Settings:
    seconds = float(os.environ.get("RELAY_SETTINGS_SECONDS", DEFAULT_SECONDS))
    return Settings(os.environ["RELAY_PREFIX"], seconds=seconds)


@cache
def _queue() -> Queue:
    return Queue(os.environ["RELAY_CHANGES_QUEUE"])


@cache
def _observability() -> Observability:
    return Observability()
