"""Amplitude's cohort webhook, in its default template: users who entered a cohort, or who left it.

https://amplitude.com/docs/data/destination-catalog/cohort-webhooks
One message has one direction (`in_cohort`). It is sent again until it is answered with 200; `message_id` stays the same
then. `computed_time` are UNIX seconds, as a text.
The template can be changed, so what it may leave out or write otherwise is read, too: no `computed_time` (the receipt
counts), `in_cohort` as a text, users who are nothing but an id.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from relay.domain.changes import MembershipChange
from relay.problem_details import InputError, pointer, wrong_shape
from relay.sources.dialect import Answer, Dialect, Source, Taken, accepted
from relay.sources.json_body import document, flaw_of
from relay.sources.reading import (
    UNFIT_ATTRIBUTE,
    Incoming,
    Misshapen,
    Parts,
    Place,
    Reading,
    flag_of,
    name_of,
    read_each,
)
from relay.sources.reading import moment_of as read_moment
from relay.sources.recognising import sender_of

IDENTITY = "user_id"
"""The namespace of the ids that Amplitude knows people by."""

MAX_SECONDS_DIGITS = 12


class _Message(NamedTuple):
    """What a message says of all its users."""

    realized: bool
    at: datetime
    users: list[Any]


def read(raw: bytes, source: Source, received_at: datetime) -> Reading:
    """Read one message; raises Refusal (400, 413 or 422)."""
    body = document(raw)
    message = _message(body, source, received_at)
    message_id = body.get("message_id")
    sent_as = message_id if isinstance(message_id, str) and message_id and flaw_of(message_id) is None else None

    def read_one(place: Place, given: Any) -> Incoming:
        if isinstance(given, str):
            given = {IDENTITY: given}
        if not isinstance(given, dict):
            raise Misshapen([InputError("must be a user (an object)", pointer(place))])
        parts = Parts(source.name, place, given)
        segment = parts.segment(body["cohort_id"])
        user = parts.identity(given.get(IDENTITY), IDENTITY)
        properties = given.get("user_properties")
        if properties is None:
            properties = {}
        elif not isinstance(properties, dict):
            parts.leave_out_value(UNFIT_ATTRIBUTE, "must be an object", "user_properties")
            properties = {}
        membership = MembershipChange(segment or "", message.realized, message.at, name_of(body.get("cohort_name")))
        return parts.incoming(
            identities={} if user is None else {IDENTITY: [user]},
            attributes=parts.attributes(properties, "user_properties"),
            memberships=[] if segment is None else [membership],
            snapshot=False,
            at=message.at,
            webhook_id=sent_as,
        )

    return read_each(
        body, ((("users", place), one) for place, one in enumerate(message.users)), read_one, dialect=source.dialect
    )


def _message(body: Any, source: Source, received_at: datetime) -> _Message:
    if not isinstance(body, dict):
        raise wrong_shape([InputError("must be an object", pointer([]))], sender_of(body, source.dialect))
    errors = []
    realized = flag_of(body.get("in_cohort"))
    if realized is None:
        errors.append(InputError("must be true or false", pointer(["in_cohort"])))
    users = [] if "users" in body and body["users"] is None else body.get("users")
    if not isinstance(users, list):
        errors.append(InputError("must be a list", pointer(["users"])))
    if Parts(source.name, (), body).segment(body.get("cohort_id")) is None:
        errors.append(InputError("must be a cohort's id", pointer(["cohort_id"])))
    computed = _seconds(body.get("computed_time"))
    try:
        at = received_at if computed is None else read_moment(computed, zoned=True)
    except ValueError:
        errors.append(InputError("must be a time in UNIX seconds", pointer(["computed_time"])))
    if errors:
        raise wrong_shape(errors, sender_of(body, source.dialect))
    return _Message(realized is True, at, users or [])


def answer(taken: Taken) -> Answer:
    """Return 200: whether 202 counts as success is not documented."""
    return accepted(taken, HTTPStatus.OK)


def _seconds(given: Any) -> Any:
    is_written = isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= MAX_SECONDS_DIGITS
    return int(given) if is_written else given


DIALECT: Final = Dialect(read, answer)
