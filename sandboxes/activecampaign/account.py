"""An ActiveCampaign account held in memory: contacts, list statuses, tags, and the asynchronous import.

https://developers.activecampaign.com/reference/bulk-import-contacts
https://developers.activecampaign.com/reference/bulk-import-status-info
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandboxes.activecampaign.rows import ImportRow
from sandboxes.activecampaign.settings import ActiveCampaignConfig, ImportOutcome, changed_config
from sandboxes.control import CallTally
from sandboxes.limits import Quota, ScaledClock, SlidingQuota
from sandboxes.scripted_faults import FaultScript

SUBSCRIBED, UNSUBSCRIBED, BOUNCED = 1, 2, 3
REMOVED = 91
"""Taken off the list without having objected, by another integration:
https://help.activecampaign.com/hc/en-us/articles/360021838379-API-contact-with-91-as-list-subscription-status"""


@dataclass(slots=True)
class ListStatus:
    """How a contact stands with one list: 1 subscribed, 2 unsubscribed, 3 bounced, 91 removed, and who said so last."""

    relation_id: int
    status: int
    sourceid: int
    by: str
    changed: datetime


@dataclass(slots=True)
class Contact:
    """One contact; `tags` maps a tag's id to the id of the association, which is what can be deleted."""

    contact_id: int
    email: str
    created: datetime
    updated: datetime
    first_name: str = ""
    last_name: str = ""
    phone: str = ""
    fields: dict[int, str] = field(default_factory=dict)
    tags: dict[int, int] = field(default_factory=dict)
    lists: dict[int, ListStatus] = field(default_factory=dict)

    def is_active(self) -> bool:
        """Tell whether the contact counts against the contact limit: once, when subscribed to any list."""
        return any(standing.status == SUBSCRIBED for standing in self.lists.values())


@dataclass
class Batch:
    """One queued import; times are scaled seconds, `success` holds contact ids and `failure` addresses."""

    batch_id: str
    rows: list[ImportRow]
    dropped: list[str]
    """Addresses left out when it was queued."""
    exclude_automations: bool
    size: int
    queued: float
    queued_at: datetime
    due: float
    outcome: ImportOutcome
    done: bool = False
    success: list[str] = field(default_factory=list)
    failure: list[str] = field(default_factory=list)

    def status(self, now: float) -> str | bool:
        """Return the status a client is shown; the boolean false of the first second included."""
        if now - self.queued < 1.0:
            return False
        if self.done:
            return self.outcome.status
        share = (now - self.queued) / max(self.due - self.queued, 1e-9)
        return "waiting" if share < 1 / 3 else "claimed" if share < 2 / 3 else "active"


class ActiveCampaignAccount:
    """The account behind the sandbox; hold `lock` while using it from several threads."""

    def __init__(
        self,
        config: ActiveCampaignConfig,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.lock = threading.RLock()
        self.faults = FaultScript()
        self.sleep = sleep
        self.clock = ScaledClock(clock, config.time_scale)
        self._initial = config
        self.reset()

    def reset(self) -> None:
        """Go back to the account as it was configured."""
        self.config = self._initial
        self.faults.clear()
        self.tally = CallTally()
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
        config, elapsed = self.config, self.clock.elapsed
        self.requests_quota = SlidingQuota(config.requests_per_second, 1, elapsed)
        self.bulk_quota = SlidingQuota(config.imports_per_minute, 60, elapsed)
        self.single_quota = SlidingQuota(config.single_imports_per_minute, 60, elapsed)

    # The control API's view.

    def quotas(self) -> Mapping[str, Quota]:
        """Return the account's quotas by name."""
        return {
            "requests_per_second": self.requests_quota,
            "imports_per_minute": self.bulk_quota,
            "single_imports_per_minute": self.single_quota,
        }

    def particular_counters(self) -> dict[str, object]:
        """Return how many imports were queued, how many contacts were in them, and how many automations started."""
        self.settle()
        return {
            "imports": len(self.batches),
            "imported_contacts": sum(batch.size for batch in self.batches.values()),
            "automations_started": self.automations_started,
        }

    def change_settings(self, changes: Mapping[str, object]) -> None:
        """Change settings of the running account, e.g. `api_key`, `lists`, `unpaid` (see `settings`)."""
        self.config = changed_config(self.config, changes)

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

    def import_overview(self) -> dict[str, list[dict[str, str]]]:
        """Return the imports of the last 7 days by day, open and completed, counts as texts."""
        since = self.clock.timestamp() - 7 * 86_400
        days: dict[tuple[bool, str], list[int]] = {}
        for batch in self.batches.values():
            if batch.queued_at.timestamp() >= since:
                day = batch.queued_at.astimezone(UTC).date().isoformat()
                days.setdefault((batch.done, day), []).append(batch.size)

        def listing(done: bool) -> list[dict[str, str]]:
            return [
                {"forDate": day, "batches": str(len(sizes)), "contacts": str(sum(sizes))}
                for (is_done, day), sizes in sorted(days.items())
                if is_done is done
            ]

        return {"outstanding": listing(done=False), "recentlyCompleted": listing(done=True)}
