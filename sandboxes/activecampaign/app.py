"""The ActiveCampaign API v3 as far as a segment export needs it, over an account in memory.

https://developers.activecampaign.com/reference/overview
`create_app` wires the calls; imports and contacts are in `calls`, the account in `account`.
What the control API has besides the shared part is in `control`.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable
from functools import partial

from flask import Flask, Response, g, request

from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.calls import attach_contact_calls, attach_import_calls
from sandboxes.activecampaign.control import attach_control_extras
from sandboxes.activecampaign.deletions import attach_deletion_calls
from sandboxes.activecampaign.rows import as_id
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from sandboxes.activecampaign.tags import attach_tag_calls
from sandboxes.answers import html_answer, json_answer, page_of
from sandboxes.control import make_app

IMPORT_PATH = "/api/3/import/bulk_import"


def create_app(
    config: ActiveCampaignConfig | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    time_scale: float = 1.0,
) -> Flask:
    """Return the sandbox over an `ActiveCampaignAccount`; see `Account` for the arguments."""
    account = ActiveCampaignAccount(config or ActiveCampaignConfig(), clock, sleep, time_scale)
    app = make_app(account, partial(_admit, account))
    _attach_quota_headers(app, account)
    _attach_account_calls(app, account)
    attach_import_calls(app, account)
    attach_contact_calls(app, account)
    attach_tag_calls(app, account)
    attach_deletion_calls(app, account)
    attach_control_extras(app, account)

    @app.errorhandler(404)
    @app.errorhandler(405)
    def no_such_call(error: Exception) -> Response:
        return json_answer({"message": "No such resource"}, getattr(error, "code", 404))

    return app


def _admit(account: ActiveCampaignAccount) -> Response | None:
    """Key and rate limit: https://developers.activecampaign.com/reference/rate-limits."""
    account.settle()
    # Bulk import has a quota of its own; whether it counts here too is undocumented.
    is_import = request.path == IMPORT_PATH and request.method == "POST"
    if account.config.imports_count or not is_import:
        wait = account.admit("requests_per_second")
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


def _attach_quota_headers(app: Flask, account: ActiveCampaignAccount) -> None:
    @app.after_request
    def show_quota(answer: Response) -> Response:
        if g.get("show_quota"):
            quota = account.quotas["requests_per_second"]
            answer.headers["RateLimit-Limit"] = str(quota.limit)
            answer.headers["RateLimit-Remaining"] = str(quota.remaining())
        return answer


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
