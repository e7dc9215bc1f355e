"""What every part of the smoke test shares: the account, the segment, and calls no export ever makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from local.live.live_account import Exchange, LiveAccount, MemoryNotes
from local.live.report import OURS, NotThereError, Report
from relay.destinations.contract import Account, Answer, Destination, Reply, Step
from relay.destinations.gainsight_px.client import REST
from relay.domain.exports import Export

SEGMENT = "relay/smoke-test"
"""As an export names it, and so its external id at PX. Always the same one: PX offers no way to delete it."""
NAME = "relay smoke test"
DESCRIPTION = "Made by a smoke test of Audience Relay; may be deleted"
METADATA = "external_segment/metadata"
MEMBERSHIP = "external_segment/update_membership"


@dataclass
class Smoke:
    """One run: `identity` is the given user's, `mark` is random and part of the id of a user nobody knows."""

    destination: Destination
    live: LiveAccount
    report: Report
    identity: str
    mark: str
    segment_id: str | None = None
    segment_ref: str = "id"
    """What memberships name a segment by; the other one when this one turns out to be refused."""

    @property
    def account(self) -> Account:
        """The account as the destination sees it."""
        return self.live.account

    @property
    def unknown_identity(self) -> str:
        """The id of nobody."""
        return f"{OURS}{self.mark}"

    @property
    def export(self) -> Export:
        """An export of the one segment."""
        options = {"segment_names": {SEGMENT: NAME}, "segment_descriptions": {SEGMENT: DESCRIPTION}}
        given = self.destination.options_model.model_validate({**options, "segment_ref": self.segment_ref})
        mapping = {"IDENTIFY_ID": "identities.crm"}
        name = self.account.connection.name
        return Export(name, "smoke", self.destination.name, True, True, (SEGMENT,), mapping, given, 1)

    def send(self, identity: str, *, joins: bool, as_if_new: bool = False) -> tuple[Answer, list[Exchange]]:
        """Have the destination put one user into the segment or take it out; return the exchanges, too."""
        export = self.export
        (target,) = self.destination.targets(export)
        account = replace(self.account, notes=MemoryNotes()) if as_if_new else self.account
        with self.live.witness.watch() as seen:
            answer = self.destination.send(account, export, [Step(target, identity, joins, self.live.clock.now())])
        return answer, seen

    def ask(self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: Any = None) -> Reply:
        """Make a call that the destination has no need for, with the key or token it used last."""
        known = next((exchange for exchange in reversed(self.live.witness.exchanges) if "/v1/" in exchange.url), None)
        if known is None:
            raise NotThereError("the destination has not called yet")
        root = known.url.partition("/v1/")[0]
        return self.account.call(
            method, f"{root}/v1/{path}", quota=REST, headers=known.headers, params=params, json=json
        )
