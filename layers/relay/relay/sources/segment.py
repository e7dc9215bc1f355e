"""Twilio Segment's events, which RudderStack, Hightouch Events and Customer.io send, too.

A body is one event, a list of events, or `{"batch": [...]}`. What becomes of an event:

| event | read as |
|---|---|
| identify or track of an audience (`context.personas`, `audience_key`, *Audience Entered*) | membership, attributes |
| identify of anything else but a computed trait | attributes |
| `delete` | the person is to be forgotten |
| RudderStack's `audiencelist` and `record` | memberships of a segment that is called as the type, since none is named |
| computed traits, other tracks, `group`, `page`, `screen`, `alias` | ignored and counted |

Events: https://segment.com/docs/connections/spec/. Audiences: https://segment.com/docs/engage/using-engage-data/.
The names of an event and of its trait can be changed in Segment, so an audience goes by `audience_key` and
`computation_key` first. An event without a time counts as of its receipt.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from relay.domain.changes import Forget, Json, MembershipChange
from relay.domain.values import id_of
from relay.problem_details import InputError, pointer
from relay.sources.dialect import Dialect, Source
from relay.sources.json_body import document
from relay.sources.reading import (
    UNFIT_IDENTITY,
    UNFIT_MEMBERSHIP,
    UNFIT_TIME,
    Incoming,
    Misshapen,
    Parts,
    Place,
    Reading,
    flag_of,
    read_each,
)

COMPUTED_TRAIT: Final = "computed_trait"
UNKNOWN_EVENT: Final = "unknown_event"
"""The codes of what is ignored."""

_OTHERS: Final = frozenset({"group", "page", "screen", "alias"})
_KNOWN: Final = frozenset({"identify", "track", "delete", "audiencelist", "record", *_OTHERS})
_CLASSES: Final = frozenset({None, "audience", "journey_step"})
_EVENTS: Final = {"audience entered": True, "audience exited": False}
_CHANGED: Final = "audience membership changed"
_JOURNEY: Final = "j_o_"
"""Begins the key of a journey's list. It cannot be changed, whatever `computation_key` says."""
_ACTIONS: Final = {"insert": True, "update": True, "delete": False}
_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")


class _Listed(NamedTuple):
    """An entry of an audience list, and the event that holds the list."""

    event: Mapping[str, Json]
    entry: Any
    realized: bool


class _Audience(NamedTuple):
    """What an event says of an audience; `flag` is the key of the value that says so."""

    key: Any
    realized: bool | None
    flag: str | None = None


def read(raw: bytes, source: Source, received_at: datetime) -> Reading:
    """Read a body of the shapes above; raises Refusal (400, 413 or 422)."""
    body = document(raw)
    ignored: Counter[str] = Counter()
    reading = read_each(
        body,
        _about_people(body, ignored),
        lambda place, one: _incoming(source.name, place, one, received_at),
        dialect=source.dialect,
    )
    return replace(reading, ignored=ignored)


def _about_people(body: Any, ignored: Counter[str]) -> Iterator[tuple[Place, Any]]:
    for place, event in _events(body):
        code = _ignored_as(event)
        if code is not None:
            ignored[code] += 1
        elif isinstance(event, dict) and event.get("type") == "audiencelist":
            yield from _listed(place, event)
        else:
            yield place, event


def _events(body: Any) -> Iterator[tuple[Place, Any]]:
    place: Place = ()
    if isinstance(body, dict) and isinstance(body.get("batch"), list):
        place, body = ("batch",), body["batch"]
    if isinstance(body, list):
        yield from (((*place, index), event) for index, event in enumerate(body))
    else:
        yield place, body


