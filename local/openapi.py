"""Prints the OpenAPI description of the webhook endpoint into docs/webhooks.openapi.json, from the code that answers.

python -m local.openapi          write the description

Refusals are those that `relay.problem_details` can make; limits, statuses, dialects and codes are the code's own.
"""

import inspect
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import product
from pathlib import Path
from typing import Any

from local import webhook_schemas
from relay import problem_details
from relay.intake.endpoint import MAX_BODY_BYTES, NOT_TAKEN
from relay.problem_details import InputError, Refusal
from relay.sources import reading
from relay.sources.authentication import MODES
from relay.sources.dialect import Answer, Refused, Taken
from relay.sources.dialects import DIALECTS
from relay.sources.signatures import TOLERANCE_SECONDS
from relay.version import VERSION

PAGE = Path(__file__).parents[1] / "docs/webhooks.openapi.json"
SCHEMA = PAGE.parent / "relay-json.schema.json"

_ARGUMENTS: Mapping[str, list[Any]] = {
    "detail": ["What is wrong, without a value of the request."],
    "errors": [[InputError("must be a list", "#/changes")]],
    "sender": [None],
    "scheme": list(dict.fromkeys(mode.scheme for mode in MODES.values())),
    "code": list(NOT_TAKEN),
}
"""What the functions that make refusals are called with: of each argument all values that matter."""

_GATEWAY_ANSWERS = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is larger than API Gateway or Lambda takes",
    HTTPStatus.TOO_MANY_REQUESTS: "more than the stack takes in a second, or from one address in five minutes",
    HTTPStatus.INTERNAL_SERVER_ERROR: "the function could not be called with this body",
    HTTPStatus.BAD_GATEWAY: "the function failed",
    HTTPStatus.GATEWAY_TIMEOUT: "the function took too long",
}
"""What API Gateway answers by itself.
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html"""

_OTHERS = ("put", "patch", "delete")
_NOT_OF_POSTING = ("no_source", "method_not_allowed")
"""The codes of answers to other addresses and methods."""

_OWN_SUCCESS = {"amplitude": "Accepted", "mixpanel": "MixpanelSuccess", "mparticle": "MparticleResponse"}
_OWN_FAILURE = {"mixpanel": "MixpanelFailure"}
"""The schemas of what dialects answer that do so in their own way."""


def refusals() -> Iterator[tuple[Refusal, str]]:
    """Yield every answer that `relay.problem_details` can make, once for each code and scheme, and what it means."""
    for function in vars(problem_details).values():
        if inspect.isfunction(function) and inspect.signature(function).return_annotation is Refusal:
            arguments = inspect.signature(function).parameters
            for values in product(*(_ARGUMENTS[name] for name in arguments)):
                refusal: Refusal = function(**dict(zip(arguments, values, strict=True)))
                yield refusal, NOT_TAKEN.get(refusal.code, _meaning(function))


def _meaning(function: Callable[..., Refusal]) -> str:
    first, *_ = (function.__doc__ or "").split("\n")
    return first.partition(": ")[2]


def description() -> dict[str, Any]:
    """Return the description."""
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Audience Relay: webhooks",
            "version": VERSION,
            "description": "Where platforms post changes of profiles and of their segments. A source's secret says "
            "which dialect its bodies have, and how it proves who it is. docs/sources.md has the rules.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com/v1",
                "description": "The stack's output WebhookUrl, without /webhooks",
                "variables": {"api": {"default": "abcdef1234"}, "region": {"default": "eu-central-1"}},
            }
        ],
        "paths": {
            "/webhooks/{source}": {
                "parameters": [_source()],
                "post": _post(),
                **{method: _refusing(method, HTTPStatus.METHOD_NOT_ALLOWED) for method in ("get", *_OTHERS)},
            },
            "/webhooks": {method: _refusing(method, HTTPStatus.NOT_FOUND) for method in ("get", "post", *_OTHERS)},
        },
        "components": {
            "schemas": webhook_schemas.schemas(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`auth` is `bearer`: the source's secret is the token.",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "`auth` is `basic`: the source's secret is `user:password`.",
                },
                "header": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "`auth` is `header`: the header that `auth_header` names holds the source's secret.",
                },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-signature",
                    "description": "`auth` is `hmac` (the source says which header holds which signature) or `segment` "
                    "(HMAC-SHA1 of the body, or of the first element of a batch).",
                },
                "standardWebhooks": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "`auth` is `standard-webhooks`: a signature (`v1,...`) over `webhook-id`, "
                    f"`webhook-timestamp` (at most {TOLERANCE_SECONDS} seconds off) and the body; the same three as "
                    "`svix-...` will do. https://www.standardwebhooks.com",
                },
            },
        },
    }


def text() -> str:
    """Return the description as it is committed."""
    return json.dumps(description(), indent=2, ensure_ascii=False) + "\n"


def _source() -> dict[str, Any]:
    return {
        "name": "source",
        "in": "path",
        "required": True,
        "description": "The name of the source, as the secret `{prefix}/sources/{source}` has it.",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,63}$"},
    }


