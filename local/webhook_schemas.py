"""The schemas of what platforms post, and of what they are answered. Limits and names are the code's own."""

from collections.abc import Mapping
from typing import Any

from relay import problem_details
from relay.problem_details import MAX_ERRORS
from relay.sources import adobe_http, intake, mixpanel, mparticle, reading, relay_json, segment

_REJECTIONS = [intake.NO_IDENTITY, intake.WRONG_SHAPE, reading.TOO_LARGE]
_LEFT_OUT = [
    reading.UNKNOWN_KEY,
    reading.UNFIT_IDENTITY,
    reading.UNFIT_ATTRIBUTE,
    reading.UNFIT_MEMBERSHIP,
    reading.UNFIT_TIME,
    reading.UNFIT_SNAPSHOT,
    reading.TOO_LARGE,
]
_IGNORED = [
    mparticle.OTHER_REQUEST,
    mparticle.SUBSCRIPTION,
    mparticle.VERIFICATION,
    segment.COMPUTED_TRAIT,
    segment.UNKNOWN_EVENT,
]
_POINTER = {"type": "string", "pattern": "^#(/.*)?$", "description": "JSON Pointer of the place in the body"}
_COUNT = {"type": "integer", "minimum": 0}


def schemas() -> dict[str, Any]:
    """Return the schemas by name."""
    return {
        "RelayJson": relay_json_body(),
        "AdobeHttp": _adobe_http(),
        "Mixpanel": _mixpanel(),
        "Amplitude": _amplitude(),
        "Accepted": _closed(
            {
                "request_id": {"type": "string", "description": "Stands in the log lines about this request, too"},
                "accepted": {**_COUNT, "description": "changes that are queued"},
                "ignored_memberships": {**_COUNT, "description": "memberships that the source does not keep"},
                "ignored": {
                    "type": "object",
                    "description": "what else is none of the source's business, by kind",
                    "propertyNames": {"enum": _IGNORED},
                    "additionalProperties": _COUNT,
                },
                "rejected": {**_COUNT, "description": "profiles of which nothing is taken"},
                "rejections": _list({"code": {"enum": _REJECTIONS}, "pointer": _POINTER}),
                "left_out": {**_COUNT, "description": "parts that were not taken, of profiles that were"},
                "left_out_parts": _list(
                    {"code": {"enum": _LEFT_OUT}, "detail": {"type": "string"}, "pointer": _POINTER}
                ),
            }
        ),
        "MixpanelSuccess": _closed({"action": {"enum": list(mixpanel.ACTIONS)}, "status": {"const": "success"}}),
        "MixpanelFailure": _closed(
            {
                "action": {"enum": list(mixpanel.ACTIONS)},
                "status": {"const": "failure"},
                "error": _closed({"message": {"type": "string"}, "code": {"type": "integer"}}),
            }
        ),
        "MparticleResponse": _mparticle_response(),
        "Problem": _problem(),
        "GatewayMessage": _closed({"message": {"type": ["string", "null"]}}),
    }


def _mparticle_response() -> dict[str, Any]:
    """Return the schema of the message that mParticle gets for each of its own."""
    always = _closed(
        {
            "type": {"enum": [f"{message}_response" for message in mparticle.MESSAGES]},
            "id": {"type": "string", "minLength": 1},
            "timestamp_ms": {"type": "integer"},
            "firehose_version": {"type": "string"},
        }
    )
    always["properties"] |= {
        "suspend_subscription": {"const": False},
        "audience_subscription_settings": {"type": "object", "maxProperties": 0},
    }
    return always


def _problem() -> dict[str, Any]:
    keys = problem_details.malformed_json("").body("").keys()
    properties = {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "minLength": 1, "description": "What is wrong; never a value of the request"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    }
    return {
        "type": "object",
        "description": "Problem details: https://www.rfc-editor.org/rfc/rfc9457.html",
        "properties": {
            **{key: properties[key] for key in keys},
            "errors": _list({"detail": {"type": "string"}, "pointer": _POINTER}),
        },
        "required": list(keys),
        "additionalProperties": False,
    }


