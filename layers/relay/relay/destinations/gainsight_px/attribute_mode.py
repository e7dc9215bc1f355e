"""One Boolean attribute of a PX user per segment, for subscriptions without external segments.

https://px-apidocs.gainsight.com (tag Users). There is no call for several users. That PUT leaves alone what it is not
given is not stated there; the vendor's own loader relies on it. So nothing is sent but the id, the product keys that
every user must have, and the attributes of the export.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from relay.destinations.contract import Finding, Level, Reply, Step
from relay.destinations.error_table import Refused
from relay.destinations.gainsight_px import errors, stops, subscription
from relay.destinations.gainsight_px.client import USERS, Client, ReadOnlyClient
from relay.destinations.gainsight_px.errors import ATTRIBUTE_OUT_OF_REACH, CREATION_REFUSED, UNKNOWN_USER
from relay.destinations.gainsight_px.options import GainsightPxOptions, PxExport
from relay.destinations.gainsight_px.subscription import MISSING, PROBLEMS, USABLE
from relay.destinations.gainsight_px.targets import cut, name_in
from relay.destinations.isolating import Tally
from relay.destinations.outcomes import part_done
from relay.domain.problems import Actor, ExportProblem, Rejection

USERS_AT_ONCE = 100
"""Steps a run reads on for when each may take a call of its own: some half a minute's work."""

NO_ATTRIBUTE = "a segment has no attribute: name one for each segment in attributes of the export's options"


class AttributeMode:
    """One Boolean attribute per segment of the export; all attributes of one user go in a call."""

    name = "attributes"
    kind = "attribute"

    def name_of(self, options: GainsightPxOptions, segment: str) -> str:
        """Return the apiName.

        Segments without one share the target `attribute/`, which is never sent: nobody is taken to have left because
        of a gap in the options.
        """
        return options.attributes.get(segment, "")

    def page_size(self, options: GainsightPxOptions) -> int:  # noqa: ARG002 - as the other mode
        """Return how many are enough for once."""
        return USERS_AT_ONCE

    def calls(self, options: GainsightPxOptions, steps: Mapping[int, Step]) -> list[list[int]]:  # noqa: ARG002
        """Put all of one user's steps together."""
        users: dict[str, dict[int, Step]] = defaultdict(dict)
        for index, step in steps.items():
            users[step.identity][index] = step
        return [call for user in users.values() for call in cut(user)]

    def send(self, client: Client, export: PxExport, steps: Sequence[Step], tally: Tally) -> Mapping[int, Rejection]:
        """Set or clear the attributes of users, all of one user in one call.

        Raises ExportProblem when an attribute to set is missing or of no use, else as `Client` and `result_of` do; a
        problem after another user of the same steps was written has an unknown outcome.
        """
        users, refused = _by_user(client, steps)
        keys = subscription.keys_to_write(client, export.options) if users else []
        for position, indices in enumerate(users.values()):
            with part_done() if position else nullcontext():
                rejection = _write(client, keys, [steps[index] for index in indices], export.options.create_users)
                if rejection is None:
                    tally.taken()
                    continue
                if rejection is UNKNOWN_USER:
                    tally.answered()
                else:
                    tally.refused()
            # One PX does not know is in nothing that could be left.
            refused |= {i: rejection for i in indices if rejection is not UNKNOWN_USER or steps[i].joins}
        return refused

    def check_before_run(self, client: ReadOnlyClient, export: PxExport) -> list[Finding]:
        """Look at the attributes and the product keys."""
        states = subscription.look_at_attributes(client, export.options.attributes.values())
        return _findings(client, export, states, client.product_keys())

    def check(
        self, client: ReadOnlyClient, exports: Sequence[PxExport], product_keys: list[str] | None
    ) -> list[Finding]:
        """Look at whether users may be written, and at the attributes and product keys."""
        if product_keys is None:
            return [errors.error(export, errors.MAY_NOT_READ) for export in exports]
        found = [_writing_finding(client)]
        names = {name for export in exports for name in export.options.attributes.values()}
        states = subscription.look_at_attributes(client, names)
        return found + [one for export in exports for one in _findings(client, export, states, product_keys)]


