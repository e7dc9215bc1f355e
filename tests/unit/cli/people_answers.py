"""Answers about people, in the published shapes."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tests.unit.cli.stack_fake import NOW, text_of

DAYS_3 = text_of(NOW - timedelta(days=3))


def target(name: str, **more: Any) -> dict[str, Any]:
    return {
        "target": name,
        "identity": None,
        "desired": "in",
        "matter": "delivered",
        "acknowledged": "as desired",
        "since": DAYS_3,
        "open_until": None,
        "call": None,
        "refused": None,
        "duplicate_of": None,
        "not_before": None,
        **more,
    }


def at_export(key: str, state: str, sentence: str, **more: Any) -> dict[str, Any]:
    return {
        "export": key,
        "state": state,
        "sentence": sentence,
        "wants": ["crm/vip", "crm/gold"],
        "assigned_since": None,
        "targets": [],
        "rejection": None,
        "warnings": [],
        "set_aside": None,
        "paused": False,
        "stop": None,
        "resync_requested": False,
        "last_run": None,
        "traces": [],
        **more,
    }


def nobody(sentence: str) -> dict[str, Any]:
    return {"sentence": sentence, "profile": None, "others": [], "exports": []}


EXPLAINED: dict[str, Any] = {
    "sentence": "newsletter/vip has sent this profile; product/power has rejected it.",
    "profile": {
        "id": "p-1",
        "source": "crm",
        "aliases": ["p-0"],
        "forgotten_at": None,
        "stored_at": text_of(NOW - timedelta(hours=3)),
        "version": 4,
        "request": "r-1",
        "memberships": [
            {"segment": "crm/vip", "status": "realized", "at": DAYS_3, "received_at": DAYS_3},
            {"segment": "crm/trial", "status": "exited", "at": DAYS_3, "received_at": DAYS_3},
        ],
        "identities": None,
        "attributes": None,
    },
    "others": ["p-5"],
    "exports": [
        at_export(
            "newsletter/vip",
            "delivered",
            "It is on the list.",
            assigned_since=DAYS_3,
            targets=[
                target("list 7", call="c-0"),
                target(
                    "tag vip",
                    matter="refused",
                    acknowledged="unknown",
                    identity="kim@example.com",
                    open_until=text_of(NOW + timedelta(hours=1)),
                    call="c-1",
                    refused={"code": "bounced", "at": text_of(NOW), "means": None},
                    duplicate_of="p-7",
                    not_before=text_of(NOW + timedelta(hours=2)),
                ),
            ],
            last_run={"run": "01RUN2", "state": "finished", "started_at": DAYS_3, "ended_at": None},
            traces=["t-1", "t-2"],
            resync_requested=True,
            warnings=["unfit_expression"],
        ),
        at_export(
            "product/power",
            "rejected",
            "It has no IDENTIFY_ID.",
            rejection={"code": "no_identity", "at": None, "means": "map IDENTIFY_ID"},
            stop={
                "what": "connection",
                "code": "unpaid",
                "reason": "the account is unpaid",
                "actor": "administrator",
                "since": None,
                "probe_at": text_of(NOW),
            },
            set_aside={"error": "KeyError", "places": ["relay/app.py:1"], "at": text_of(NOW)},
        ),
    ],
}


def call(**more: Any) -> dict[str, Any]:
    return {
        "method": "POST",
        "path": "/api/3/contact/sync",
        "query": None,
        "request": {"email": "***"},
        "status": 200,
        "response": {},
        "problem": None,
        **more,
    }


ATTEMPTS = [
    {
        "at": text_of(NOW),
        "function": "activecampaign",
        "outcome": "delivered",
        "calls": [call(), call(status=404, query={"limit": "1"}), call(status=0, problem="timeout", request=None)],
        "left_out": 2,
    }
]


def traced(attempts: list[dict[str, Any]], *, import_open: bool = False) -> dict[str, Any]:
    return {
        "trace": "t-9",
        "export": "newsletter/vip",
        "profile": "p-1",
        "asked_at": text_of(NOW),
        "shows_values": False,
        "import_open": import_open,
        "attempts": attempts,
    }


def counted(export: str, members: int) -> dict[str, Any]:
    return {"day": "2026-11-26", "count": members, "confirmed": members - 10, "run": "01RUN1", "export": export}


SEGMENTS: dict[str, Any] = {
    "segments": [
        {
            "segment": "crm/vip",
            "name": "VIP",
            "first_seen": text_of(NOW - timedelta(days=9)),
            "exports": ["newsletter/vip", "product/power"],
            "last_count": 1200,
            "last_count_on": "2026-11-26",
        },
        {
            "segment": "crm/trial",
            "name": None,
            "first_seen": text_of(NOW),
            "exports": [],
            "last_count": None,
            "last_count_on": None,
        },
    ],
    "never_seen": ["crm/typo"],
}


AT_DESTINATIONS = [
    {
        "export": "newsletter/vip",
        "target": "list/7",
        "segments": ["crm/trial", "crm/vip"],
        "count": 4000,
        "problem": None,
    },
    {
        "export": "product/power",
        "target": "segment/crm/vip",
        "segments": ["crm/vip"],
        "count": None,
        "problem": "its API does not say how many are in it",
    },
]


def counting(question: Mapping[str, Any]) -> dict[str, Any]:
    """Two pages of a segment."""
    first = question.get("after") is None
    return {
        "segment": "crm/vip",
        "name": "VIP",
        "first_seen": text_of(NOW - timedelta(days=9)),
        "exports": ["newsletter/vip", "product/power"],
        "members": 1000 if first else 203,
        "left": 2,
        "first_change": None if first else text_of(NOW - timedelta(days=8)),
        "last_change": text_of(NOW - timedelta(days=2 if first else 1)),
        "last_received": None,
        "days": [counted("newsletter/vip", 1190), counted("product/power", 1180)] if first else [],
        "destinations": {"newsletter/vip": 1180, "product/power": 1170} if first else {},
        "at_destinations": AT_DESTINATIONS if first and question.get("ask_destinations") else [],
        "next": "more" if first else None,
    }


def at_one(state: str, code: str | None = None, export: str = "newsletter/vip") -> dict[str, Any]:
    return {"export": export, "state": state, "code": code, "sentence": f"It is {state}.", "open": state == "waiting"}


def change(state: str = "delivered", **more: Any) -> dict[str, Any]:
    exports = [at_one(state), at_one("not selected", export="product/power")]
    given = {"position": 0, "rejected": None, "profile": "p-1", "merged": True, "exports": exports}
    return {**given, **more}


def following(*changes: dict[str, Any], settled: bool = True, left_out: int = 0) -> dict[str, Any]:
    return {"changes": list(changes), "left_out": left_out, "settled": settled, "next": None}
