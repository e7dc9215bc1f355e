"""Product keys: the keys of the products a user belongs to, without which PX takes no user.

https://px-apidocs.gainsight.com (User.propertyKeys: "at least one is required"; SubscriptionDetail).
"""

from collections.abc import Mapping
from typing import Any

from relay.destinations.contract import Reply
from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.destinations.gainsight_px.reading import SUBSCRIPTION, read
from relay.domain.problems import ExportProblem

NEEDED = (
    "the subscription has not exactly one product key: name in product_keys of the export's options those (AP-...) of "
    "the products whose users are meant"
)

_NO_ONLY_KEY = "none"
"""Kept where the subscription has no key or several."""


def subscription(client: Client) -> Reply:
    """Return PX's description of the subscription; raises as `read`."""
    return read(client, SUBSCRIPTION)


def keys_in(reply: Reply) -> list[str]:
    """Return the product keys of a subscription, sorted."""
    products = _list(reply.body, "products")
    keys = [key.get("productKey") for product in products for key in _list(product, "productKeys")]
    return sorted({key for key in keys if isinstance(key, str) and key})


def keys_for(client: Client, options: GainsightPxOptions, shown: Reply | None = None) -> list[str]:
    """Return the product keys to write users with: the options', else the only one of the subscription.

    The latter is asked for once and kept; `shown`, the subscription where it was just read, replaces what is kept.
    Raises ExportProblem when the subscription has several, else as `subscription`.
    """
    if options.product_keys:
        return list(options.product_keys)
    notes, note = client.account.notes, client.note_key("product key")
    kept = notes.get(note)
    if shown is None and kept is not None and kept != _NO_ONLY_KEY:
        return [kept]
    keys = keys_in(subscription(client) if shown is None else shown)
    now = keys[0] if len(keys) == 1 else _NO_ONLY_KEY
    if now != kept:
        now = notes.keep(note, now, replaces=kept)
    if now == _NO_ONLY_KEY:
        raise ExportProblem("product_keys_needed", NEEDED)
    return [now]


def _list(holder: Any, name: str) -> list[Mapping[str, Any]]:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
