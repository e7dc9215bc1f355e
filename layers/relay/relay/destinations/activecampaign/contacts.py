"""One contact at a time, by contact/sync, contactLists and contactTags: for few contacts, and for every way out or back
that a bulk import does not have.

Reads come before writes: a contact that must not be subscribed is not written at all.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from relay.destinations.activecampaign.client import RESUBSCRIBING, Client, ListEntry, ListStatus, ReadRefused
from relay.destinations.activecampaign.errors import (
    BOUNCED,
    MALFORMED,
    OPT_IN_PENDING,
    TAG_REFUSED,
    UNCONFIRMED,
    UNKNOWN_STATUS,
    UNREADABLE,
    UNSUBSCRIBED,
)
from relay.destinations.activecampaign.evidence import evidence_of, is_ours, nobody_objected
from relay.destinations.activecampaign.mapping import Leaving, leaving, list_target, name_in
from relay.destinations.activecampaign.rows import Contact
from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.destinations.activecampaign.tags import Tags
from relay.destinations.contract import Account, Answer, Step
from relay.destinations.outcomes import part_done
from relay.domain.problems import Conflict, Rejection, Transient

DONE = Answer()

ANSWERED = timedelta()
"""How long a single call may take effect once it is answered as taken: no longer."""

OBJECTIONS: Mapping[ListStatus | None, Rejection] = {
    ListStatus.UNSUBSCRIBED: UNSUBSCRIBED,
    ListStatus.BOUNCED: BOUNCED,
    ListStatus.UNCONFIRMED: OPT_IN_PENDING,
}
"""What a list entry says against subscribing its contact, by status; a status nobody documented is not here."""


def standing_in_the_way(
    account: Account, options: ActiveCampaignOptions, step: Step, entry: ListEntry | None
) -> Rejection | None:
    """Return why a contact with this list entry must not be subscribed; None when it may be, or is.

    One whom this export unsubscribed may come back only while nobody has objected since.
    """
    if entry is None or entry.status in (ListStatus.SUBSCRIBED, ListStatus.REMOVED):
        return None
    if entry.status is ListStatus.UNSUBSCRIBED and options.resubscribe:

        def evidence_at(list_id: str) -> str | None:
            return account.evidence_at(list_target(list_id), step.identity)

        if nobody_objected(entry, step.evidence, evidence_at):
            return None
    return OBJECTIONS.get(entry.status, UNKNOWN_STATUS)


def join(account: Account, options: ActiveCampaignOptions, step: Step, contact: Contact) -> Answer:
    """Write one contact and subscribe it, unless it must not be."""
    client = Client(account)
    tags = Tags(client, account.notes)
    list_id = options.list_id
    try:
        known = client.contact_id(step.identity)
        entry = None if known is None else client.list_entry(known, list_id)
        refusal = standing_in_the_way(account, options, step, entry)
        if refusal is None and not tags.prepare(contact.tags):
            refusal = TAG_REFUSED
    except ReadRefused:
        return Answer(refused={0: UNREADABLE})
    if refusal is not None:
        return Answer(refused={0: refusal})
    contact_id = client.sync(contact.for_sync)
    if contact_id is None:
        return Answer(refused={0: MALFORMED})
    try:
        with part_done(ANSWERED):
            if known is None:
                # Nobody was found, and yet there may have been somebody: deleted before, or not visible to the key's
                # user.
                entry = client.list_entry(contact_id, list_id)
                refusal = standing_in_the_way(account, options, step, entry)
                if refusal is not None:
                    return Answer(refused={0: replace(refusal, is_certain=False)})
            is_done = tags.add(contact_id, contact.tags)
            if is_done and (entry is None or entry.status is not ListStatus.SUBSCRIBED):
                source = {} if entry is None else {"sourceid": RESUBSCRIBING}
                is_done = client.set_list_status(contact_id, list_id, ListStatus.SUBSCRIBED, **source) is not None
    except ReadRefused:
        is_done = False
    # Its values are written by now: nobody may think that nothing was done.
    return DONE if is_done else Answer(refused={0: UNCONFIRMED})


def leave(account: Account, options: ActiveCampaignOptions, step: Step, contact: Contact) -> Answer:
    """Take one contact out in the export's way; one that is not there, or out already, is left alone."""
    client = Client(account)
    way = leaving(step.target, options)
    try:
        known = client.contact_id(step.identity)
        if known is None:
            return DONE
        if way is Leaving.UNSUBSCRIBE:
            return _unsubscribe(client, known, step)
        if way is Leaving.REMOVE_TAG:
            taken = Tags(client, account.notes).remove(known, name_in(step.target))
        else:
            taken = client.sync(contact.for_sync) is not None
    except ReadRefused:
        return Answer(refused={0: UNREADABLE})
    return DONE if taken else Answer(refused={0: MALFORMED})


def _unsubscribe(client: Client, contact_id: str, step: Step) -> Answer:
    """Unsubscribe a subscribed contact; the evidence is what this left, as it will be read again."""
    list_id = name_in(step.target)
    entry = client.list_entry(contact_id, list_id)
    if entry is not None and entry.status is None:
        return Answer(refused={0: UNKNOWN_STATUS})
    if entry is None or entry.status is not ListStatus.SUBSCRIBED:
        # Told again after a lost answer, or unsubscribed by hand before: only in the first case it is as we left it.
        if entry is not None and step.evidence is not None and is_ours(entry, step.evidence):
            return Answer(evidence={0: step.evidence})
        return DONE
    left = client.set_list_status(contact_id, list_id, ListStatus.UNSUBSCRIBED)
    if left is None:
        return Answer(refused={0: MALFORMED})
    try:
        with part_done(ANSWERED):
            left = client.list_entry(contact_id, list_id) or left
    except (Transient, Conflict):
        # What the writing call showed may read the same; if it does not, the way back is unclear and stays shut.
        return Answer(evidence={0: evidence_of(left, entry.elsewhere)})
    # Of other lists counts what was there before: an unsubscription that came meanwhile is none of ours.
    return Answer(evidence={0: evidence_of(left, entry.elsewhere)}) if left.status is ListStatus.UNSUBSCRIBED else DONE
