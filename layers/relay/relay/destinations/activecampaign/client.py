"""The few calls of ActiveCampaign's API v3 that an export needs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import IntEnum
from hashlib import sha256
from itertools import chain
from typing import Any
from urllib.parse import quote

from relay.destinations.activecampaign.errors import (
    ANSWERED,
    ANSWERED_IMPORT,
    BULK_TABLE,
    DELETE_TABLE,
    GONE,
    LIST_TABLE,
    MALFORMED,
    MAY_BE_GONE,
    MAY_BE_HIDDEN,
    OF_ANOTHER,
    TABLE,
)
from relay.destinations.activecampaign.rows import SYNC_NAMES
from relay.destinations.activecampaign.settings import AcAccount
from relay.destinations.api import Api, ReadRefused, Result, Success, count_of, id_in, nothing, part, records, some_json
from relay.destinations.contract import Caller, Params, Quota, Reply
from relay.destinations.error_table import OtherShape, Refused, Table
from relay.destinations.outcomes import nothing_done
from relay.domain.problems import Busy, ConnectionProblem, Transient

# https://developers.activecampaign.com/reference/bulk-import-contacts (100 and 20 a minute) and
# https://developers.activecampaign.com/reference/rate-limits (5 a second). Calls leave evenly spread but arrive with
# jitter: what is left out of each limit is room for 1.8 s, 3 s and 0.25 s of it until a window could hold one too many.
BULK = Quota("bulk", 97, timedelta(minutes=1))
BULK_SINGLE = Quota("bulk-single", 19, timedelta(minutes=1))
REST = Quota("rest", 4, timedelta(seconds=1))

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


class Client:
    """ActiveCampaign over the door of one account; all but imports is paced under `rest`.

    Every method raises as `Api` does. Those that read something of one contact, tag or import raise ReadRefused also
    for what comes in a shape that cannot be read, as long as the account is well otherwise.
    """

    def __init__(self, account: AcAccount, rest: Quota = REST) -> None:
        settings = account.connection.settings
        root = f"https://{settings.api_host}" if account.base_url is None else account.base_url.rstrip("/")
        key = {"Api-Token": settings.api_key.get_secret_value()}
        self._api = Api(_asking_twice(account.call), f"{root}/api/3", key, rest, TABLE)
        self._hold = account.hold

    # Imports.

    def bulk_import(self, body: Mapping[str, Any]) -> Queued:
        """Queue an import: a body below 400,000 bytes with 1 to 250 `contacts`. Refused names the rows to blame."""
        sent = len(body["contacts"])
        quota = BULK_SINGLE if sent == 1 else BULK
        try:
            return self._api.send(
                "POST",
                "import/bulk_import",
                _queued,
                json=body,
                table=BULK_TABLE,
                quota=quota,
                effect_within=ANSWERED_IMPORT,
            )
        except Refused as refused:
            named = dict.fromkeys(_named_rows(refused.reply, sent), MALFORMED)
            raise Refused(refused.row, refused.reply, named) from None
        except Transient as problem:
            # The import's own limit, which does not come as 429, binds everybody at the account.
            if problem.code == "rate_limited" and problem.retry_after is not None:
                self._hold(quota, problem.retry_after)
            raise

    def import_state(self, import_id: str) -> ImportState | None:
        """Return how an import stands, None when ActiveCampaign does not know it or does not show it readably."""
        try:
            return self._read("import/info", _import_state, MAY_BE_GONE, {"batchId": import_id})
        except (Refused, ReadRefused):
            return None

    def outstanding_imports(self) -> int | None:
        """Return how many imports of the account (anybody's) have not ended yet, None when that cannot be read.

        https://developers.activecampaign.com/reference/bulk-import-status-list
        """
        try:
            overview = self._api.read("import/bulk_import", some_json, table=MAY_BE_HIDDEN)
            counts = [count_of(day.get("batches")) for day in records(overview, "outstanding")]
        except (Refused, ReadRefused, OtherShape):
            return None
        return None if None in counts else sum(count or 0 for count in counts)

    # One contact.

    def contact_id(self, email: str) -> str | None:
        """Return the id of the contact with this address (in lower case), None when there is none."""

        def held(reply: Reply) -> str | None:
            # One without its address may be the one that is looked for: nobody is taken to be absent because of it.
            shown = records(reply.body, "contacts", email=str)
            same = [contact for contact in shown if contact["email"].strip().lower() == email]
            with_id = [contact for contact in same if contact.get("id") is not None]
            return id_in((with_id or same)[0]) if same else None

        return self._read("contacts", held, TABLE, {"email": email})

    def addresses(self, ids: Sequence[str]) -> set[str]:
        """Return the addresses (in lower case) of contacts by at most 100 ids, as far as they are shown.

        https://developers.activecampaign.com/reference/list-all-contacts
        """

        def held(reply: Reply) -> set[str]:
            # Whoever does not know `ids[]` shows other contacts.
            shown = [one for one in records(reply.body, "contacts") if str(one.get("id")) in ids]
            return {one["email"].strip().lower() for one in shown if isinstance(one.get("email"), str)}

        return self._read("contacts", held, TABLE, {"ids[]": list(ids), "limit": str(PAGE)})

    def values(self, contact_id: str) -> dict[str, str]:
        """Return what a contact holds, by field (`first_name`, `fields.<id>`); nothing when it is gone."""

        def held(reply: Reply) -> dict[str, str]:
            values = records(reply.body, "fieldValues")
            found = {f"fields.{value.get('field')}": str(value.get("value")) for value in values}
            contact = reply.body.get("contact")
            if isinstance(contact, Mapping):
                found |= {name: str(contact.get(key) or "") for name, key in SYNC_NAMES.items()}
            return found

        try:
            return self._read(_path("contacts", contact_id), held, MAY_BE_GONE)
        except Refused:
            return {}

    def sync(self, contact: Mapping[str, Any]) -> str:
        """Create or update one contact by its address; return its id.

        https://developers.activecampaign.com/reference/sync-a-contacts-data
        """
        return self._write("contact/sync", _id_of("contact"), {"contact": contact})

    # Its lists.

    def list_entry(self, contact_id: str, list_id: str) -> ListEntry | None:
        """Return the contact's entry on a list, None when it was never on it."""
        found: dict[str, ListEntry] = {}
        path, key = _path("contacts", contact_id, "contactLists"), "contactLists"
        for page in self._pages(path, key, lambda page: [(id_in(one, "list"), _list_entry(one)) for one in page[key]]):
            found |= page
        if list_id not in found:
            return None
        objections = (ListStatus.UNSUBSCRIBED, None)
        elsewhere = {
            number: entry.fingerprint
            for number, entry in found.items()
            if number != list_id and entry.status in objections
        }
        return replace(found[list_id], elsewhere=elsewhere)

    def set_list_status(self, contact_id: str, list_id: str, status: ListStatus, **more: int) -> ListEntry:
        """Set how a contact stands with a list (subscribed or not); return the entry.

        https://developers.activecampaign.com/reference/update-list-status-for-contact
        """
        entry = {"list": list_id, "contact": contact_id, "status": int(status), **more}
        body = {"contactList": entry}
        return self._write("contactLists", _written_entry, body, LIST_TABLE)

    # Its tags.

    def tag_id(self, name: str) -> str | None:
        """Return the id of a tag, None when there is none. ActiveCampaign compares tags without regard to case."""

        def ids(page: Mapping[str, Any]) -> list[str]:
            return [id_in(tag) for tag in page["tags"] if part(tag, "tag", str).lower() == name.lower()]

        pages = self._pages("tags", "tags", ids, TABLE, {"search": name})
        return next((found[0] for found in pages if found), None)

    def make_tag(self, name: str) -> str:
        """Make a tag and return its id. Refused: somebody else may have made it meanwhile.

        Whatever becomes of it, nothing was done about any contact.
        """
        tag = {"tag": name, "tagType": "contact", "description": ""}
        with nothing_done():
            return self._write("tags", _id_of("tag"), {"tag": tag}, MAY_BE_GONE)

    def add_tag(self, contact_id: str, tag_id: str) -> None:
        """Tag a contact. Refused: the tag or the contact is gone."""
        body = {"contactTag": {"contact": contact_id, "tag": tag_id}}
        self._write("contactTags", lambda reply: part(reply.body, "contactTag", dict), body, MAY_BE_GONE)

    def tags_of(self, contact_id: str) -> dict[str, str]:
        """Return the contact's tags: the id of the association by the id of the tag."""
        path, key = _path("contacts", contact_id, "contactTags"), "contactTags"
        pages = self._pages(path, key, lambda page: [(id_in(one, "tag"), id_in(one)) for one in page[key]])
        return dict(chain.from_iterable(pages))

    def remove_tag(self, association_id: str) -> None:
        """Take a tag off a contact; one that is not there any more is fine."""
        try:
            self._api.send("DELETE", _path("contactTags", association_id), nothing, table=MAY_BE_GONE)
        except Refused as refused:
            if refused.row.code != GONE:
                raise

    def delete_contact(self, contact_id: str) -> None:
        """Delete a contact; one that is not there any more is fine. Refused: it may not be deleted.

        https://developers.activecampaign.com/reference/delete-contact
        """
        try:
            self._api.send("DELETE", _path("contacts", contact_id), nothing, table=DELETE_TABLE)
        except Refused as refused:
            if refused.row.code != GONE:
                raise

    # The account.

    def count(self, filters: Mapping[str, str]) -> int:
        """Return how many contacts pass a filter (`listid` with `status`, or `tagid`).

        https://developers.activecampaign.com/reference/list-all-contacts
        """

        def total(reply: Reply) -> int:
            found = count_of(part(reply.body, "meta", dict).get("total"))
            if found is None:
                raise OtherShape("total")
            return found

        return self._read("contacts", total, TABLE, {**filters, "limit": "1"})

    def me(self) -> None:
        """Make sure the key works and is answered by ActiveCampaign itself."""
        try:
            part(self._api.read("users/me", some_json), "user", dict)
        except (OtherShape, ReadRefused):
            what = "api_host does not answer as ActiveCampaign does: check it"
            raise ConnectionProblem("unexpected_answer", what) from None

    def room(self) -> Room | None:
        """Return the account's contact limit and use; None where it cannot be had, which is never a failure."""

        def shown(reply: Reply) -> Room | None:
            body = some_json(reply)
            known = body if isinstance(body, Mapping) else {}
            limit, contacts = count_of(known.get("subscriber_limit")), count_of(known.get("subscriber_total"))
            return None if not limit or contacts is None else Room(limit, contacts)

        try:
            return self._api.read("settings/account", shown, table=MAY_BE_HIDDEN)
        except Busy:
            raise
        except (Transient, ConnectionProblem, Refused):
            return None

    def why_no_list(self, list_id: str) -> str | None:
        """Return None when the list is there and visible, else GONE or NOT_VISIBLE."""
        try:
            self._api.read(_path("lists", list_id), some_json, table=MAY_BE_HIDDEN)
        except Refused as refused:
            return refused.row.code
        return None

    def lists(self) -> dict[str, str]:
        """Return the names of the lists that the key's user sees, by id; none where none may be seen.

        https://developers.activecampaign.com/reference/retrieve-all-lists
        """
        try:
            pages = list(self._pages("lists", "lists", lambda page: page, MAY_BE_HIDDEN))
        except Refused:
            return {}
        return {str(one.get("id")): str(one.get("name")) for page in pages for one in page["lists"]}

    def fields(self) -> dict[str, CustomField] | None:
        """Return all custom fields by id (every page), None when the key's user may not see them.

        https://developers.activecampaign.com/reference/retrieve-fields
        """
        kinds: dict[str, str] = {}
        choices: dict[str, set[str]] = {}
        try:
            pages = list(self._pages("fields", "fields", lambda page: page, MAY_BE_HIDDEN))
        except Refused:
            return None
        for page in pages:
            kinds |= {str(one.get("id")): str(one.get("type")) for one in page["fields"]}
            offered = page.get("fieldOptions")
            for choice in offered if isinstance(offered, list) else ():
                if isinstance(choice, Mapping):
                    choices.setdefault(str(choice.get("field")), set()).add(str(choice.get("value")))
        return {number: CustomField(kind, frozenset(choices.get(number, ()))) for number, kind in kinds.items()}

    # How.

    def _write(self, path: str, success: Success[Result], body: Mapping[str, Any], table: Table = TABLE) -> Result:
        return self._api.send("POST", path, success, json=body, table=table, effect_within=ANSWERED)

    def _read(self, path: str, success: Success[Result], table: Table, params: Params | None = None) -> Result:
        """Read something of one contact, tag or import."""
        return self._api.read(path, success, params=params, table=table, well=self.me)

    def _pages(
        self,
        path: str,
        key: str,
        read: Callable[[dict[str, Any]], Result],
        table: Table = OF_ANOTHER,
        params: Params | None = None,
    ) -> Iterator[Result]:
        return self._api.pages(path, key, read, size=PAGE, params=params, table=table, well=self.me)


def _asking_twice(call: Caller) -> Caller:
    """Ask once more about one refusal of the key, because good keys meet some now and then.

    https://github.com/singer-io/tap-activecampaign retries 403 for that reason.
    """

    def calling(method: str, url: str, **more: Any) -> Reply:
        reply = call(method, url, **more)
        return call(method, url, **more) if reply.status in (401, 403) else reply

    return calling


def _path(*segments: str) -> str:
    return "/".join(quote(segment, safe="") for segment in segments)


def _queued(reply: Reply) -> Queued:
    import_id = part(reply.body, "batchId", str)
    if not import_id.strip():
        raise OtherShape("batchId")
    return Queued(import_id, count_of(reply.body.get("queued_contacts")))


def _import_state(reply: Reply) -> ImportState:
    if not isinstance(reply.body, Mapping) or "status" not in reply.body:
        raise OtherShape("status")
    failed = {address.strip().lower() for address in _texts(reply, "failure")}
    # The status is the boolean false within the first second of an import.
    return ImportState(str(reply.body["status"]), frozenset(failed), frozenset(_texts(reply, "success")))


def _texts(reply: Reply, key: str) -> list[str]:
    """Return a list of ids or addresses; an id may come as a number."""
    found = reply.body.get(key)
    return [str(item) for item in found if isinstance(item, str | int)] if isinstance(found, list) else []


def _id_of(key: str) -> Success[str]:
    return lambda reply: id_in(part(reply.body, key, dict))


def _list_entry(entry: Mapping[str, Any]) -> ListEntry:
    """Read an entry. One call shows numbers as texts and nothing as null or a blank, another does not."""
    traces = {
        name: str(value)
        for name, value in entry.items()
        if name not in _NOT_ABOUT_THE_SUBSCRIPTION and value is not None and value != ""
    }
    status = count_of(entry.get("status"))
    known = ListStatus(status) if status in set(ListStatus) else None
    return ListEntry(known, sha256(json.dumps(traces, sort_keys=True).encode()).hexdigest())


def _written_entry(reply: Reply) -> ListEntry:
    return _list_entry(part(reply.body, "contactList", dict))


def _named_rows(reply: Reply, sent: int) -> frozenset[int]:
    """Read the rows a refusal names, counted from 1; nothing at all when one is out of range: then we misread it."""
    reasons = reply.body.get("failureReasons") if isinstance(reply.body, Mapping) else None
    if not isinstance(reasons, list):
        return frozenset()
    named = [count_of(reason.get("contact")) for reason in reasons if isinstance(reason, Mapping)]
    if any(number is None or not 1 <= number <= sent for number in named):
        return frozenset()
    return frozenset(number - 1 for number in named if number is not None)
