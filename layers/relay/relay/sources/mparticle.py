"""mParticle's audience messages ("Firehose"): https://docs.mparticle.com/developers/partners/firehose/.

| message | read as |
|---|---|
| `audience_membership_change_request` | memberships and attributes of each of `user_profiles` |
| the same without `user_profiles`: the periodic check of the endpoint | ignored and counted |
| `audience_subscription_request`, `event_processing_request` | ignored and counted |
| `dsr_processing_request` of type `erasure` | the person is to be forgotten; other types are ignored and counted |

Each is answered with the message of the same name that ends in `_response`. An identity that is hashed is of a
namespace of its own, such as `email_sha256`. A message's time is that of all in it.

`account_settings` and `audience_subscription_settings` hold secrets. Nothing here looks at them, so nothing keeps them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from relay.domain import moments
from relay.domain.changes import Forget, Json, MembershipChange
from relay.domain.values import id_of, whole
from relay.problem_details import InputError, pointer, wrong_shape
from relay.sources.dialect import Answer, Dialect, Source, Taken, in_json
from relay.sources.json_body import document
from relay.sources.reading import (
    UNFIT_ATTRIBUTE,
    UNFIT_IDENTITY,
    UNFIT_MEMBERSHIP,
    UNFIT_TIME,
    Incoming,
    Misshapen,
    Parts,
    Place,
    Reading,
    moment_of,
    name_of,
    read_each,
)
from relay.sources.recognising import sender_of

VERIFICATION: Final = "verification"
SUBSCRIPTION: Final = "subscription"
OTHER_REQUEST: Final = "other_request"
"""The codes of what is ignored."""

_MEMBERSHIPS: Final = "audience_membership_change"
_SUBSCRIPTION: Final = "audience_subscription"
_EVENTS: Final = "event_processing"
_SUBJECT: Final = "dsr_processing"
MESSAGES: Final = (_MEMBERSHIPS, _SUBSCRIPTION, _EVENTS, _SUBJECT)
"""The kinds of messages that are answered."""
_REQUEST: Final = "_request"
_ACTIONS: Final = {"add": True, "delete": False}
_IDENTITIES: Final = ("user_identities", "device_identities", "partner_identities")
_MAX_REPLY: Final = 100


def read(raw: bytes, source: Source, received_at: datetime) -> Reading:
    """Read a message; raises Refusal (400, 413 or 422)."""
    body = document(raw)
    kind = body.get("type") if isinstance(body, dict) else None
    message = kind.removesuffix(_REQUEST) if isinstance(kind, str) and kind.endswith(_REQUEST) else None
    if message not in MESSAGES:
        detail = f"must be one of {', '.join(one + _REQUEST for one in MESSAGES)}"
        raise wrong_shape([InputError(detail, pointer(["type"]))], sender_of(body, source.dialect))
    reply = _reply(message, body, received_at)
    if message == _SUBJECT:
        return _subject(body, source, reply)
    if message == _MEMBERSHIPS and body.get("user_profiles") is not None:
        profiles = body["user_profiles"]
        if not isinstance(profiles, list):
            raise wrong_shape(
                [InputError("must be a list", pointer(["user_profiles"]))], sender_of(body, source.dialect)
            )
        places = ((("user_profiles", index), one) for index, one in enumerate(profiles))
        reading = read_each(
            body,
            places,
            lambda place, one: _incoming(source.name, place, one, body, received_at),
            dialect=source.dialect,
        )
        return replace(reading, reply=reply)
    codes = {_MEMBERSHIPS: VERIFICATION, _SUBSCRIPTION: SUBSCRIPTION}
    return Reading([], ignored={codes.get(message, OTHER_REQUEST): 1}, reply=reply)


def answer(taken: Taken) -> Answer:
    """Return the response that belongs to the request."""
    # A batch of no messages at all is answered like a check of the endpoint.
    reply = dict(taken.reply) or _reply(_MEMBERSHIPS, {}, moments.from_milliseconds(0))
    return in_json(HTTPStatus.OK, reply if reply.get("id") is not None else {**reply, "id": taken.request_id})


def _reply(message: str, body: Mapping[str, Json], received_at: datetime) -> dict[str, Json]:
    number, version, sent = body.get("id"), body.get("firehose_version"), whole(body.get("timestamp_ms"))
    own: Mapping[str, dict[str, Json]] = {
        _MEMBERSHIPS: {"suspend_subscription": False},
        _SUBSCRIPTION: {"audience_subscription_settings": {}},
    }
    return {
        "type": f"{message}_response",
        "id": number[:_MAX_REPLY] if isinstance(number, str) and number else None,
        "timestamp_ms": sent
        if isinstance(sent, int) and not isinstance(sent, bool)
        else moments.microseconds(received_at) // 1_000,
        "firehose_version": version[:_MAX_REPLY] if isinstance(version, str) else "",
        **own.get(message, {}),
    }


def _subject(body: Mapping[str, Json], source: Source, reply: Mapping[str, Json]) -> Reading:
    if body.get("subject_request_type") != "erasure":
        return Reading([], ignored={OTHER_REQUEST: 1}, reply=reply)

    def read_one(place: Place, given: Any) -> Incoming:
        if not isinstance(given, dict):
            raise Misshapen([InputError("must be an object", pointer(place))])
        parts = Parts(source.name, place, given)
        listed = [
            {"type": kind, **one} if isinstance(one, dict) else {"type": kind, "value": one}
            for kind, one in given.items()
        ]
        found: dict[str, list[str]] = {}
        _add_identities(parts, found, listed, ())
        return parts.incoming(
            identities=found,
            attributes={},
            memberships=[],
            snapshot=False,
            forget=Forget.HERE,
            webhook_id=id_of(body.get("id")),
        )

    place: Place = ("subject_identities",)
    given = [(place, body.get("subject_identities"))]
    return replace(read_each(body, given, read_one, dialect=source.dialect), reply=reply)


def _incoming(source: str, place: Place, given: Any, body: Mapping[str, Json], received_at: datetime) -> Incoming:
    if not isinstance(given, dict):
        raise Misshapen([InputError("must be a user profile (an object)", pointer(place))])
    audiences = given.get("audiences")
    parts = Parts(source, place, {key: value for key, value in given.items() if key != "audiences"})
    try:
        at: datetime | None = None if body.get("timestamp_ms") is None else moment_of(body["timestamp_ms"], zoned=False)
    except ValueError as error:
        at = None
        parts.leave_out(UNFIT_TIME, str(error))
    identities: dict[str, list[str]] = {}
    if given.get("mpid") is not None:
        mpid = parts.identity(given["mpid"], "mpid")
        identities |= {} if mpid is None else {"mpid": [mpid]}
    for key in _IDENTITIES:
        listed = given.get(key)
        if listed is not None and not isinstance(listed, list):
            parts.leave_out_value(UNFIT_IDENTITY, "must be a list", key)
        elif listed is not None:
            _add_identities(parts, identities, listed, (key,))
    attributes: dict[str, Json] = {}
    memberships: list[MembershipChange] = []
    ignored = 0
    if audiences is not None and not isinstance(audiences, list):
        parts.leave_out(UNFIT_MEMBERSHIP, "must be a list", "audiences")
        audiences = None
    for index, audience in enumerate(audiences or ()):
        if not isinstance(audience, dict):
            parts.leave_out(UNFIT_MEMBERSHIP, "must be an object", "audiences", index)
            continue
        attributes |= dict(_attributes(parts, audience.get("user_attributes"), index))
        if str(audience.get("action")).lower() == "attribute_update":
            ignored += 1
        else:
            memberships += _membership(parts, audience, index, at or received_at)
    return parts.incoming(
        identities=identities,
        attributes=parts.attributes(attributes, "audiences"),
        memberships=memberships,
        snapshot=False,
        at=at,
        ignored_memberships=ignored,
        webhook_id=id_of(body.get("id")),
    )


def _add_identities(parts: Parts, found: dict[str, list[str]], listed: list[Any], inner: Place) -> None:
    for index, one in enumerate(listed):
        kind = one.get("type") if isinstance(one, dict) else None
        encoding = one.get("encoding") or "raw" if isinstance(one, dict) else None
        if not isinstance(kind, str) or not kind or not isinstance(encoding, str):
            parts.leave_out_value(UNFIT_IDENTITY, "must be an object with type, encoding and value", *inner, index)
            continue
        namespace = kind if encoding.lower() == "raw" else f"{kind}_{encoding.lower()}"
        parts.add_identity(found, namespace, one.get("value"), (*inner, index), "value")


def _membership(parts: Parts, audience: Mapping[str, Json], index: int, at: datetime) -> Iterator[MembershipChange]:
    action = audience.get("action")
    realized = _ACTIONS.get(action.lower()) if isinstance(action, str) else None
    if realized is None:
        parts.leave_out(UNFIT_MEMBERSHIP, "must be add, delete or attribute_update", "audiences", index, "action")
        return
    reference = parts.segment(audience.get("audience_id"), "audiences", index, "audience_id")
    if reference is not None:
        name = name_of(audience.get("audience_name"))
        yield MembershipChange(reference, realized, at, name)


def _attributes(parts: Parts, given: Any, audience: int) -> Iterator[tuple[str, Json]]:
    """Yield attributes; one that is deleted is None. mParticle's own example has an empty entry, which says nothing."""
    if given is None:
        return
    place: Place = ("audiences", audience, "user_attributes")
    if not isinstance(given, list):
        parts.leave_out_value(UNFIT_ATTRIBUTE, "must be a list", *place)
        return
    for index, one in enumerate(given):
        if one == {}:
            continue
        key = one.get("key") if isinstance(one, dict) else None
        action = one.get("action") or "upsert" if isinstance(one, dict) else None
        if not isinstance(key, str) or action not in ("upsert", "delete"):
            parts.leave_out_value(UNFIT_ATTRIBUTE, "must be an object with key, value and action", *place, index)
        elif action == "delete":
            yield key, None
        else:
            yield key, one["list_value"] if one.get("list_value") is not None else one.get("value")


DIALECT: Final = Dialect(read, answer)
