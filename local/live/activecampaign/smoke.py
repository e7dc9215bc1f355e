"""What every part of the smoke test shares: the account, the contacts it makes, and calls no export ever makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from local.live.live_account import LiveAccount
from local.live.report import OURS, NotThereError, Report
from relay.destinations.activecampaign.client import REST, Client
from relay.destinations.activecampaign.settings import ActiveCampaignConnection
from relay.destinations.contract import Account, Destination, Reply, Step
from relay.domain.exports import Export

IMPORTED = range(1, 13)
"""The contacts of the first import."""
ALONE = (13, 14)
"""The contacts made by single calls."""


@dataclass
class Smoke:
    """One run: `mark` is random and part of every address and tag."""

    destination: Destination
    live: LiveAccount
    report: Report
    list_id: str
    domain: str
    mark: str
    field_id: str | None
    used: dict[str, None] = field(default_factory=dict)
    """Addresses that may have become contacts, in the order they were used."""
    ended_imports: set[str] = field(default_factory=set)

    @property
    def account(self) -> Account:
        """The account as the destination sees it."""
        return self.live.account

    @cached_property
    def client(self) -> Client:
        """The destination's own client, for looking closer."""
        return Client(self.account)

    @property
    def tag(self) -> str:
        """The tag that is made for the while."""
        return f"{OURS}{self.mark}"

    def export(self, **options: Any) -> Export:
        """Return an export of made-up segments to the list, with these options."""
        mapping = {field: f"attributes.{field}" for field in ("email", "first_name", *self._custom_fields)}
        given = self.destination.options_model.model_validate({"list_id": self.list_id, **options})
        name = self.account.connection.name
        return Export(name, "smoke", self.destination.name, True, False, ("smoke/test",), mapping, given, 1)

    def step(
        self, export: Export, number: int | str, *, joins: bool = True, word: str = "First", evidence: str | None = None
    ) -> Step:
        """Return a step of contact `number` (or of an address) with `word` for its values."""
        address = self.address(number) if isinstance(number, int) else number
        self.used[address] = None
        (target,) = self.destination.targets(export)
        values = dict.fromkeys(("first_name", *self._custom_fields), f"{word} {self.mark}")
        shown: Mapping[str, str] = self.destination.complete(export, values) if joins else {}
        return Step(target, address, joins, self.live.clock.now(), shown, evidence)

    def address(self, number: int) -> str:
        """Return the address of contact `number`."""
        return f"{OURS}{self.mark}-{number}@{self.domain}"

    def known(self, number: int) -> str:
        """Return the id of contact `number`; NotThereError when ActiveCampaign shows none."""
        found = self.client.contact_id(self.address(number))
        if found is None:
            raise NotThereError(f"contact {number} is not there")
        return found

    def ask(self, method: str, path: str, params: Mapping[str, str] | None = None, *, key: str | None = None) -> Reply:
        """Make a call that the destination has no need for; `key` instead of the connection's own."""
        settings: ActiveCampaignConnection = self.account.connection.settings
        root = f"https://{settings.api_host}" if self.account.base_url is None else self.account.base_url.rstrip("/")
        headers = {"Api-Token": settings.api_key.get_secret_value() if key is None else key}
        return self.account.call(method, f"{root}/api/3/{path}", quota=REST, headers=headers, params=params)

    @property
    def _custom_fields(self) -> tuple[str, ...]:
        return () if self.field_id is None else (f"fields.{self.field_id}",)
