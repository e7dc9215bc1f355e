"""What became of an asynchronous import: its own report, and looking up what that leaves open.

https://developers.activecampaign.com/reference/bulk-import-status-info: failures are addresses without reasons.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from relay.destinations.activecampaign.client import BULK, REST, Client, ListStatus, ReadRefused, Room
from relay.destinations.activecampaign.errors import (
    BOUNCED,
    EXCLUDED,
    IMPORT_REFUSED,
    OPT_IN_PENDING,
    OVER_LIMIT,
    UNCONFIRMED,
    UNSUBSCRIBED,
)
from relay.destinations.activecampaign.fields import Kinds
from relay.destinations.activecampaign.mapping import field_id, list_of
from relay.destinations.activecampaign.rows import contact_of
from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.destinations.activecampaign.tags import Tags
from relay.destinations.contract import Account, ImportReport, Notes, OpenImport, Step
from relay.domain import moments
from relay.domain.problems import Rejection

LOOKED_UP_AT_ONCE = 20
"""Contacts looked up in one look at an import: up to five calls each, under a quota of 4 a second for everybody."""

EXPLAINED_AT_ONCE = 8
"""Refused contacts whose reason is looked for in one look; the rest is reported without one."""

TOLERATED_BACKLOG = timedelta(seconds=2)
"""While others wait longer than this for a call, nobody asks for reasons."""

OVERVIEW_AGE = timedelta(seconds=15)
"""How long one look at the account's open imports serves everybody."""

ASKED_ANYWAY = timedelta(minutes=10)
"""An import so old is asked about whatever the overview says: nobody promises that imports end in their order."""

_REASONS = {
    ListStatus.UNSUBSCRIBED: UNSUBSCRIBED,
    ListStatus.BOUNCED: BOUNCED,
    ListStatus.UNCONFIRMED: OPT_IN_PENDING,
}

_OVERVIEW = "ac outstanding imports"


def report(
    client: Client,
    account: Account,
    options: ActiveCampaignOptions,
    kinds: Kinds,
    queued: OpenImport,
    steps: Sequence[Step],
) -> ImportReport:
    """Look at an import once.

    What a completed import does not account for, and all of one that failed, was interrupted or is unknown, is looked
    up contact by contact, some at a time.
    """
    is_first_look = queued.contacts is not None
    if is_first_look and _is_surely_waiting(client, account.notes, queued):
        return ImportReport(finished=False)
    failed: set[str] = set()
    complete = True
    for part in queued.import_id.split(","):
        state = client.import_state(part)
        if state is None or state.status in ("failed", "interrupted"):
            complete = False
        elif state.status != "completed":
            return ImportReport(finished=False)
        if state is not None:
            failed |= state.failed
    look_up = _LookUp(client, Tags(client, account.notes), options, kinds)
    refused_rows = [index for index, step in enumerate(steps) if step.identity in failed]
    refused = dict.fromkeys(refused_rows, IMPORT_REFUSED)
    fine: set[int] = set()
    if account.backlog(REST) <= TOLERATED_BACKLOG:
        for index in refused_rows[:EXPLAINED_AT_ONCE]:
            reason = look_up.reason(steps[index])
            if reason is None:
                fine.add(index)
                del refused[index]
            else:
                refused[index] = reason
    contacts = queued.contacts
    accounted_for = contacts is not None and contacts >= len(steps) and failed <= {step.identity for step in steps}
    if complete and accounted_for:
        return ImportReport(finished=True, refused=refused)
    doubtful = [index for index in range(len(steps)) if index not in refused and index not in fine]
    for index in doubtful[:LOOKED_UP_AT_ONCE]:
        if not look_up.is_as_wanted(steps[index]):
            refused[index] = UNCONFIRMED
    return ImportReport(finished=True, refused=refused, open=frozenset(doubtful[LOOKED_UP_AT_ONCE:]))


class _LookUp:
    """Looks at single contacts: up to five calls each."""

    def __init__(self, client: Client, tags: Tags, options: ActiveCampaignOptions, kinds: Kinds) -> None:
        self._client = client
        self._tags = tags
        self._options = options
        self._kinds = kinds
        self._room: list[Room | None] = []

    def is_as_wanted(self, step: Step) -> bool:
        """Whether the contact's standing on the list, the values and the tags are what the step asked for."""
        try:
            return self._is_as_wanted(step)
        except ReadRefused:
            return False

    def _is_as_wanted(self, step: Step) -> bool:
        known = self._client.contact_id(step.identity)
        if known is None:
            return not step.joins
        if step.joins or self._options.on_exit == "unsubscribe":
            entry = self._client.list_entry(known, list_of(step.target))
            if (entry is not None and entry.status is ListStatus.SUBSCRIBED) != step.joins:
                return False
        contact = contact_of(step, self._options, self._kinds)
        if isinstance(contact, Rejection):
            return False
        wanted = {**contact.names, **{f"fields.{number}": value for number, value in contact.fields.items()}}
        held = self._client.values(known) if wanted else {}
        alike = all(_alike(target, held.get(target), value, self._kinds) for target, value in wanted.items())
        return alike and self._tags.has(known, contact.tags)

    def reason(self, step: Step) -> Rejection | None:
        """Return the best reason that can be had for a refused step; None for one who leaves and is out already."""
        if not step.joins:
            return None if self.is_as_wanted(step) else IMPORT_REFUSED
        try:
            known = self._client.contact_id(step.identity)
            entry = None if known is None else self._client.list_entry(known, list_of(step.target))
        except ReadRefused:
            return IMPORT_REFUSED
        if entry is not None and entry.status is not None:
            return _REASONS.get(entry.status, IMPORT_REFUSED)
        is_full = self._is_full()
        if is_full:
            return OVER_LIMIT
        return EXCLUDED if known is None and is_full is False else IMPORT_REFUSED

    def _is_full(self) -> bool | None:
        """Whether the account has reached its contact limit; None where that may not be seen."""
        if not self._room:
            self._room.append(self._client.room())
        [room] = self._room
        return None if room is None else room.contacts >= room.limit


def _alike(target: str, held: str | None, wanted: str, kinds: Kinds) -> bool:
    """Whether a held value is the wanted one; a time may be shown with another offset than it was sent with."""
    if held == wanted:
        return True
    if held is None or kinds.get(field_id(target) or "") != "datetime":
        return False
    try:
        return datetime.fromisoformat(held) == datetime.fromisoformat(wanted)
    except (ValueError, TypeError):
        return False


def _is_surely_waiting(client: Client, notes: Notes, queued: OpenImport) -> bool:
    """Whether more imports are open than can have been queued after this one: then its own turn has hardly come.

    One call, kept as a note for a while, thus saves a call for every import that waits in ActiveCampaign's queue.
    """
    age = queued.asked_at - queued.queued_at
    if age >= ASKED_ANYWAY:
        return False
    later_ones = BULK.calls * (age / BULK.per) + 1
    outstanding = _outstanding(client, notes, queued.asked_at)
    return outstanding is not None and outstanding > later_ones


def _outstanding(client: Client, notes: Notes, now: datetime) -> int | None:
    kept = notes.get(_OVERVIEW)
    if kept is not None:
        count, _, seen_at = kept.partition(" ")
        if now - moments.parse(seen_at) < OVERVIEW_AGE:
            return int(count)
    counted = client.outstanding_imports()
    if counted is not None:
        notes.keep(_OVERVIEW, f"{counted} {moments.text(now)}", replaces=kept)
    return counted
