"""ActiveCampaign's answers in short, written by ourselves, and an account, an export and steps to go with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any

from relay.destinations.activecampaign.settings import ActiveCampaignConnection, ActiveCampaignOptions
from relay.destinations.contract import Account, OpenImport, Reply, Step
from relay.domain.exports import Connection, Export
from relay.domain.problems import Rejection
from tests.fakes.scripted_caller import account_of, asked_of, reply

AT = datetime(2026, 11, 1, tzinfo=UTC)
CONNECTION = Connection(
    "acme",
    "activecampaign",
    "Acme",
    ActiveCampaignConnection.model_validate({"api_host": "acme.api-us1.com", "api_key": "s3cret"}),
)
SET_FIELD: dict[str, Any] = {"on_exit": "set_field", "exit_field": "3", "value_in": "yes", "value_out": "no"}
UNSUBSCRIBE: dict[str, Any] = {"on_exit": "unsubscribe"}
REMOVE_TAG: dict[str, Any] = {"on_exit": "remove_tag", "tag": "Member"}
FIELD, TAG = "field/3", "tag/Member"
"""What members are in with SET_FIELD and REMOVE_TAG."""


def export(mapping: Mapping[str, str] | None = None, **options: Any) -> Export:
    """Return an export of two segments to list 7."""
    settings = ActiveCampaignOptions.model_validate({"list_id": "7", **options})
    targets = {"email": "attributes.email", **(mapping or {})}
    return Export("acme", "news", "activecampaign", True, False, ("aep/a", "aep/b"), targets, settings, 1)


def step(
    email: str = "a@example.com",
    *,
    joins: bool = True,
    target: str = "list/7",
    evidence: str | None = None,
    fields: Mapping[str, str] | None = None,
    **values: str,
) -> Step:
    """Return a step; `fields` holds values of custom fields by id."""
    given = {**values, **{f"fields.{number}": value for number, value in (fields or {}).items()}}
    return Step(target, email, joins, AT, given, evidence)


def steps(count: int) -> list[Step]:
    """Return steps of so many people who join."""
    return [step(f"u{number}@example.com") for number in range(count)]


def account(*answers: Reply | Exception, **more: Any) -> Account:
    """Return an account that gives these answers in order."""
    return account_of(CONNECTION, *answers, **more)


def asked(account: Account) -> list[str]:
    """Return what was called, such as `POST contact/sync`."""
    return [f"{call.method} {call.url.partition('/api/3/')[2]}" for call in asked_of(account)]


def codes(refused: Mapping[int, Rejection]) -> dict[int, str]:
    """Return the codes of rejections."""
    return {index: rejection.code for index, rejection in refused.items()}


# Imports.


def opened(
    import_id: str = "b-1", contacts: int | None = None, age: float = 10, now: float = 0, time_for: int = 1_000_000
) -> OpenImport:
    """Return an import queued `age` seconds ago, asked about `now` seconds after the start.

    The look has time for `time_for` contacts.
    """
    asked_at = AT + timedelta(seconds=now)
    is_time_left = chain(repeat(True, time_for), repeat(False))
    return OpenImport(
        import_id, asked_at - timedelta(seconds=age), asked_at, contacts, is_time_left=lambda: next(is_time_left)
    )


def queued(contacts: Any = 2, import_id: Any = "b-1") -> Reply:
    """An import was queued."""
    return reply(200, {"Success": 1, "queued_contacts": contacts, "batchId": import_id, "message": "queued"})


def rows_refused(*rows: Any) -> Reply:
    """Form A of a refusal: these rows, counted from 1, are bad and nothing was queued."""
    reasons = [{"contact": row, "failureReason": "Field 'email' incorrect format"} for row in rows]
    return reply(400, {"success": 0, "message": "not valid", "failureReasons": reasons})


TOO_MANY_IMPORTS = reply(400, {"success": 0, "message": "Rate limit exceeded.", "failureReasons": ["Wait a minute."]})
"""Form B of a refusal."""


def import_info(status: Any = "completed", *, failure: Any = (), success: Any = ("1",)) -> Reply:
    """How an import stands."""
    return reply(200, {"status": status, "success": list(success), "failure": list(failure)})


def overview(*batches: Any) -> Reply:
    """How many imports are outstanding, by day."""
    days = [{"forDate": f"2026-11-0{day}", "batches": count, "contacts": "9"} for day, count in enumerate(batches, 1)]
    return reply(200, {"outstanding": days, "recentlyCompleted": []})


NONE_OUTSTANDING = overview()


# Contacts.


def contacts(*found: tuple[str, str]) -> Reply:
    """Contacts by address: (id, address)."""
    page = [{"id": number, "email": email} for number, email in found]
    return reply(200, {"contacts": page, "meta": {"total": str(len(page))}})


NOBODY = contacts()
FOUND = contacts(("17", "a@example.com"))


def entry(status: Any, list_id: Any = "7", **more: Any) -> dict[str, Any]:
    """A contact's entry on a list as its page shows it: numbers are texts."""
    return {
        "id": "90",
        "contact": "17",
        "list": list_id,
        "status": status,
        "sourceid": "0",
        "sdate": None,
        "unsubreason": "",
        "first_name": "Anna",
        "links": {"list": "https://acme.api-us1.com/api/3/contactLists/90/list"},
        **more,
    }


