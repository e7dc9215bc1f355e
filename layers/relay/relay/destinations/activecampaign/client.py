"""The few calls of ActiveCampaign's API v3 that an export needs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import IntEnum
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import quote

from relay.destinations.activecampaign.errors import (
    BULK_TABLE,
    CONTACT_TABLE,
    CONTACT_TAG_TABLE,
    DELETE_TABLE,
    INFO_TABLE,
    LIST_TABLE,
    RECORD_TABLE,
    SYNC_TABLE,
    TABLE,
    TAG_TABLE,
    UNREADABLE_ANSWERS,
)
from relay.destinations.activecampaign.rows import SYNC_NAMES
from relay.destinations.activecampaign.settings import ActiveCampaignConnection
from relay.destinations.contract import Account, Params, Quota, Reply
from relay.destinations.error_table import Outcome, Row, Table, raise_for
from relay.destinations.outcomes import nothing_done
from relay.domain.problems import Busy, ConnectionProblem, Transient

# https://developers.activecampaign.com/reference/bulk-import-contacts (100 and 20 a minute) and
# https://developers.activecampaign.com/reference/rate-limits (5 a second). Calls leave evenly spread but arrive with
# jitter: what is left out of each limit is room for 1.8 s, 3 s and 0.25 s of it until a window could hold one too many.
BULK = Quota("bulk", 97, timedelta(minutes=1))
BULK_SINGLE = Quota("bulk-single", 19, timedelta(minutes=1))
REST = Quota("rest", 4, timedelta(seconds=1))

_Read = TypeVar("_Read")

PAGE = 100
"""The most records a page may hold; the default of 20 is what makes integrations miss lists and fields."""


class ListStatus(IntEnum):
    """How a contact stands with a list.

    https://community.activecampaign.com/t/retrieve-opt-ins-opt-outs-or-bounces-since-a-specific-date/17698
    REMOVED: another integration took the contact off, and nobody objected:
    https://help.activecampaign.com/hc/en-us/articles/360021838379-API-contact-with-91-as-list-subscription-status
    """

    UNCONFIRMED = 0
    SUBSCRIBED = 1
    UNSUBSCRIBED = 2
    BOUNCED = 3
    REMOVED = 91


RESUBSCRIBING = 4
"""The `sourceid` that https://developers.activecampaign.com/reference/update-list-status-for-contact asks for."""

_NOT_ABOUT_THE_SUBSCRIPTION = frozenset({"links", "first_name", "last_name"})


@dataclass(frozen=True, slots=True)
class Queued:
    """An import that was queued: not that anything was imported."""

    import_id: str
    contacts: int | None
    """How many contacts were queued, where ActiveCampaign says so; can be fewer than were sent."""


@dataclass(frozen=True, slots=True)
class RowsRefused:
    """A bulk import that was refused whole; `named` are the positions (from 0) ActiveCampaign blames, if any."""

    named: frozenset[int]
    row: Row
    reply: Reply


@dataclass(frozen=True, slots=True)
class ImportState:
    """How an import stands. `failed` are e-mail addresses without reasons, in lower case, `done` ids of contacts."""

    status: str
    failed: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ListEntry:
    """How a contact stands with a list. `fingerprint` changes with every trace that anybody left on the entry."""

    status: ListStatus | None
    """None for one that nobody documented."""
    fingerprint: str
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """The contact's unsubscriptions from other lists (and standings nobody documented): fingerprints by list id.

    Empty where only the one entry was shown."""


@dataclass(frozen=True, slots=True)
class CustomField:
    """The type of a custom field, and the values it offers where ActiveCampaign shows them."""

    kind: str
    choices: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Room:
    """An account's contact limit and how many contacts count against it."""

    limit: int
    contacts: int


class ReadRefused(Transient):
    """ActiveCampaign refuses to look something up: that says nothing about whether it is there."""


