"""Webhooks of every dialect with every way of authentication, as API Gateway hands them to ingest.

Everybody in a body has an id, an address, three attributes where the platform sends any, and one segment.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from relay.sources.authentication import MODES
from relay.sources.dialects import DIALECTS

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw:pass"
SIGNING: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SOURCES: Final[Mapping[str, tuple[str, str]]] = {
    **{f"{dialect}-bearer": (dialect, "bearer") for dialect in DIALECTS},
    **{f"relay-json-{mode}": ("relay-json", mode) for mode in MODES},
}
"""Dialect and way of authentication, by the name of the source: each dialect once, and each way once."""

_EVENT = Path(__file__).resolve().parents[2] / "events/ingest.json"
_AT = "2026-11-22T09:30:00Z"
_MILLISECONDS = 1_795_339_800_000
_ATTRIBUTES = {"firstName": "Kim", "plan": "gold", "visits": 7}
_MAPPING = {
    "each": "rows",
    "identities": "{crm: id, email: mail}",
    "attributes": "details",
    "segment": "audience",
    "in": "is_in",
    "at": "at",
}
_KEYS = {"amplitude": "user_id", "mixpanel": "mixpanel_distinct_id", "mparticle": "mpid", "segment": "user_id"}
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "header": {"auth_header": "X-Key"},
    "hmac": {"signature_header": "X-Sign"},
    "standard-webhooks": {"secret": SIGNING},
}


def secret(source: str) -> dict[str, str]:
    """Return the texts of a source's secret."""
    dialect, mode = SOURCES[source]
    texts = {
        "dialect": dialect,
        "auth": mode,
        "secret": SECRET,
        "profile_key": f"identities.{_KEYS.get(dialect, 'crm')}",
    }
    return {**texts, **_OPTIONS.get(mode, {}), **(_MAPPING if dialect == "mapped" else {})}


def event(source: str, people: int) -> dict[str, Any]:
    """Return a proven request of some people; a signature with a time in it is young for five minutes."""
    dialect, mode = SOURCES[source]
    body = body_of(dialect, range(people))
    found: dict[str, Any] = json.loads(_EVENT.read_text(encoding="utf-8"))
    found["pathParameters"]["source"] = source
    kept = {name: value for name, value in found["headers"].items() if name.lower() != "authorization"}
    found["headers"] = {**kept, **_proof(mode, body.encode())}
    found["multiValueHeaders"] = {name: [value] for name, value in found["headers"].items()}
    return {**found, "body": body}


def body_of(dialect: str, people: Sequence[int]) -> str:
    """Return the body in which a platform sends some people, by their numbers."""
    return json.dumps(_BODIES[dialect](people), separators=(",", ":"))


def _proof(mode: str, body: bytes) -> dict[str, str]:
    def signed(key: str, algorithm: str) -> str:
        return hmac.new(key.encode(), body, algorithm).hexdigest()

    if mode == "standard-webhooks":
        stamp = str(int(time.time()))
        key = base64.b64decode(SIGNING.removeprefix("whsec_"))
        made = base64.b64encode(hmac.new(key, f"m.{stamp}.".encode() + body, hashlib.sha256).digest())
        return {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": f"v1,{made.decode()}"}
    return {
        "bearer": {"Authorization": f"Bearer {SECRET}"},
        "basic": {"Authorization": f"Basic {base64.b64encode(SECRET.encode()).decode()}"},
        "header": {"X-Key": SECRET},
        "hmac": {"X-Sign": signed(SECRET, "sha256")},
        "segment": {"X-Signature": signed(SECRET, "sha1")},
    }[mode]


def _mail(number: int) -> str:
    return f"kim.{number}@example.com"


def _adobe_http(people: Sequence[int]) -> Any:
    membership = {"ups": {"vip": {"status": "realized", "lastQualificationTime": _AT}}}
    return [
        {
            "segmentMembership": membership,
            "identityMap": {"crm": [{"id": f"c-{one}"}], "email": [{"id": _mail(one)}]},
            **_ATTRIBUTES,
        }
        for one in people
    ]


def _adobe_sdk(people: Sequence[int]) -> Any:
    return {
        "profiles": [
            {
                "identities": [{"type": "crm", "id": f"c-{one}"}, {"type": "email", "id": _mail(one)}],
                "attributes": {name: {"value": value} for name, value in _ATTRIBUTES.items()},
                "AdobeExperiencePlatformSegments": {"add": ["vip"], "remove": []},
            }
            for one in people
        ]
    }


def _amplitude(people: Sequence[int]) -> Any:
    users = [{"user_id": f"c-{one}", "user_properties": {**_ATTRIBUTES, "email": _mail(one)}} for one in people]
    seconds = str(_MILLISECONDS // 1_000)
    return {"cohort_id": "vip", "in_cohort": True, "computed_time": seconds, "message_id": "m", "users": users}


def _mapped(people: Sequence[int]) -> Any:
    rows = [
        {"id": f"c-{one}", "mail": _mail(one), "details": _ATTRIBUTES, "audience": "vip", "is_in": True, "at": _AT}
        for one in people
    ]
    return {"rows": rows}


def _mixpanel(people: Sequence[int]) -> Any:
    members = [{"mixpanel_distinct_id": f"c-{one}", "email": _mail(one), **_ATTRIBUTES} for one in people]
    return {"action": "add_members", "parameters": {"mixpanel_cohort_id": "vip", "members": members}}


def _mparticle(people: Sequence[int]) -> Any:
    attributes = [{"key": name, "value": value, "action": "upsert"} for name, value in _ATTRIBUTES.items()]
    audience = {"audience_id": 7, "audience_name": "VIP", "action": "add", "user_attributes": attributes}
    head = {"type": "audience_membership_change_request", "id": "m", "timestamp_ms": _MILLISECONDS}
    profiles = [
        {
            "mpid": f"{one}",
            "user_identities": [{"type": "email", "encoding": "raw", "value": _mail(one)}],
            "audiences": [audience],
        }
        for one in people
    ]
    return {**head, "firehose_version": "3.2.0", "user_profiles": profiles}


def _relay_json(people: Sequence[int]) -> Any:
    memberships = [{"segment": "vip", "status": "realized", "at": _AT}]
    return {
        "changes": [
            {
                "identities": {"crm": f"c-{one}", "email": _mail(one)},
                "attributes": _ATTRIBUTES,
                "memberships": memberships,
            }
            for one in people
        ]
    }


def _segment(people: Sequence[int]) -> Any:
    personas = {"computation_class": "audience", "computation_id": "aud_1", "computation_key": "vip", "space_id": "spa"}
    return [
        {
            "type": "identify",
            "messageId": f"personas_{one}",
            "userId": f"c-{one}",
            "traits": {**_ATTRIBUTES, "email": _mail(one), "vip": True},
            "context": {"personas": personas},
            "timestamp": _AT,
        }
        for one in people
    ]


_BODIES: Mapping[str, Callable[[Sequence[int]], Any]] = {
    "adobe-http": _adobe_http,
    "adobe-sdk": _adobe_sdk,
    "amplitude": _amplitude,
    "mapped": _mapped,
    "mixpanel": _mixpanel,
    "mparticle": _mparticle,
    "relay-json": _relay_json,
    "segment": _segment,
}
