"""What became of an asynchronous import: its own report, and looking up what that leaves open.

https://developers.activecampaign.com/reference/bulk-import-status-info: failures are addresses without reasons.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from relay.destinations.activecampaign import contacts
from relay.destinations.activecampaign.bounds import IMPORT_BOUND
from relay.destinations.activecampaign.client import BULK, REST, Client, ListStatus, ReadRefused, Room
from relay.destinations.activecampaign.contacts import OBJECTIONS
from relay.destinations.activecampaign.errors import (
    EXCLUDED,
    IMPORT_REFUSED,
    OVER_LIMIT,
    UNCONFIRMED,
    UNKNOWN_STATUS,
)
from relay.destinations.activecampaign.fields import Kinds
from relay.destinations.activecampaign.mapping import Leaving, field_id, leaving, name_in
from relay.destinations.activecampaign.overview import outstanding
from relay.destinations.activecampaign.rows import contact_of
from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.destinations.activecampaign.tags import Tags
from relay.destinations.contract import Account, ImportReport, Notes, OpenImport, Step
from relay.domain.problems import Rejection

LOOKED_UP_AT_ONCE = 20
"""Contacts looked up in one look at an import: up to five calls each, under a quota of 4 a second for everybody."""

EXPLAINED_AT_ONCE = 8
"""Refused contacts whose reason is looked for in one look."""

EXPLAINED_AT_MOST = 64
"""While more are refused, the rest is reported without a reason: it would take thousands of calls to find them."""

TOLERATED_BACKLOG = timedelta(seconds=1)
"""While others wait longer than this for a call, nobody asks for reasons."""

ASKED_ANYWAY = timedelta(minutes=10)
"""An import so old is asked about whatever the overview says: nobody promises that imports end in their order.

So long an unknown id may also be one that ActiveCampaign does not show yet.
"""


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
    age = queued.asked_at - queued.queued_at
    if queued.contacts is not None and age < ASKED_ANYWAY and _is_surely_waiting(client, account.notes, queued, age):
        return ImportReport(finished=False)
    failed: set[str] = set()
    complete = True
    for part in queued.import_id.split(","):
        state = client.import_state(part)
        if state is None and age < ASKED_ANYWAY:
            return ImportReport(finished=False)
        if state is None or state.status in ("failed", "interrupted") or age >= IMPORT_BOUND:
            complete = complete and state is not None and state.status == "completed"
        elif state.status != "completed":
            return ImportReport(finished=False)
        if state is not None:
            failed |= state.failed
    look_up = _LookUp(account, client, options, kinds)
    refused, unexplained = _refusals(account, queued, steps, failed, look_up)
    all_queued = queued.contacts is not None and queued.contacts >= len(steps)
    accounted_for = all_queued and failed <= {step.identity for step in steps}
    if complete and accounted_for:
        return ImportReport(True, {index: why for index, why in refused.items() if why is not None}, unexplained)
    doubtful = [index for index in range(len(steps)) if index not in refused and index not in unexplained]
    for number, index in enumerate(doubtful):
        if number == LOOKED_UP_AT_ONCE or not queued.is_time_left():
            unexplained |= set(doubtful[number:])
            break
        if not look_up.is_as_wanted(steps[index]):
            refused[index] = UNCONFIRMED
    return ImportReport(True, {index: why for index, why in refused.items() if why is not None}, unexplained)


def _refusals(
    account: Account, queued: OpenImport, steps: Sequence[Step], failed: set[str], look_up: "_LookUp"
) -> tuple[dict[int, Rejection | None], frozenset[int]]:
    """Return the best reason for each refused step (None: it is as wanted after all), and those for a later look."""
    rows = [index for index, step in enumerate(steps) if step.identity in failed]
    if len(rows) > EXPLAINED_AT_MOST or account.backlog(REST) > TOLERATED_BACKLOG:
        return dict.fromkeys(rows, IMPORT_REFUSED), frozenset()
    refused: dict[int, Rejection | None] = {}
    for number, index in enumerate(rows):
        if number == EXPLAINED_AT_ONCE or not queued.is_time_left():
            return refused, frozenset(rows[number:])
        refused[index] = look_up.reason(steps[index])
    return refused, frozenset()


class _LookUp:
    """Looks at single contacts: up to five calls each."""

    def __init__(self, account: Account, client: Client, options: ActiveCampaignOptions, kinds: Kinds) -> None:
        self._account = account
        self._client = client
        self._tags = Tags(client, account.notes)
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
        way = leaving(step.target, self._options)
        if step.joins or way is Leaving.UNSUBSCRIBE:
            list_id = self._options.list_id if step.joins else name_in(step.target)
            entry = self._client.list_entry(known, list_id)
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
            entry = None if known is None else self._client.list_entry(known, self._options.list_id)
        except ReadRefused:
            return IMPORT_REFUSED
        if entry is not None and entry.status is ListStatus.REMOVED:
            return self._subscribed(step)
        if entry is not None and entry.status is not ListStatus.SUBSCRIBED:
            return replace(OBJECTIONS.get(entry.status, UNKNOWN_STATUS), is_certain=False)
        if entry is not None:
            return IMPORT_REFUSED
        is_full = self._is_full()
        if is_full:
            return replace(OVER_LIMIT, is_certain=known is None)
        return EXCLUDED if known is None and is_full is False else IMPORT_REFUSED

    def _subscribed(self, step: Step) -> Rejection | None:
        """Subscribe by single calls one who was removed without objecting, unless those could start automations."""
        contact = contact_of(step, self._options, self._kinds)
        if self._options.exclude_automations or isinstance(contact, Rejection):
            return IMPORT_REFUSED
        return contacts.join(self._account, self._options, step, contact).refused.get(0)

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


def _is_surely_waiting(client: Client, notes: Notes, queued: OpenImport, age: timedelta) -> bool:
    """Whether more imports are open than can have been queued after this one: then its own turn has hardly come.

    One call, kept as a note for a while, thus saves a call for every import that waits in ActiveCampaign's queue.
    """
    later_ones = BULK.calls * (age / BULK.per) + 1
    open_ones = outstanding(client, notes, queued.asked_at)
    return open_ones is not None and open_ones > later_ones
