"""Access tokens by OAuth's password grant, kept in this process until shortly before they expire.

https://www.rfc-editor.org/rfc/rfc6749#section-4.3; that PX uses this grant is inferred from the fields of Adobe's form.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from relay.destinations.contract import Quota, Reply
from relay.destinations.error_table import result_of
from relay.destinations.gainsight_px.errors import TOKEN_TABLE, field
from relay.destinations.gainsight_px.settings import GainsightPxConnection, PxAccount
from relay.destinations.outcomes import nothing_done
from relay.domain.problems import ConnectionProblem

TOKEN = Quota("token", 1, timedelta(seconds=1))
"""Undocumented; we need one in hours."""

DEFAULT_LIFETIME = 300.0
"""Seconds to trust a token that comes without `expires_in`."""
LONGEST_LIFETIME = 86_400.0
"""Seconds to trust a token at most, whatever it says of itself."""
LONGEST_MARGIN = 60.0
"""Seconds before its end when a token is not used any more; a tenth of its life when that is less."""


@dataclass(frozen=True, slots=True)
class _Kept:
    settings: GainsightPxConnection
    token: str
    until: float


class Tokens:
    """The tokens of this process, one per connection. Safe for threads: those who need the same token fetch it once.

    `wall_clock` gives seconds; not the monotonic clock, which may stand still while a Lambda environment is frozen.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._kept: dict[str, _Kept] = {}
        self._locks: dict[str, threading.Lock] = {}

    def token(self, account: PxAccount, *, rejected: str | None = None) -> str:
        """Return a token for the account; never the `rejected` one, which the API has just refused.

        A token fetched with other settings is not used: they may have been changed in the console.
        Raises ConnectionProblem when the credentials are refused, Transient when the token address has trouble.
        """
        name = account.connection.name
        settings = account.connection.settings
        with self._locks.setdefault(name, threading.Lock()):
            kept = self._kept.get(name)
            is_good = kept is not None and kept.settings == settings and self._wall_clock() < kept.until
            if kept is None or not is_good or kept.token == rejected:
                with nothing_done():
                    kept = self._kept[name] = self._fetch(account, settings)
            return kept.token

    def _fetch(self, account: PxAccount, settings: GainsightPxConnection) -> _Kept:
        asked_at = self._wall_clock()
        if urlsplit(_given(settings.token_url)).scheme != "https" and account.base_url is None:
            raise ConnectionProblem("insecure_token_url", "token_url must be https")
        reply = account.call(
            "POST",
            _given(settings.token_url),
            quota=TOKEN,
            form={
                "grant_type": "password",
                "username": _given(settings.username),
                "password": "" if settings.password is None else settings.password.get_secret_value(),
                "client_id": _given(settings.client_id),
                "client_secret": "" if settings.client_secret is None else settings.client_secret.get_secret_value(),
            },
        )
        token = result_of(reply, TOKEN_TABLE, _token)
        lifetime = _seconds(field(reply.body, "expires_in"))
        margin = min(LONGEST_MARGIN, lifetime / 10)
        return _Kept(settings, token, asked_at + lifetime - margin)


def _given(value: str | None) -> str:
    """Narrow a field that the connection model guarantees for the password grant."""
    return "" if value is None else value


def _token(reply: Reply) -> str:
    """Return the access token; it has to fit into a header."""
    token = field(reply.body, "access_token")
    if isinstance(token, str) and token.isascii() and token.isprintable() and token != "" and " " not in token:
        return token
    raise ConnectionProblem("no_token", "token_url answered without a usable access token: check it")


def _seconds(value: Any) -> float:
    if isinstance(value, bool):
        return DEFAULT_LIFETIME
    try:
        seconds = float(value)
    except OverflowError:
        seconds = LONGEST_LIFETIME if value > 0 else 0.0
    except (TypeError, ValueError):
        return DEFAULT_LIFETIME
    return min(seconds, LONGEST_LIFETIME) if seconds > 0 else DEFAULT_LIFETIME
