"""A `Caller` that answers from a script and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from relay.destinations.contract import Account, Params, Quota, Reply
from relay.domain.exports import Connection


def reply(
    status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None, size: int | None = None
) -> Reply:
    """Return an answer; its size is 0 only when there is no body, unless it is given (for a page of HTML)."""
    return Reply(status, headers or {}, body, (0 if body is None else 2) if size is None else size)


LOGIN_PAGE = reply(200, None, size=900)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as the destination made it."""

    method: str
    url: str
    quota: Quota
    headers: Mapping[str, str]
    params: Params
    json: Any
    form: Mapping[str, str] | None


@dataclass
class ScriptedCaller:
    """Gives `answers` in order; an exception among them is raised."""

    answers: list[Reply | Exception]
    asked: list[Asked] = field(default_factory=list)

    def __call__(
        self,
        method: str,
        url: str,
        *,
        quota: Quota,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the next answer."""
        self.asked.append(Asked(method, url, quota, headers or {}, params or {}, json, form))
        assert self.answers, f"nobody expected {method} {url}"
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class DictNotes:
    """Notes in a dictionary."""

    kept: dict[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        """Return the note."""
        return self.kept.get(key)

    def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
        """Keep a note unless another one is there."""
        if self.kept.get(key) == replaces:
            self.kept[key] = value
        return self.kept[key]


def account_of(
    connection: Connection,
    *answers: Reply | Exception,
    base_url: str | None = None,
    notes: DictNotes | None = None,
    backlog: timedelta = timedelta(),
) -> Account:
    """Return an account that is answered by the script; its `call` is a ScriptedCaller."""
    kept = DictNotes() if notes is None else notes
    return Account(connection, ScriptedCaller(list(answers)), kept, base_url, backlog=lambda _: backlog)


def asked_of(account: Account) -> list[Asked]:
    """Return the calls made with an account of `account_of`."""
    assert isinstance(account.call, ScriptedCaller)
    return account.call.asked


def unused_of(account: Account) -> list[Reply | Exception]:
    """Return the answers of the script that nobody asked for."""
    assert isinstance(account.call, ScriptedCaller)
    return account.call.answers