def entries(*found: dict[str, Any]) -> Reply:
    """A contact's entries on lists."""
    return reply(200, {"contactLists": list(found)})


def list_set(status: int, **more: Any) -> Reply:
    """The answer to setting a contact's status on a list: the same entry, spelt with numbers and nulls."""
    written = {"id": 90, "contact": 17, "list": 7, "status": status, "sourceid": 0, "sdate": "", "unsubreason": None}
    return reply(200, {"contacts": [{"id": "17"}], "contactList": {**written, **more}})


NEVER_ON = entries()
SUBSCRIBED = entries(entry("1"))
UNSUBSCRIBED = entries(entry("2"))


def synced(contact_id: Any = "17", status: int = 200) -> Reply:
    """The answer to contact/sync: 201 for a new contact, 200 for a known one."""
    return reply(status, {"fieldValues": [], "contact": {"id": contact_id, "email": "a@example.com"}})


def held(names: Mapping[str, str] | None = None, fields: Mapping[str, Any] | None = None) -> Reply:
    """One contact with its values."""
    values = [{"field": number, "value": value} for number, value in (fields or {}).items()]
    return reply(200, {"contact": {"id": "17", **(names or {})}, "fieldValues": values})


# Tags.


def tags(*found: tuple[str, str]) -> Reply:
    """Tags that a search found: (id, name)."""
    return reply(200, {"tags": [{"id": number, "tag": name, "tagType": "contact"} for number, name in found]})


def tag_made(tag_id: str) -> Reply:
    """A tag was made."""
    return reply(201, {"tag": {"id": tag_id, "tag": "Member"}})


TAG_EXISTS = reply(422, {"errors": [{"title": "exists", "code": "duplicate"}]})
TAGGED = reply(201, {"contactTag": {"id": "55", "contact": "17", "tag": "3"}})
TAG_GONE = reply(404, {"errors": [{"status": 404, "title": "Not Found", "detail": "Tag not found"}]})


def associations(*found: tuple[str, str]) -> Reply:
    """A contact's tags: (id of the association, id of the tag)."""
    return reply(200, {"contactTags": [{"id": number, "contact": "17", "tag": tag} for number, tag in found]})


# The account.

ME = reply(200, {"user": {"id": "1", "username": "relay"}})
LIST = reply(200, {"list": {"id": "7", "name": "News"}})
FORBIDDEN = reply(403, {"message": "Forbidden"})
"""An answer that is always asked about twice."""


def room(limit: Any = 1000, total: Any = 10) -> Reply:
    """The account's contact limit and use."""
    return reply(200, {"account": "acme", "subscriber_limit": limit, "subscriber_total": total, "trial": False})


def fields(**kinds: str) -> Reply:
    """Custom fields: `f12="date"` is field 12 of type date."""
    return reply(200, {"fields": [{"id": name[1:], "type": kind} for name, kind in kinds.items()], "fieldOptions": []})
