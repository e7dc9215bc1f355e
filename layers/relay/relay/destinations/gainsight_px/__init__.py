"""Gainsight PX: external segments by identity, or Boolean attributes of users."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from relay.destinations.contract import Account, Answer, Destination, Finding, ImportReport, OpenImport, Step
from relay.destinations.gainsight_px import checks, errors, membership, users
from relay.destinations.gainsight_px import mapping as mapping_rules
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.targets import Kind, cut, kind_of, targets_of
from relay.destinations.gainsight_px.token import Tokens
from relay.destinations.isolating import Refusals
from relay.domain.exports import Export
from relay.domain.problems import Rejection

USERS_AT_ONCE = 100
"""Steps a run reads on for when each may take a call of its own: some half a minute's work."""


class GainsightPx:
    """See `Destination`."""

    name = "gainsight_px"
    identity = mapping_rules.IDENTITY
    shards = 4
    call_size = 1000
    lost_answer_bound = timedelta(minutes=2)
    import_bound = timedelta(0)
    streams = True
    connection_model: type[BaseModel] = GainsightPxConnection
    options_model: type[BaseModel] = GainsightPxOptions
    reasons: Mapping[str, str] = {one.code: one.detail for one in (*mapping_rules.REJECTIONS, *errors.REJECTIONS)}

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = Tokens() if tokens is None else tokens
        self.refusals = Refusals()

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Require `IDENTIFY_ID` and know nothing else."""
        return mapping_rules.mapping_problems(mapping)

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        """Return the identities; the export's option `multiple_identities` decides when there are several."""
        return mapping_rules.identities_of(value, export.options.multiple_identities)

    def encode(self, field: str, value: Any) -> str | None:  # noqa: ARG002 - the contract's names
        """Return None: membership is all that PX is sent, so nothing else of a user is ever written."""
        return None

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:
        """Add the export's `tell_again`: it is never sent, but raising it makes everybody worth sending again."""
        number = export.options.tell_again
        return values if number == 0 else {**values, "tell_again": str(number)}

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        """Return one target per segment: the external segment, or the attribute of the export's options."""
        return targets_of(export.options, export.segments)

    def owned(self, export: Export) -> frozenset[str]:
        """Return the targets: nothing else is written."""
        return frozenset(self.targets(export))

    def tells_leaving(self, export: Export) -> bool:  # noqa: ARG002 - the contract's names
        """Return True: who leaves a segment leaves it at PX."""
        return True

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        """Return whether one call would be full, or single users are enough for once."""
        options: GainsightPxOptions = export.options
        return joins + leaves >= (USERS_AT_ONCE if options.mode == "attributes" else options.max_identities_per_call)

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:  # noqa: ARG002 - the contract's names
        """Cut by the export's `max_identities_per_call`; steps for attributes by user."""
        return cut(steps, export.options.max_identities_per_call)

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        """Update memberships of any number of segments in one call, or the attributes of a user."""
        client, tally = Client(account, self._tokens), self.refusals.of(account.notes, export)
        if kind_of(steps[0].target) is Kind.ATTRIBUTE:
            return users.send(client, export, steps, tally)
        return membership.send(client, export, steps, tally)

    def import_report(
        self,
        account: Account,  # noqa: ARG002 - the contract's names
        export: Export,  # noqa: ARG002
        queued: OpenImport,  # noqa: ARG002
        steps: Sequence[Step],  # noqa: ARG002
    ) -> ImportReport:
        """Return that it is finished: PX has no imports, so nothing is ever queued there."""
        return ImportReport(finished=True)

    def confirm(
        self,
        account: Account,  # noqa: ARG002 - the contract's names
        export: Export,  # noqa: ARG002
        steps: Sequence[Step],  # noqa: ARG002
    ) -> Mapping[int, bool]:
        """Return nothing: what PX answers is certain, so that nothing ever ends as unconfirmed."""
        return {}

    def cleared_before(self, account: Account, now: datetime) -> datetime | None:  # noqa: ARG002 - the contract's names
        """Return None: the bound is short, and nothing in PX shows calls under way."""
        return None

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:
        """Look at attributes and product keys, or at the feature of external segments where it was seen to be off."""
        return checks.findings_before_run(Client(account, self._tokens), export)

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        """Look at the key or log-in, and at the feature, the attributes and the product keys the exports need."""
        return checks.findings(Client(account, self._tokens), exports)


DESTINATION: Destination = GainsightPx()
