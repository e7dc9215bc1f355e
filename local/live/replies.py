"""Answers in words: statuses, shapes and names of keys, hardly ever values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.destinations.contract import Reply


def in_words(reply: Reply) -> str:
    """Return status and shape of an answer, such as `200, JSON with id, name`."""
    return f"{reply.status}, {_shape(reply)}"


def names(record: Any) -> str:
    """Return the keys of a JSON object, in order."""
    if not isinstance(record, Mapping):
        return "something else than an object"
    return ", ".join(sorted(str(key) for key in record)) or "no keys"


def at(body: Any, *keys: str) -> Any:
    """Return what lies below these keys of nested JSON objects, None when there is nothing."""
    for key in keys:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ when read as texts; null, a blank and a missing key are the same."""
    return sorted(key for key in {*before, *after} if _text(before.get(key)) != _text(after.get(key)))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _shape(reply: Reply) -> str:
    if isinstance(reply.body, Mapping):
        return f"JSON with {names(reply.body)}"
    if isinstance(reply.body, list):
        return f"a JSON list of {len(reply.body)}"
    if reply.size == 0:
        return "no body"
    kind = reply.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    return "an HTML page" if kind == "text/html" else f"no JSON ({kind or 'no content type'})"