def _ignored_as(event: Any) -> str | None:
    if not isinstance(event, dict):
        return None
    kind = event.get("type")
    if isinstance(kind, str) and kind in _OTHERS:
        return UNKNOWN_EVENT
    if kind not in ("identify", "track"):
        return None
    if not _is_of_an_audience(event):
        if kind == "track":
            return COMPUTED_TRAIT if _is_class_of_traits(event) else UNKNOWN_EVENT
        return COMPUTED_TRAIT if _personas(event) and not _is_class_of_audiences(event) else None
    is_a_journeys_own = "event_emitter_id" in _personas(event) and _audience(event).realized is None
    return UNKNOWN_EVENT if kind == "track" and is_a_journeys_own else None


def _is_of_an_audience(event: Mapping[str, Json]) -> bool:
    name = _name(event)
    if name.startswith("entity "):
        return False
    if _personas(event) and _is_class_of_audiences(event):
        return True
    # A class that is not known may be an audience's.
    return not _is_class_of_traits(event) and ("audience_key" in _values(event) or name in _EVENTS or name == _CHANGED)


def _is_class_of_audiences(event: Mapping[str, Json]) -> bool:
    given = _personas(event).get("computation_class")
    return not isinstance(given, list | dict) and given in _CLASSES


def _is_class_of_traits(event: Mapping[str, Json]) -> bool:
    """There are several: `trait`, `computed_trait`, `sql_trait`."""
    given = _personas(event).get("computation_class")
    return isinstance(given, str) and "trait" in given


def _listed(place: Place, event: Mapping[str, Json]) -> Iterator[tuple[Place, Any]]:
    data = _object(_object(event, "properties"), "listData")
    for action, realized in (("add", True), ("remove", False)):
        entries = data.get(action)
        if isinstance(entries, list):
            for index, entry in enumerate(entries):
                yield (*place, "properties", "listData", action, index), _Listed(event, entry, realized)
        elif entries is not None:
            yield (*place, "properties", "listData", action), _Listed(event, entries, realized)


def _incoming(source: str, place: Place, given: Any, received_at: datetime) -> Incoming:
    if isinstance(given, _Listed):
        return _of_list(source, place, given, received_at)
    if not isinstance(given, dict):
        raise Misshapen([InputError("must be an event (an object)", pointer(place))])
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _KNOWN:
        raise Misshapen([InputError(f"must be one of {', '.join(sorted(_KNOWN))}", pointer((*place, "type")))])
    parts = Parts(source, place, given)
    if kind == "record":
        return _of_record(parts, given, received_at)
    identities = _identities(parts, given)
    if kind == "delete":
        return parts.incoming(
            identities=identities,
            attributes={},
            memberships=[],
            snapshot=False,
            forget=Forget.HERE,
            webhook_id=id_of(given.get("messageId")),
        )
    at = _time(parts, given)
    audience = _audience(given) if _is_of_an_audience(given) else None
    memberships = [] if audience is None else list(_membership(parts, audience, at or received_at, _place_of(given)))
    attributes = {**_object(_object(given, "context"), "traits"), **(_traits(given) if kind == "identify" else {})}
    if audience is not None and audience.flag is not None:
        attributes.pop(audience.flag, None)
    return parts.incoming(
        identities=identities,
        attributes=parts.attributes(attributes, "traits"),
        memberships=memberships,
        snapshot=False,
        at=at,
        webhook_id=id_of(given.get("messageId")),
    )


def _of_list(source: str, place: Place, given: _Listed, received_at: datetime) -> Incoming:
    if not isinstance(given.entry, dict):
        raise Misshapen([InputError("must be an object with what identifies a person", pointer(place))])
    parts = Parts(source, place, given.entry)
    at = _time(parts, given.event)
    audience = _Audience("audiencelist", given.realized)
    return parts.incoming(
        identities=_named(parts, given.entry, {"userId": "user_id", "user_id": "user_id", "email": "email"}),
        attributes=parts.attributes(given.entry),
        memberships=list(_membership(parts, audience, at or received_at, ())),
        snapshot=False,
        at=at,
        webhook_id=id_of(given.event.get("messageId")),
    )


