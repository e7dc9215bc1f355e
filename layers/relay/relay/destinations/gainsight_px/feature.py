"""Whether the subscription has the external-segments feature, as far as calls have shown.

PX has no call that looks without writing. So runs look beforehand only where a call has shown the feature to be off;
the rest is up to checks.
"""

from relay.destinations.contract import Reply
from relay.destinations.gainsight_px.client import Client

_ON, _OFF = "on", "off"


def probe(client: Client) -> Reply:
    """Reach the feature without changing anything: an update of nobody.

    Whether PX takes or refuses it is undocumented and does not matter: both show that the feature is there.
    """
    nobody = {"identityType": "IDENTIFY_ID", "add": [], "remove": []}
    return client.call("POST", "external_segment/update_membership", json=nobody)


def note(client: Client, *, is_on: bool) -> None:
    """Remember what an answer showed."""
    notes, key, now = client.account.notes, client.note_key("external segments"), _ON if is_on else _OFF
    kept = notes.get(key)
    if kept != now:
        notes.keep(key, now, replaces=kept)


def was_off(client: Client) -> bool:
    """Return whether the last answer showed that the feature is off."""
    return client.account.notes.get(client.note_key("external segments")) == _OFF
