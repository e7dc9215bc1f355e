"""The account's overview of open imports: what one look at it says about all of them, ours and lost ones too.

https://developers.activecampaign.com/reference/bulk-import-status-list
"""

from datetime import datetime, timedelta

from relay.destinations.activecampaign.client import Client
from relay.destinations.activecampaign.errors import UNDER_WAY
from relay.destinations.contract import Notes
from relay.domain import moments

ENDING = timedelta(minutes=10)
"""How long an import may go on that the overview does not call outstanding any more: nobody says when it stops to."""

SERVES = timedelta(seconds=15)
"""How long one look serves everybody."""

_COUNT = "ac outstanding imports"
_EMPTY = "ac no import outstanding"


def outstanding(client: Client, notes: Notes, now: datetime) -> int | None:
    """Return how many imports are open, None when that cannot be read; a look serves for a while."""
    kept = notes.get(_COUNT)
    if kept is not None:
        count, _, seen_at = kept.partition(" ")
        if now - moments.parse(seen_at) < SERVES:
            return int(count)
    counted = client.outstanding_imports()
    if counted is not None:
        notes.keep(_COUNT, f"{counted} {moments.text(now)}", replaces=kept)
    return counted


def cleared_before(client: Client, notes: Notes, now: datetime) -> datetime | None:
    """Return a moment: whatever was to be sent before it is carried out by now, or never will be.

    That is so when no import was outstanding at a later moment which itself lies back far enough. Of the moments
    without one two are kept: the newest, and the newest that lies back so far.
    """
    kept = notes.get(_EMPTY)
    seen = [] if kept is None else [moments.parse(moment) for moment in kept.split()]
    past = [moment for moment in seen if now - moment >= ENDING]
    if len(past) == len(seen) and outstanding(client, notes, now) == 0:
        notes.keep(_EMPTY, " ".join(moments.text(moment) for moment in (*past[-1:], now)), replaces=kept)
    return past[-1] - UNDER_WAY if past else None
