"""One contact at a time, by contact/sync, contactLists and contactTags: for few contacts, and for every way out or back
that a bulk import does not have.

Reads come before writes: a contact that must not be subscribed is not written at all.
"""

from dataclasses import replace

from relay.destinations.activecampaign.client import RESUBSCRIBING, Client, ListEntry, ListStatus
from relay.destinations.activecampaign.consent import evidence_of, is_ours, standing_in_the_way
from relay.destinations.activecampaign.errors import (
    ANSWERED,
    GONE,
    LEFT_OUT,
    MALFORMED,
    NOT_DELETED,
    TAG_REFUSED,
    UNCONFIRMED,
    UNKNOWN_STATUS,
    UNREADABLE,
)
from relay.destinations.activecampaign.mapping import Leaving, leaving, list_target, name_in
from relay.destinations.activecampaign.rows import Contact
from relay.destinations.activecampaign.settings import AcAccount, ActiveCampaignOptions
from relay.destinations.activecampaign.tags import Tags
from relay.destinations.api import ReadRefused
from relay.destinations.contract import Answer, Step
from relay.destinations.error_table import Refused
from relay.destinations.outcomes import nothing_done, part_done
from relay.domain.problems import Conflict, ExportProblem, Rejection, Transient

DONE = Answer()


def join(account: AcAccount, options: ActiveCampaignOptions, step: Step, contact: Contact) -> Answer | None:
    """Write one contact and subscribe it, unless it must not be.

    Return None, with nothing done, for one that was never on the list and that an import did not take: only another
    import tells whether it may be taken.
    """
    client = Client(account)
    tags = Tags(client, account.notes)

    def objection(entry: ListEntry | None) -> Rejection | None:
        def evidence_at(list_id: str) -> str | None:
            return account.evidence_at(list_target(list_id), step.identity)

        return standing_in_the_way(entry, step.evidence, evidence_at, may_return=options.resubscribe)

    try:
        known = client.contact_id(step.identity)
        entry = None if known is None else client.list_entry(known, options.list_id)
        why = objection(entry)
        if why is not None:
            return _refused(why)
        if entry is None and step.last_refusal in LEFT_OUT:
            return None
        tags.prepare(contact.tags)
    except ReadRefused:
        return _refused(UNREADABLE)
    except Refused:
        return _refused(TAG_REFUSED)
    try:
        contact_id = client.sync(contact.for_sync)
    except Refused:
        return _refused(MALFORMED)
    try:
        with part_done(ANSWERED):
            if known is None:
                # Nobody was found, and yet there may have been somebody: deleted before, or not visible to the user.
                entry = client.list_entry(contact_id, options.list_id)
                why = objection(entry)
                if why is not None:
                    return _refused(replace(why, is_certain=False))
            tags.add(contact_id, contact.tags)
            if entry is None or entry.status is not ListStatus.SUBSCRIBED:
                source = {} if entry is None else {"sourceid": RESUBSCRIBING}
                client.set_list_status(contact_id, options.list_id, ListStatus.SUBSCRIBED, **source)
    except (ReadRefused, Refused):
        # Its values are written by now: nobody may think that nothing was done.
        return _refused(UNCONFIRMED)
    return DONE


def leave(account: AcAccount, options: ActiveCampaignOptions, step: Step, contact: Contact) -> Answer:
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
            Tags(client, account.notes).remove(known, name_in(step.target))
        else:
            client.sync(contact.for_sync)
    except ReadRefused:
        return _refused(UNREADABLE)
    except Refused:
        return _refused(MALFORMED)
    return DONE


def delete(account: AcAccount, identity: str) -> Rejection | None:
    """Delete a contact, whatever lists it is on; return why that is refused."""
    client = Client(account)
    try:
        with nothing_done():
            known = client.contact_id(identity)
        if known is not None:
            client.delete_contact(known)
    except ReadRefused:
        return UNREADABLE
    except Refused:
        return NOT_DELETED
    return None


def _unsubscribe(client: Client, contact_id: str, step: Step) -> Answer:
    """Unsubscribe a subscribed contact; the evidence is what this left, as it will be read again."""
    list_id = name_in(step.target)
    entry = client.list_entry(contact_id, list_id)
    if entry is not None and entry.status is None:
        return _refused(UNKNOWN_STATUS)
    if entry is None or entry.status is not ListStatus.SUBSCRIBED:
        # Sent again after a lost answer, or unsubscribed by hand before: only in the first case it is as we left it.
        if entry is not None and step.evidence is not None and is_ours(entry, step.evidence):
            return Answer(evidence={0: step.evidence})
        return DONE
    try:
        left = client.set_list_status(contact_id, list_id, ListStatus.UNSUBSCRIBED)
    except ExportProblem:
        if client.why_no_list(list_id) != GONE:
            raise
        # Nobody can still be on a list that is gone.
        return DONE
    try:
        with part_done(ANSWERED):
            left = client.list_entry(contact_id, list_id) or left
    except (Transient, Conflict):
        # What the writing call showed may read the same; if it does not, the way back is unclear and stays shut.
        return Answer(evidence={0: evidence_of(left, entry.elsewhere)})
    # Of other lists counts what was there before: an unsubscription that came meanwhile is none of ours.
    return Answer(evidence={0: evidence_of(left, entry.elsewhere)}) if left.status is ListStatus.UNSUBSCRIBED else DONE


def _refused(why: Rejection) -> Answer:
    return Answer(refused={0: why})
