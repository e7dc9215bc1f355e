"""Gainsight PX: external segments, by identity."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from relay.destinations.contract import Account, Answer, Destination, Finding, ImportReport, Level, OpenImport, Step
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px import mapping as mapping_rules
from relay.destinations.gainsight_px import membership
from relay.destinations.gainsight_px.client import call
from relay.destinations.gainsight_px.errors import ADMIN_TABLE, REFUSED_IDENTITY, status_word
from relay.destinations.gainsight_px.segments import segment_of, segment_reference, segment_target
from relay.destinations.gainsight_px.settings import GainsightPxConnection, GainsightPxOptions
from relay.destinations.gainsight_px.token import Tokens
from relay.destinations.isolating import isolate
from relay.domain.exports import Export
from relay.domain.problems import Rejection, Transient


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

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = Tokens() if tokens is None else tokens

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Require `IDENTIFY_ID` and know nothing else."""
        return mapping_rules.mapping_problems(mapping)

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        """Return the identities; the export's option `multiple_identities` decides when there are several."""
        return mapping_rules.identities_of(value, export.options.multiple_identities)

    def encode(self, target: str, value: Any) -> str | None:  # noqa: ARG002 - the contract's names
        """Return None: membership is all that PX is told, so nothing else of a user is ever written."""
        return None

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002 - the contract's names
        """Return the values as they are: there are none."""
        return values

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        """Return one target per segment."""
        return {segment_target(segment): frozenset((segment,)) for segment in export.segments}

    def says_goodbye(self, export: Export) -> bool:  # noqa: ARG002 - the contract's names
        """Return True: who leaves a segment leaves it at PX."""
        return True

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        """Return whether one call would be full."""
        return joins + leaves >= int(export.options.max_identities_per_call)

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:  # noqa: ARG002 - the contract's names
        """Cut by the export's `max_identities_per_call`."""
        return membership.cut(steps, export.options.max_identities_per_call)

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        """Update memberships of any number of segments in one call, making the segments known before."""
        options: GainsightPxOptions = export.options
        try:
            references = {
                target: segment_reference(account, self._tokens, options, segment_of(target))
                for target in sorted({step.target for step in steps})
            }
        except Transient as problem:
            # Whatever became of the segment's metadata: no membership was touched yet.
            raise Transient(problem.code, problem.what, taken=False, retry_after=problem.retry_after) from None

        def attempt(part: Sequence[int]) -> Mapping[int, Rejection] | None:
            taken = membership.update(account, self._tokens, options, references, [steps[index] for index in part])
            return None if taken else {}

        return Answer(refused=isolate(range(len(steps)), attempt, REFUSED_IDENTITY))

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        """Never called: PX has no asynchronous imports."""
        raise NotImplementedError("Gainsight PX has no imports")

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:  # noqa: ARG002 - the contract's names
        """Return nothing: PX has no call that looks at external segments without writing."""
        return []

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:  # noqa: ARG002 - the contract's names
        """Look at the key or log-in and at the feature; segments need no look, they are made when first used."""
        raise_for(call(account, self._tokens, "GET", "admin/subscription"), ADMIN_TABLE, word=status_word)
        findings = [Finding("connection", Level.OK, "Gainsight PX accepts the key or log-in")]
        membership.probe(account, self._tokens)
        findings.append(Finding("external segments", Level.OK, "the external-segments feature answers"))
        return findings


DESTINATION: Destination = GainsightPx()
