"""Whom a refused call stops: the whole connection or only the export; and not trying again what is refused for long.

That a connection reads does not show that it may write. So the call that stopped it is noted, and its probe tries that
call, too.
"""

from relay.destinations.contract import Reply
from relay.destinations.error_table import Refused, raise_for, refusal
from relay.destinations.gainsight_px import feature
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import (
    FEATURE_OFF,
    FEATURE_OFF_TEXT,
    MAY_NOT_WRITE,
    MAY_NOT_WRITE_TEXT,
    REFUSALS,
    SUBSCRIPTION_TABLE,
    TABLE,
    USER_TABLE,
    is_success,
    is_unknown_user,
    status_word,
)
from relay.destinations.gainsight_px.reading import SUBSCRIPTION
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem, Transient

MOST_HELD = 12
"""Probes that a noted refusal keeps a connection closed for: half an hour and more. It is then let go on: the export
that was refused may have been mended or taken away, and probes do not know the exports."""

SEGMENTS, USERS = "segments", "users"

USERS_UPDATE = "users/update"
"""With the id in the body, because ids may hold what a path may not."""

_NOTHING = "nothing"
"""Noted once what was refused is open again: notes are not taken away."""

REFERENCE_UNKNOWN = (
    "Gainsight PX has the external segment but does not know it by what memberships name it: set segment_ref in the "
    "export's options to the other value"
)


def require_metadata(client: Client, reply: Reply) -> None:
    """Raise ExportProblem when segments' metadata is refused to a key or log-in that is good for other calls.

    A log-in is good once it gave a token: that it may read the subscription is documented for API keys only.
    """
    if reply.status == 401 and _reads(client):
        raise ExportProblem(MAY_NOT_WRITE, MAY_NOT_WRITE_TEXT)
    if reply.status in (403, 404) and (client.logs_in or _reads(client)):
        raise ExportProblem(FEATURE_OFF, FEATURE_OFF_TEXT)


def updates_memberships(client: Client) -> bool:
    """Return whether PX answers an update of nobody, refused or not. Raises Transient when that meets trouble."""
    reply = feature.probe(client)
    if reply.status in REFUSALS:
        return False
    return is_success(reply) or raise_for(reply, TABLE, word=status_word) is not None


def refusal_noted(client: Client, door: str | None, reply: Reply) -> Refused:
    """Return and raise as `refusal` does; note the door that stops the connection, so that probes try it too."""
    try:
        return refusal(reply, USER_TABLE if door == USERS else TABLE, status_word)
    except ConnectionProblem:
        if door is not None:
            _note(client, f"{door} {reply.status} 0")
        raise


def try_again(client: Client) -> None:
    """Try what stopped the connection, changing nothing. Raises as `raise_for` while it is still refused."""
    noted = client.account.notes.get(client.note_key("refused"))
    if noted is None or noted == _NOTHING:
        return
    door, status, held = noted.split()
    if int(held) < MOST_HELD:
        try:
            _require_open(client, door, int(status))
        except Busy:
            raise
        except (ConnectionProblem, Transient):
            _note(client, f"{door} {status} {int(held) + 1}")
            raise
    _note(client, _NOTHING)


def probe_users(client: Client) -> Reply:
    """Reach the call that writes users without changing anything: an update that names no user.

    How it is refused is undocumented; only a refusal of the key says that users cannot be written.
    """
    return client.call("PUT", USERS_UPDATE, json={})


def _require_open(client: Client, door: str, status: int) -> None:
    reply = feature.probe(client) if door == SEGMENTS else probe_users(client)
    if is_success(reply):
        return
    if door == USERS:
        # An update of nobody may be an unknown user, in whatever words, or more than PX can answer.
        is_nobody = reply.status == 404 and (status != 404 or is_unknown_user(reply))
        if is_nobody or reply.status >= 500:
            return
    raise_for(reply, TABLE if door == SEGMENTS else USER_TABLE, word=status_word)


def _reads(client: Client) -> bool:
    """Return whether PX shows the subscription: then the key or log-in is good, and the region right."""
    reply = client.call("GET", SUBSCRIPTION)
    if reply.status in REFUSALS:
        return False
    raise_for(reply, SUBSCRIPTION_TABLE, word=status_word)
    return True


def _note(client: Client, now: str) -> None:
    notes, key = client.account.notes, client.note_key("refused")
    kept = notes.get(key)
    if kept != now:
        notes.keep(key, now, replaces=kept)
