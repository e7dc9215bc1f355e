"""What each answer of Gainsight PX means: one table, played against the sandbox.

https://px-apidocs.gainsight.com documents the statuses, but neither the body of a success nor that of an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract.gainsight_px_subject import GainsightPxAttributesSubject, GainsightPxSubject
from tests.contract.playing import assert_clean
from tests.contract.subject import Outcome
from tests.fakes.wire import Act, Answered, Sent


class ByKey(GainsightPxSubject):
    """External segments, with a key."""

    secrets = ("sandbox-api-key",)

    def connection_fields(self) -> dict[str, str]:
        return {"region": "us", "api_key": "sandbox-api-key"}


class MakingUsers(GainsightPxAttributesSubject):
    """Attributes; who is not there becomes a user."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "create_users": True}

    def introduce(self, identity: str) -> None:
        """Nobody is there before."""


CALLS: Mapping[str, tuple[type[GainsightPxSubject], str]] = {
    "a token": (GainsightPxSubject, "^/oauth/token"),
    "a membership": (GainsightPxSubject, "^/v1/external_segment/update_membership"),
    "a segment, by key": (ByKey, "^/v1/external_segment/metadata"),
    "a segment, by log-in": (GainsightPxSubject, "^/v1/external_segment/metadata"),
    "anything, by key": (ByKey, "^/v1/"),
    "anything, by log-in": (GainsightPxSubject, "^/v1/"),
    "the attributes": (GainsightPxAttributesSubject, "^/v1/admin/model/user/attributes"),
    "the subscription": (GainsightPxAttributesSubject, "^/v1/admin/subscription"),
    "a user": (GainsightPxAttributesSubject, "^/v1/users/update"),
    "a new user": (MakingUsers, "^/v1/users$"),
}
"""Who makes a call, and its path. All others are answered by the sandbox."""

PAGE = "<html>Log in</html>"
NO_USER = {"externalapierror": {"status": "NOT_FOUND", "message": "User was not found {id=Person 1/é}"}}
DONE = ("taken", True)

