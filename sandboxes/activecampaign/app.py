"""The ActiveCampaign API v3 as far as a segment export needs it, over an account in memory.

https://developers.activecampaign.com/reference/overview
`create_app` wires the calls; imports and contacts are in `calls`, the account in
`account`. Control API besides the shared one (see `control`):

- `POST /_sandbox/contacts` plants one contact or `{"contacts": [...]}`, as if edited by hand: `email` (required),
  `firstName`, `lastName`, `phone`, `fields` {id: text}, `tags` [name], `lists` {list id: status},
  `excluded` and `bounced` (true puts the address on the account's exclusion or bounce list)
- `DELETE /_sandbox/contacts/{email}` deletes a contact
- `POST /_sandbox/import_outcomes` takes a list of endings for the next imports, e.g.
  `[{"status": "interrupted"}, {"unreported": ["ann@example.com"]}, {"seconds": 3600}]`
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable

from flask import Flask, Response, g, request

from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.calls import attach_contact_calls, attach_import_calls
from sandboxes.activecampaign.deletions import attach_deletion_calls
from sandboxes.activecampaign.rows import as_id, is_email
from sandboxes.activecampaign.settings import ActiveCampaignConfig, read_outcome
from sandboxes.activecampaign.tags import attach_tag_calls
from sandboxes.answers import InvalidControlError, body_object, html_answer, json_answer, page_of
from sandboxes.control import CONTROL_PREFIX, attach_control

IMPORT_PATH = "/api/3/import/bulk_import"


def create_app(
    config: ActiveCampaignConfig | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Flask:
    """Return the sandbox; its `ActiveCampaignAccount` is `app.extensions["sandbox"]`.

    `clock` gives seconds since 1970 and `sleep` carries out scripted delays; tests inject both.
    """
    account = ActiveCampaignAccount(config or ActiveCampaignConfig(), clock, sleep)
    app = Flask("activecampaign_sandbox")
    attach_control(app, account)
    _attach_front_door(app, account)
    _attach_account_calls(app, account)
    attach_import_calls(app, account)
    attach_contact_calls(app, account)
    attach_tag_calls(app, account)
    attach_deletion_calls(app, account)
    _attach_planting(app, account)
    return app


def _attach_front_door(app: Flask, account: ActiveCampaignAccount) -> None:
    """Key and rate limit: https://developers.activecampaign.com/reference/rate-limits."""

    @app.before_request
    def admit() -> Response | None:
        if request.path.startswith(CONTROL_PREFIX):
            return None
        account.settle()
        # Bulk import has a quota of its own; whether it counts here too is undocumented.
        is_import = request.path == IMPORT_PATH and request.method == "POST"
        if account.config.imports_count or not is_import:
            wait = account.requests_quota.admit()
            g.show_quota = True
            if wait is not None:
                seconds = max(1, math.ceil(account.clock.wall_seconds(wait)))
                return json_answer({"message": "Too Many Requests"}, 429, {"Retry-After": str(seconds)})
        given = request.headers.get("Api-Token", "")
        if not hmac.compare_digest(given.encode(), account.config.api_key.encode()):
            return _wrong_key_answer(account.config.wrong_key)
        if account.config.unpaid:
            return json_answer({"message": "The account has an open payment."}, 402)
        return None

    @app.after_request
    def show_quota(answer: Response) -> Response:
        if g.get("show_quota"):
            answer.headers["RateLimit-Limit"] = str(account.requests_quota.limit)
            answer.headers["RateLimit-Remaining"] = str(account.requests_quota.remaining())
        return answer

    @app.errorhandler(404)
    @app.errorhandler(405)
    def no_such_call(error: Exception) -> Response:
        return json_answer({"message": "No such resource"}, getattr(error, "code", 404))


def _wrong_key_answer(flavour: str) -> Response:
    if flavour == "html":
        return html_answer(200, "Log in to your account")
    return json_answer({"message": "Authentication failed"}, int(flavour))


