"""The envelope of Gainsight PX errors, as the published clients of the REST API read it."""

from __future__ import annotations

from flask import Response

from sandboxes.answers import json_answer


def refusal(status: int, name: str, message: str) -> Response:
    """Answer with an error; `name` is the status as a word, e.g. `NOT_FOUND`."""
    body = {"status": name, "message": message, "debugMessage": None, "subErrors": None}
    return json_answer({"externalapierror": body}, status)


def bad_request(message: str) -> Response:
    """Answer 400; the whole request was refused and nothing of it applied."""
    return refusal(400, "BAD_REQUEST", message)
