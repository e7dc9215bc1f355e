"""How ActiveCampaign misbehaves: every class of answer, at every call an export makes."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.histories import trouble
from tests.histories.trouble import Place

BULK = "/api/3/import/bulk_import"

GONE = frozenset({404})

LOST = {"match": {"method": "POST", "path": BULK}, "times": 1, "do": {"drop": "after"}}
"""An import that is queued without an answer."""

PLACES = (
    Place("POST", BULK),
    Place("POST", BULK),
    Place("GET", BULK),
    Place("GET", "/api/3/import/info"),
    Place("GET", "^/api/3/contacts$"),
    Place("GET", "^/api/3/contacts/[0-9]+$"),
    Place("GET", "^/api/3/contacts/[0-9]+/contactLists$"),
    Place("GET", "^/api/3/contacts/[0-9]+/contactTags$"),
    Place("POST", "/api/3/contact/sync"),
    Place("POST", "/api/3/contactLists"),
    Place("POST", "/api/3/contactTags"),
    # 404 says that the tag is off already, and a success says nothing.
    Place("DELETE", "/api/3/contactTags", untrue=GONE, lies=False),
    Place(None, "/api/3/tags"),
    Place("GET", "/api/3/lists"),
    Place("GET", "/api/3/fields"),
    Place("GET", "/api/3/users/me"),
    Place(None, "", untrue=GONE, lies=False),
)


def fault(chance: Random) -> dict[str, Any]:
    """Return a rule for the fault script."""
    place = chance.choice(PLACES)
    do = chance.choice(_FORMS)(chance) if place.path == BULK and place.method == "POST" else None
    return trouble.rule(chance, place, do if chance.random() < 0.4 else None)


def import_outcome(chance: Random, email: str) -> dict[str, Any]:
    """Return how the next import ends: now and then most of a day later, after those that were queued after it."""
    if chance.random() < 0.5:
        return {"seconds": chance.choice([900, 7_000, 40_000, 80_000])}
    status = chance.choice(["completed", "interrupted", "failed"])
    return {"status": status, "unreported": [email]} if chance.random() < 0.4 else {"status": status}


def _rows_named(chance: Random) -> dict[str, Any]:
    rows = [{"contact": chance.randint(1, 12), "failureReason": "Field 'email' incorrect format"} for _ in range(2)]
    body = {"success": 0, "message": "Validation failed: the import was not queued.", "failureReasons": rows}
    return {"status": 400, "body": body}


def _rate_limit(_: Random) -> dict[str, Any]:
    reasons = ["100 such imports fit in a minute. Try again in a minute."]
    return {"status": 400, "body": {"success": 0, "message": "Rate limit exceeded.", "failureReasons": reasons}}


_FORMS = (_rows_named, _rate_limit)
