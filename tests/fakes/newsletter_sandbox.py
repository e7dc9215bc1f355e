"""The account behind `newsletter_tool`: lists with members, in memory, behind the sandboxes' control API.

- `GET /v2/lists[?after=key]` shows 20 lists by key, and `next`, the key to go on after (null on the last page)
- `POST /v2/lists/{key}/members` takes up to 50 `members` (`email`, `since`, optionally `name`) and says of each what
  became of it: `added`, `updated` or `refused`
- `POST /v2/lists/{key}/removals` takes up to 50 `members` (`email`, `since`): `removed`, `unknown` or `refused`

Limits: 60 calls a minute, 2,000 an hour, 20,000 a day.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Flask, Response, request

from sandboxes.answers import body_object, json_answer
from sandboxes.control import CONTROL_PREFIX, CallTally, attach_control
from sandboxes.limits import FixedQuota, Quota, SlidingQuota
from sandboxes.scripted_faults import FaultScript

LISTS_A_PAGE = 20
MOST_MEMBERS = 50


@dataclass
class Member:
    """Somebody on a list."""

    name: str
    since: str


class NewsletterAccount:
    """The account: lists by number, members by list and address; whoever is `refused` is refused everywhere."""

    def __init__(
        self, api_key: str, clock: Callable[[], float], sleep: Callable[[float], None], lists: Mapping[int, str]
    ) -> None:
        self.api_key = api_key
        self.clock = clock
        self.sleep = sleep
        self.lock = threading.RLock()
        self._began = clock()
        self._lists = dict(lists)
        self.reset()

    def reset(self) -> None:
        """Go back to the account as it was made."""
        self.faults = FaultScript()
        self.tally = CallTally()
        self.lists = dict(self._lists)
        self.members: dict[int, dict[str, Member]] = {number: {} for number in self.lists}
        self.since: dict[tuple[int, str], str] = {}
        """The time last sent by list and address, of those who left too."""
        self.refused: set[str] = set()
        self._quotas: Mapping[str, Quota] = {
            "minute": SlidingQuota(60, 60, self._elapsed),
            "hour": SlidingQuota(2_000, 3_600, self._elapsed),
            "day": FixedQuota(20_000, 86_400, self._elapsed),
        }

    def _elapsed(self) -> float:
        return self.clock() - self._began

    def state(self, *, summary: bool) -> dict[str, object]:
        """Return the members of each list and their names."""
        return {
            str(number): {email: member.name for email, member in members.items()}
            for number, members in self.members.items()
        }

    def quotas(self) -> Mapping[str, Quota]:
        """Return the quotas by name."""
        return self._quotas

    def particular_counters(self) -> dict[str, object]:
        """Return nothing of its own."""
        return {}

    def change_settings(self, changes: Mapping[str, object]) -> None:
        """Nothing can be changed."""

    def numbered(self, key: str) -> int | None:
        """Return the number of a list by its key."""
        return next((number for number, known in self.lists.items() if known == key), None)


def create_app(account: NewsletterAccount) -> Flask:
    """Return the account's API."""
    app = Flask("newsletter_sandbox")
    attach_control(app, account)

    @app.before_request
    def admit() -> Response | None:
        if request.path.startswith(CONTROL_PREFIX):
            return None
        if request.headers.get("Authorization") != f"Bearer {account.api_key}":
            return json_answer({"error": "unauthorised"}, 401)
        if [wait for quota in account.quotas().values() if (wait := quota.admit()) is not None]:
            return json_answer({"error": "slow down"}, 429)
        return None

    @app.get("/v2/lists")
    def lists() -> Response:
        after = request.args.get("after", "")
        found = [(key, number) for number, key in account.lists.items() if key > after]
        page = sorted(found)[:LISTS_A_PAGE]
        more = page[-1][0] if len(found) > len(page) else None
        return json_answer({"lists": [{"id": number, "key": key} for key, number in page], "next": more})

    @app.post("/v2/lists/<key>/members")
    def members(key: str) -> Response:
        return _each(account, key, _add)

    @app.post("/v2/lists/<key>/removals")
    def removals(key: str) -> Response:
        return _each(account, key, _remove)

    return app


def _each(
    account: NewsletterAccount, key: str, act: Callable[[NewsletterAccount, int, dict[str, str]], str]
) -> Response:
    body = body_object() or {}
    given = body.get("members")
    number = account.numbered(key)
    if number is None:
        return json_answer({"error": "no such list"}, 404)
    if not isinstance(given, list) or not 0 < len(given) <= MOST_MEMBERS:
        return json_answer({"error": f"give 1 to {MOST_MEMBERS} members"}, 400)
    if any(not isinstance(one, dict) or "@" not in str(one.get("email")) or not one.get("since") for one in given):
        return json_answer({"error": "a member has an email and since"}, 400)
    results = [
        {"email": one["email"], "status": "refused" if one["email"] in account.refused else act(account, number, one)}
        for one in given
    ]
    return json_answer({"results": results})


def _add(account: NewsletterAccount, number: int, given: dict[str, str]) -> str:
    account.since[number, given["email"]] = given["since"]
    known = account.members[number].get(given["email"])
    name = given.get("name", "" if known is None else known.name)
    account.members[number][given["email"]] = Member(name, given["since"])
    return "added" if known is None else "updated"


def _remove(account: NewsletterAccount, number: int, given: dict[str, str]) -> str:
    account.since[number, given["email"]] = given["since"]
    return "unknown" if account.members[number].pop(given["email"], None) is None else "removed"
