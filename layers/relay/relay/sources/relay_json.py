"""Audience Relay's own dialect, for scripts and platforms whose body can be shaped.

{"changes": [{
    "identities": {"crm_id": "42", "email": ["a@b.c"]},      text, whole number or list of such; null or [] clears
    "attributes": {"first_name": "Ada"},                      any JSON; null clears
    "memberships": [{"segment": "vip", "status": "realized", "at": "2026-01-31T12:00:00Z", "name": "VIPs"}],
    "at": "2026-01-31T12:00:00Z",                             time of identities and attributes; default: receipt
    "snapshot": false,                                        true: what is not named here is gone
    "forget": true                                            the person is to be forgotten; the rest only says who
}]}
All keys are optional; times need `Z` or an offset; `status` is `realized` or `exited`. `"forget": "at_destinations"`
asks the destinations to delete the contact or user, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from relay.domain.changes import Forget, Json, MembershipChange
from relay.problem_details import InputError, pointer, wrong_shape
from relay.sources.dialect import Dialect, Source
from relay.sources.json_body import document
from relay.sources.reading import (
    UNFIT_ATTRIBUTE,
    UNFIT_IDENTITY,
    UNFIT_MEMBERSHIP,
    UNFIT_SNAPSHOT,
    UNFIT_TIME,
    UNKNOWN_KEY,
    Incoming,
    LeftOut,
    Misshapen,
    Parts,
    Place,
    Reading,
    name_of,
    read_each,
)
from relay.sources.recognising import sender_of

STATUSES = {"realized": True, "exited": False}

_KEYS = frozenset({"identities", "attributes", "memberships", "at", "snapshot", "forget"})
_MEMBERSHIP_KEYS = frozenset({"segment", "status", "at", "name"})
_IS_UNKNOWN = "holds a key that this dialect does not know"


def read(raw: bytes, source: Source, _: datetime) -> Reading:
    """Read a body of the shape above; raises Refusal (400, 413 or 422).

    A change of a wrong shape is only reported beside those that can be read.
    """
    body = document(raw)
    changes = _changes(body, source.dialect)
    # Which key it is is not shown: it may be personal data.
    unknown = [LeftOut(UNKNOWN_KEY, InputError(_IS_UNKNOWN, pointer([])))] if body.keys() - {"changes"} else []
    places = ((("changes", index), given) for index, given in enumerate(changes))
    return read_each(body, places, partial(_incoming, source.name), unknown, dialect=source.dialect)


def _changes(body: Any, dialect: str) -> list[Any]:
    wrong: tuple[str, list[str]] | None = None
    if not isinstance(body, dict):
        wrong = "must be an object", []
    elif "changes" not in body:
        wrong = "is missing", ["changes"]
    elif not isinstance(body["changes"], list):
        wrong = "must be a list", ["changes"]
    if wrong is not None:
        raise wrong_shape([InputError(wrong[0], pointer(wrong[1]))], sender_of(body, dialect))
    changes: list[Any] = body["changes"]
    return changes


def _incoming(source: str, place: Place, given: Any) -> Incoming:
    if not isinstance(given, dict):
        raise Misshapen([InputError("must be a change (an object)", pointer(place))])
    parts = Parts(source, place, given)
    if given.keys() - _KEYS:
        parts.leave_out(UNKNOWN_KEY, _IS_UNKNOWN)
    at = None if given.get("at") is None else parts.moment(UNFIT_TIME, given["at"], "at", zoned=True)
    snapshot = given.get("snapshot")
    if snapshot is not None and not isinstance(snapshot, bool):
        parts.leave_out(UNFIT_SNAPSHOT, "must be true or false", "snapshot")
    forget = _forget(given.get("forget"), place)
    attributes = _object(parts, UNFIT_ATTRIBUTE, given, "attributes")
    return parts.incoming(
        identities=dict(_identities(parts, _object(parts, UNFIT_IDENTITY, given, "identities"))),
        attributes=parts.attributes(attributes, "attributes"),
        memberships=list(_memberships(parts, given.get("memberships"))),
        snapshot=snapshot is True,
        at=at,
        forget=forget,
    )


def _forget(given: Any, place: Place) -> Forget | None:
    """Return whether the person is to be forgotten. A word that is not known must not keep somebody silently."""
    if given is None or given is False:
        return None
    if given is True:
        return Forget.HERE
    if given == Forget.AT_DESTINATIONS.value:
        return Forget.AT_DESTINATIONS
    raise Misshapen(
        [InputError(f'must be true, false or "{Forget.AT_DESTINATIONS.value}"', pointer((*place, "forget")))]
    )


def _object(parts: Parts, code: str, given: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = given.get(key, {})
    if not isinstance(value, dict):
        parts.leave_out_value(code, "must be an object", key)
        return {}
    return value


def _identities(parts: Parts, given: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str] | None]]:
    for namespace, value in given.items():
        if not parts.namespace(namespace, "identities"):
            continue
        if value is None or value == []:
            yield namespace, None
            continue
        place: Place = ("identities", namespace)
        listed = (
            [((*place, index), one) for index, one in enumerate(value)] if isinstance(value, list) else [(place, value)]
        )
        ids = parts.identities(listed)
        if ids:
            yield namespace, ids


def _memberships(parts: Parts, given: Any) -> Iterator[MembershipChange]:
    if given is None:
        return
    if not isinstance(given, list):
        parts.leave_out(UNFIT_MEMBERSHIP, "must be a list", "memberships")
        return
    for index, value in enumerate(given):
        membership = _membership(parts, ("memberships", index), value)
        if membership is not None:
            yield membership


def _membership(parts: Parts, place: Place, given: Any) -> MembershipChange | None:
    if not isinstance(given, dict):
        parts.leave_out(UNFIT_MEMBERSHIP, "must be an object with segment, status and at", *place)
        return None
    if missing := [key for key in ("segment", "status", "at") if key not in given]:
        parts.leave_out(UNFIT_MEMBERSHIP, "is missing", *place, missing[0])
        return None
    status = given["status"]
    if not isinstance(status, str) or status not in STATUSES:
        parts.leave_out(UNFIT_MEMBERSHIP, f"must be {' or '.join(STATUSES)}", *place, "status")
        return None
    at = parts.moment(UNFIT_MEMBERSHIP, given["at"], *place, "at", zoned=True)
    segment = None if at is None else parts.segment(given["segment"], *place, "segment")
    if at is None or segment is None:
        return None
    if given.keys() - _MEMBERSHIP_KEYS:
        parts.leave_out(UNKNOWN_KEY, _IS_UNKNOWN, *place)
    name = given.get("name")
    if not isinstance(name, str | None):
        parts.leave_out(UNFIT_MEMBERSHIP, "must be a text", *place, "name")
    return MembershipChange(segment, STATUSES[status], at, name_of(name))


DIALECT: Final = Dialect(read)
