"""What a sender is answered when a request is refused: RFC 9457 problem details.

`type` is `about:blank` throughout: every problem means just what its HTTP status means, and the extension member `code`
tells apart the few that share a status. https://www.rfc-editor.org/rfc/rfc9457.html#section-4.2.1

No text here ever repeats a value of the request. A pointer names keys of the request only where they look like
identifiers, because senders use e-mail addresses as keys too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 10
MAX_ERRORS = 20
"""The most errors shown in one answer; the sender mends these first."""

_UNSIGNED = frozenset({"Bearer", "Header", "Basic"})
"""Schemes in which a request shows the secret itself."""
_UNPROVEN = "authorized for this source: the secret is missing, or is another one"
_PRINTABLE_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:.-]{0,63}")


@dataclass(frozen=True, slots=True)
class InputError:
    """One thing wrong with a body: what, and where as a JSON Pointer in fragment form (`#/changes/0/at`)."""

    detail: str
    pointer: str


class Refusal(Exception):  # noqa: N818 - an answer to a sender, not an error of ours
    """A request that is not taken, as the answer that says so."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        errors: Sequence[InputError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    def sentences(self, most: int | None = None) -> str:
        """Return what is wrong as text for people, with the first errors; all by default."""
        return " ".join([self.detail, *(f"{_sentence(one)}." for one in self.errors[:most])])

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the problem details object."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [
                {"detail": error.detail, "pointer": error.pointer} for error in self.errors[:MAX_ERRORS]
            ]
        return document


def pointer(parts: Iterable[str | int]) -> str:
    """Return the JSON Pointer of a place in the body, cut short before a key that may be personal data."""
    steps = []
    for part in parts:
        if isinstance(part, str) and _PRINTABLE_KEY.fullmatch(part) is None:
            break
        steps.append(f"/{part}")
    return "#" + "".join(steps)


def malformed_json(detail: str) -> Refusal:
    """400: the body is not JSON; the detail may name a position, never content."""
    return Refusal(HTTPStatus.BAD_REQUEST, "malformed_json", detail)


def _sentence(error: InputError) -> str:
    # The pointer of the whole body says nothing to people.
    if error.pointer == "#":
        return f"{error.detail[:1].upper()}{error.detail[1:]}"
    return f"{error.pointer} {error.detail}"


def unauthorized(scheme: str) -> Refusal:
    """401: the sender did not prove who it is. Not 403, which some platforms retry."""
    is_signed = scheme not in _UNSIGNED
    said = "signed or authorized for this source, or its signature is older than 5 minutes" if is_signed else _UNPROVEN
    return Refusal(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        f"The request is not {said}.",
        headers={"WWW-Authenticate": f'{scheme} realm="audience-relay"'},
    )


def unknown_source() -> Refusal:
    """404: no such source."""
    return Refusal(HTTPStatus.NOT_FOUND, "unknown_source", "There is no source of this name.")


def no_source() -> Refusal:
    """404: the address is no webhook's."""
    return Refusal(
        HTTPStatus.NOT_FOUND,
        "no_source",
        "The address names no source: a webhook is posted to /webhooks/ followed by the source's name.",
    )


def method_not_allowed() -> Refusal:
    """405: a webhook is posted."""
    return Refusal(
        HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "A webhook is sent by POST.", headers={"Allow": "POST"}
    )


def too_many_unknown_sources() -> Refusal:
    """429: so many unknown names were asked for that this one is not looked up; it may be a source, so not 404."""
    return Refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_unknown_sources",
        "Too many requests name sources that are not known; send this one again.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def too_large(detail: str, errors: Sequence[InputError] = ()) -> Refusal:
    """413: the body, or one profile in it, is larger than can be taken."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail, errors)


def wrong_shape(errors: Sequence[InputError], sender: str | None = None) -> Refusal:
    """422: JSON, but not what the source's dialect says; nothing of the request was taken.

    `sender` is whose shape the body seems to have (`relay.sources.recognising`).
    """
    seems = "" if sender is None else f" It looks like the shape of {sender}."
    more = " There may be more errors than are shown." if len(errors) >= MAX_ERRORS else ""
    return Refusal(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "wrong_shape",
        "The body does not have the shape of this source's dialect; nothing of it was taken." + seems + more,
        errors,
    )


def unavailable(code: str, detail: str) -> Refusal:
    """503: not the sender's fault; the same request is welcome again."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def unexpected() -> Refusal:
    """500: a defect here; nothing was taken."""
    return Refusal(
        HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", "The request met a defect here; nothing of it was taken."
    )