def _attach_account_calls(app: Flask, account: ActiveCampaignAccount) -> None:
    @app.get("/api/3/users/me")
    def me() -> Response:
        user: dict[str, object] = {
            "id": "1",
            "username": "sandbox",
            "firstName": "Sandbox",
            "lastName": "Admin",
            "email": "admin@example.com",
            "phone": "",
            "signature": None,
            "links": {},
        }
        return json_answer({"user": user})

    @app.get("/api/3/lists")
    def lists() -> Response:
        visible = [n for n in sorted(account.config.lists) if n not in account.config.invisible_lists]
        rows, meta = page_of([_describe_list(account, number) for number in visible])
        return json_answer({"lists": rows, "meta": meta})

    @app.get("/api/3/lists/<list_id>")
    def one_list(list_id: str) -> Response:
        number = as_id(list_id)
        if number in account.config.invisible_lists:
            error = {
                "status": 403,
                "title": "Forbidden",
                "detail": "You do not have permission to view lists.",
            }
            return json_answer({"errors": [error]}, 403)
        if number is None or number not in account.config.lists:
            return json_answer({"message": f"No Result found for _List with id {list_id}"}, 404)
        return json_answer({"list": _describe_list(account, number)})

    @app.get("/api/3/fields")
    def fields() -> Response:
        described = [
            {
                "id": str(number),
                "title": f"Field {number}",
                "type": kind,
                "perstag": f"FIELD_{number}",
                "options": [],
            }
            for number, kind in account.config.fields.items()
        ]
        rows, meta = page_of(described)
        return json_answer({"fields": rows, "fieldOptions": [], "meta": meta})

    @app.get("/api/3/settings/account")
    def account_settings() -> Response:
        if account.config.settings_forbidden:
            return json_answer({"message": "Forbidden"}, 403)
        return json_answer(
            {
                "account": "sandbox",
                "cname": "",
                "status": "active",
                "subscriber_limit": account.config.contact_limit,
                "subscriber_total": account.active_contacts(),
                "trial": False,
            }
        )


def _describe_list(account: ActiveCampaignAccount, number: int) -> dict[str, object]:
    name = account.config.lists[number]
    return {
        "id": str(number),
        "name": name,
        "stringid": name.lower().replace(" ", "-"),
        "userid": "1",
        "links": {"contactGoalLists": f"/api/3/lists/{number}/contactGoalLists"},
    }


def _attach_planting(app: Flask, account: ActiveCampaignAccount) -> None:
    @app.post("/_sandbox/contacts")
    def plant() -> Response:
        body = body_object()
        given = body.get("contacts", [body]) if body is not None else None
        if not isinstance(given, list):
            raise InvalidControlError("give one contact, or a list under contacts")
        return json_answer({"contacts": [_plant_contact(account, contact) for contact in given]})

    @app.delete("/_sandbox/contacts/<email>")
    def delete(email: str) -> Response:
        return json_answer({"deleted": account.delete(email)})

    @app.post("/_sandbox/import_outcomes")
    def next_import_outcomes() -> Response:
        outcomes: object = request.get_json(force=True)
        if not isinstance(outcomes, list):
            raise InvalidControlError("give a list of import outcomes")
        account.next_outcomes.extend([read_outcome(outcome) for outcome in outcomes])
        return json_answer({"waiting": len(account.next_outcomes)})


def _plant_contact(account: ActiveCampaignAccount, given: object) -> dict[str, object]:
    if not isinstance(given, dict):
        raise InvalidControlError("a contact is an object")
    known = {"email", "firstName", "lastName", "phone", "fields", "tags", "lists", "excluded", "bounced"}
    if set(given) - known:
        raise InvalidControlError(f"a contact takes {', '.join(sorted(known))}")
    email, fields, lists = given.get("email"), given.get("fields", {}), given.get("lists", {})
    tags = given.get("tags", [])
    if not isinstance(email, str) or not is_email(email):
        raise InvalidControlError("a contact needs an email")
    if not isinstance(fields, dict) or not isinstance(lists, dict) or not isinstance(tags, list):
        raise InvalidControlError("fields and lists are objects by id, tags are a list")
    statuses = {as_id(number): status for number, status in lists.items()}
    if any(n not in account.config.lists or as_id(status) is None for n, status in statuses.items()):
        raise InvalidControlError("lists maps known list ids to a status, a number")
    texts = {int(number): str(value) for number, value in fields.items() if as_id(number) is not None}
    contact, _created = account.upsert(email, given.get("firstName"), given.get("lastName"), given.get("phone"), texts)
    for name in tags:
        account.add_tag(contact, account.tag_id(str(name)))
    for number, status in statuses.items():
        account.set_list_status(contact, int(number or 0), int(status), by="hand")
    if given.get("excluded"):
        account.exclude(email)
    if given.get("bounced"):
        account.bounce(email)
    return account.describe(contact)
