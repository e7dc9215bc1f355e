"""What stops whom: a refused call stops one export, or the connection until PX takes that kind of call again.

That a connection reads does not show that it may write. So the kind of call that stopped it is noted, and its probes
try it, too: by an update of nobody, which changes nothing.
"""

from dataclasses import dataclass, replace

from relay.destinations.contract import Reply
from relay.destinations.gainsight_px import errors
from relay.destinations.gainsight_px.client import MEMBERSHIPS, USERS, ReadOnlyClient, Update
from relay.destinations.outcomes import nothing_done
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem, Transient

MOST_PROBES = 12
"""Probes that a refusal keeps a connection stopped for: half an hour and more. It then goes on: the export that was
refused may have been mended or taken away, and probes do not know the exports."""

FEATURE, ON, OFF = "external segments", "on", "off"
"""The note of whether the subscription has external segments, as far as calls have shown.

PX has no call that looks without writing. So runs look beforehand only where a call has shown the feature to be off;
the rest is up to checks.
"""

_NOTE = "refused"
_NOTHING_REFUSED = "nothing"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is stopped that reads: PX refused this kind of call, and so many probes met that since."""

    update: Update
    status: int
    probes: int = 0

    def require_over(self, client: ReadOnlyClient) -> None:
        """Raise as `result_of` while PX refuses an update of nobody."""
        reply = client.probe(self.update)
        # An update of nobody may be an unknown user, in whatever words, or more than PX can answer.
        is_nobody = reply.status == 404 and (self.status != 404 or errors.is_unknown_user(reply))
        if self.update is USERS and (is_nobody or reply.status >= 500):
            return
        client.require_answered(self.update, reply)


def probe(client: ReadOnlyClient) -> None:
    """Try what stopped the connection, changing nothing. Raises as `result_of` while PX still refuses it."""
    refusal = _noted(client)
    if refusal is None:
        return
    try:
        if refusal.probes < MOST_PROBES:
            refusal.require_over(client)
    except Busy:
        # There was no room for the probe: it does not count.
        raise
    except (ConnectionProblem, Transient):
        _note(client, replace(refusal, probes=refusal.probes + 1))
        raise
    _note(client, None)


def judge_update(client: ReadOnlyClient, update: Update, reply: Reply, *, holds: bool = True) -> None:
    """Raise as `result_of` does, unless PX took it; what stops the connection is noted where it shall hold it."""
    try:
        errors.judge(reply, update.table)
    except ConnectionProblem:
        if holds:
            _note(client, Refusal(update, reply.status))
        raise


def require_segment_taken(client: ReadOnlyClient, reply: Reply) -> None:
    """Judge the answer to a segment's texts as `result_of` does.

    Raises ExportProblem when they are refused to a key or log-in that is good for other calls.
    """
    if reply.status in errors.REFUSALS and _is_good(client, reply):
        if reply.status == 401:
            raise ExportProblem("may_not_write", errors.MAY_NOT_WRITE)
        raise ExportProblem(errors.FEATURE_OFF, errors.FEATURE_OFF_TEXT)
    with nothing_done():
        errors.judge(reply, errors.SEGMENT_TABLE)


def takes_memberships(client: ReadOnlyClient) -> bool:
    """Return whether PX answers an update of nobody, refused or not. Raises Transient when that meets trouble."""
    reply = client.probe(MEMBERSHIPS)
    is_refused = reply.status in errors.REFUSALS
    if not is_refused:
        client.require_answered(MEMBERSHIPS, reply)
    return not is_refused


def _is_good(client: ReadOnlyClient, refused: Reply) -> bool:
    try:
        client.product_keys()
    except ExportProblem:
        # A log-in that may not read is good all the same where PX takes its token.
        return refused.status != 401
    return True


def _noted(client: ReadOnlyClient) -> Refusal | None:
    text = client.note(_NOTE).read()
    if text is None or text == _NOTHING_REFUSED:
        return None
    name, status, probes = text.split()
    return Refusal(USERS if name == USERS.name else MEMBERSHIPS, int(status), int(probes))


def _note(client: ReadOnlyClient, now: Refusal | None) -> None:
    text = _NOTHING_REFUSED if now is None else f"{now.update.name} {now.status} {now.probes}"
    client.note(_NOTE).write(text)
