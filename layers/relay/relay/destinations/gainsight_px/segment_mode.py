"""External segments: an `update_membership` call puts users into any number of them and takes others out.

https://px-apidocs.gainsight.com (tag ExternalSegments).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from relay.destinations.contract import Finding, Level, Reply, Step
from relay.destinations.gainsight_px import errors, stops
from relay.destinations.gainsight_px.client import MEMBERSHIPS, Client, ReadOnlyClient
from relay.destinations.gainsight_px.options import GainsightPxOptions, PxExport
from relay.destinations.gainsight_px.segments import Known, Segments, note_of
from relay.destinations.gainsight_px.targets import cut, name_in
from relay.destinations.isolating import Tally, isolate
from relay.destinations.outcomes import part_done
from relay.domain import moments
from relay.domain.problems import ConnectionProblem, ExportProblem, Rejection, Transient

REFERENCE_UNKNOWN = (
    "Gainsight PX has the external segment but does not know it by what memberships name it: set segment_ref in the "
    "export's options to the other value"
)
IDENTITY_TYPE_CHANGED = (
    "members were sent by the other type of identity: set identity_type in the export's options back, or make a new "
    "export"
)

_CONTENT_REFUSED = (400, 422)
_CERTAINLY_NOT_TAKEN = frozenset(range(400, 500)) - {408}


class SegmentMode:
    """One external segment per segment of the export."""

    name = "segments"
    kind = "segment"

    def name_of(self, options: GainsightPxOptions, segment: str) -> str:  # noqa: ARG002 - as the other mode
        """Return the segment: it is its external id at PX."""
        return segment

    def page_size(self, options: GainsightPxOptions) -> int:
        """Return how many fill a call."""
        return options.max_identities_per_call

    def calls(self, options: GainsightPxOptions, steps: Mapping[int, Step]) -> list[list[int]]:
        """Cut by number, over all segments."""
        return cut(steps, options.max_identities_per_call)

    def send(self, client: Client, export: PxExport, steps: Sequence[Step], tally: Tally) -> Mapping[int, Rejection]:
        """Update memberships of any number of segments in one call, making the segments known before.

        Raises as `Segments`, `Client` and `isolate` do, and ExportProblem when identities are of another type now.
        """
        # An export that sends attributes by now has only leavers here: they stop nothing when segments are off.
        is_former = export.options.mode != self.name
        try:
            return _Call(client, export, steps, tally, is_former=is_former).send()
        except (ConnectionProblem, ExportProblem) as problem:
            if problem.code != errors.FEATURE_OFF:
                raise
            client.note(stops.FEATURE).write(stops.OFF)
            if not is_former:
                raise
            if problem.taken is not False:
                # Some have left. When the call is tried again, whoever is still in is refused.
                raise Transient(problem.code, problem.what) from None
            return dict.fromkeys(range(len(steps)), errors.SEGMENT_OUT_OF_REACH)

    def check_before_run(self, client: ReadOnlyClient, export: PxExport) -> list[Finding]:
        """Look at the feature where a call has shown it to be off."""
        changed = _identity_type_findings(client, export)
        was_off = client.note(stops.FEATURE).read() == stops.OFF
        return _feature_findings(client, [export]) if was_off and not changed else changed

    def check(self, client: ReadOnlyClient, exports: Sequence[PxExport], _: object) -> list[Finding]:
        """Look at the feature, and at what is kept of the segments."""
        found = _feature_findings(client, exports)
        for export in exports:
            found += [*_identity_type_findings(client, export), *_segment_findings(client, export)]
        return found


class _IdentityType:
    """The type of identity an export sends memberships by, which stays what it was when it first sent any.

    After an edit, those who were put in by the old type could not be found by the new one. Nor could they be separated
    from those whom it puts in. So an edit is refused.
    """

    def __init__(self, client: ReadOnlyClient, export: PxExport) -> None:
        self._note = client.note("identity type", of=export.name)
        self._kept = self._note.read()
        self.is_changed = self._kept not in (None, export.options.identity_type)
        self.to_send: str = self._kept or export.options.identity_type

    def keep(self) -> None:
        """Note that members were, or may have been, taken: what cannot be noted does not undo that."""
        with part_done():
            self._kept = self._kept or self._note.replace(None, self.to_send)


class _Call:
    """The steps of one call, sent as a whole or in parts."""

    def __init__(
        self, client: Client, export: PxExport, steps: Sequence[Step], tally: Tally, *, is_former: bool
    ) -> None:
        self._client = client
        self._steps = steps
        self._is_former = is_former
        self._tally = tally
        self._segments = Segments(client, export.options)
        self._identity_type = _IdentityType(client, export)

    def send(self) -> dict[int, Rejection]:
        """Return the refused steps."""
        if self._identity_type.is_changed and not self._is_former:
            raise ExportProblem("identity_type_changed", IDENTITY_TYPE_CHANGED)
        everybody = range(len(self._steps))
        self._references(everybody)
        return isolate(everybody, self._attempt, errors.REFUSED_IDENTITY, self._tally)

    def _attempt(self, part: Sequence[int]) -> Mapping[int, Rejection]:
        """Send some of the steps; see `Attempt`."""
        reply = self._update(part)
        is_one_refused = reply.status in _CONTENT_REFUSED and len(part) == 1
        # How a segment that somebody deleted in PX shows is not documented. Before the connection, the address or an
        # identity is blamed, PX is asked whether it still has the segment, and takes its texts.
        if (reply.status in errors.REFUSALS or is_one_refused) and self._was_lost(part):
            reply = self._update(part)
        if reply.status == 404 and stops.takes_memberships(self._client):
            reply = self._update(part)
            if reply.status == 404:
                raise ExportProblem("segment_unknown", REFERENCE_UNKNOWN)
        if reply.status in _CONTENT_REFUSED and len(part) == 1:
            self._require_right_reference(part)
        # What an export of attributes has left to take out of segments is no reason to hold the connection.
        stops.judge_update(self._client, MEMBERSHIPS, reply, holds=not self._is_former)
        return {}

    def _was_lost(self, part: Sequence[int]) -> bool:
        lost = [name for name in self._references(part) if self._segments.make_again_if_lost(name)]
        return bool(lost)

    def _require_right_reference(self, part: Sequence[int]) -> None:
        """Raise ExportProblem when PX takes a refused step under the other of the segment's two names.

        How PX refuses a name it does not know is not documented, and a 400 may be about the identity as well. So before
        anything of the export was ever taken, the very same step is tried under the other name.
        """
        if self._tally.is_proven():
            return
        [(name, reference)] = self._references(part).items()
        other = self._segments.other_reference(name)
        if other != reference and errors.is_taken(self._update(part, {name: other})):
            raise ExportProblem("segment_unknown", REFERENCE_UNKNOWN).with_outcome(None)

    def _update(self, part: Sequence[int], references: Mapping[str, str] | None = None) -> Reply:
        references = self._references(part) if references is None else references
        body = body_of([self._steps[index] for index in part], references, self._identity_type.to_send)
        try:
            reply = self._client.update(MEMBERSHIPS, body)
        except Transient as problem:
            if problem.taken is not False:
                self._identity_type.keep()
            raise
        if reply.status not in _CERTAINLY_NOT_TAKEN:
            self._identity_type.keep()
        return reply

    def _references(self, part: Sequence[int]) -> dict[str, str]:
        """Return what PX wants as `segmentId`, by segment."""
        names = sorted({name_in(self._steps[index].target) for index in part})
        return {name: self._segments.reference(name) for name in names}


def body_of(steps: Sequence[Step], references: Mapping[str, str], identity_type: str) -> dict[str, Any]:
    """Return the body: one action per segment, direction and time; both directions present even when empty.

    Times are not rounded together: a later time than its own would let an identity's next time go backwards.
    https://px-apidocs.gainsight.com (SegmentPayload)
    """
    groups: dict[bool, dict[tuple[str, str], list[str]]] = {True: defaultdict(list), False: defaultdict(list)}
    for step in steps:
        groups[step.joins][references[name_in(step.target)], moments.text(step.at)].append(step.identity)

    def actions(joins: bool) -> list[dict[str, Any]]:
        return [
            {"segmentId": segment, "lastQualificationTime": at, "identities": identities}
            for (segment, at), identities in sorted(groups[joins].items())
        ]

    return {"identityType": identity_type, "add": actions(True), "remove": actions(False)}


def _feature_findings(client: ReadOnlyClient, exports: Sequence[PxExport]) -> list[Finding]:
    reply = client.probe(MEMBERSHIPS)
    if reply.status == 401:
        return [errors.error(export, errors.MAY_NOT_WRITE) for export in exports]
    is_off = reply.status in errors.REFUSALS
    if not is_off:
        client.require_answered(MEMBERSHIPS, reply)
    client.note(stops.FEATURE).write(stops.OFF if is_off else stops.ON)
    if is_off:
        return [errors.error(export, errors.FEATURE_OFF_TEXT) for export in exports]
    return [Finding("external segments", Level.OK, "the external-segments feature answers")]


def _identity_type_findings(client: ReadOnlyClient, export: PxExport) -> list[Finding]:
    return [errors.error(export, IDENTITY_TYPE_CHANGED)] if _IdentityType(client, export).is_changed else []


def _segment_findings(client: ReadOnlyClient, export: PxExport) -> list[Finding]:
    found = []
    for segment in export.segments:
        kept = note_of(client, segment).read()
        known = None if kept is None else Known.read(kept)
        if known is not None and known.refused:
            message = f"Gainsight PX keeps the old name or description of {segment}: it refused to change them"
            found.append(errors.warning(export.key, message))
        if known is not None and known.made_again == export.options.tell_again:
            message = (
                f"{segment} was gone in Gainsight PX and was made again, without its members of before: raise "
                f"tell_again in the export's options to {export.options.tell_again + 1} to have everybody sent again"
            )
            found.append(errors.warning(export.key, message))
    return found
