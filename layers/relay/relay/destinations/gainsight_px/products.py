"""Product keys: the keys of the products a user belongs to, without which PX takes no user.

https://px-apidocs.gainsight.com (User.propertyKeys: "at least one is required"; SubscriptionDetail).
"""

from collections.abc import Mapping
from typing import Any

from relay.destinations.contract import Reply
from relay.destinations.error_table import raise_for
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.errors import ADMIN_TABLE, status_word
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.domain.problems import ExportProblem

NEEDED = (
    "the subscription has not exactly one product key: name in product_keys of the export's options those (AP-...) of "
    "the products whose users are meant"
)


def subscription(client: Client) -> Reply:
    """Return PX's description of the subscription; raises as `Client.call` and `raise_for` do when it shows none."""
    reply = client.call("GET", "admin/subscription")
    raise_for(reply, ADMIN_TABLE, word=status_word)
    return reply


def keys_in(reply: Reply) -> list[str]:
    """Return the product keys of a subscription, sorted."""
    products = _list(reply.body, "products")
    keys = [key.get("productKey") for product in products for key in _list(product, "productKeys")]
    return sorted({key for key in keys if isinstance(key, str) and key})


def keys_for(client: Client, options: GainsightPxOptions, shown: Reply | None = None) -> list[str]:
    """Return the product keys to write users with: the options', else the only one of the subscription.

    The latter is asked for once and kept; `shown` is the subscription where it was just read. Raises ExportProblem when
    the subscription has several, else as `subscription`.
    """
    if options.product_keys:
        return list(options.product_keys)
    note = client.note_key("product key")
    kept = client.account.notes.get(note)
    if kept is not None:
        return [kept]
    keys = keys_in(subscription(client) if shown is None else shown)
    if len(keys) != 1:
        raise ExportProblem("product_keys_needed", NEEDED)
    return [client.account.notes.keep(note, keys[0])]


def _list(holder: Any, name: str) -> list[Mapping[str, Any]]:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
