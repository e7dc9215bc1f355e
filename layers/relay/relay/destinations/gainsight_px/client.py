"""Authorised calls to Gainsight PX's REST API."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from relay.destinations.contract import Account, Quota, Reply
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.token import Tokens

# https://px-apidocs.gainsight.com: "around 200 requests per second"; the rest is left to others at the subscription.
REST = Quota("rest", 180, timedelta(seconds=1))

HOSTS = {
    "us": "https://api.aptrinsic.com",
    "eu": "https://api-eu.aptrinsic.com",
    "us2": "https://api-us2.aptrinsic.com",
}


def call(
    account: Account,
    tokens: Tokens,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    json: Any = None,
) -> Reply:
    """Call `/v1/{path}` with the connection's key or token; a refused token is renewed once and the call repeated once.

    Returns the answer whatever its status. Raises as `Tokens.token` and `Caller` do.
    """
    settings: GainsightPxConnection = account.connection.settings
    root = HOSTS[settings.region] if account.base_url is None else account.base_url.rstrip("/")

    def attempt(headers: Mapping[str, str]) -> Reply:
        return account.call(method, f"{root}/v1/{path}", quota=REST, headers=headers, params=params, json=json)

    if settings.api_key is not None:
        return attempt({"X-APTRINSIC-API-KEY": settings.api_key.get_secret_value()})
    token = tokens.token(account)
    reply = attempt({"Authorization": f"Bearer {token}"})
    if reply.status == 401:
        reply = attempt({"Authorization": f"Bearer {tokens.token(account, rejected=token)}"})
    return reply
