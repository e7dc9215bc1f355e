"""The API of Newsletter Tool as far as an export needs it, over an account in memory: lists with members.

- `GET /v2/lists[?after=key]` shows 20 lists by key, and `next`, the key to go on after (null on the last page)
- `POST /v2/lists/{key}/members` takes up to 50 `members` (`email`, `since`, optionally `name`) and says of each what
  became of it: `added`, `updated` or `refused`
- `POST /v2/lists/{key}/removals` takes up to 50 `members` (`email`, `since`): `removed`, `unknown` or `refused`

Limits: 60 calls a minute, 2,000 an hour, 20,000 a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial

from flask import Flask, Response, request
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from sandboxes.account import DAY, Account
from sandboxes.answers import body_object, json_answer
from sandboxes.config import AccountConfig, Text
from sandboxes.control import make_app
from sandboxes.sample import Sample

LISTS_A_PAGE = 20
MOST_MEMBERS = 50


@dataclass(frozen=True)
class Config(AccountConfig):
    """An account as it is at the start: its lists are keys by number."""

    api_key: Text = "sandbox-api-key"
    lists: Mapping[int, Text] = field(default_factory=lambda: {1: "sandbox-list"})
    calls_a_minute: NonNegativeInt = 60
    calls_an_hour: NonNegativeInt = 2_000
    calls_a_day: NonNegativeInt = 20_000


SAMPLE = Sample(
    name="newsletter-tool",
    connection={"api_key": "sandbox-api-key"},
    mapping={"email": "attributes.email", "name": "attributes.firstName"},
    options={"list_id": 1},
)


class NewsletterToolAccount(Account[Config]):
    """The account. Whoever is `refused` is refused on every list."""

    limits = {"calls_a_minute": 60, "calls_an_hour": 3_600, "calls_a_day": DAY}

    def fill(self) -> None:
        """Hold nobody."""
        self.members: dict[int, dict[str, str]] = {number: {} for number in self.config.lists}
        """Names by list and address."""
        self.since: dict[tuple[int, str], str] = {}
        """The time last sent by list and address, of those who left too."""
        self.refused: set[str] = set()

    def state(self, *, summary: bool) -> dict[str, object]:
        """Return the members of each list and their names."""
        return {str(number): len(members) if summary else members for number, members in self.members.items()}

    def tell(self, number: int, member: Mapping[str, str], *, joins: bool) -> str:
        """Take somebody onto a list, or off it; return what became of it."""
        email = member["email"]
        if email in self.refused:
            return "refused"
        self.since[number, email] = member["since"]
        members = self.members.setdefault(number, {})
        is_known = email in members
        if joins:
            members[email] = member.get("name", members.get(email, ""))
            return "updated" if is_known else "added"
        members.pop(email, None)
        return "removed" if is_known else "unknown"


def create_app(
    config: Config | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    time_scale: float = 1.0,
) -> Flask:
    """Return the sandbox over a `NewsletterToolAccount`; see `Account` for the arguments."""
    account = NewsletterToolAccount(config or Config(), clock, sleep, time_scale)
    app = make_app(account, partial(_admit, account))

    @app.get("/v2/lists")
    def lists() -> Response:
        after = request.args.get("after", "")
        found = sorted((key, number) for number, key in account.config.lists.items() if key > after)
        page = found[:LISTS_A_PAGE]
        more = page[-1][0] if len(found) > len(page) else None
        return json_answer({"lists": [{"id": number, "key": key} for key, number in page], "next": more})

    @app.post("/v2/lists/<key>/members")
    def members(key: str) -> Response:
        return _tell(account, key, joins=True)

    @app.post("/v2/lists/<key>/removals")
    def removals(key: str) -> Response:
        return _tell(account, key, joins=False)

    return app


def _admit(account: NewsletterToolAccount) -> Response | None:
    if request.headers.get("Authorization") != f"Bearer {account.config.api_key}":
        return json_answer({"error": "unauthorised"}, 401)
    if account.admit() is not None:
        return json_answer({"error": "slow down"}, 429)
    return None


def _tell(account: NewsletterToolAccount, key: str, *, joins: bool) -> Response:
    given = (body_object() or {}).get("members")
    number = next((number for number, known in account.config.lists.items() if known == key), None)
    if number is None:
        return json_answer({"error": "no such list"}, 404)
    if not isinstance(given, list) or not 0 < len(given) <= MOST_MEMBERS:
        return json_answer({"error": f"give 1 to {MOST_MEMBERS} members"}, 400)
    if any(not isinstance(one, dict) or "@" not in str(one.get("email")) or not one.get("since") for one in given):
        return json_answer({"error": "a member has an email and since"}, 400)
    results = [{"email": one["email"], "status": account.tell(number, one, joins=joins)} for one in given]
    return json_answer({"results": results})
