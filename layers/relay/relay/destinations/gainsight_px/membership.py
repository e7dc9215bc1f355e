"""Membership updates: steps for segments to one `update_membership` call. https://px-apidocs.gainsight.com."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from relay.destinations.contract import Answer, Reply, Step
from relay.destinations.gainsight_px import blame, feature
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import (
    FEATURE_OFF,
    REFUSALS,
    REFUSED_IDENTITY,
    SEGMENT_OUT_OF_REACH,
    is_success,
)
from relay.destinations.gainsight_px.identity_type import IdentityType
from relay.destinations.gainsight_px.segments import Segments
from relay.destinations.gainsight_px.targets import name_in
from relay.destinations.isolating import Tally, isolate
from relay.destinations.outcomes import nothing_done, part_done
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.problems import ConnectionProblem, ExportProblem, Rejection, Transient

UPDATE = "external_segment/update_membership"

_CONTENT_REFUSED = (400, 422)
_CERTAINLY_NOT_TAKEN = frozenset(range(400, 500)) - {408}


def body_of(steps: Sequence[Step], references: Mapping[str, str], identity_type: str) -> dict[str, Any]:
    """Return the body: one action per segment, direction and time; both directions present even when empty.

    Times are not rounded together: a later time than its own would let an identity's next time go backwards.
    `references` gives what PX wants as `segmentId` by target. https://px-apidocs.gainsight.com (SegmentPayload)
    """
    groups: dict[bool, dict[tuple[str, str], list[str]]] = {True: defaultdict(list), False: defaultdict(list)}
    for step in steps:
        groups[step.joins][references[step.target], moments.text(step.at)].append(step.identity)

    def actions(joins: bool) -> list[dict[str, Any]]:
        return [
            {"segmentId": segment, "lastQualificationTime": at, "identities": identities}
            for (segment, at), identities in sorted(groups[joins].items())
        ]

    return {"identityType": identity_type, "add": actions(True), "remove": actions(False)}


def send(client: Client, export: Export, steps: Sequence[Step], tally: Tally) -> Answer:
    """Update memberships of any number of segments in one call, making the segments known before.

    An export that sends attributes by now only has leavers here; they do not stop it when external segments are off.
    Raises as `IdentityType.to_tell`, `Segments.reference` and `raise_for` do.
    """
    try:
        return _send(client, export, steps, tally)
    except (ConnectionProblem, ExportProblem) as problem:
        if problem.code != FEATURE_OFF:
            raise
        feature.note(client, is_on=False)
        if export.options.mode == "attributes":
            return Answer(refused=dict.fromkeys(range(len(steps)), SEGMENT_OUT_OF_REACH))
        raise


def _send(client: Client, export: Export, steps: Sequence[Step], tally: Tally) -> Answer:
    call = _Call(client, export, steps, tally)
    call.references()
    return Answer(refused=isolate(range(len(steps)), call.attempt, REFUSED_IDENTITY, tally))


class _Call:
    """The steps of one call, sent as a whole or in parts."""

    def __init__(self, client: Client, export: Export, steps: Sequence[Step], tally: Tally) -> None:
        self._client = client
        self._export = export
        self._steps = steps
        self._tally = tally
        self._segments = Segments(client, export.options)
        self._identity_type = IdentityType(client, export)
        self._type_to_tell = self._identity_type.to_tell()

    def references(self) -> dict[str, str]:
        """Return what PX wants as `segmentId` by target."""
        with nothing_done():
            targets = sorted({step.target for step in self._steps})
            return {target: self._segments.reference(name_in(target)) for target in targets}

    def attempt(self, part: Sequence[int]) -> Mapping[int, Rejection]:
        """Send some of the steps; see `Attempt`."""
        reply = self._update(part)
        names = sorted({name_in(self._steps[index].target) for index in part})
        # How a segment that somebody deleted in PX shows is not documented. Before the address or an identity is
        # blamed, PX is asked whether it still has the segment.
        is_doubtful = reply.status == 404 or (reply.status in _CONTENT_REFUSED and len(part) == 1)
        if is_doubtful and self._was_lost(names):
            reply = self._update(part)
        if reply.status == 404 and self._is_open():
            reply = self._update(part)
            if reply.status == 404:
                raise ExportProblem("segment_unknown", blame.REFERENCE_UNKNOWN)
        if is_success(reply):
            return {}
        if reply.status in _CONTENT_REFUSED and len(part) == 1:
            self._require_right_reference(part)
        if reply.status in REFUSALS:
            with nothing_done():
                # When it is not the connection's fault, PX does not want to hear of the segment either.
                self._segments.tell_again(names[0])
        # What an export of attributes has left to take out of segments is no reason to hold the connection closed.
        door = blame.SEGMENTS if self._export.options.mode == "segments" else None
        raise blame.refusal_noted(self._client, door, reply)

    def _require_right_reference(self, part: Sequence[int]) -> None:
        """Raise ExportProblem when PX takes a refused step under the other of the segment's two names.

        How PX refuses a name it does not know is not documented, and a 400 may be about the identity as well. So before
        anything of the export was ever taken, the very same step is tried under the other name.
        """
        if self._tally.is_proven():
            return
        target = self._steps[part[0]].target
        other = self._segments.other_reference(name_in(target))
        if other != self.references()[target] and is_success(self._update(part, {target: other})):
            raise ExportProblem("segment_unknown", blame.REFERENCE_UNKNOWN).with_outcome(None)

    def _update(self, part: Sequence[int], references: Mapping[str, str] | None = None) -> Reply:
        steps = [self._steps[index] for index in part]
        body = body_of(steps, self.references() if references is None else references, self._type_to_tell)
        try:
            reply = self._client.call("POST", UPDATE, json=body)
        except Transient as problem:
            if problem.taken is not False:
                self._keep_identity_type()
            raise
        if reply.status not in _CERTAINLY_NOT_TAKEN:
            self._keep_identity_type()
        return reply

    def _keep_identity_type(self) -> None:
        """Note the type after members were, or may have been, taken: what cannot be noted does not undo that."""
        with part_done():
            self._identity_type.keep()

    def _was_lost(self, names: Sequence[str]) -> bool:
        with nothing_done():
            return self._segments.look_after(names)

    def _is_open(self) -> bool:
        with nothing_done():
            return blame.updates_memberships(self._client)
