"""Whose body is it? Asked only of a body that is refused, so that the answer can say what came to the wrong dialect.

The shapes are those of the vendors' own documentation; nothing else is read of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]


def sender_of(body: Any, dialect: str | None = None) -> str | None:
    """Return whose shape a body (or the first of several documents or elements) has.

    None when it is none we know, or that of `dialect`, which refuses the body: then something in it is wrong.
    """
    one = body
    for _ in range(2):
        if isinstance(one, list) and one:
            one = one[0]
    if not isinstance(one, Mapping):
        return None
    found = next((name for name, fits in _SENDERS if fits(one)), None)
    return None if found is None or found.endswith(f"({dialect})") else found


def is_sdk_profile(one: Object) -> bool:
    """Return whether a profile is one of Adobe's Destination SDK: its freeform attributes are `{"value": x}` or `{}`.

    https://experienceleague.adobe.com/en/docs/experience-platform/destinations/destination-sdk/functionality/destination-server/message-format
    """
    attributes = one.get("attributes")
    if isinstance(attributes, Mapping) and attributes:
        return all(isinstance(value, Mapping) and value.keys() <= {"value"} for value in attributes.values())
    identities = one.get("identities")
    return isinstance(identities, list) and any(isinstance(each, Mapping) and "type" in each for each in identities[:1])


def _has(*keys: str) -> Callable[[Object], bool]:
    return lambda one: one.keys() >= set(keys)


def _any_profile(one: Object, fits: Callable[[Object], bool]) -> bool:
    profiles = one.get("profiles")
    return isinstance(profiles, list) and any(isinstance(each, Mapping) and fits(each) for each in profiles[:10])


def _is_adobe_profile(one: Object) -> bool:
    return not one.keys().isdisjoint({"segmentMembership", "identityMap", "xdm:segmentMembership", "xdm:identityMap"})


def _is_event(one: Object) -> bool:
    """Twilio Segment's events, which others send, too: https://segment.com/docs/connections/spec/."""
    kinds = ("identify", "track", "group", "page", "screen", "alias", "delete", "audiencelist", "record")
    return one.get("type") in kinds and not one.keys().isdisjoint({"userId", "anonymousId", "messageId"})


def _is_batch_of_events(one: Object) -> bool:
    batch = one.get("batch")
    return isinstance(batch, list) and bool(batch) and isinstance(batch[0], Mapping) and _is_event(batch[0])


def _is_mparticle(one: Object) -> bool:
    kind = one.get("type")
    return (
        isinstance(kind, str)
        and kind.startswith(("audience_", "module_", "event_", "dsr_"))
        and "firehose_version" in one
    )


def _is_mixpanel(one: Object) -> bool:
    return one.get("action") in ("members", "add_members", "remove_members") and "parameters" in one


_SDK = "a template of Adobe's Destination SDK (adobe-sdk)"

_SENDERS: Sequence[tuple[str, Callable[[Object], bool]]] = (
    (_SDK, is_sdk_profile),
    (_SDK, lambda one: _any_profile(one, is_sdk_profile)),
    ("Adobe Experience Platform's HTTP API destination (adobe-http)", _is_adobe_profile),
    ("Adobe Experience Platform's HTTP API destination (adobe-http)", lambda one: _any_profile(one, _is_adobe_profile)),
    ("Audience Relay's own dialect (relay-json)", _has("changes")),
    ("Audience Relay's own dialect (relay-json), without the list of changes around it", _has("memberships")),
    (_SDK, lambda one: isinstance(one.get("profiles"), list)),
    ("Twilio Segment, or a platform that sends its events (segment)", _is_event),
    ("Twilio Segment, or a platform that sends its events (segment)", _is_batch_of_events),
    ("mParticle (mparticle)", _is_mparticle),
    ("Mixpanel's cohort webhook (mixpanel)", _is_mixpanel),
    ("Amplitude's cohort webhook (amplitude)", _has("cohort_id", "users")),
    ("Amazon Connect Customer Profiles", _has("SegmentDefinitionName", "OperationType")),
    ("a Salesforce data action", _has("schemas", "events")),
    ("Census", _has("jsonrpc", "method")),
    ("Amazon SNS", _has("Type", "TopicArn")),
    ("CloudEvents", _has("specversion", "type")),
    ("Standard Webhooks' own example", _has("type", "timestamp", "data")),
)