def _of_record(parts: Parts, event: Mapping[str, Json], received_at: datetime) -> Incoming:
    at = _time(parts, event)
    action = event.get("action")
    realized = _ACTIONS.get(action.lower()) if isinstance(action, str) else None
    ids = _object(event, "identifiers")
    identities = {name: [one] for name in ids if (one := parts.identity(ids[name], "identifiers", name)) is not None}
    return parts.incoming(
        identities=identities,
        attributes=parts.attributes(_object(event, "fields"), "fields"),
        memberships=list(_membership(parts, _Audience("record", realized), at or received_at, ("action",))),
        snapshot=False,
        at=at,
        webhook_id=id_of(event.get("messageId")),
    )


def _identities(parts: Parts, event: Mapping[str, Json]) -> dict[str, list[str]]:
    found = _named(parts, event, {"userId": "user_id", "anonymousId": "anonymous_id"})
    context = _object(event, "context")
    external = context.get("externalIds")
    for index, one in enumerate(external if isinstance(external, list) else ()):
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            parts.leave_out(UNFIT_IDENTITY, "must be an object with id and type", "context", "externalIds", index)
            continue
        parts.add_identity(found, one["type"], one.get("id"), ("context", "externalIds", index), "id")
    for values in (_traits(event), _object(context, "traits"), _object(event, "properties")):
        email = values.get("email")
        if isinstance(email, str) and email.strip() and "email" not in found:
            text = parts.identity(email, "traits", "email")
            if text is not None:
                found["email"] = [text]
    return found


def _named(parts: Parts, given: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, namespace in names.items():
        text = None if given.get(key) in (None, "") else parts.identity(given[key], key)
        if text is not None:
            found[namespace] = [text]
    return found


def _time(parts: Parts, event: Mapping[str, Json]) -> datetime | None:
    """Return the first time of an event that can be read. Without one it is the time of receipt."""
    for key in _TIMES:
        if event.get(key) is not None:
            moment = parts.moment(UNFIT_TIME, event[key], key, zoned=False)
            if moment is not None:
                return moment
    return None


def _audience(event: Mapping[str, Json]) -> _Audience:
    values, personas = _values(event), _personas(event)
    audience_key, computed = _text(values.get("audience_key")), _text(personas.get("computation_key"))
    if computed == personas.get("computation_id"):
        computed = None
    flags = {key: flag for key, value in values.items() if (flag := flag_of(value)) is not None}
    for key in (audience_key, computed):
        if key is not None and key in flags:
            return _Audience(key, flags[key], key)
    name = audience_key or computed
    if len(flags) == 1:
        [(key, flag)] = flags.items()
        is_journey = audience_key is None and key.startswith(_JOURNEY)
        return _Audience(key if name is None or is_journey else name, flag, key)
    name = name or id_of(values.get("audience_id")) or id_of(personas.get("computation_id"))
    return _Audience(name, _EVENTS.get(_name(event)))


def _membership(parts: Parts, audience: _Audience, at: datetime, place: Place) -> Iterator[MembershipChange]:
    if audience.realized is None:
        parts.leave_out(UNFIT_MEMBERSHIP, "does not say whether the person is in or out", *place)
        return
    reference = parts.segment(audience.key, *place)
    if reference is not None:
        yield MembershipChange(reference, audience.realized, at)


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _name(event: Mapping[str, Json]) -> str:
    name = event.get("event")
    return name.strip().lower() if isinstance(name, str) and event.get("type") == "track" else ""


def _place_of(event: Mapping[str, Json]) -> Place:
    return ("traits",) if event.get("type") == "identify" else ("properties",)


def _values(event: Mapping[str, Json]) -> Mapping[str, Json]:
    return _traits(event) if event.get("type") == "identify" else _object(event, "properties")


def _traits(event: Mapping[str, Json]) -> Mapping[str, Json]:
    return _object(event, "traits")


def _personas(event: Mapping[str, Json]) -> Mapping[str, Json]:
    return _object(_object(event, "context"), "personas")


def _object(given: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = given.get(key)
    return value if isinstance(value, dict) else {}


DIALECT: Final = Dialect(read)
