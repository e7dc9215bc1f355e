"""What anybody may send to the webhook endpoint, and whether an answer is one that its OpenAPI description has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "docs/webhooks.openapi.json").read_text(encoding="utf-8")
)
PATH = "/webhooks/{source}"


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return what tells whether a value fits a schema of the description."""
    components = {"components": DOCUMENT["components"]}
    return Draft202012Validator({**schema, **components}, format_checker=FormatChecker(["date-time"]))


FITS_RELAY_JSON = validator({"$ref": "#/components/schemas/RelayJson"})
FITS_ADOBE_HTTP = validator({"$ref": "#/components/schemas/AdobeHttp"})
_ANSWERS = {
    (path, method, int(status), kind): validator(media["schema"])
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method != "parameters"
    for status, answer in operation["responses"].items()
    for kind, media in answer["content"].items()
}


METHODS = ("get", "post", "put", "patch", "delete")


def flaw(status: int, headers: Mapping[str, str], body: str, method: str = "post", path: str = PATH) -> str | None:
    """Return why an answer is not one of the description's, None when it is one."""
    given = {name.lower(): value for name, value in headers.items()}
    kind = given.get("content-type", "none").partition(";")[0]
    known = _ANSWERS.get((path, method, status, kind))
    if known is None:
        return f"{status} with {kind} is not described"
    for error in known.iter_errors(json.loads(body)):
        return f"{status}: {error.json_path} {error.message}"
    for name, header in DOCUMENT["paths"][path][method]["responses"][str(status)].get("headers", {}).items():
        if kind == "application/problem+json" and given.get(name.lower()) not in header["schema"]["enum"]:
            return f"{status}: header {name} is {given.get(name.lower())}"
    return None


# A text that a body in UTF-8 can hold.
texts = st.text(st.characters(codec="utf-8"), max_size=12)
_ids = st.one_of(texts.filter(str.strip), st.integers(-(2**60), 2**60))
_times = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.isoformat().replace("+00:00", "Z")
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
_relay_memberships = st.fixed_dictionaries(
    {"segment": _ids, "status": st.sampled_from(["realized", "exited"]), "at": _times},
    optional={"name": st.none() | texts},
)
_changes = st.fixed_dictionaries(
    {"identities": st.dictionaries(texts, _ids | st.lists(_ids, max_size=3) | st.none(), max_size=3)},
    optional={
        "attributes": st.dictionaries(texts, json_values, max_size=3),
        "memberships": st.none() | st.lists(_relay_memberships, max_size=3),
        "at": st.none() | _times,
        "snapshot": st.none() | st.booleans(),
    },
)
_adobe_memberships = st.fixed_dictionaries(
    {"status": st.sampled_from(["realized", "existing", "exited"]), "lastQualificationTime": _times},
    optional={"name": texts},
)
_adobe_profiles = st.fixed_dictionaries(
    {
        "identityMap": st.dictionaries(
            texts, st.lists(st.fixed_dictionaries({"id": texts.filter(str.strip)}), max_size=2), max_size=2
        ),
        "segmentMembership": st.dictionaries(
            st.sampled_from(["ups", "other"]),
            st.dictionaries(texts.filter(str.strip), _adobe_memberships, max_size=2),
            max_size=2,
        ),
    },
    optional={"plan": json_values},
)

relay_bodies = st.fixed_dictionaries({"changes": st.lists(_changes, max_size=4)})
"""Nearly always of the shape that is described."""
adobe_bodies = st.one_of(
    _adobe_profiles,
    st.lists(_adobe_profiles, min_size=1, max_size=3),
    st.fixed_dictionaries({"profiles": st.lists(_adobe_profiles, min_size=1, max_size=3)}),
)


@st.composite
def _mutated(draw: st.DrawFn, bodies: st.SearchStrategy[Any]) -> Any:
    """Return a body in which one place holds something else, or nothing."""
    body = draw(bodies)
    place: Any = body
    while isinstance(place, dict | list) and place:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            if draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(json_values)
            return body
        place = inner
    return draw(json_values)


raw_bodies = st.one_of(
    st.one_of(relay_bodies, adobe_bodies, _mutated(relay_bodies), _mutated(adobe_bodies), json_values).map(
        lambda body: json.dumps(body).encode()
    ),
    st.one_of(relay_bodies, adobe_bodies).map(lambda body: json.dumps(body).encode()[:-1]),
    st.binary(max_size=60),
    st.just(b'{"changes": [{"identities": {"crm": "\\ud800"}, "attributes": {"a": 1e999, "b": "\\udfff"}}]}'),
    st.just(b"[" * 2_000),
)
"""Bodies of both dialects, with a mistake or without, any JSON, and any bytes."""
