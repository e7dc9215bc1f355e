"""The few calls of ActiveCampaign's API v3 that an export needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from relay.destinations.activecampaign.errors import BULK_TABLE, CONTACT_TABLE, INFO_TABLE, RECORD_TABLE, TABLE
from relay.destinations.activecampaign.settings import ActiveCampaignConnection
from relay.destinations.contract import Account, Quota, Reply
from relay.destinations.error_table import Row, Table, raise_for
from relay.domain.problems import ConnectionProblem, Transient

# https://developers.activecampaign.com/reference/rate-limits and /reference/bulk-import-contacts
BULK = Quota("bulk", 100, timedelta(minutes=1))
BULK_SINGLE = Quota("bulk-single", 20, timedelta(minutes=1))
REST = Quota("rest", 5, timedelta(seconds=1))

PAGE = 100
"""The most records a page may hold; the default of 20 is what makes integrations miss lists and fields."""

SUBSCRIBED = 1


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


@dataclass(frozen=True, slots=True)
class ImportState:
    """How an import stands. `failed` are e-mail addresses without reasons, in lower case."""

    status: str
    failed: frozenset[str] = frozenset()


class Client:
    """ActiveCampaign over the door of one account. Every method raises as `raise_for` does."""

    def __init__(self, account: Account) -> None:
        settings: ActiveCampaignConnection = account.connection.settings
        root = f"https://{settings.api_host}" if account.base_url is None else account.base_url.rstrip("/")
        self._base = f"{root}/api/3"
        self._headers = {"Api-Token": settings.api_key.get_secret_value()}
        self._call = account.call

    def bulk_import(self, contacts: Sequence[Mapping[str, Any]]) -> Queued | RowsRefused:
        """Queue an import of 1 to 250 contacts in a body below 400,000 bytes."""
        reply = self._call(
            "POST",
            f"{self._base}/import/bulk_import",
            quota=BULK_SINGLE if len(contacts) == 1 else BULK,
            headers=self._headers,
            json={"contacts": contacts},
        )
        if raise_for(reply, BULK_TABLE) is not None:
            return RowsRefused(_named_rows(reply, len(contacts)))
        return Queued(reply.body["batchId"], _count(reply.body.get("queued_contacts")))

    def import_state(self, import_id: str) -> ImportState | None:
        """Return how an import stands, None when ActiveCampaign does not know it."""
        row, reply = self._get("import/info", INFO_TABLE, {"batchId": import_id})
        if row is not None:
            return None
        failure = reply.body.get("failure")
        failed = failure if isinstance(failure, list) else []
        # The status is the boolean false within the first second of an import.
        return ImportState(
            str(reply.body["status"]), frozenset(item.strip().lower() for item in failed if isinstance(item, str))
        )

    def contact_id(self, email: str) -> str | None:
        """Return the id of the contact with this address (in lower case), None when there is none."""
        row, reply = self._get("contacts", TABLE, {"email": email})
        for contact in [] if row is not None else _page(reply, "contacts"):
            found = contact.get("email")
            if isinstance(found, str) and found.strip().lower() == email:
                return str(contact.get("id"))
        return None

    def list_status(self, contact_id: str, list_id: str) -> int | None:
        """Return the contact's status on a list (1 subscribed, 2 unsubscribed), None when it was never on it."""
        for entry in self._records(
            f"contacts/{quote(contact_id, safe='')}/contactLists", "contactLists", CONTACT_TABLE
        ):
            if str(entry.get("list")) == list_id:
                return _count(entry.get("status"))
        return None

    def values(self, contact_id: str) -> dict[str, str]:
        """Return what a contact holds, by mapping target (`first_name`, `fields.<id>`); nothing when it is gone."""
        row, reply = self._get(f"contacts/{quote(contact_id, safe='')}", CONTACT_TABLE)
        if row is not None:
            return {}
        fields = {f"fields.{entry.get('field')}": str(entry.get("value")) for entry in _page(reply, "fieldValues")}
        contact = reply.body.get("contact")
        if not isinstance(contact, Mapping):
            return fields
        return fields | {target: str(contact.get(key) or "") for target, key in _CONTACT_KEYS.items()}

    def me(self) -> None:
        """Make sure the key works and is answered by ActiveCampaign itself."""
        row, reply = self._get("users/me", TABLE)
        if row is not None or not isinstance(reply.body, Mapping) or not isinstance(reply.body.get("user"), Mapping):
            raise ConnectionProblem("unexpected_answer", "api_host does not answer as ActiveCampaign does: check it")

    def list_problem(self, list_id: str) -> Row | None:
        """Return None when the list is there and visible, else the row that says why not."""
        row, _ = self._get(f"lists/{quote(list_id, safe='')}", RECORD_TABLE)
        return row

    def field_ids(self) -> frozenset[str] | None:
        """Return the ids of all custom fields (every page), None when the key's user may not see them."""
        row, _ = self._get("fields", RECORD_TABLE, {"limit": "1"})
        if row is not None:
            return None
        return frozenset(str(field.get("id")) for field in self._records("fields", "fields", TABLE))

    def _get(self, path: str, table: Table, params: Mapping[str, str] | None = None) -> tuple[Row | None, Reply]:
        reply = self._call("GET", f"{self._base}/{path}", quota=REST, headers=self._headers, params=params)
        return raise_for(reply, table), reply

    def _records(self, path: str, key: str, table: Table) -> Iterator[Mapping[str, Any]]:
        """Yield the records of all pages; nothing when the table takes a refusal for "there is none"."""
        offset = 0
        while True:
            row, reply = self._get(path, table, {"limit": str(PAGE), "offset": str(offset)})
            if row is not None:
                return
            page = _page(reply, key)
            yield from page
            if len(page) < PAGE:
                return
            offset += PAGE


_CONTACT_KEYS = {"first_name": "firstName", "last_name": "lastName", "phone": "phone"}


def _page(reply: Reply, key: str) -> list[Mapping[str, Any]]:
    page = reply.body.get(key) if isinstance(reply.body, Mapping) else None
    if not isinstance(page, list):
        raise Transient("unexpected_answer", f"ActiveCampaign gave {key} in another shape", taken=False)
    return [record for record in page if isinstance(record, Mapping)]


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
