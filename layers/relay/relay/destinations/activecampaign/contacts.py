"""One contact at a time, by contact/sync, contactLists and contactTags: for few contacts, and for every way out or back
that a bulk import does not have.

Reads come before writes: a contact that must not be subscribed is not written at all.
"""

from relay.destinations.activecampaign.client import RESUBSCRIBING, Client, ListEntry, ListStatus
from relay.destinations.activecampaign.errors import BOUNCED, MALFORMED, OPT_IN_PENDING, UNSUBSCRIBED
from relay.destinations.activecampaign.mapping import list_of
from relay.destinations.activecampaign.rows import Contact
from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.destinations.activecampaign.tags import Tags
from relay.destinations.contract import Answer, Step
from relay.domain.problems import Problem, Rejection, Transient

DONE = Answer()


def standing_in_the_way(entry: ListEntry | None, memo: str | None, *, resubscribe: bool) -> Rejection | None:
    """Return why a contact with this list entry must not be subscribed; None when it may be, or is.

    One whom this export unsubscribed may come back only while the entry is exactly what our own call left.
    """
    if entry is None or entry.status is ListStatus.SUBSCRIBED:
        return None
    if entry.status is ListStatus.UNSUBSCRIBED:
        return None if resubscribe and memo == entry.fingerprint else UNSUBSCRIBED
    return BOUNCED if entry.status is ListStatus.BOUNCED else OPT_IN_PENDING


def join(client: Client, tags: Tags, options: ActiveCampaignOptions, step: Step, contact: Contact) -> Answer:
    """Write one contact and subscribe it, unless it must not be."""
    list_id = list_of(step.target)
    known = client.contact_id(step.identity)
    entry = None if known is None else client.list_entry(known, list_id)
    refusal = standing_in_the_way(entry, step.memo, resubscribe=options.resubscribe)
    if refusal is not None:
        return Answer(refused={0: refusal})
    contact_id = client.sync(contact.for_sync)
    if contact_id is None:
        return Answer(refused={0: MALFORMED})
    try:
        tags.add(contact_id, contact.tags)
        if entry is not None and entry.status is ListStatus.SUBSCRIBED:
            return DONE
        source = {} if entry is None else {"sourceid": RESUBSCRIBING}
        subscribed = client.set_list_status(contact_id, list_id, ListStatus.SUBSCRIBED, **source)
    except Problem as problem:
        raise half_done(problem) from None
    return DONE if subscribed is not None else Answer(refused={0: MALFORMED})


def leave(client: Client, tags: Tags, options: ActiveCampaignOptions, step: Step, contact: Contact) -> Answer:
    """Take one contact out in the export's way; one that is not there, or out already, is left alone."""
    known = client.contact_id(step.identity)
    if known is None:
        return DONE
    if options.tag is not None:
        tags.remove(known, options.tag)
        return DONE
    if options.exit_field is not None:
        return DONE if client.sync(contact.for_sync) is not None else Answer(refused={0: MALFORMED})
    return _unsubscribe(client, known, list_of(step.target))


def _unsubscribe(client: Client, contact_id: str, list_id: str) -> Answer:
    """Unsubscribe a subscribed contact; the memo is the list entry this left, as it will be read again."""
    entry = client.list_entry(contact_id, list_id)
    if entry is None or entry.status is not ListStatus.SUBSCRIBED:
        return DONE
    left = client.set_list_status(contact_id, list_id, ListStatus.UNSUBSCRIBED)
    if left is None:
        return Answer(refused={0: MALFORMED})
    try:
        left = client.list_entry(contact_id, list_id) or left
    except Transient:
        # What the writing call showed may read the same; if it does not, the way back is unclear and stays shut.
        return Answer(memos={0: left.fingerprint})
    except Problem as problem:
        raise half_done(problem) from None
    return Answer(memos={0: left.fingerprint}) if left.status is ListStatus.UNSUBSCRIBED else DONE


def half_done(problem: Problem) -> Problem:
    """Return the problem of a call after another one of the same step was taken: nobody may think nothing was done."""
    problem.taken = None
    return problem
