"""Evidence that nobody has objected since we unsubscribed a contact: what we remember, and what is there now. Pure.

Remembered are the list entry our call left, and the unsubscriptions from other lists that were there before it. Whoever
unsubscribed from any list since then does not come back by us, unless that was us again, for another export.
"""

from collections.abc import Callable, Mapping

from relay.destinations.activecampaign.client import ListEntry

_SHORT = 16
"""Characters that are remembered of the fingerprint of another list's entry."""


def memo_of(left: ListEntry, elsewhere: Mapping[str, str]) -> str:
    """Return what is remembered: the entry our call left, and the unsubscriptions from other lists before it."""
    return f"{left.fingerprint}:{','.join(sorted(mark[:_SHORT] for mark in elsewhere.values()))}"


def is_ours(entry: ListEntry, memo: str | None) -> bool:
    """Return whether a list entry is exactly what our call left."""
    return memo is not None and memo.partition(":")[0] == entry.fingerprint


def nobody_objected(entry: ListEntry, memo: str | None, memo_at: Callable[[str], str | None]) -> bool:
    """Return whether an unsubscribed contact may come back: its entry is ours, and it has left no other list since.

    `memo_at` gives what is remembered of the contact at another list, by the list's id.
    """
    if memo is None or not is_ours(entry, memo):
        return False
    before = set(memo.partition(":")[2].split(","))
    since = {number: mark for number, mark in entry.elsewhere.items() if mark[:_SHORT] not in before}
    return all((memo_at(number) or "").partition(":")[0] == mark for number, mark in since.items())