# The call, the status and the body; what comes of it, and whether PX acted on it.
MEANINGS: list[tuple[str, int, Any, str, bool | None]] = [
    ("a token", 400, {"error": "invalid_grant"}, "connection: invalid_grant", False),
    ("a token", 401, {"error": "invalid_client"}, "connection: invalid_client", False),
    ("a token", 400, {"error": "relay@example.com"}, "connection: token_refused", False),
    ("a token", 403, {}, "connection: token_refused", False),
    ("a token", 404, {}, "connection: not_found", False),
    ("a token", 302, None, "connection: redirected", False),
    ("a token", 200, PAGE, "connection: no_token", False),
    ("a token", 200, {}, "connection: no_token", False),
    ("a token", 200, {"access_token": "a\nb"}, "connection: no_token", False),
    ("a token", 429, {}, "transient: rate_limited", False),
    ("a token", 503, {}, "transient: unavailable", False),
    ("a membership", 200, None, *DONE),
    ("a membership", 204, None, *DONE),
    ("a membership", 200, "Success", *DONE),
    ("a membership", 200, {"whatever": 1}, *DONE),
    ("a membership", 200, PAGE, "connection: not_json", None),
    ("a membership", 302, None, "connection: redirected", False),
    ("a membership", 400, {}, "refused: identity_refused", False),
    ("a membership", 413, {}, "refused: identity_refused", False),
    ("a membership", 422, {}, "refused: identity_refused", False),
    ("a membership", 401, {}, "connection: not_authorised", False),
    ("a membership", 402, {}, "connection: unpaid", False),
    ("a membership", 403, {}, "connection: feature_off", False),
    ("a membership", 404, {}, "connection: feature_off", False),
    ("a membership", 408, {}, "transient: timeout", None),
    ("a membership", 418, {}, "connection: unexpected_status", False),
    ("a membership", 429, {}, "transient: rate_limited", False),
    ("a membership", 500, {}, "transient: unavailable", None),
    ("a segment, by key", 200, PAGE, "connection: not_json", False),
    ("a segment, by key", 200, {}, "transient: unexpected_answer", False),
    ("a segment, by key", 200, {"id": None}, "transient: unexpected_answer", False),
    ("a segment, by key", 400, {}, "export: segment_refused", False),
    ("a segment, by key", 413, {}, "export: segment_refused", False),
    ("a segment, by key", 422, {}, "export: segment_refused", False),
    ("a segment, by key", 401, {}, "export: may_not_write", False),
    ("a segment, by key", 403, {}, "export: feature_off", False),
    ("a segment, by key", 404, {}, "export: feature_off", False),
    ("a segment, by key", 429, {}, "transient: rate_limited", False),
    ("a segment, by key", 500, {}, "transient: unavailable", False),
    ("a segment, by log-in", 401, {}, "export: may_not_write", False),
    ("a segment, by log-in", 403, {}, "export: feature_off", False),
    ("anything, by key", 401, {}, "connection: not_authorised", False),
    ("anything, by key", 403, {}, "connection: not_authorised", False),
    ("anything, by key", 404, {}, "connection: not_authorised", False),
    ("anything, by log-in", 401, {}, "connection: not_authorised", False),
    # A log-in is good once it gave a token; that it may read is documented for keys only.
    ("anything, by log-in", 403, {}, "export: feature_off", False),
    ("anything, by log-in", 404, {}, "export: feature_off", False),
    ("the attributes", 200, PAGE, "connection: not_json", False),
    ("the attributes", 200, {}, "transient: unexpected_answer", False),
    ("the attributes", 200, [{"type": "BOOLEAN"}], "transient: unexpected_answer", False),
    ("the attributes", 200, [], "export: attribute_unusable", False),
    ("the attributes", 400, {}, "transient: read_refused", False),
    ("the attributes", 403, {}, "connection: not_authorised", False),
    ("the attributes", 500, {}, "transient: unavailable", False),
    ("the subscription", 200, PAGE, "connection: unexpected_answer", False),
    ("the subscription", 200, [], "connection: unexpected_answer", False),
    ("the subscription", 200, {"id": "sub-1"}, "export: product_keys_needed", False),
    ("the subscription", 200, {"products": [{"productKeys": "x"}, 7]}, "export: product_keys_needed", False),
    ("the subscription", 404, {}, "connection: not_authorised", False),
    ("a user", 204, None, *DONE),
    ("a user", 200, "Success", *DONE),
    ("a user", 200, PAGE, "connection: not_json", None),
    ("a user", 400, {}, "refused: identity_refused", False),
    ("a user", 413, {}, "refused: identity_refused", False),
    ("a user", 422, {}, "refused: identity_refused", False),
    ("a user", 401, {}, "connection: not_authorised", False),
    ("a user", 403, {}, "connection: not_authorised", False),
    ("a user", 404, NO_USER, "refused: unknown_user", False),
    # PX lists the user, so this is about the address.
    ("a user", 404, {}, "connection: not_found", False),
    ("a user", 404, PAGE, "connection: not_found", False),
    ("a user", 429, {}, "transient: rate_limited", False),
    ("a user", 500, {}, "transient: unavailable", None),
    ("a new user", 201, "Success", *DONE),
    ("a new user", 400, {}, "refused: creation_refused", False),
    ("a new user", 403, {}, "connection: not_authorised", False),
    ("a new user", 500, {}, "transient: unavailable", None),
]


@pytest.mark.parametrize(("call", "status", "body", "becomes", "acted"), MEANINGS)
def test_what_an_answer_means(call: str, status: int, body: Any, becomes: str, acted: bool | None) -> None:
    kind, path = CALLS[call]
    subject = kind()
    step = subject.step(1)
    answered = _answered(status, body)

    def interfere(sent: Sent, act: Act) -> Answered:
        return answered if re.search(path, sent.path) else act()

    subject.wire.interfere = interfere
    [outcome] = subject.attempt([step])
    assert (_said(outcome), outcome.taken) == (becomes, acted)
    assert_clean(subject, str(outcome.problem), str(outcome.rejection))


def _answered(status: int, body: Any) -> Answered:
    if body is None:
        return Answered(status)
    if isinstance(body, str):
        return Answered(status, {"Content-Type": "text/html" if body == PAGE else "text/plain"}, body.encode())
    return Answered(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _said(outcome: Outcome) -> str:
    if outcome.problem is not None:
        kind = type(outcome.problem).__name__.removesuffix("Problem").lower()
        return f"{'transient' if kind == 'readrefused' else kind}: {outcome.problem.code}"
    return "taken" if outcome.rejection is None else f"refused: {outcome.rejection.code}"
