"""The webhook endpoint: authenticate, read, put on the Changes queue, answer; nothing else."""

from collections.abc import Callable, Mapping, Sequence

from relay import problem_details
from relay.breaker import failures
from relay.clock import Clock
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Actor
from relay.intake.requests import Request
from relay.observability import Count, Observability
from relay.problem_details import Refusal
from relay.queues import Message, Queue
from relay.settings.names import UnknownSource
from relay.settings.sources import Sources, SourceSettings, TooManyUnknownSources
from relay.sources.authentication import MODES, authentic
from relay.sources.dialect import Answer, Refused, Taken, problem
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


class Endpoint:
    """Takes webhooks. `queue` yields the Changes queue, so that it is made only when there is something to send."""

    def __init__(
        self, settings: Sources, queue: Callable[[], Queue], clock: Clock, observability: Observability
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._clock = clock
        self._observability = observability

    def answer(self, request: Request) -> Answer:
        """Answer as the source's dialect says: by default with 202 and counts, or with problem details.

        Raises nothing. A source that is not known answers as most dialects do.
        """
        refuse: Callable[[Refused], Answer] = problem
        raw, name = b"", ""
        try:
            name = request.source()
            source = self._source(name)
            dialect = DIALECTS[source.dialect]
            refuse, raw = dialect.refuse, request.body()
            taken = self._take(raw, request.headers(), source, request.request_id)
            answer = dialect.answer(taken)
        except Refusal as refusal:
            return self._refused(refuse, Refused(refusal, request.request_id, raw))
        except Exception as error:  # noqa: BLE001 - the runtime would log the message, which may hold personal data
            trouble = self._trouble(error, name, request.request_id)
            return self._refused(refuse, Refused(trouble, request.request_id, raw))
        self._count(taken, name)
        return answer

    def _source(self, name: str) -> SourceSettings:
        try:
            return self._settings.source(name)
        except UnknownSource:
            raise problem_details.unknown_source() from None
        except TooManyUnknownSources:
            raise problem_details.too_many_unknown_sources() from None

    def _take(
        self, body: bytes, headers: Mapping[str, Sequence[str]], source: SourceSettings, request_id: str
    ) -> Taken:
        received_at = self._clock.now()
        mode = MODES[source.auth]
        if not authentic(mode, source.secrets, headers, body, now=received_at, options=source.auth_options):
            raise problem_details.unauthorized(mode.scheme)
        if len(body) > MAX_BODY_BYTES:
            raise problem_details.too_large(f"A body holds at most {MAX_BODY_BYTES} bytes.")
        first = {name: values[0] for name, values in headers.items() if values}
        intake = take_in(
            body,
            source=source,
            identity_hash=KeyedHash(self._settings.identity_key()),
            received_at=received_at,
            webhook_id=webhook_id_of(first),
            request_id=request_id,
            content_type=first.get("content-type", ""),
        )
        self._queue().send([Message(message) for message in intake.messages])
        return intake.taken

    def _trouble(self, error: Exception, source: str, request_id: str) -> Refusal:
        """Return what the table of failures says: there is no message yet, so the sender keeps the request."""
        row = failures.row_for(error)
        if row.do is failures.Do.DEAD_LETTER:
            self._observability.problem("defect", error, request_id=request_id)
            return problem_details.unexpected()
        is_administrators = row.actor is Actor.ADMINISTRATOR
        event = "source not usable" if is_administrators else "not taken"
        code = "source_not_usable" if is_administrators else "unavailable"
        self._observability.problem(event, error, request_id=request_id, source=source)
        return problem_details.unavailable(code, NOT_TAKEN[code])

    def _count(self, taken: Taken, source: str) -> None:
        count = self._observability.count
        rejected, ignored = len(taken.rejections), sum(taken.ignored.values())
        self._observability.info(
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
            count(Count.LEFT_OUT, number, source=source, outcome=code)
        count(Count.ACCEPTED, taken.accepted, source=source)
        count(Count.REJECTED, rejected, source=source)
        # A membership that is not kept and an event that is not ours are the same to whoever watches.
        count(Count.IGNORED_MEMBERSHIPS, taken.ignored_memberships + ignored, source=source)

    def _refused(self, refuse: Callable[[Refused], Answer], refused: Refused) -> Answer:
        answer, code = refuse(refused), refused.refusal.code
        self._observability.info("refused", request_id=refused.request_id, code=code, status=int(answer.status))
        self._observability.count(Count.REFUSED_REQUESTS, outcome=code)
        return answer
