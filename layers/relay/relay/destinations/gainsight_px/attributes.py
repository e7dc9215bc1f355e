"""Custom attributes of PX's users, which are made in PX under Administration > Attributes: the API only shows them.

https://px-apidocs.gainsight.com (AttributeMetadata): one list without pages; apiNames are case sensitive.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from relay.destinations.gainsight_px.client import Client
from relay.destinations.gainsight_px.reading import ATTRIBUTES, read
from relay.domain.problems import Transient

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


def look(client: Client, names: Iterable[str]) -> Mapping[str, str]:
    """Ask PX about attributes of users; return their states (`USABLE` or one of `PROBLEMS`) by apiName, and keep them.

    Raises as `read`, Transient when the answer is no list.
    """
    reply = read(client, ATTRIBUTES)
    listed = reply.body
    # One that cannot be read may be one of ours: nobody is let go because it seems to be missing.
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) and _is_named(one) for one in listed):
        raise Transient("unexpected_answer", "Gainsight PX gave no list of attributes", taken=False)
    shown = {one["apiName"]: one for one in listed}
    found = {name: _state_of(shown.get(name)) for name in names}
    _keep(client, found)
    return found


def states(client: Client, names: Iterable[str], leaving: Iterable[str] = ()) -> Mapping[str, str]:
    """Return the states of attributes as they were last seen; PX is asked about those nobody has looked at yet.

    PX is also asked about those of no use that somebody leaves: a leaver is let go for good by what is answered here.
    """
    wanted = set(names)
    kept = _kept(client)
    unseen = (wanted - kept.keys()) | {name for name in leaving if kept.get(name) != USABLE}
    known = {**kept, **look(client, unseen)} if unseen else kept
    return {name: known[name] for name in wanted}


def _is_named(attribute: Mapping[str, Any]) -> bool:
    return isinstance(attribute.get("apiName"), str)


def _state_of(attribute: Mapping[str, Any] | None) -> str:
    if attribute is None:
        return MISSING
    if attribute.get("type") != "BOOLEAN":
        return "not_boolean"
    if attribute.get("state") != "ENABLED":
        return "not_enabled"
    return "not_custom" if attribute.get("origin") == "DEFAULT" else USABLE


def _kept(client: Client) -> dict[str, str]:
    text = client.account.notes.get(client.note_key("attributes"))
    kept: dict[str, str] = {} if text is None else json.loads(text)
    return kept


def _keep(client: Client, found: Mapping[str, str]) -> None:
    """Keep what was seen beside what is kept of other attributes; whoever loses a race looks again when it matters."""
    notes, key = client.account.notes, client.note_key("attributes")
    before = notes.get(key)
    now = json.dumps({**_kept(client), **found}, sort_keys=True)
    if now != before:
        notes.keep(key, now, replaces=before)
