"""Authorised calls to Gainsight PX's REST API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from relay.destinations.contract import Account, Quota, Reply
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.token import Tokens

# https://px-apidocs.gainsight.com: "around 200 requests per second and 1 Million requests per day", for the whole
# subscription: a tenth of the one and a twentieth of the other are left to everybody else who calls it.
REST = Quota("rest", 180, timedelta(seconds=1), a_day=950_000)

HOSTS = {
    "us": "https://api.aptrinsic.com",
    "eu": "https://api-eu.aptrinsic.com",
    "us2": "https://api-us2.aptrinsic.com",
}
"""By region: https://px-apidocs.gainsight.com; a region that is not here is refused by the settings."""


@dataclass(frozen=True, slots=True)
class Client:
    """Calls with the key or token of one account."""

    account: Account
    tokens: Tokens

    def call(self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: Any = None) -> Reply:
        """Call `/v1/{path}`; a refused token is renewed once and the call repeated once.

        Returns the answer whatever its status. Raises as `Tokens.token` and `Caller` do.
        """
        account, settings = self.account, self.settings
        root = HOSTS[settings.region] if account.base_url is None else account.base_url.rstrip("/")

        def attempt(headers: Mapping[str, str]) -> Reply:
            return account.call(method, f"{root}/v1/{path}", quota=REST, headers=headers, params=params, json=json)

        if settings.api_key is not None:
            return attempt({"X-APTRINSIC-API-KEY": settings.api_key.get_secret_value()})
        token = self.tokens.token(account)
        reply = attempt({"Authorization": f"Bearer {token}"})
        if reply.status == 401:
            reply = attempt({"Authorization": f"Bearer {self.tokens.token(account, rejected=token)}"})
        return reply

    @property
    def settings(self) -> GainsightPxConnection:
        """The connection's own fields."""
        settings: GainsightPxConnection = self.account.connection.settings
        return settings

    @property
    def logs_in(self) -> bool:
        """Whether calls are made with the token of a log-in, not with a key."""
        return self.settings.api_key is None

    def note_key(self, about: str) -> str:
        """Return the key of a note about the subscription: what one subscription says is not true of another."""
        return f"px {about} {self.settings.region} {self.settings.client_id or ''}".rstrip()
