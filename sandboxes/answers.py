"""HTTP answers the sandboxes give, and reading of JSON request bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeVar

from flask import Response, request


class InvalidControlError(ValueError):
    """A request to the control API that makes no sense; the text says why."""


def json_answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `body` as JSON."""
    answer = Response(json.dumps(body, default=str), status=status, mimetype="application/json")
    answer.headers.update(headers or {})
    return answer


def html_answer(status: int, title: str) -> Response:
    """Answer with a small HTML page, as vendors' front doors do instead of their APIs."""
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Response(page, status=status, mimetype="text/html")


def body_object() -> dict[str, object] | None:
    """Return the request's body as a JSON object, None when it is anything else."""
    try:
        body: object = json.loads(request.get_data())
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


_Row = TypeVar("_Row")


def page_of(rows: Sequence[_Row]) -> tuple[Sequence[_Row], dict[str, str]]:
    """Return the page a request asks for with `limit` (default 20, at most 100) and `offset`, and its `meta`.

    ActiveCampaign gives the total as a text: https://developers.activecampaign.com/reference/pagination
    """
    limit = min(max(request.args.get("limit", 20, type=int), 1), 100)
    offset = max(request.args.get("offset", 0, type=int), 0)
    return rows[offset : offset + limit], {"total": str(len(rows))}


def empty_answer(status: int) -> Response:
    """Answer without a body, and so without a content type."""
    answer = Response(status=status)
    del answer.headers["Content-Type"]
    return answer
