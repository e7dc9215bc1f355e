"""Attribute mode: one Boolean attribute of a PX user per segment, for subscriptions without external segments.

https://px-apidocs.gainsight.com (tag Users). There is no call for several users. That PUT leaves alone what it is not
given is not stated there; the vendor's own loader relies on it. So nothing is sent but the id, the product keys that
every user must have, and the attributes of the export.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from relay.destinations.contract import Answer, Reply, Step
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px import attributes
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import (
    ATTRIBUTE_OUT_OF_REACH,
    CREATION_REFUSED,
    REFUSED_IDENTITY,
    UNKNOWN_USER,
    USER_TABLE,
    is_unknown_user,
    status_word,
)
from relay.destinations.gainsight_px.products import keys_for
from relay.destinations.gainsight_px.targets import name_in
from relay.destinations.isolating import MAX_REFUSALS
from relay.domain.exports import Export
from relay.domain.problems import ExportProblem, Problem, Rejection, Transient

UPDATE = "users/update"
"""With the id in the body, because ids may hold what a path may not."""

NO_ATTRIBUTE = "a segment has no attribute: name one for each segment in attributes of the export's options"


class Refusals:
    """How many users in a row PX refused, by export. Kept in this process only: losing it costs a few rejections."""

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()

    def note(self, export: Export, *, refused: bool) -> None:
        """Count; raise ExportProblem when so many were refused, and none taken, that the users cannot be the reason."""
        self._in_a_row[export.key] = self._in_a_row[export.key] + 1 if refused else 0
        if self._in_a_row[export.key] >= MAX_REFUSALS:
            self._in_a_row[export.key] = 0
            raise ExportProblem(
                "all_refused", "Gainsight PX refuses every user, one after the other: check product_keys and attributes"
            )


def send(client: Client, export: Export, steps: Sequence[Step], refusals: Refusals) -> Answer:
    """Set or clear the attributes of users, all of one user in one call.

    Raises ExportProblem when an attribute to set is missing or of no use, else as `Client.call` and `raise_for` do; a
    problem after another user of the same steps was written is a Transient of unknown outcome.
    """
    state = attributes.states(client, {name_in(step.target) for step in steps})
    _require_usable(steps, state)
    users: dict[str, list[int]] = defaultdict(list)
    refused: dict[int, Rejection] = {}
    for index, step in enumerate(steps):
        match state[name_in(step.target)]:
            case attributes.USABLE:
                users[step.identity].append(index)
            case attributes.MISSING:
                pass  # Nobody can still be in an attribute that is gone.
            case _:
                refused[index] = ATTRIBUTE_OUT_OF_REACH
    keys = keys_for(client, export.options) if users else []
    for position, (identity, indices) in enumerate(users.items()):
        own = [steps[index] for index in indices]
        try:
            rejection = _write(client, identity, keys, own, create=export.options.create_users)
            refusals.note(export, refused=rejection in (REFUSED_IDENTITY, CREATION_REFUSED))
        except Problem as problem:
            if position == 0:
                raise
            pause = problem.retry_after if isinstance(problem, Transient) else None
            raise Transient(problem.code, f"some users were written, then: {problem.what}", retry_after=pause) from None
        if rejection is not None:
            refused |= {index: rejection for index in indices if rejection is not UNKNOWN_USER or steps[index].joins}
    return Answer(refused=refused)


def probe(client: Client) -> Reply:
    """Reach the call that writes without changing anything: an update that names no user.

    How it is refused is undocumented; only a refusal of the key says that users cannot be written.
    """
    return client.call("PUT", UPDATE, json={})


def _require_usable(steps: Sequence[Step], state: Mapping[str, str]) -> None:
    for name in sorted({name_in(step.target) for step in steps if step.joins}):
        if not name:
            raise ExportProblem("segment_without_attribute", NO_ATTRIBUTE)
        if state[name] != attributes.USABLE:
            raise ExportProblem("attribute_unusable", f"attribute {name}: {attributes.PROBLEMS[state[name]]}")


def _write(client: Client, identity: str, keys: list[str], steps: Sequence[Step], *, create: bool) -> Rejection | None:
    """Write one user; None when PX took it, or when one it does not know has nothing to be taken out of."""
    values = {name_in(step.target): step.joins for step in steps}
    body = {"identifyId": identity, "propertyKeys": keys, "customAttributes": values}
    reply = client.call("PUT", UPDATE, json=body)
    if not is_unknown_user(reply):
        return _rejection(reply)
    if not any(values.values()):
        return None
    return _create(client, body) if create else UNKNOWN_USER


def _create(client: Client, body: Mapping[str, Any]) -> Rejection | None:
    """Create a user; a 400 may mean that somebody else just did ("possible duplicate"), so it is updated once more."""
    if raise_for(client.call("POST", "users", json=body), USER_TABLE, word=status_word) is None:
        return None
    again = client.call("PUT", UPDATE, json=body)
    return CREATION_REFUSED if is_unknown_user(again) else _rejection(again)


def _rejection(reply: Reply) -> Rejection | None:
    return None if raise_for(reply, USER_TABLE, word=status_word) is None else REFUSED_IDENTITY
