"""Attribute mode: one Boolean attribute of a PX user per segment, for subscriptions without external segments.

https://px-apidocs.gainsight.com (tag Users). There is no call for several users. That PUT leaves alone what it is not
given is not stated there; the vendor's own loader relies on it. So nothing is sent but the id, the product keys that
every user must have, and the attributes of the export.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from relay.destinations.contract import Answer, Reply, Step
from relay.destinations.gainsight_px import attributes, blame
from relay.destinations.gainsight_px.blame import USERS_UPDATE
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import (
    ATTRIBUTE_OUT_OF_REACH,
    CREATION_REFUSED,
    REFUSED_IDENTITY,
    UNKNOWN_USER,
    is_page,
    is_success,
    is_unknown_user,
)
from relay.destinations.gainsight_px.products import keys_for
from relay.destinations.gainsight_px.reading import USERS, read
from relay.destinations.gainsight_px.targets import name_in
from relay.destinations.isolating import Tally
from relay.destinations.outcomes import nothing_done, part_done
from relay.domain.exports import Export
from relay.domain.problems import ExportProblem, Rejection

NO_ATTRIBUTE = "a segment has no attribute: name one for each segment in attributes of the export's options"


def send(client: Client, export: Export, steps: Sequence[Step], tally: Tally) -> Answer:
    """Set or clear the attributes of users, all of one user in one call.

    Raises ExportProblem when an attribute to set is missing or of no use, else as `Client.call` and `raise_for` do; a
    problem after another user of the same steps was written has an unknown outcome.
    """
    users: dict[str, list[int]] = defaultdict(list)
    refused: dict[int, Rejection] = {}
    with nothing_done():
        leaving = {name_in(step.target) for step in steps if not step.joins}
        state = attributes.states(client, {name_in(step.target) for step in steps}, leaving)
        _require_usable(steps, state)
        for index, step in enumerate(steps):
            match state[name_in(step.target)]:
                case attributes.USABLE:
                    users[step.identity].append(index)
                case attributes.MISSING:
                    pass  # Nobody can still be in an attribute that is gone.
                case _:
                    refused[index] = ATTRIBUTE_OUT_OF_REACH
        keys = keys_for(client, export.options) if users else []
    for position, indices in enumerate(users.values()):
        own = [steps[index] for index in indices]
        with part_done() if position else nullcontext():
            rejection = _write(client, keys, own, create=export.options.create_users)
            if rejection is None:
                tally.taken()
            elif rejection is not UNKNOWN_USER:
                tally.refused()
        if rejection is not None:
            # One PX does not know is in nothing that could be left.
            refused |= {index: rejection for index in indices if rejection is not UNKNOWN_USER or steps[index].joins}
    return Answer(refused=refused)


def _require_usable(steps: Sequence[Step], state: Mapping[str, str]) -> None:
    for name in sorted({name_in(step.target) for step in steps if step.joins}):
        if not name:
            raise ExportProblem("segment_without_attribute", NO_ATTRIBUTE)
        if state[name] != attributes.USABLE:
            raise ExportProblem("attribute_unusable", f"attribute {name}: {attributes.PROBLEMS[state[name]]}")


def _write(client: Client, keys: list[str], steps: Sequence[Step], *, create: bool) -> Rejection | None:
    """Write one user; None when PX took it."""
    values = {name_in(step.target): step.joins for step in steps}
    body = {"identifyId": steps[0].identity, "propertyKeys": keys, "customAttributes": values}
    reply = _update(client, body)
    if reply is not None:
        return _rejection(client, reply)
    return _create(client, body) if create and any(values.values()) else UNKNOWN_USER


def _create(client: Client, body: Mapping[str, Any]) -> Rejection | None:
    """Create a user; a 400 may mean that somebody else just did ("possible duplicate"), so it is updated once more."""
    if _rejection(client, client.call("POST", USERS, json=body)) is None:
        return None
    again = _update(client, body)
    return CREATION_REFUSED if again is None else _rejection(client, again)


def _update(client: Client, body: Mapping[str, Any]) -> Reply | None:
    """Update a user; None when PX has no such user, which it says by a 404 with an undocumented body.

    A 404 may also be about the address. Unless PX says in words that it means the user, its list shows that: the
    user is not on it, or has come up meanwhile and is updated once more.
    """
    reply = client.call("PUT", USERS_UPDATE, json=body)
    if reply.status != 404 or is_page(reply):
        return reply
    if is_unknown_user(reply):
        return None
    with nothing_done():
        if not _is_listed(client, body["identifyId"]):
            return None
    again = client.call("PUT", USERS_UPDATE, json=body)
    return None if is_unknown_user(again) else again


def _is_listed(client: Client, identity: str) -> bool:
    # Not by the path of one user: paths are logged.
    reply = read(client, USERS, params={"filter": f"identifyId=={identity}"})
    listed = reply.body.get("users") if isinstance(reply.body, Mapping) else None
    ids = [one.get("identifyId") for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return identity in ids


def _rejection(client: Client, reply: Reply) -> Rejection | None:
    if is_success(reply):
        return None
    blame.refusal_noted(client, blame.USERS, reply)
    return REFUSED_IDENTITY
