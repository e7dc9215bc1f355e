"""What tests do to a Gainsight PX subscription beside its API.

- `POST /_sandbox/users` plants one user or `{"users": [...]}`: `identifyId` (required) and any other user fields
- `DELETE /_sandbox/segments/{externalId}` deletes an external segment, as somebody at PX might by hand
- `DELETE /_sandbox/tokens` makes all access tokens invalid before their time
"""

from __future__ import annotations

from flask import Flask, Response

from sandboxes.answers import InvalidControlError, body_object, json_answer
from sandboxes.gainsight_px.account import GainsightPxAccount


def attach_control_extras(app: Flask, account: GainsightPxAccount) -> None:
    """Add planting of users, deleting of segments, and revoking of tokens."""

    @app.post("/_sandbox/users")
    def plant() -> Response:
        body = body_object()
        given = body.get("users", [body]) if body is not None else None
        if not isinstance(given, list):
            raise InvalidControlError("give one user, or a list under users")
        for user in given:
            identify_id = user.get("identifyId") if isinstance(user, dict) else None
            if not isinstance(identify_id, str) or not identify_id:
                raise InvalidControlError("a user needs an identifyId")
        for user in given:
            keys = list(account.config.product_keys)
            account.users[user["identifyId"]] = {"propertyKeys": keys, "type": "USER", **user}
        return json_answer({"users": len(account.users)})

    @app.delete("/_sandbox/segments/<path:external_id>")
    def delete_segment(external_id: str) -> Response:
        segment = account.segment_by_external_id(external_id)
        if segment is None:
            raise InvalidControlError("there is no segment with this external id")
        del account.segments[segment.segment_id]
        return json_answer({"segments": len(account.segments)})

    @app.delete("/_sandbox/tokens")
    def revoke() -> Response:
        return json_answer({"revoked": account.revoke_tokens()})
