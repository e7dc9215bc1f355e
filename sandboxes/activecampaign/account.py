"""An ActiveCampaign account held in memory: contacts, list statuses, tags, and the asynchronous import.

https://developers.activecampaign.com/reference/bulk-import-contacts
https://developers.activecampaign.com/reference/bulk-import-status-info
"""

from __future__ import annotations

import heapq
import itertools
import uuid
from collections import Counter, deque
from collections.abc import Mapping

from sandboxes.account import Account
from sandboxes.activecampaign.contacts import BOUNCED, REMOVED, SUBSCRIBED, UNSUBSCRIBED, Contact, ListStatus
from sandboxes.activecampaign.imports import Batch
from sandboxes.activecampaign.rows import ImportRow
from sandboxes.activecampaign.settings import ActiveCampaignConfig, ImportOutcome


class ActiveCampaignAccount(Account[ActiveCampaignConfig]):
    """The account behind the sandbox."""

    limits = {"requests_per_second": 1, "imports_per_minute": 60, "single_imports_per_minute": 60}

    def fill(self) -> None:
        """Hold nobody."""
        self.contacts: dict[int, Contact] = {}
        self.by_email: dict[str, Contact] = {}
        self.tags: dict[int, str] = {}
        self.tag_ids: dict[str, int] = {}
        self.batches: dict[str, Batch] = {}
        self.next_outcomes: deque[ImportOutcome] = deque()
        self._bounced: set[str] = set()
        self._excluded: set[str] = set()
        self._pending: list[tuple[float, int, Batch]] = []
        """A heap: what ends first comes first, of those that end together what was queued first."""
        self.automations_started = 0
        """How often somebody's coming to a list started its automations."""
        self._active = 0
        self._numbers = itertools.count(1)
        self._relations = itertools.count(1)
        self._tag_numbers = itertools.count(1)

    def counters(self) -> dict[str, object]:
        """Return how many imports were queued, how many contacts were in them, and how many automations started."""
        self.settle()
        return {
            "imports": len(self.batches),
            "imported_contacts": sum(batch.size for batch in self.batches.values()),
            "automations_started": self.automations_started,
        }

    def state(self, *, summary: bool) -> dict[str, object]:
        """Return contacts, lists, tags and imports; with `summary` only sizes and contacts per list and status."""
        self.settle()
        per_list: dict[str, Counter[str]] = {str(number): Counter() for number in self.config.lists}
        for contact in self.contacts.values():
            for number, standing in contact.lists.items():
                per_list.setdefault(str(number), Counter())[str(standing.status)] += 1
        sizes: dict[str, object] = {
            "contact_count": len(self.contacts),
            "active_contacts": self._active,
            "list_statuses": per_list,
            "open_imports": len(self._pending),
        }
        if summary:
            return sizes
        return {
            **sizes,
            "contacts": [self.describe(contact) for contact in self.contacts.values()],
            "lists": {str(number): name for number, name in self.config.lists.items()},
            "fields": {str(number): kind for number, kind in self.config.fields.items()},
            "tags": {str(number): name for number, name in self.tags.items()},
            "excluded": sorted(self._excluded | self.config.excluded),
            "bounced": sorted(self._bounced),
            "imports": [self._describe_batch(batch) for batch in self.batches.values()],
        }

    def describe(self, contact: Contact) -> dict[str, object]:
        """Return a contact as the state page shows it."""
        return {
            "id": str(contact.contact_id),
            "email": contact.email,
            "firstName": contact.first_name,
            "lastName": contact.last_name,
            "phone": contact.phone,
            "fields": {str(number): value for number, value in contact.fields.items()},
            "tags": sorted(self.tags[tag] for tag in contact.tags),
            "lists": {
                str(number): {
                    "status": standing.status,
                    "sourceid": standing.sourceid,
                    "by": standing.by,
                    "changed": standing.changed.isoformat(),
                }
                for number, standing in contact.lists.items()
            },
        }

    def _describe_batch(self, batch: Batch) -> dict[str, object]:
        return {
            "batchId": batch.batch_id,
            "status": batch.status(self.clock.elapsed()),
            "contacts": batch.size,
            "success": batch.success,
            "failure": batch.failure,
        }

    def exclude(self, email: str) -> None:
        """Put an address on the exclusion list."""
        self._excluded.add(email.lower())

    def bounce(self, email: str) -> None:
        """Put an address on the account's list of hard-bounced addresses."""
        self._bounced.add(email.lower())

    # Contacts.

    def contact_by_email(self, email: str) -> Contact | None:
        """Return the contact with this address, whatever its case."""
        return self.by_email.get(email.lower())

    def upsert(
        self,
        email: str,
        first_name: str | None = None,
        last_name: str | None = None,
        phone: str | None = None,
        fields: Mapping[int, str] | None = None,
    ) -> tuple[Contact, bool]:
        """Create or update by address; None leaves a value as it is, unknown fields are ignored.

        An empty text overwrites: undocumented, and the reading that shows a client sending empties by mistake.
        """
        contact = self.contact_by_email(email)
        created = contact is None
        now = self.clock.now()
        if contact is None:
            contact = Contact(next(self._numbers), email, now, now)
            self.contacts[contact.contact_id] = contact
            self.by_email[email.lower()] = contact
        contact.first_name = contact.first_name if first_name is None else first_name
        contact.last_name = contact.last_name if last_name is None else last_name
        contact.phone = contact.phone if phone is None else phone
        contact.fields.update(
            {number: value for number, value in (fields or {}).items() if number in self.config.fields}
        )
        contact.updated = now
        return contact, created

    def set_list_status(
        self, contact: Contact, list_id: int, status: int, *, by: str, sourceid: int = 0, automations: bool = True
    ) -> ListStatus:
        """Set how a contact stands with a list; telling the same again keeps who said it and when, unless by hand."""
        standing = contact.lists.get(list_id)
        comes = status == SUBSCRIBED and (standing is None or standing.status != SUBSCRIBED)
        self.automations_started += comes and automations and by != "hand"
        was_active = contact.is_active()
        if standing is None:
            standing = ListStatus(next(self._relations), status, sourceid, by, self.clock.now())
            contact.lists[list_id] = standing
        elif standing.status != status or by == "hand":
            standing.status, standing.sourceid, standing.by = status, sourceid, by
            standing.changed = self.clock.now()
        self._active += contact.is_active() - was_active
        return standing

    def active_contacts(self) -> int:
        """Return how many contacts count against the contact limit."""
        return self._active

    def tag_id(self, name: str) -> int:
        """Return the id of a tag, making it when it is missing; names differ by more than case."""
        key = name.lower()
        if key not in self.tag_ids:
            self.tag_ids[key] = next(self._tag_numbers)
            self.tags[self.tag_ids[key]] = name
        return self.tag_ids[key]

    def add_tag(self, contact: Contact, tag: int) -> tuple[int, bool]:
        """Tag a contact; return the association's id and whether it is new."""
        if tag in contact.tags:
            return contact.tags[tag], False
        contact.tags[tag] = next(self._relations)
        return contact.tags[tag], True

    def remove_tag(self, association: int) -> bool:
        """Take a tag off a contact by the association's id; return whether there was one."""
        for contact in self.contacts.values():
            for tag, number in contact.tags.items():
                if number == association:
                    del contact.tags[tag]
                    return True
        return False

    def delete_tag(self, tag: int) -> bool:
        """Delete a tag, from every contact too; return whether there was one."""
        name = self.tags.pop(tag, None)
        if name is None:
            return False
        del self.tag_ids[name.lower()]
        for contact in self.contacts.values():
            contact.tags.pop(tag, None)
        return True

    def delete(self, email: str) -> bool:
        """Delete a contact; return whether there was one. A later upsert of the address makes a new contact."""
        contact = self.by_email.pop(email.lower(), None)
        if contact is None:
            return False
        del self.contacts[contact.contact_id]
        self._active -= contact.is_active()
        return True

    # Imports.

    def queue(self, rows: list[ImportRow], *, exclude_automations: bool = False) -> tuple[str, int]:
        """Queue an import; return its batch id and how many contacts were queued."""
        dropped: list[str] = []
        if self.config.excluded_at != "import":
            # The help page shows an answer with fewer queued than sent contacts after exclusions.
            dropped = [row.email for row in rows if self._is_excluded(row.email)]
            rows = [row for row in rows if not self._is_excluded(row.email)]
        now = self.clock.elapsed()
        outcome = self.next_outcomes.popleft() if self.next_outcomes else ImportOutcome()
        batch = Batch(
            batch_id=str(uuid.uuid4()),
            rows=rows,
            dropped=dropped if self.config.excluded_at == "both" else [],
            exclude_automations=exclude_automations,
            size=len(rows),
            queued=now,
            queued_at=self.clock.now(),
            due=now + (self.config.processing_seconds if outcome.seconds is None else outcome.seconds),
            outcome=outcome,
        )
        self.batches[batch.batch_id] = batch
        heapq.heappush(self._pending, (batch.due, len(self.batches), batch))
        return batch.batch_id, len(rows)

    def settle(self) -> None:
        """Carry out the imports whose time has come."""
        now = self.clock.elapsed()
        while self._pending and self._pending[0][0] <= now:
            self._carry_out(heapq.heappop(self._pending)[-1])

    def _carry_out(self, batch: Batch) -> None:
        batch.failure += batch.dropped
        reach = {"completed": len(batch.rows), "interrupted": len(batch.rows) // 2, "failed": 0}
        for row in batch.rows[: reach[batch.outcome.status]]:
            known = self.contact_by_email(row.email) is not None
            contact = self._import_row(row, automations=not self._is_quiet(batch, row))
            if row.email.lower() in batch.outcome.unreported:
                continue
            if contact is None:
                batch.failure.append(row.email)
            elif not known or self.config.success_lists == "created_or_updated":
                batch.success.append(str(contact.contact_id))
        batch.done = True
        # A benchmark imports a million rows: only what can still be asked for is kept.
        batch.rows = []

    def _is_excluded(self, email: str) -> bool:
        return email.lower() in self._excluded or email.lower() in self.config.excluded

    def _is_quiet(self, batch: Batch, row: ImportRow) -> bool:
        """Tell whether a row starts no automations: the docs put `exclude_automations` at two places."""
        by_place = {"payload": batch.exclude_automations, "contact": row.exclude_automations}
        return by_place.get(self.config.exclude_automations_at, any(by_place.values()))

    def _import_row(self, row: ImportRow, *, automations: bool) -> Contact | None:
        """Apply one row, or return None when the import skips it.

        Whether a skipped row's names and fields are still taken is undocumented; the vendor's wording for such rows is
        "skipped", so nothing of it is applied. The same goes for a row naming a list that does not exist.
        """
        if self._is_excluded(row.email) or row.email.lower() in self._bounced:
            return None
        contact = self.contact_by_email(row.email)
        if any(number not in self.config.lists for number in (*row.subscribe, *row.unsubscribe)):
            return None
        standings = contact.lists if contact is not None else {}
        refuses = {UNSUBSCRIBED, BOUNCED} | ({REMOVED} if self.config.removed_in_import == "refuses" else set())
        if any(n in standings and standings[n].status in refuses for n in row.subscribe):
            return None
        becomes_active = bool(row.subscribe) and (contact is None or not contact.is_active())
        if becomes_active and self._active >= self.config.contact_limit:
            return None
        contact, _created = self.upsert(row.email, row.first_name, row.last_name, row.phone, row.fields)
        for name in row.tags:
            self.add_tag(contact, self.tag_id(name))
        for number in row.subscribe:
            self.set_list_status(contact, number, SUBSCRIBED, by="import", automations=automations)
        for number in row.unsubscribe:
            # Someone who never was on the list becomes "unsubscribed" as through contactLists: undocumented here.
            self.set_list_status(contact, number, UNSUBSCRIBED, by="import")
        return contact
