"""Looking at single contacts: whether they are as a step asks, and if not, why."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import TypeVar

from relay.destinations.activecampaign import contacts
from relay.destinations.activecampaign.checks import kinds_for
from relay.destinations.activecampaign.client import BULK, PAGE, REST, Client, ListEntry, ListStatus
from relay.destinations.activecampaign.consent import objection_of
from relay.destinations.activecampaign.errors import (
    EXCLUDED,
    GONE,
    IMPORT_REFUSED,
    OVER_LIMIT,
    UNCONFIRMED,
)
from relay.destinations.activecampaign.mapping import Kinds, Leaving, field_id, leaving, name_in
from relay.destinations.activecampaign.rows import contact_of
from relay.destinations.activecampaign.settings import AcAccount, AcExport
from relay.destinations.activecampaign.tags import Tags
from relay.destinations.api import ReadRefused
from relay.destinations.contract import Step
from relay.destinations.error_table import ODD_SUCCESSES
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem, Rejection, Transient

BESIDE_IMPORTS = replace(REST, calls=2)
"""The pace of look-ups while imports are sent: half of what is ours. Whether imports count among the requests of a
second is not documented; 97 a minute and these together stay below 5 a second."""

_Found = TypeVar("_Found")


class LookUp:
    """Looks at single contacts: up to five calls each, and one for each tag nobody knows the id of.

    Trouble with one contact alone counts as what cannot be read of it: a contact whose page comes in another shape, or
    not at all, holds up nobody. Raises as the client does when the account is in trouble, asks to slow down, or our own
    side is at its limit.
    """

    def __init__(self, account: AcAccount, export: AcExport) -> None:
        self._account = account
        self._options = export.options
        self._kinds = kinds_for(Client(account), account.notes, export)
        self._client = Client(account, BESIDE_IMPORTS if account.backlog(BULK) else REST)
        self._tags = Tags(self._client, account.notes)

    def is_as_wanted(self, step: Step) -> bool:
        """Return whether the contact's standing on the list, its values and its tags are what the step asks for."""
        return self._of_one(lambda: self._is_as_wanted(step, *self._read(step)), unread=False)

    def doubt(self, step: Step, absent: Rejection) -> Rejection | None:
        """Return why a step that an import says nothing of is not as wanted, None when it is.

        `absent` is what it means that there is no such contact, or that it never was on the list, unless the account is
        full.
        """
        unread: Rejection | None = UNCONFIRMED
        return self._of_one(lambda: self._doubt(step, absent), unread=unread)

    def reason(self, step: Step) -> Rejection | None:
        """Return the best reason for a step that an import refused; None for one who leaves and is out already."""
        unread: Rejection | None = IMPORT_REFUSED
        return self._of_one(lambda: self._reason(step), unread=unread)

    def addresses(self, ids: Iterable[str], is_time_left: Callable[[], bool]) -> set[str]:
        """Return the addresses of contacts by their ids, as many as can be had, a page at a time."""
        wanted = sorted(ids)
        found: set[str] = set()
        for start in range(0, len(wanted), PAGE):
            if is_time_left():
                found |= self._of_one(partial(self._client.addresses, wanted[start : start + PAGE]), unread=set())
        return found

    def _of_one(self, ask: Callable[[], _Found], *, unread: _Found) -> _Found:
        """Ask something of one contact, twice when the first try meets trouble although the account is well."""
        for _ in range(2):
            try:
                return ask()
            except ReadRefused:
                return unread
            except (Transient, ConnectionProblem, ExportProblem) as problem:
                # Our own limit, a rest that is asked for, or a key that does not work, which the client has made sure
                # of, are none of one contact's.
                slows_down = isinstance(problem, Transient) and problem.retry_after is not None
                if isinstance(problem, Busy) or slows_down or problem.code in ("rate_limited", *ODD_SUCCESSES):
                    raise
                self._client.me()
        return unread

    def _read(self, step: Step) -> tuple[str | None, ListEntry | None]:
        """Return the contact's id and its entry on the list that the step is about, None where there is none."""
        known = self._client.contact_id(step.identity)
        if known is None:
            return None, None
        if step.joins:
            return known, self._client.list_entry(known, self._options.list_id)
        if leaving(step.target, self._options) is Leaving.UNSUBSCRIBE:
            return known, self._client.list_entry(known, name_in(step.target))
        return known, None

    def _is_as_wanted(self, step: Step, known: str | None, entry: ListEntry | None) -> bool:
        if known is None:
            return not step.joins
        if (entry is not None and entry.status is ListStatus.SUBSCRIBED) != step.joins:
            # Nobody can still be on a list that is gone.
            return not step.joins and self._client.why_no_list(name_in(step.target)) == GONE
        if not step.joins and leaving(step.target, self._options) is Leaving.REMOVE_TAG:
            return not self._tags.has(known, [name_in(step.target)])
        contact = contact_of(step, self._options, self._kinds)
        if isinstance(contact, Rejection):
            return False
        wanted = {**contact.names, **{f"fields.{number}": value for number, value in contact.fields.items()}}
        held = self._client.values(known) if wanted else {}
        alike = all(_alike(name, held.get(name), value, self._kinds) for name, value in wanted.items())
        return alike and self._tags.has(known, contact.tags)

    def _doubt(self, step: Step, absent: Rejection) -> Rejection | None:
        known, entry = self._read(step)
        if step.joins and entry is None and absent is not UNCONFIRMED:
            why = self._why_absent(IMPORT_REFUSED)
            return why if known is None else replace(why, is_certain=False)
        if step.joins and known is None:
            return absent
        if step.joins and entry is not None and entry.status is not ListStatus.SUBSCRIBED:
            return self._objection(step, entry, UNCONFIRMED)
        return None if self._is_as_wanted(step, known, entry) else UNCONFIRMED

    def _reason(self, step: Step) -> Rejection | None:
        known, entry = self._read(step)
        if not step.joins:
            return None if self._is_as_wanted(step, known, entry) else IMPORT_REFUSED
        if known is None:
            return self._why_absent(IMPORT_REFUSED)
        if entry is None:
            return replace(OVER_LIMIT, is_certain=False) if self._is_full else IMPORT_REFUSED
        return IMPORT_REFUSED if entry.status is ListStatus.SUBSCRIBED else self._objection(step, entry, IMPORT_REFUSED)

    def _objection(self, step: Step, entry: ListEntry, otherwise: Rejection) -> Rejection | None:
        """Return what stands against subscribing a contact with this list entry.

        One who was removed without objecting is subscribed by single calls here, unless those could start automations:
        what an import does with such a contact is not documented.
        """
        if entry.status is not ListStatus.REMOVED:
            return replace(objection_of(entry), is_certain=False)
        contact = contact_of(step, self._options, self._kinds)
        if self._options.exclude_automations or isinstance(contact, Rejection):
            return otherwise
        answer = contacts.join(self._account, self._options, step, contact)
        return otherwise if answer is None else answer.refused.get(0)

    def _why_absent(self, unknown: Rejection) -> Rejection:
        return unknown if self._is_full is None else OVER_LIMIT if self._is_full else EXCLUDED

    @cached_property
    def _is_full(self) -> bool | None:
        """Whether the account has reached its contact limit; None where that may not be seen."""
        room = self._client.room()
        return None if room is None else room.contacts >= room.limit


def _alike(field: str, held: str | None, wanted: str, kinds: Kinds) -> bool:
    """Whether a held value is the wanted one; a time may be shown with another offset than it was sent with."""
    if held == wanted:
        return True
    if held is None or kinds.get(field_id(field) or "") != "datetime":
        return False
    try:
        return datetime.fromisoformat(held) == datetime.fromisoformat(wanted)
    except (ValueError, TypeError):
        return False
