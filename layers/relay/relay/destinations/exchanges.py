"""Exchanges: the requests and answers of one attempt, kept for an operator who traces a profile.

Every value is masked unless it was asked for: a mask says of what type and length a value is, and nothing else. Names
of keys stay, as long as they look like names of fields. Headers are never kept, nor are forms and their answers:
credentials and tokens travel there.
"""

import json as jsonlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from relay.destinations.calling import loggable_path
from relay.destinations.contract import Account, Reply
from relay.domain.problems import Problem

MOST: Final = 40
"""How many exchanges of one attempt are kept."""

MAX_CHARACTERS: Final = 3_000
"""Of a query, a request or an answer as JSON. With `MOST` exchanges an attempt fits into an item of the database."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,40}")
_HIDDEN = re.compile("secret|token|password|authorization|api_?key", re.IGNORECASE)


class Exchange(NamedTuple):
    """One HTTP request and its answer. `status` is 0 where there was none, and `problem` says why."""

    method: str
    path: str
    query: Any
    request: Any
    status: int
    response: Any
    problem: str | None = None


def masked(value: Any) -> Any:
    """Return a JSON value in which nothing is left of its texts and numbers but type and length.

    A key that does not look like a name of a field is replaced by its place, since a vendor may use addresses as keys.
    """
    match value:
        case None | bool():
            return value
        case str():
            return f"<text of {len(value)}>"
        case int() | float():
            return "<number>"
        case list() | tuple():
            return [masked(entry) for entry in value]
        case Mapping():
            return {_key(place, key): masked(entry) for place, (key, entry) in enumerate(value.items())}
        case _:
            return "<value>"


def _key(place: int, key: object) -> str:
    return key if isinstance(key, str) and _NAME.fullmatch(key) is not None else f"<key {place + 1}>"


def _without_secrets(value: Any) -> Any:
    """Return a JSON value as it is, but for what looks like a credential."""
    if isinstance(value, Mapping):
        return {
            key: masked(entry) if _HIDDEN.search(str(key)) else _without_secrets(entry) for key, entry in value.items()
        }
    return [_without_secrets(entry) for entry in value] if isinstance(value, list | tuple) else value


def _shortened(value: Any) -> Any:
    text = jsonlib.dumps(value, default=str)
    return value if len(text) <= MAX_CHARACTERS else f"<{len(text)} characters of JSON: too long to be kept>"


@dataclass(slots=True)
class Recording:
    """Keeps the exchanges of an account while work is done with it. Safe for threads."""

    shows_values: bool
    exchanges: list[Exchange] = field(default_factory=list)
    left_out: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, account: Account) -> Account:
        """Return the account whose calls are kept."""
        call = account.call

        def recorded(method: str, url: str, **more: Any) -> Reply:
            try:
                reply = call(method, url, **more)
            except Problem as problem:
                self._keep(method, url, more, None, problem.code)
                raise
            self._keep(method, url, more, reply, None)
            return reply

        return replace(account, call=recorded)

    def _keep(self, method: str, url: str, sent: Mapping[str, Any], reply: Reply | None, problem: str | None) -> None:
        is_form = sent.get("form") is not None
        shown = _without_secrets if self.shows_values and not is_form else masked
        body = sent.get("form") if is_form else sent.get("json")
        exchange = Exchange(
            method,
            loggable_path(url),
            _shortened(shown(dict(sent.get("params") or {}))),
            _shortened(shown(body)),
            0 if reply is None else reply.status,
            None if reply is None else _shortened(shown(reply.body)),
            problem,
        )
        with self._lock:
            if len(self.exchanges) < MOST:
                self.exchanges.append(exchange)
            else:
                self.left_out += 1
