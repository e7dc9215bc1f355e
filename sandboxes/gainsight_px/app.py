"""The Gainsight PX REST API v1 as far as a segment export needs it, over a subscription in memory.

https://px-apidocs.gainsight.com
`create_app` wires the calls; segments and memberships are in `segments`, users in `users`, the subscription in
`account`. What the control API has besides the shared part is in `control`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable
from functools import partial

from flask import Flask, Response, request

from sandboxes.answers import html_answer, json_answer
from sandboxes.control import make_app
from sandboxes.gainsight_px.account import GainsightPxAccount
from sandboxes.gainsight_px.control import attach_control_extras
from sandboxes.gainsight_px.envelope import refusal
from sandboxes.gainsight_px.segments import attach_segment_calls
from sandboxes.gainsight_px.settings import GainsightPxConfig
from sandboxes.gainsight_px.users import attach_user_calls


def create_app(
    config: GainsightPxConfig | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    time_scale: float = 1.0,
) -> Flask:
    """Return the sandbox over a `GainsightPxAccount`; see `Account` for the arguments."""
    account = GainsightPxAccount(config or GainsightPxConfig(), clock, sleep, time_scale)
    app = make_app(account, partial(_admit, account), not_writing=frozenset({"POST /oauth/token"}))
    _attach_token_call(app, account)
    _attach_subscription_calls(app, account)
    attach_segment_calls(app, account)
    attach_user_calls(app, account)
    attach_control_extras(app, account)

    @app.errorhandler(404)
    @app.errorhandler(405)
    def no_such_call(error: Exception) -> Response:
        return refusal(getattr(error, "code", 404), "NOT_FOUND", "No such call")

    return app


def _admit(account: GainsightPxAccount) -> Response | None:
    """Credentials and rate limits: around 200 requests a second and a million a day, 429 without Retry-After."""
    if not request.path.startswith("/v1/"):
        return None
    if not _is_authenticated(account):
        # The published loader recognises a bad key by the text before the colon.
        text = "Authentication failed in loginAwareAuthentication: Unauthorized or bad API Key"
        return refusal(401, "UNAUTHORIZED", text)
    if account.admit() is not None:
        return refusal(429, "TOO_MANY_REQUESTS", "Rate limit exceeded")
    if request.method != "GET" and account.config.permission == "read":
        return refusal(401, "UNAUTHORIZED", "Unauthorized or bad API Key")
    if request.path.startswith("/v1/external_segment/"):
        return _feature_off_answer(account.config.feature)
    return None


def _is_authenticated(account: GainsightPxAccount) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and account.is_valid_token(token.strip()):
        return True
    return _same(request.headers.get("X-APTRINSIC-API-KEY", ""), account.config.api_key)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _feature_off_answer(feature: str) -> Response | None:
    if feature == "on":
        return None
    if feature == "html":
        return html_answer(403, "403 Forbidden")
    if feature == "404":
        return refusal(404, "NOT_FOUND", "External segments were not found for this subscription")
    return refusal(403, "FORBIDDEN", "External segments are not enabled for this subscription")


def _attach_token_call(app: Flask, account: GainsightPxAccount) -> None:
    """The password grant of RFC 6749 section 4.3; the vendor publishes neither its address nor its answers.

    https://www.rfc-editor.org/rfc/rfc6749#section-4.3
    """

    def refuse(error: str, status: int) -> Response:
        account.token_refusals += 1
        return json_answer({"error": error}, status, {"Cache-Control": "no-store", "Pragma": "no-cache"})

    @app.post("/oauth/token")
    def token() -> Response:
        form = request.form
        if request.mimetype != "application/x-www-form-urlencoded" or not form.get("grant_type"):
            return refuse("invalid_request", 400)
        client_id, client_secret = _client_credentials()
        config = account.config
        known = _same(client_id, config.client_id)
        if not (_same(client_secret, config.client_secret) and known):
            return refuse("invalid_client", 401)
        if form["grant_type"] != "password":
            return refuse("unsupported_grant_type", 400)
        if not form.get("username") or not form.get("password"):
            return refuse("invalid_request", 400)
        same_user = _same(form["username"], config.username)
        if not (_same(form["password"], config.password) and same_user):
            return refuse("invalid_grant", 400)
        return json_answer(
            {
                "access_token": account.issue_token(),
                "token_type": "Bearer",
                "expires_in": int(config.token_lifetime),
            },
            headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
        )


def _client_credentials() -> tuple[str, str]:
    """Return the client's id and secret, from the form or from a Basic header."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return client_id, secret
    return request.form.get("client_id", ""), request.form.get("client_secret", "")


def _attach_subscription_calls(app: Flask, account: GainsightPxAccount) -> None:
    @app.get("/v1/admin/subscription")
    def subscription() -> Response:
        products = [
            {
                "name": f"Sandbox product {place}",
                "productKeys": [{"channel": "WEB", "productKey": key, "url": "https://product.example.com"}],
            }
            for place, key in enumerate(account.config.product_keys, start=1)
        ]
        return json_answer(
            {
                "id": account.config.client_id,
                "name": "Sandbox",
                "timeZone": "UTC",
                "products": products,
            }
        )

    @app.get("/v1/admin/model/user/attributes")
    def attributes() -> Response:
        now = int(account.clock.timestamp() * 1000)
        return json_answer(
            [
                {
                    "id": f"attribute-{place}",
                    "name": api_name,
                    "apiName": api_name,
                    "internalName": api_name,
                    "description": "",
                    "type": attribute.type,
                    "state": attribute.state,
                    "origin": attribute.origin,
                    "defaultValue": None,
                    "createdDate": now,
                    "modifiedDate": now,
                }
                for place, (api_name, attribute) in enumerate(account.attributes().items(), start=1)
            ]
        )
