"""Membership updates: steps for segments to one `update_membership` call. https://px-apidocs.gainsight.com."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from relay.destinations.contract import Answer, Reply, Step
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px import feature
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import (
    FEATURE_OFF,
    REFUSED_IDENTITY,
    SEGMENT_OUT_OF_REACH,
    TABLE,
    status_word,
)
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.segments import Segments
from relay.destinations.gainsight_px.targets import IDENTITY_TYPES, kind_of, name_in
from relay.destinations.isolating import Proof, isolate
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.problems import ConnectionProblem, Rejection, Transient

UPDATE = "external_segment/update_membership"

_CONTENT_REFUSED = (400, 422)


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


def send(client: Client, export: Export, steps: Sequence[Step]) -> Answer:
    """Update memberships of any number of segments in one call, making the segments known before.

    An export that tells attributes by now only has leavers here; they do not stop it when external segments are off.
    Raises as `Segments.reference` and `raise_for` do.
    """
    options: GainsightPxOptions = export.options
    try:
        return _send(client, options, steps, Proof(client.account.notes, export))
    except ConnectionProblem as problem:
        if problem.code != FEATURE_OFF:
            raise
        feature.note(client, is_on=False)
        if options.mode == "attributes":
            return Answer(refused=dict.fromkeys(range(len(steps)), SEGMENT_OUT_OF_REACH))
        raise


def _send(client: Client, options: GainsightPxOptions, steps: Sequence[Step], proof: Proof) -> Answer:
    segments = Segments(client, options)
    identity_type = IDENTITY_TYPES[kind_of(steps[0].target)]

    def references() -> dict[str, str]:
        return {target: segments.reference(name_in(target)) for target in sorted({step.target for step in steps})}

    try:
        references()
    except Transient as problem:
        # Whatever became of the segment's metadata: no membership was touched yet.
        raise Transient(problem.code, problem.what, taken=False, retry_after=problem.retry_after) from None

    def update(part: Sequence[int]) -> Reply:
        body = body_of([steps[index] for index in part], references(), identity_type)
        return client.call("POST", UPDATE, json=body)

    def attempt(part: Sequence[int]) -> Mapping[int, Rejection] | None:
        reply = update(part)
        # How a segment that somebody deleted in PX shows is not documented. Before the address or an identity is
        # blamed, PX is asked whether it still has the segment.
        is_doubtful = reply.status == 404 or (reply.status in _CONTENT_REFUSED and len(part) == 1)
        if is_doubtful and segments.look_after(name_in(steps[index].target) for index in part):
            reply = update(part)
        return None if raise_for(reply, TABLE, word=status_word) is None else {}

    return Answer(refused=isolate(range(len(steps)), attempt, REFUSED_IDENTITY, proof))