def relay_json_body() -> dict[str, Any]:
    """Return the schema of a body of relay-json."""
    value = {
        "anyOf": [
            {"type": "string", "pattern": r"\S", "maxLength": reading.MAX_IDENTITY},
            {"type": "integer"},
        ]
    }
    time = {"type": "string", "format": "date-time", "description": "With Z or an offset, not before 1970"}
    membership = {
        "segment": {
            "anyOf": [{"type": "string", "pattern": r"\S", "maxLength": reading.MAX_SEGMENT}, {"type": "integer"}],
            "description": "The platform's own id",
        },
        "status": {"enum": list(relay_json.STATUSES)},
        "at": {**time, "description": "The time of qualification: with Z or an offset, not before 1970"},
        "name": {"type": ["string", "null"], "description": f"Shown; {reading.MAX_NAME} characters are kept"},
    }
    change: dict[str, Any] = {
        "identities": {
            "type": "object",
            "description": "By namespace; null or an empty list clears one",
            "additionalProperties": {"anyOf": [*value["anyOf"], {"type": "array", "items": value}, {"type": "null"}]},
        },
        "attributes": {"type": "object", "description": "Any JSON; null clears one"},
        "memberships": {
            "type": ["array", "null"],
            "items": {**_closed(membership), "required": ["segment", "status", "at"]},
        },
        "at": {"anyOf": [time, {"type": "null"}], "description": "The time of identities and attributes"},
        "snapshot": {"type": ["boolean", "null"], "description": "true: what is not named here is gone"},
        "forget": {
            "enum": [True, False, "at_destinations", None],
            "description": "true: the person is to be forgotten; `at_destinations`: by the destinations, too",
        },
    }
    change = {key: schema for key, schema in change.items() if key in relay_json._KEYS}  # noqa: SLF001
    about = ("identities", "attributes", "memberships")
    least = {"memberships": "minItems", "identities": "minProperties", "attributes": "minProperties"}
    something: list[dict[str, Any]] = [
        {"required": [key], "properties": {key: {"type": change[key]["type"], least[key]: 1}}} for key in about
    ]
    something[2]["properties"]["memberships"]["type"] = "array"
    return _closed(
        {
            "changes": {
                "type": "array",
                "maxItems": reading.MAX_PROFILES,
                "items": {
                    "type": "object",
                    "description": "A patch of one profile: what is not named stays.",
                    "properties": change,
                    "additionalProperties": False,
                    "anyOf": something,
                },
            }
        }
    ) | {"description": "The dialect relay-json. A body of this shape is taken whole."}


def _adobe_http() -> dict[str, Any]:
    membership = {
        "type": "object",
        "properties": {
            "status": {"enum": list(adobe_http.STATUSES)},
            "lastQualificationTime": {"type": "string", "format": "date-time"},
            "name": {"type": "string"},
        },
        "required": ["status", "lastQualificationTime"],
    }
    by_key = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": membership}}
    identity = {"type": "object", "properties": {"id": {"type": "string", "minLength": 1}}, "required": ["id"]}
    profile = {
        "type": "object",
        "description": "Keys may begin with xdm:. All others are attributes.",
        "properties": {
            "segmentMembership": {**by_key, "description": "By namespace and segment"},
            "identityMap": {
                "type": "object",
                "description": "By namespace",
                "additionalProperties": {"type": "array", "items": identity},
            },
        },
        "anyOf": [{"required": ["segmentMembership"]}, {"required": ["identityMap"]}],
    }
    profiles = {"type": "array", "items": profile, "minItems": 1, "maxItems": reading.MAX_PROFILES}
    return {
        "description": "The dialect adobe-http. Several documents one after the other are taken, too.",
        "anyOf": [
            profile,
            profiles,
            {"type": "object", "properties": {"profiles": profiles}, "required": ["profiles"]},
        ],
    }


def _mixpanel() -> dict[str, Any]:
    parameters = {
        "mixpanel_cohort_id": {"type": ["string", "integer"]},
        "mixpanel_cohort_name": {"type": "string"},
        "mixpanel_session_id": {"type": "string"},
        "page_info": {
            "type": ["object", "null"],
            "description": "Of `members`: `page_count` from 1 to `total_pages`; without it nobody is removed",
        },
        "members": {"type": ["array", "null"], "items": {"type": "object"}, "maxItems": reading.MAX_PROFILES},
    }
    return {
        "description": "The dialect mixpanel: https://docs.mixpanel.com/docs/cohort-sync/webhooks",
        "type": "object",
        "properties": {
            "action": {"enum": list(mixpanel.ACTIONS)},
            "parameters": {
                "type": "object",
                "properties": parameters,
                "required": ["mixpanel_cohort_id"],
            },
        },
        "required": ["action", "parameters"],
    }


def _amplitude() -> dict[str, Any]:
    properties = {
        "cohort_id": {"type": ["string", "integer"]},
        "cohort_name": {"type": "string"},
        "in_cohort": {"type": ["boolean", "string"]},
        "computed_time": {"type": ["string", "integer", "null"], "description": "UNIX seconds; without it the receipt"},
        "message_id": {"type": ["string", "null"]},
        "users": {
            "type": ["array", "null"],
            "items": {"type": ["object", "string"]},
            "maxItems": reading.MAX_PROFILES,
        },
    }
    return {
        "description": "The dialect amplitude: https://amplitude.com/docs/data/destination-catalog/cohort-webhooks",
        "type": "object",
        "properties": properties,
        "required": ["cohort_id", "in_cohort", "users"],
    }


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "array",
        "maxItems": MAX_ERRORS,
        "description": f"The first {MAX_ERRORS}",
        "items": _closed(properties),
    }
