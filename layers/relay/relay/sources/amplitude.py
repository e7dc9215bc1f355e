"""Amplitude's cohort webhook, in its default template: users who entered a cohort, or who left it.

https://amplitude.com/docs/data/destination-catalog/cohort-webhooks
One message has one direction (`in_cohort`). It is sent again until it is answered with 200; `message_id` stays the same
then. `computed_time` are UNIX seconds, as a text.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from relay.domain.changes import MembershipChange
from relay.problem_details import InputError, pointer, wrong_shape
from relay.sources.dialect import Answer, Source, Taken, accepted
from relay.sources.json_body import document, flaw_of
from relay.sources.reading import UNFIT_ATTRIBUTE, Incoming, Misshapen, Parts, Place, Reading, name_of, read_each
from relay.sources.reading import moment_of as read_moment
from relay.sources.recognising import sender_of

IDENTITY = "user_id"
"""The namespace of the ids that Amplitude knows people by."""

MAX_SECONDS_DIGITS = 12


def read(raw: bytes, source: Source, _: datetime) -> Reading:
    """Read one message; raises Refusal (400, 413 or 422)."""
    body = document(raw)
    if not isinstance(body, dict):
        raise wrong_shape([InputError("must be an object", pointer([]))], sender_of(body))
    errors = []
    if not isinstance(body.get("in_cohort"), bool):
        errors.append(InputError("must be true or false", pointer(["in_cohort"])))
    if not isinstance(body.get("users"), list):
        errors.append(InputError("must be a list", pointer(["users"])))
    if Parts(source.name, (), body).segment(body.get("cohort_id")) is None:
        errors.append(InputError("must be a cohort's id", pointer(["cohort_id"])))
    try:
        at = read_moment(_seconds(body.get("computed_time")), zoned=True)
    except ValueError:
        errors.append(InputError("must be a time in UNIX seconds", pointer(["computed_time"])))
    if errors:
        raise wrong_shape(errors, sender_of(body))
    message_id = body.get("message_id")
    sent_as = message_id if isinstance(message_id, str) and message_id and flaw_of(message_id) is None else None

    def read_one(place: Place, given: Any) -> Incoming:
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
        membership = MembershipChange(segment or "", body["in_cohort"], at, name_of(body.get("cohort_name")))
        return parts.incoming(
            identities={} if user is None else {IDENTITY: [user]},
            attributes=parts.attributes(properties, "user_properties"),
            memberships=[] if segment is None else [membership],
            snapshot=False,
            at=at,
            webhook_id=sent_as,
        )

    return read_each(body, ((("users", place), one) for place, one in enumerate(body["users"])), read_one)


def answer(taken: Taken) -> Answer:
    """Return 200: whether 202 counts as success is not documented."""
    return accepted(taken, HTTPStatus.OK)


def _seconds(given: Any) -> Any:
    is_written = isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= MAX_SECONDS_DIGITS
    return int(given) if is_written else given