class Client:
    """ActiveCampaign over the door of one account; all but imports is paced under `rest`.

    Every method raises as `raise_for` does, and those that read raise ReadRefused: also for what comes in a shape that
    cannot be read, as long as the account is well otherwise.
    """

    def __init__(self, account: Account, rest: Quota = REST) -> None:
        self._rest = rest
        settings: ActiveCampaignConnection = account.connection.settings
        root = f"https://{settings.api_host}" if account.base_url is None else account.base_url.rstrip("/")
        self._base = f"{root}/api/3"
        self._headers = {"Api-Token": settings.api_key.get_secret_value()}
        self._call = account.call
        self._hold = account.hold

    def bulk_import(self, body: Mapping[str, Any]) -> Queued | RowsRefused:
        """Queue an import: a body below 400,000 bytes with 1 to 250 `contacts`."""
        contacts = body["contacts"]
        quota = BULK_SINGLE if len(contacts) == 1 else BULK
        row, reply = self._ask("POST", "import/bulk_import", BULK_TABLE, json=body, quota=quota)
        if row is not None:
            return RowsRefused(_named_rows(reply, len(contacts)), row, reply)
        return Queued(reply.body["batchId"], _count(reply.body.get("queued_contacts")))

    def import_state(self, import_id: str) -> ImportState | None:
        """Return how an import stands, None when ActiveCampaign does not know it or does not show it readably."""
        try:
            row, reply = self._of_one(lambda: self._get("import/info", INFO_TABLE, {"batchId": import_id}))
        except ReadRefused:
            return None
        if row is not None:
            return None
        # The status is the boolean false within the first second of an import.
        return ImportState(
            str(reply.body["status"]),
            frozenset(address.strip().lower() for address in _texts(reply, "failure")),
            frozenset(_texts(reply, "success")),
        )

    def addresses(self, ids: Sequence[str]) -> set[str]:
        """Return the addresses (in lower case) of contacts by at most 100 ids, as far as they are shown.

        https://developers.activecampaign.com/reference/list-all-contacts
        """
        query: Params = {"ids[]": list(ids), "limit": str(PAGE)}
        page = self._of_one(lambda: _page(self._get("contacts", TABLE, query)[1], "contacts"))
        # Whoever does not know `ids[]` shows other contacts.
        held = [contact for contact in page if str(contact.get("id")) in ids]
        return {contact["email"].strip().lower() for contact in held if isinstance(contact.get("email"), str)}

    def contact_id(self, email: str) -> str | None:
        """Return the id of the contact with this address (in lower case), None when there is none."""
        return self._of_one(lambda: self._contact_id(email))

    def _contact_id(self, email: str) -> str | None:
        _, reply = self._get("contacts", TABLE, {"email": email})
        page = _page(reply, "contacts")
        if not all(isinstance(contact.get("email"), str) for contact in page):
            # It may be the one that is looked for: nobody is taken to be absent because of it.
            raise ReadRefused("unexpected_answer", "ActiveCampaign shows a contact without its address", taken=False)
        held = [contact for contact in page if _is_address(contact["email"], email)]
        with_id = [contact for contact in held if contact.get("id") is not None]
        return _id_in((with_id or held)[0]) if held else None

    def list_entry(self, contact_id: str, list_id: str) -> ListEntry | None:
        """Return the contact's entry on a list, None when it was never on it."""
        path = f"contacts/{quote(contact_id, safe='')}/contactLists"
        records = self._of_one(lambda: list(self._records(path, "contactLists", CONTACT_TABLE)))
        found = {_id_in(entry, "list"): _list_entry(entry) for entry in records}
        if list_id not in found:
            return None
        objections = (ListStatus.UNSUBSCRIBED, None)
        elsewhere = {
            number: entry.fingerprint
            for number, entry in found.items()
            if number != list_id and entry.status in objections
        }
        return replace(found[list_id], elsewhere=elsewhere)

    def sync(self, contact: Mapping[str, Any]) -> str | None:
        """Create or update one contact by its address; return its id, None when it is refused.

        https://developers.activecampaign.com/reference/sync-a-contacts-data
        """
        row, reply = self._ask("POST", "contact/sync", SYNC_TABLE, json={"contact": contact})
        return None if row is not None else str(reply.body["contact"]["id"])

    def set_list_status(self, contact_id: str, list_id: str, status: ListStatus, **more: int) -> ListEntry | None:
        """Set how a contact stands with a list (subscribed or not); return the entry, None when it is refused.

        https://developers.activecampaign.com/reference/update-list-status-for-contact
        """
        entry = {"list": list_id, "contact": contact_id, "status": int(status), **more}
        row, reply = self._ask("POST", "contactLists", LIST_TABLE, json={"contactList": entry})
        return None if row is not None else _list_entry(reply.body["contactList"])

    def tag_id(self, name: str) -> str | None:
        """Return the id of a tag, None when there is none. ActiveCampaign compares tags without regard to case."""
        return self._of_one(lambda: self._tag_id(name))

    def _tag_id(self, name: str) -> str | None:
        for tag in self._records("tags", "tags", TABLE, {"search": name}):
            if not isinstance(tag.get("tag"), str):
                raise ReadRefused("unexpected_answer", "ActiveCampaign shows a tag without its name", taken=False)
            if tag["tag"].lower() == name.lower():
                return _id_in(tag)
        return None

    def make_tag(self, name: str) -> str | None:
        """Make a tag and return its id, None when somebody else made it meanwhile.

        Whatever becomes of it, nothing was done about any contact.
        """
        tag = {"tag": name, "tagType": "contact", "description": ""}
        with nothing_done():
            row, reply = self._ask("POST", "tags", TAG_TABLE, json={"tag": tag})
            return None if row is not None else _record_id(reply, "tag")

    def add_tag(self, contact_id: str, tag_id: str) -> bool:
        """Tag a contact; return False when the tag or the contact is gone."""
        row, _ = self._ask(
            "POST", "contactTags", CONTACT_TAG_TABLE, json={"contactTag": {"contact": contact_id, "tag": tag_id}}
        )
        return row is None

    def tags_of(self, contact_id: str) -> dict[str, str]:
        """Return the contact's tags: the id of the association by the id of the tag."""
        path = f"contacts/{quote(contact_id, safe='')}/contactTags"
        records = self._of_one(lambda: list(self._records(path, "contactTags", CONTACT_TABLE)))
        return {_id_in(held, "tag"): _id_in(held) for held in records}

    def remove_tag(self, association_id: str) -> bool:
        """Take a tag off a contact; return False when that is refused. One that is not there any more is fine."""
        row, _ = self._ask("DELETE", f"contactTags/{quote(association_id, safe='')}", DELETE_TABLE)
        return row is None or row.outcome is Outcome.REJECTION

    def outstanding_imports(self) -> int | None:
        """Return how many imports of the account (anybody's) have not ended yet, None when that cannot be read.

        https://developers.activecampaign.com/reference/bulk-import-status-list
        """
        row, reply = self._ask("GET", "import/bulk_import", RECORD_TABLE)
        days = reply.body.get("outstanding") if row is None and isinstance(reply.body, Mapping) else None
        if not isinstance(days, list):
            return None
        counts = [_count(day.get("batches")) if isinstance(day, Mapping) else None for day in days]
        return None if None in counts else sum(count or 0 for count in counts)

    def room(self) -> Room | None:
        """Return the account's contact limit and use; None where it cannot be had, which is never a failure."""
        try:
            row, reply = self._ask("GET", "settings/account", RECORD_TABLE)
        except Busy:
            raise
        except (Transient, ConnectionProblem):
            return None
        if row is not None or not isinstance(reply.body, Mapping):
            return None
        limit, contacts = _count(reply.body.get("subscriber_limit")), _count(reply.body.get("subscriber_total"))
        return None if limit is None or contacts is None or limit == 0 else Room(limit, contacts)

    def values(self, contact_id: str) -> dict[str, str]:
        """Return what a contact holds, by mapping target (`first_name`, `fields.<id>`); nothing when it is gone."""
        return self._of_one(lambda: self._values(contact_id))

    def _values(self, contact_id: str) -> dict[str, str]:
        row, reply = self._get(f"contacts/{quote(contact_id, safe='')}", CONTACT_TABLE)
        if row is not None:
            return {}
        fields = {f"fields.{entry.get('field')}": str(entry.get("value")) for entry in _page(reply, "fieldValues")}
        contact = reply.body.get("contact")
        if not isinstance(contact, Mapping):
            return fields
        return fields | {target: str(contact.get(key) or "") for target, key in SYNC_NAMES.items()}

    def me(self) -> None:
        """Make sure the key works and is answered by ActiveCampaign itself."""
        _, reply = self._ask("GET", "users/me", TABLE)
        if not isinstance(reply.body, Mapping) or not isinstance(reply.body.get("user"), Mapping):
            raise ConnectionProblem("unexpected_answer", "api_host does not answer as ActiveCampaign does: check it")

    def list_problem(self, list_id: str) -> Row | None:
        """Return None when the list is there and visible, else the row that says why not."""
        row, _ = self._get(f"lists/{quote(list_id, safe='')}", RECORD_TABLE)
        return row

    def fields(self) -> dict[str, CustomField] | None:
        """Return all custom fields by id (every page), None when the key's user may not see them.

        https://developers.activecampaign.com/reference/retrieve-fields
        """
        row, _ = self._get("fields", RECORD_TABLE, {"limit": "1"})
        if row is not None:
            return None
        kinds: dict[str, str] = {}
        choices: dict[str, set[str]] = {}
        for reply in self._pages("fields", "fields", TABLE):
            kinds |= {str(field.get("id")): str(field.get("type")) for field in _page(reply, "fields")}
            offered = reply.body.get("fieldOptions")
            for choice in offered if isinstance(offered, list) else ():
                if not isinstance(choice, Mapping):
                    continue
                choices.setdefault(str(choice.get("field")), set()).add(str(choice.get("value")))
        return {number: CustomField(kind, frozenset(choices.get(number, ()))) for number, kind in kinds.items()}

    def _of_one(self, read: Callable[[], _Read]) -> _Read:
        """Read something of one contact, tag or import.

        A page instead of JSON may mean that the key is wrong, another shape that this is not ActiveCampaign. When the
        account is well otherwise, it only means that this one cannot be read.
        """
        try:
            return read()
        except (ConnectionProblem, Transient) as problem:
            if isinstance(problem, ReadRefused) or problem.code not in UNREADABLE_ANSWERS:
                raise
            self.me()
            raise ReadRefused(problem.code, problem.what, taken=False) from None

    def _get(self, path: str, table: Table, params: Params | None = None) -> tuple[Row | None, Reply]:
        row, reply = self._ask("GET", path, table, params=params)
        if row is not None and row.outcome is Outcome.SPLIT:
            raise _read_refused(reply)
        return row, reply

    def _ask(
        self,
        method: str,
        path: str,
        table: Table,
        *,
        params: Params | None = None,
        json: Any = None,
        quota: Quota | None = None,
    ) -> tuple[Row | None, Reply]:
        """Make a call. Whatever becomes of one that only reads, ActiveCampaign did nothing because of it."""
        with nothing_done() if method == "GET" else nullcontext():
            return self._exchange(method, path, table, params, json, self._rest if quota is None else quota)

    def _exchange(
        self, method: str, path: str, table: Table, params: Params | None, json: Any, quota: Quota
    ) -> tuple[Row | None, Reply]:
        """Make a call; one refusal of the key is asked about once more, because good keys meet some now and then.

        https://github.com/singer-io/tap-activecampaign retries 403 for that reason.
        """
        for _ in range(2):
            reply = self._call(
                method, f"{self._base}/{path}", quota=quota, headers=self._headers, params=params, json=json
            )
            if reply.status not in (401, 403):
                break
        try:
            return raise_for(reply, table), reply
        except Transient as problem:
            if reply.status == 400 and problem.retry_after is not None:
                # The bulk import's own limit, which does not come as 429: it binds everybody at the account.
                self._hold(quota, problem.retry_after)
            raise

    def _records(self, path: str, key: str, table: Table, params: Params | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the records of all pages."""
        for reply in self._pages(path, key, table, params):
            yield from _page(reply, key)

    def _pages(self, path: str, key: str, table: Table, params: Params | None = None) -> Iterator[Reply]:
        offset = 0
        before: list[Mapping[str, Any]] = []
        while True:
            row, reply = self._get(path, table, {**(params or {}), "limit": str(PAGE), "offset": str(offset)})
            if row is not None:
                raise _read_refused(reply)
            page = _page(reply, key)
            # Where `offset` does nothing the same page comes again.
            if page == before:
                return
            yield reply
            if len(page) < PAGE:
                return
            before = page
            offset += PAGE


def _page(reply: Reply, key: str) -> list[Mapping[str, Any]]:
    page = reply.body.get(key) if isinstance(reply.body, Mapping) else None
    if not isinstance(page, list) or not all(isinstance(record, Mapping) for record in page):
        raise Transient("unexpected_answer", f"ActiveCampaign gave {key} in another shape", taken=False)
    return page


def _texts(reply: Reply, key: str) -> list[str]:
    """Return a list of ids or addresses; an id may come as a number."""
    found = reply.body.get(key)
    return [str(item) for item in found if isinstance(item, str | int)] if isinstance(found, list) else []


def _is_address(text: str, email: str) -> bool:
    return text.strip().lower() == email


def _id_in(record: Mapping[str, Any], key: str = "id") -> str:
    """Return an id of a record. One that is there without its ids must not be taken for one that is not there."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ReadRefused("unexpected_answer", "ActiveCampaign shows a record without its id", taken=False)
    return str(value)


def _read_refused(reply: Reply) -> ReadRefused:
    return ReadRefused("read_refused", f"ActiveCampaign refuses to look it up (HTTP {reply.status})", taken=False)


def _record_id(reply: Reply, key: str) -> str:
    record = reply.body.get(key) if isinstance(reply.body, Mapping) else None
    if not isinstance(record, Mapping) or record.get("id") is None:
        raise Transient("unexpected_answer", f"ActiveCampaign gave a {key} without its id")
    return str(record["id"])


def _list_entry(entry: Mapping[str, Any]) -> ListEntry:
    """Read an entry. One call shows numbers as texts and nothing as null or a blank, another does not."""
    traces = {
        name: str(value)
        for name, value in entry.items()
        if name not in _NOT_ABOUT_THE_SUBSCRIPTION and value is not None and value != ""
    }
    status = _count(entry.get("status"))
    known = ListStatus(status) if status in set(ListStatus) else None
    return ListEntry(known, sha256(json.dumps(traces, sort_keys=True).encode()).hexdigest())


def _named_rows(reply: Reply, sent: int) -> frozenset[int]:
    """Read the rows a refusal names, counted from 1; nothing at all when one is out of range: then we misread it."""
    reasons = reply.body.get("failureReasons") if isinstance(reply.body, Mapping) else None
    if not isinstance(reasons, list):
        return frozenset()
    named = [_count(reason.get("contact")) for reason in reasons if isinstance(reason, Mapping)]
    if any(number is None or not 1 <= number <= sent for number in named):
        return frozenset()
    return frozenset(number - 1 for number in named if number is not None)


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
