"""Gainsight PX: external segments by identity, or Boolean attributes of users."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from relay.destinations.contract import (
    Account,
    Answer,
    Destination,
    Finding,
    ImportReport,
    Level,
    OpenImport,
    Reply,
    Step,
)
from relay.destinations.gainsight_px import errors, identities, stops
from relay.destinations.gainsight_px.attribute_mode import AttributeMode
from relay.destinations.gainsight_px.client import MEMBERSHIPS, Client, ReadOnlyClient
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.segment_mode import SegmentMode
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.targets import kind_of
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.exports import Export
from relay.domain.problems import ExportProblem, Rejection

Mode = SegmentMode | AttributeMode
"""How segments are held at PX. An export's option `mode` names one; who was put in by the other one leaves by that."""


class GainsightPx:
    """See `Destination`."""

    name = "gainsight_px"
    identity = identities.IDENTITY
    shards = 4
    call_size = 1000
    lost_answer_bound = timedelta(minutes=2)
    import_bound = timedelta(0)
    streams = True
    connection_model: type[BaseModel] = GainsightPxConnection
    options_model: type[BaseModel] = GainsightPxOptions
    reasons: Mapping[str, str] = {one.code: one.detail for one in (*identities.REJECTIONS, *errors.REJECTIONS)}

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = Tokens() if tokens is None else tokens
        self._modes: tuple[Mode, ...] = (SegmentMode(), AttributeMode())

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Require `IDENTIFY_ID` and know nothing else."""
        return identities.mapping_problems(mapping)

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        """Return the identities; the export's option `multiple_identities` decides when there are several."""
        return identities.identities_of(value, export.options.multiple_identities)

    def encode(self, target: str, value: Any) -> str | None:  # noqa: ARG002 - the contract's names
        """Return None: membership is all that PX is sent, so nothing else of a user is ever written."""
        return None

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:
        """Add the export's `tell_again`: it is never sent, but raising it makes everybody worth sending again."""
        number = export.options.tell_again
        return values if number == 0 else {**values, "tell_again": str(number)}

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        """Return one target per segment: the external segment, or the attribute of the export's options."""
        mode = self._mode(export)
        targets: dict[str, frozenset[str]] = {}
        for segment in export.segments:
            target = f"{mode.kind}/{mode.name_of(export.options, segment)}"
            targets[target] = targets.get(target, frozenset()) | {segment}
        return targets

    def owned(self, export: Export) -> frozenset[str]:
        """Return the targets: nothing else is written."""
        return frozenset(self.targets(export))

    def tells_leaving(self, export: Export) -> bool:  # noqa: ARG002 - the contract's names
        """Return True: who leaves a segment leaves it at PX."""
        return True

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        """Return whether one call would be full, or single users are enough for once."""
        return joins + leaves >= self._mode(export).page_size(export.options)

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:  # noqa: ARG002 - the contract's names
        """Cut by the modes of the targets: leavers may be of a former one."""
        calls = []
        for mode in self._modes:
            own = {index: step for index, step in enumerate(steps) if kind_of(step.target) == mode.kind}
            calls += mode.calls(export.options, own)
        return calls

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        """Update memberships of any number of segments in one call, or the attributes of a user."""
        [mode] = [mode for mode in self._modes if mode.kind == kind_of(steps[0].target)]
        return mode.send(Client(account, self._tokens), export, steps)

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
        return self._mode(export).check_before_run(ReadOnlyClient(account, self._tokens), export)

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        """Look at the key or log-in, and at the feature, the attributes and the product keys the exports need.

        Without exports only the account is looked at, and what stopped the connection: an export whose mode does not
        work is stopped by itself.
        """
        client = ReadOnlyClient(account, self._tokens)
        shown, found = _look_at_account(client)
        if not exports:
            stops.probe(client)
        found += [warning for export in exports for warning in _warnings_of_options(export)]
        for mode in self._modes:
            own = [export for export in exports if self._mode(export) is mode]
            found += mode.check(client, own, shown) if own else []
        return found

    def _mode(self, export: Export) -> Mode:
        [mode] = [mode for mode in self._modes if mode.name == export.options.mode]
        return mode


def _look_at_account(client: ReadOnlyClient) -> tuple[Reply | None, list[Finding]]:
    """Return the subscription; None where it is hidden from a log-in. Then an update of nobody is the proof."""
    try:
        return client.subscription(), [Finding("connection", Level.OK, "Gainsight PX accepts the key or log-in")]
    except ExportProblem:
        reply = client.probe(MEMBERSHIPS)
        if not errors.is_success(reply):
            client.require(reply, MEMBERSHIPS.table)
    message = (
        "Gainsight PX gave a token and takes it; it does not show the log-in the subscription, which only mode "
        "attributes needs"
    )
    return None, [errors.warning("connection", message)]


def _warnings_of_options(export: Export) -> list[Finding]:
    options: GainsightPxOptions = export.options
    by_segment = {
        "segment_names": options.segment_names,
        "segment_descriptions": options.segment_descriptions,
        "attributes": options.attributes,
    }
    return [
        errors.warning(export.key, f"{option} names {segment}, which is not one of the export's segments: correct it")
        for option, given in by_segment.items()
        for segment in sorted(given.keys() - set(export.segments))
    ]


DESTINATION: Destination = GainsightPx()
