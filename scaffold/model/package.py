"""Newsletter Tool: members of a list. Who leaves is removed from it. Its sandbox describes the API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Literal

from pydantic import Field

from relay.destinations.api import Api, part, records
from relay.destinations.contract import Account, Destination, Quota, Reply, Step
from relay.destinations.error_table import DEFAULT_TABLE, OtherShape, Outcome, Row
from relay.destinations.fields import FieldsModel, Key
from relay.destinations.outcomes import nothing_done
from relay.destinations.standard import StandardDestination
from relay.domain import moments
from relay.domain.problems import ExportProblem, Rejection, RejectionKind

# Documented are 2,000 calls an hour and 20,000 a day: what is left out is room for others and for jitter.
API = Quota("api", 1_900, timedelta(hours=1), a_day=18_000)

REFUSED = Rejection(RejectionKind.DESTINATION, "refused", "Newsletter Tool refuses the address: look at it there")
LIST_GONE = "Newsletter Tool does not know the list: correct list_id in the export's options"
TABLE = (Row((404,), Outcome.EXPORT, "list_gone", LIST_GONE), *DEFAULT_TABLE)


class ConnectionFields(FieldsModel):
    """The fields of a connection's secret."""

    api_key: Key = Field(title="API key", description="As shown under Account > API.", examples=["nt-1234"])
    region: Literal["eu", "us"] = Field("eu", title="Region", description="Where the account is.", examples=["us"])


class Options(FieldsModel):
    """The options of an export."""

    list_id: int = Field(title="List", description="The number of the list.", examples=[7])


class NewsletterTool(StandardDestination[ConnectionFields, Options]):
    """Members of a list; who leaves is removed from it."""

    name = "newsletter_tool"
    title = "Newsletter Tool"
    fields = ("name",)
    call_size = 50
    connection_model = ConnectionFields
    options_model = Options
    rejections = (REFUSED,)
    refused = REFUSED

    def target_of(self, options: Options) -> str:
        """Return the list."""
        return f"list/{options.list_id}"

    def existing_targets(self, account: Account[ConnectionFields]) -> Collection[str]:
        """Read all lists."""
        return _lists(_api(account)).keys()

    def deliver(
        self, account: Account[ConnectionFields], target: str, *, joins: bool, steps: Sequence[Step]
    ) -> Mapping[int, Rejection]:
        """Add members, or remove them, under the list's key."""
        api = _api(account)
        with nothing_done():
            key = _key_of(account, api, target)
        rows = [{"email": step.identity, "since": moments.text(step.at), **step.values} for step in steps]

        def became(reply: Reply) -> list[str]:
            by_address = {one["email"]: one["status"] for one in records(reply.body, "results", email=str, status=str)}
            if by_address.keys() != {step.identity for step in steps} or not KNOWN.issuperset(by_address.values()):
                raise OtherShape("what became of everybody")
            return [by_address[step.identity] for step in steps]

        path = f"v2/lists/{key}/{'members' if joins else 'removals'}"
        try:
            statuses = api.send("POST", path, became, json={"members": rows})
        except ExportProblem:
            with nothing_done():
                if _key_of(account, api, target, refused=key) == key:
                    raise
            return self.deliver(account, target, joins=joins, steps=steps)
        return {index: REFUSED for index, status in enumerate(statuses) if status == "refused"}


KNOWN = frozenset({"added", "updated", "removed", "unknown", "refused"})


def _api(account: Account[ConnectionFields]) -> Api:
    settings = account.connection.settings
    root = account.base_url or f"https://{settings.region}.newsletter-tool.invalid"
    return Api(account.call, root, {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}, API, TABLE)


def _key_of(account: Account[ConnectionFields], api: Api, target: str, refused: str | None = None) -> str:
    """Return the key of a list, which is looked for once, and again when the kept one is refused.

    Raises ExportProblem where there is no such list.
    """
    kept = account.notes.get(f"key of {target}")
    if kept != refused and kept is not None:
        return kept
    found = _lists(api).get(target)
    if found is None:
        raise ExportProblem("list_gone", LIST_GONE)
    return account.notes.keep(f"key of {target}", found, replaces=kept)


def _lists(api: Api) -> dict[str, str]:
    """Return the keys of all lists by target."""

    def page(reply: Reply) -> tuple[dict[str, str], str | None]:
        lists = {f"list/{one['id']}": one["key"] for one in records(reply.body, "lists", id=int, key=str)}
        return lists, None if reply.body.get("next") is None else part(reply.body, "next", str)

    found: dict[str, str] = {}
    after: str | None = ""
    while after is not None:
        lists, after = api.read("v2/lists", page, params={"after": after})
        found |= lists
    return found


DESTINATION: Destination[ConnectionFields, Options] = NewsletterTool()
