"""Newsletter Tool for the contract suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Flask

from relay.domain.exports import Export
from scaffold.model.sandbox import Config, NewsletterToolAccount, create_app
from tests.contract.subject import Subject


class NewsletterToolSubject(Subject):
    """A list; who leaves is removed from it."""

    name = "newsletter_tool"
    secrets = ("s3cret-key",)
    delivery_path = "^/v2/lists/[^/]+/members"
    identity_rejections = {"no_email": None, "malformed_email": "anna@nowhere"}
    page_size = 20

    def create_app(self) -> Flask:
        config = Config(api_key="s3cret-key", lists={7: "m-news", 8: "m-offers"})
        return create_app(config, self.time, self.time.pass_)

    def connection_fields(self) -> dict[str, str]:
        return {"api_key": "s3cret-key"}

    def options(self) -> dict[str, Any]:
        return {"list_id": 7}

    def edits(self) -> Sequence[Export]:
        return [self.export_with({"list_id": 8})]

    def mapping(self) -> dict[str, str]:
        return {"email": "attributes.email", "name": "attributes.name"}

    def identity(self, number: int) -> str:
        return f"person{number}@example.com"

    def values(self, word: str) -> dict[str, str]:
        return {"name": word}

    def refuse(self, identity: str) -> None:
        self.account_under_test.refused.add(identity)

    def spoil(self) -> None:
        self.delete("list/7")

    def delete(self, target: str) -> None:
        account: NewsletterToolAccount = self.account_under_test
        kept = {number: key for number, key in account.config.lists.items() if f"list/{number}" != target}
        account.change({"lists": kept})

    def crowd(self, count: int) -> None:
        """Lists whose keys come first."""
        account: NewsletterToolAccount = self.account_under_test
        crowd = {number: f"a-{number}" for number in range(1_000, 1_000 + count)}
        account.change({"lists": crowd | dict(account.config.lists)})

    def members(self, target: str) -> set[str]:
        return set(self.state()[target.partition("/")[2]])

    def held(self, identity: str) -> Mapping[str, str]:
        names = [members[identity] for members in self.state().values() if members.get(identity)]
        return {"name": names[0]} if names else {}

    def last_time(self, target: str, identity: str) -> datetime | None:
        given = self.account_under_test.since.get((int(target.partition("/")[2]), identity))
        return None if given is None else datetime.fromisoformat(given)


SUBJECTS = (NewsletterToolSubject,)
