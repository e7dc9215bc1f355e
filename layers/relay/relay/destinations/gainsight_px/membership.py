"""Membership updates: steps to one `update_membership` body."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from relay.destinations.contract import Account, Step
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px.client import call
from relay.destinations.gainsight_px.errors import TABLE, status_word
from relay.destinations.gainsight_px.settings import GainsightPxOptions
from relay.destinations.gainsight_px.token import Tokens
from relay.domain import moments

UPDATE = "external_segment/update_membership"


def cut(steps: Sequence[Step], limit: int) -> list[list[int]]:
    """Cut steps into calls of at most `limit` identities, none twice for one segment in a call.

    One identity in and out of one segment in a single call has no defined result, so the later step gets a later call.
    """
    calls: list[list[int]] = []
    held: set[tuple[str, str]] = set()
    for index, step in enumerate(steps):
        place = (step.target, step.identity)
        if not calls or len(calls[-1]) >= limit or place in held:
            calls.append([])
            held = set()
        calls[-1].append(index)
        held.add(place)
    return calls


def body_of(steps: Sequence[Step], references: Mapping[str, str], identity_type: str) -> dict[str, Any]:
    """Return the body: one action per segment, direction and time; both directions present even when empty.

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


def update(
    account: Account, tokens: Tokens, options: GainsightPxOptions, references: Mapping[str, str], steps: Sequence[Step]
) -> bool:
    """Tell PX; return False when it refuses the content (400, 413, 422) without saying which part.

    A success has no documented body, so an empty one is taken; a page of HTML is not.
    Raises as `raise_for` and `call` do.
    """
    body = body_of(steps, references, options.identity_type)
    return raise_for(call(account, tokens, "POST", UPDATE, json=body), TABLE, word=status_word) is None


def probe(account: Account, tokens: Tokens) -> None:
    """Reach the feature without changing anything: an update of nobody.

    Whether PX takes or refuses it is undocumented and does not matter: both show that the feature is there.
    """
    reply = call(account, tokens, "POST", UPDATE, json=body_of([], {}, "IDENTIFY_ID"))
    raise_for(reply, TABLE, word=status_word)