def _by_user(client: Client, steps: Sequence[Step]) -> tuple[dict[str, list[int]], dict[int, Rejection]]:
    """Return the steps to send by user, and those that cannot be sent."""
    leaving = {name_in(step.target) for step in steps if not step.joins}
    states = subscription.attribute_states(client, {name_in(step.target) for step in steps}, leaving)
    users: dict[str, list[int]] = defaultdict(list)
    refused = {}
    for index, step in enumerate(steps):
        name = name_in(step.target)
        if states[name] == USABLE:
            users[step.identity].append(index)
        elif step.joins and not name:
            raise ExportProblem("segment_without_attribute", NO_ATTRIBUTE)
        elif step.joins:
            raise ExportProblem("attribute_unusable", f"attribute {name}: {PROBLEMS[states[name]]}")
        elif states[name] != MISSING:
            # Nobody can still be in one that is gone.
            refused[index] = ATTRIBUTE_OUT_OF_REACH
    return users, refused


def _write(client: Client, keys: list[str], steps: Sequence[Step], create: bool) -> Rejection | None:
    """Write one user; None when PX took it."""
    values = {name_in(step.target): step.joins for step in steps}
    body = {"identifyId": steps[0].identity, "propertyKeys": keys, "customAttributes": values}
    reply = _update(client, body)
    if reply is not None:
        return _rejection(client, reply)
    if not (create and any(values.values())):
        return UNKNOWN_USER
    if _rejection(client, client.create_user(body)) is None:
        return None
    # A 400 may mean that somebody else just created it ("possible duplicate"), so it is updated once more.
    again = _update(client, body)
    return CREATION_REFUSED if again is None else _rejection(client, again)


def _update(client: Client, body: Mapping[str, Any]) -> Reply | None:
    """Update a user; None when PX has no such user, which it says by a 404 with an undocumented body.

    A 404 may also be about the address. Unless PX says in words that it means the user, its list shows that: the
    user is not on it, or has come up meanwhile and is updated once more.
    """
    reply = client.update(USERS, body)
    if reply.status != 404 or errors.is_page(reply):
        return reply
    if errors.is_unknown_user(reply) or not client.lists_user(body["identifyId"]):
        return None
    again = client.update(USERS, body)
    return None if errors.is_unknown_user(again) else again


def _rejection(client: Client, reply: Reply) -> Rejection | None:
    try:
        stops.judge_update(client, USERS, reply)
    except Refused:
        return errors.REFUSED_IDENTITY
    return None


def _writing_finding(client: ReadOnlyClient) -> Finding:
    reply = client.probe(USERS)
    if reply.status in (401, 403):
        return Finding("users", Level.ERROR, errors.MAY_NOT_WRITE, Actor.ADMINISTRATOR)
    if reply.status >= 500:
        # An update of nobody may be more than PX can answer; that it is well was just seen.
        return Finding("users", Level.WARNING, "whether users may be written could not be found out", Actor.WAIT)
    if reply.status != 404:
        client.require_answered(USERS, reply)
    return Finding("users", Level.OK, "users may be written")


def _findings(
    client: ReadOnlyClient, export: PxExport, states: Mapping[str, str], product_keys: list[str]
) -> list[Finding]:
    options = export.options
    messages = []
    for segment in export.segments:
        name = options.attributes.get(segment)
        if name is None:
            messages.append(f"{segment} has no attribute: name one in attributes of the export's options")
        elif states[name] != USABLE:
            messages.append(f"attribute {name}: {PROBLEMS[states[name]]}")
    strange = set(options.product_keys) - set(product_keys)
    if strange:
        messages.append(f"{len(strange)} of product_keys are not of this subscription: correct the export's options")
    try:
        subscription.keys_to_write(client, options, product_keys)
    except ExportProblem as problem:
        messages.append(problem.what)
    found = [errors.error(export, message) for message in messages]
    return found or [Finding(export.key, Level.OK, "the attributes and product keys can be used")]
