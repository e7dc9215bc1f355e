"""Who may be subscribed: nobody who objected, and whom we unsubscribed only while nobody has objected since. Pure.

Remembered as evidence are the list entry that our call left, and the unsubscriptions from other lists that were there
before it. Whoever unsubscribed from any list since then does not come back by us, unless that was us again, for another
export.
"""

from collections.abc import Callable, Mapping

from relay.destinations.activecampaign.client import ListEntry, ListStatus
from relay.destinations.activecampaign.errors import BOUNCED, OPT_IN_PENDING, UNKNOWN_STATUS, UNSUBSCRIBED
from relay.domain.problems import Rejection

_SHORT = 16
"""Characters that are remembered of the fingerprint of another list's entry."""

_OBJECTIONS: Mapping[ListStatus | None, Rejection] = {
    ListStatus.UNSUBSCRIBED: UNSUBSCRIBED,
    ListStatus.BOUNCED: BOUNCED,
    ListStatus.UNCONFIRMED: OPT_IN_PENDING,
}


def objection_of(entry: ListEntry) -> Rejection:
    """Return what a list entry says against subscribing its contact, unless it is subscribed or merely removed."""
    return _OBJECTIONS.get(entry.status, UNKNOWN_STATUS)


def standing_in_the_way(
    entry: ListEntry | None, evidence: str | None, evidence_at: Callable[[str], str | None], *, may_return: bool
) -> Rejection | None:
    """Return why a contact with this list entry must not be subscribed; None when it may be, or is.

    `may_return`: whether one whom we unsubscribed may come back. `evidence` is what is remembered of the contact at
    this list, `evidence_at` gives that of another list, by the list's id.
    """
    if entry is None or entry.status in (ListStatus.SUBSCRIBED, ListStatus.REMOVED):
        return None
    if entry.status is ListStatus.UNSUBSCRIBED and may_return and _nobody_objected(entry, evidence, evidence_at):
        return None
    return objection_of(entry)


def evidence_of(left: ListEntry, elsewhere: Mapping[str, str]) -> str:
    """Return what is remembered: the entry our call left, and the unsubscriptions from other lists before it."""
    return f"{left.fingerprint}:{','.join(sorted(mark[:_SHORT] for mark in elsewhere.values()))}"


def is_ours(entry: ListEntry, evidence: str | None) -> bool:
    """Return whether a list entry is exactly what our call left."""
    return evidence is not None and evidence.partition(":")[0] == entry.fingerprint


def _nobody_objected(entry: ListEntry, evidence: str | None, evidence_at: Callable[[str], str | None]) -> bool:
    if evidence is None or not is_ours(entry, evidence):
        return False
    before = set(evidence.partition(":")[2].split(","))
    since = {number: mark for number, mark in entry.elsewhere.items() if mark[:_SHORT] not in before}
    return all((evidence_at(number) or "").partition(":")[0] == mark for number, mark in since.items())
