"""Reading what PX holds. That is documented for API keys; a log-in may be refused it and still send memberships."""

from collections.abc import Mapping

from relay.destinations.contract import Reply
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import ADMIN_TABLE, REFUSALS, status_word
from relay.domain.problems import ExportProblem

SUBSCRIPTION = "admin/subscription"
ATTRIBUTES = "admin/model/user/attributes"
USERS = "users"

MAY_NOT_READ_TEXT = (
    "Gainsight PX does not show the log-in the subscription, its attributes or its users, which mode attributes needs: "
    "give the user more rights, or use an api_key"
)


def is_hidden(client: Client, reply: Reply) -> bool:
    """Return whether a log-in was refused to read; of a key that says that it is the wrong one."""
    return client.logs_in and reply.status in REFUSALS


def read(client: Client, path: str, *, params: Mapping[str, str] | None = None) -> Reply:
    """Return what PX shows.

    Raises ExportProblem where a log-in may not see it, else as `Client.call` and `raise_for` do.
    """
    reply = client.call("GET", path, params=params)
    if is_hidden(client, reply):
        raise ExportProblem("may_not_read", MAY_NOT_READ_TEXT)
    raise_for(reply, ADMIN_TABLE, word=status_word)
    return reply