def _post() -> dict[str, Any]:
    header = {"in": "header", "schema": {"type": "string"}}
    return {
        "operationId": "postChanges",
        "summary": "Post changes of profiles",
        "description": "What can be read is queued and not lost after 202. What cannot is counted, with its reason.",
        "security": [{"bearer": []}, {"basic": []}, {"header": []}, {"signature": []}, {"standardWebhooks": []}],
        "parameters": [
            {
                **header,
                "name": "webhook-id",
                "description": "The sender's own id of the message; a repeat counts as received when it first came.",
            },
            {**header, "name": "webhook-timestamp", "description": "UNIX seconds, of signed messages."},
            {**header, "name": "idempotency-key", "description": "As `webhook-id`, of messages that have none."},
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {MAX_BODY_BYTES:,} bytes and {reading.MAX_PROFILES:,} profiles, in the dialect of "
            f"the source: {', '.join(DIALECTS)}. `Content-Type` is looked at for "
            "CloudEvents alone, which are taken around a body of any dialect.",
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/RelayJson"},
                            {"$ref": "#/components/schemas/AdobeHttp"},
                            {"$ref": "#/components/schemas/Mixpanel"},
                            {"$ref": "#/components/schemas/Amplitude"},
                            {"type": ["object", "array"], "description": "The other dialects: docs/sources.md"},
                        ]
                    }
                },
                "application/cloudevents+json": {"schema": {"type": "object"}},
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
            },
        },
        "responses": _responses(),
    }


def _refusing(method: str, status: HTTPStatus) -> dict[str, Any]:
    """Return the description of a method that is always answered with one status, or by API Gateway itself."""
    given = [one for one in refusals() if one[0].status is status and one[0].code in _NOT_OF_POSTING]
    by_gateway = {str(int(one)): _refused(one, []) for one in _GATEWAY_ANSWERS}
    return {
        "operationId": f"{method}{'WithoutSource' if status is HTTPStatus.NOT_FOUND else ''}Refused",
        "summary": given[0][0].detail,
        "responses": {str(int(status)): _refused(status, given), **by_gateway},
    }


def _responses() -> dict[str, Any]:
    found: dict[HTTPStatus, list[tuple[Refusal, str]]] = defaultdict(list)
    for refusal, meaning in refusals():
        if refusal.code not in _NOT_OF_POSTING:
            found[refusal.status].append((refusal, meaning))
    answers: dict[str, Any] = {
        str(int(HTTPStatus.ACCEPTED)): {
            "description": "All of it is queued, and will not be lost.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
        }
    }
    for status in sorted({*found, *_GATEWAY_ANSWERS}):
        answers[str(int(status))] = _refused(status, found[status])
    for dialect, answer in _own_answers(found):
        _add(answers, dialect, answer)
    return answers


def _own_answers(found: Mapping[HTTPStatus, list[tuple[Refusal, str]]]) -> Iterator[tuple[str, Answer]]:
    """Yield the answers of dialects that answer otherwise than most: by their own functions, so that all are here."""
    for name, dialect in DIALECTS.items():
        taken = Taken("1", 0, 0)
        if name in _OWN_SUCCESS:
            yield name, dialect.answer(taken)
        if name in _OWN_FAILURE:
            for refusals in found.values():
                yield from ((name, dialect.refuse(Refused(refusal, "1"))) for refusal, _ in refusals)


def _add(answers: dict[str, Any], dialect: str, answer: Answer) -> None:
    schemas = _OWN_SUCCESS if answer.status is HTTPStatus.OK else _OWN_FAILURE
    schema = {"$ref": f"#/components/schemas/{schemas[dialect]}"}
    known = answers.setdefault(str(int(answer.status)), {"description": "", "content": {}})
    text = f"The body of the dialect {dialect}: {schemas[dialect]}."
    if text not in known["description"]:
        known["description"] = f"{known['description']} {text}".strip()
    media = known["content"].setdefault("application/json", {"schema": {"anyOf": []}})
    if "anyOf" not in media["schema"]:
        media["schema"] = {"anyOf": [media["schema"]]}
    if schema not in media["schema"]["anyOf"]:
        media["schema"]["anyOf"].append(schema)


def _refused(status: HTTPStatus, refusals: list[tuple[Refusal, str]]) -> dict[str, Any]:
    texts: list[str] = []
    content: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    if refusals:
        by_code = {refusal.code: meaning for refusal, meaning in refusals}
        texts += [f"`{code}`: {meaning}" for code, meaning in by_code.items()]
        properties = {"status": {"const": int(status)}, "code": {"enum": list(by_code)}}
        content[problem_details.CONTENT_TYPE] = {
            "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": properties}]}
        }
        given = [refusal.headers for refusal, _ in refusals]
        headers = {name: _header(given, name) for name in sorted({name for one in given for name in one})}
    if status in _GATEWAY_ANSWERS:
        texts.append(f"By API Gateway itself: {_GATEWAY_ANSWERS[status]}.")
        content["application/json"] = {"schema": {"$ref": "#/components/schemas/GatewayMessage"}}
    return {"description": " ".join(texts), **({"headers": headers} if headers else {}), "content": content}


def _header(given: Sequence[Mapping[str, str]], name: str) -> dict[str, Any]:
    values = list(dict.fromkeys(one[name] for one in given if name in one))
    return {"schema": {"type": "string", "enum": values}}


def schema_text() -> str:
    """Return the JSON Schema of relay-json: the same description as that of the endpoint."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Audience Relay: relay-json"}
    return json.dumps(head | webhook_schemas.relay_json_body(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
