"""Gainsight PX: external segments by identity, or Boolean attributes of users."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from relay.destinations.contract import Answer, Destination, Finding, Level, Step
from relay.destinations.error_table import Refused
from relay.destinations.gainsight_px import errors, stops
from relay.destinations.gainsight_px.attribute_mode import AttributeMode
from relay.destinations.gainsight_px.client import MEMBERSHIPS, Client, ReadOnlyClient
from relay.destinations.gainsight_px.options import GainsightPxOptions, PxExport
from relay.destinations.gainsight_px.segment_mode import SegmentMode
from relay.destinations.gainsight_px.settings import GainsightPxConnection, PxAccount
from relay.destinations.gainsight_px.targets import kind_of, name_in
from relay.destinations.gainsight_px.token import Tokens
from relay.destinations.standard import MALFORMED_IDENTITY, NO_IDENTITY, BaseDestination
from relay.domain.problems import ExportProblem, Rejection
from relay.domain.values import id_of

Mode = SegmentMode | AttributeMode
"""How segments are held at PX. An export's option `mode` names one; who was put in by the other one leaves by that."""


class GainsightPx(BaseDestination[GainsightPxConnection, GainsightPxOptions]):
    """Membership is all that PX is sent: nothing else of a user is ever written."""

    name = "gainsight_px"
    title = "Gainsight PX"
    identity = "IDENTIFY_ID"
    shards = 4
    call_size = 1000
    at_once = 1
    lost_answer_bound = timedelta(minutes=2)
    kept_after_delete: timedelta | None = timedelta(days=7)
    streams = True
    connection_model = GainsightPxConnection
    options_model = GainsightPxOptions
    rejections = errors.REJECTIONS
    stops = errors.STOPS

    def __init__(self, tokens: Tokens | None = None) -> None:
        super().__init__()
        self._tokens = Tokens() if tokens is None else tokens
        self._modes: tuple[Mode, ...] = (SegmentMode(), AttributeMode())

    def identity_of(self, value: Any, export: PxExport) -> list[str] | Rejection:
        """Return the identities, each once and sorted; the option `multiple_identities` decides about several.

        `first` is the smallest, so that the same one is taken however the platform orders a namespace that day; a
        mapping such as `identities.ecid[0]` takes the platform's first.
        An id is passed on exactly as it is, blanks and case included: PX knows the value its identify call was given.
        """
        items = value if isinstance(value, list | tuple) else [value]
        ids = [id_of(item) for item in items if item is not None and not (isinstance(item, str) and not item.strip())]
        texts = sorted({text for text in ids if text is not None})
        # Half of a character, which a platform cut in two, cannot be sent.
        if None in ids or any("\ud800" <= letter <= "\udfff" for letter in "".join(texts)):
            return MALFORMED_IDENTITY
        if not texts:
            return NO_IDENTITY
        if len(texts) > 1 and export.options.multiple_identities == "reject":
            return errors.SEVERAL_IDENTITIES
        return texts if export.options.multiple_identities == "all" else texts[:1]

    def encode(self, field: str, value: Any) -> str | None:  # noqa: ARG002
        """Return None: no field of a mapping is sent but the identity."""
        return None

    def complete(self, export: PxExport, values: Mapping[str, str]) -> Mapping[str, str]:
        """Add the export's `tell_again`: it is never sent, but raising it makes everybody worth sending again."""
        number = export.options.tell_again
        return values if number == 0 else {**values, "tell_again": str(number)}

    def targets(self, export: PxExport) -> Mapping[str, frozenset[str]]:
        """Return one target per segment: the external segment, or the attribute of the export's options."""
        mode = self._mode(export)
        targets: dict[str, frozenset[str]] = {}
        for segment in export.segments:
            target = f"{mode.kind}/{mode.name_of(export.options, segment)}"
            targets[target] = targets.get(target, frozenset()) | {segment}
        return targets

    def page_is_full(self, export: PxExport, joins: int, leaves: int) -> bool:
        """Return whether one call would be full, or single users are enough for once."""
        return joins + leaves >= self._mode(export).page_size(export.options)

    def calls(self, account: PxAccount, export: PxExport, steps: Sequence[Step]) -> list[list[int]]:  # noqa: ARG002
        """Cut by the modes of the targets: leavers may be of the former one."""
        calls = []
        for mode in self._modes:
            own = {index: step for index, step in enumerate(steps) if kind_of(step.target) == mode.kind}
            calls += mode.calls(export.options, own)
        return calls

    def send(self, account: PxAccount, export: PxExport, steps: Sequence[Step]) -> Answer:
        """Update memberships of any number of segments in one call, or the attributes of a user."""
        [mode] = [mode for mode in self._modes if mode.kind == kind_of(steps[0].target)]
        tally = self.refusals.of(account.notes, export)
        return Answer(refused=mode.send(Client(account, self._tokens), export, steps, tally))

    def delete(self, account: PxAccount, export: PxExport, identity: str) -> Rejection | None:  # noqa: ARG002
        """Delete the user; PX may bring it back for 7 days, when the same id is seen again."""
        client = Client(account, self._tokens)
        reply = client.delete_user(identity)
        if reply.status == 403:
            return errors.NOT_DELETED
        if reply.status == 404 and not errors.is_page(reply) and not client.lists_user(identity):
            return None
        try:
            errors.judge(reply, errors.USER_TABLE)
        except Refused:
            return errors.NOT_DELETED
        return None

    def members(self, account: PxAccount, target: str) -> int | None:
        """Ask how many users have the attribute set. Of an external segment PX shows no members."""
        if kind_of(target) != AttributeMode.kind:
            return None
        return ReadOnlyClient(account, self._tokens).count_users(f"customAttributes.{name_in(target)}==true")

    def check_before_run(self, account: PxAccount, export: PxExport) -> list[Finding]:
        """Look at attributes and product keys, or at the feature of external segments where it was seen to be off."""
        return self._mode(export).check_before_run(ReadOnlyClient(account, self._tokens), export)

    def check(self, account: PxAccount, exports: Sequence[PxExport]) -> list[Finding]:
        """Look at the key or log-in, and at the feature, the attributes and the product keys the exports need.

        Without exports only the account is looked at, and what stopped the connection: an export whose mode does not
        work is stopped by itself.
        """
        client = ReadOnlyClient(account, self._tokens)
        try:
            product_keys, found = client.product_keys(), [_ACCEPTED]
        except ExportProblem:
            # Then an update of nobody is the proof.
            client.require_answered(MEMBERSHIPS)
            product_keys, found = None, [errors.warning("connection", _HIDDEN)]
        if not exports:
            stops.probe(client)
        found += [warning for export in exports for warning in _warnings_of_options(export)]
        for mode in self._modes:
            own = [export for export in exports if self._mode(export) is mode]
            found += mode.check(client, own, product_keys) if own else []
        return found

    def _mode(self, export: PxExport) -> Mode:
        [mode] = [mode for mode in self._modes if mode.name == export.options.mode]
        return mode


_ACCEPTED = Finding("connection", Level.OK, "Gainsight PX accepts the key or log-in")
_HIDDEN = (
    "Gainsight PX gave a token and takes it; it does not show the log-in the subscription, which only mode attributes "
    "needs"
)


def _warnings_of_options(export: PxExport) -> list[Finding]:
    options = export.options
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


DESTINATION: Destination[GainsightPxConnection, GainsightPxOptions] = GainsightPx()
