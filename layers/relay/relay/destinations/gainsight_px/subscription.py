"""What users of a subscription are written with: its custom attributes, and the keys of its products.

https://px-apidocs.gainsight.com (AttributeMetadata; User.propertyKeys: "at least one is required"; SubscriptionDetail).
Attributes are made in PX under Administration > Attributes: the API only shows them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from relay.destinations.gainsight_px.client import ReadOnlyClient
from relay.destinations.gainsight_px.options import GainsightPxOptions
from relay.domain.problems import ExportProblem

USABLE = "usable"
MISSING = "missing"
PROBLEMS = {
    MISSING: "there is no user attribute with this apiName (upper and lower case count): make a Boolean one in "
    "Gainsight PX under Administration > Attributes, or correct attributes in the export's options",
    "not_boolean": "it is not of type Boolean: name a Boolean attribute",
    "not_enabled": "it is disabled or deleted: enable it in Gainsight PX under Administration > Attributes",
    "not_custom": "it is one of Gainsight PX's own attributes: name a custom one",
}
"""What is wrong with an attribute that cannot be used, by its state, and what to do."""

KEYS_NEEDED = (
    "the subscription has not exactly one product key: name in product_keys of the export's options those (AP-...) of "
    "the products whose users are meant"
)


def look_at_attributes(client: ReadOnlyClient, names: Iterable[str]) -> Mapping[str, str]:
    """Ask PX about attributes of users; keep and return their states (`USABLE` or one of `PROBLEMS`) by apiName."""
    shown = client.user_attributes()
    found = {name: _state_of(shown.get(name)) for name in names}
    client.note("attributes").write(json.dumps({**_kept_states(client), **found}, sort_keys=True))
    return found


def attribute_states(client: ReadOnlyClient, names: set[str], leaving: set[str]) -> Mapping[str, str]:
    """Return the states of attributes as they were last seen; PX is asked about those nobody has looked at yet.

    PX is also asked about those of no use that somebody leaves: a leaver is let go for good by what is answered here.
    """
    kept = _kept_states(client)
    unseen = (names - kept.keys()) | {name for name in leaving if kept.get(name) != USABLE}
    return {**kept, **look_at_attributes(client, unseen)} if unseen else kept


def keys_to_write(client: ReadOnlyClient, options: GainsightPxOptions, seen: list[str] | None = None) -> list[str]:
    """Return the product keys to write users with: the options', else the only one of the subscription.

    The latter is asked for once and kept; those that were just `seen` replace what is kept.
    Raises ExportProblem when the subscription has several, else as `ReadOnlyClient.product_keys`.
    """
    if options.product_keys:
        return list(options.product_keys)
    note = client.note("product keys")
    keys = (note.read() or "").split()
    if seen is not None or len(keys) != 1:
        keys = client.product_keys() if seen is None else seen
        note.write(" ".join(keys))
    if len(keys) != 1:
        raise ExportProblem("product_keys_needed", KEYS_NEEDED)
    return keys


def _kept_states(client: ReadOnlyClient) -> dict[str, str]:
    text = client.note("attributes").read()
    states: dict[str, str] = {} if text is None else json.loads(text)
    return states


def _state_of(attribute: Mapping[str, Any] | None) -> str:
    if attribute is None:
        return MISSING
    if attribute.get("type") != "BOOLEAN":
        return "not_boolean"
    if attribute.get("state") != "ENABLED":
        return "not_enabled"
    return "not_custom" if attribute.get("origin") == "DEFAULT" else USABLE
