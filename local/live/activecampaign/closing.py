"""The rest: what needs no contact, deleting everything that was made, and a made-up key at the very end."""

from __future__ import annotations

import uuid
from collections import Counter
from itertools import pairwise

from local.live.activecampaign.opening import contacts_on_list
from local.live.activecampaign.smoke import Smoke
from local.live.activecampaign.waiting import BULK_IMPORT, INFO, open_imports, status_word
from local.live.live_account import Exchange, last
from local.live.replies import at, in_words
from local.live.report import OURS, Fits, yes_or_no
from relay.destinations.contract import Reply
from relay.domain.problems import Problem

_TRIES = 3
_WINDOW_SECONDS = 1.0
_GONE = (200, 204, 404)
_REMAINING = "ratelimit-remaining"


def unknown_import(smoke: Smoke) -> None:
    """Ask about an import that never was."""
    with smoke.live.witness.watch() as seen:
        state = smoke.client.import_state(str(uuid.uuid4()))
    reply = last(seen, "GET", INFO).reply
    word = status_word(at(reply.body, "status"))
    smoke.report.line(
        "the status of an unknown batchId",
        "not documented (400 without one; we expect a refusal, or false for ever)",
        in_words(reply) + (f", status {word}" if state is not None else ""),
        yes_or_no(state is None or word == "false"),
    )


def limits(smoke: Smoke) -> None:
    """Tell whether imports count among the requests of the second, and whether we were ever slowed down."""
    given, fits = counting_of_imports(smoke.live.witness.exchanges)
    smoke.report.line(
        "imports in the RateLimit-Remaining of other calls",
        "not documented (we keep the two limits apart)",
        given,
        fits,
    )
    slowed = smoke.live.witness.slowed_down
    smoke.report.line(
        "calls refused with 429", "none, at one call a second", str(slowed), Fits.UNCLEAR if slowed else Fits.YES
    )


def counting_of_imports(exchanges: list[Exchange]) -> tuple[str, Fits]:
    """Compare what is left after a call by itself with what is left after a call close behind an import."""
    alone: Counter[int] = Counter()
    behind: set[int] = set()
    for before, exchange in pairwise(exchanges):
        remaining = exchange.reply.headers.get(_REMAINING, "")
        if not remaining.isdigit() or exchange.method != "GET":
            continue
        if not exchange.hurried and not before.hurried:
            alone[int(remaining)] += 1
        elif before.is_call("POST", BULK_IMPORT):
            apart = (exchange.answered_at - before.sent_at).total_seconds()
            if exchange.hurried and before.hurried and apart < _WINDOW_SECONDS:
                behind.add(int(remaining))
    if not alone or not behind:
        return "not clear: no two answers with the header within a second", Fits.UNCLEAR
    usual = alone.most_common(1)[0][0]
    given = f"{usual} left after a call alone, {' or '.join(map(str, sorted(behind)))} after one right behind an import"
    if behind == {usual}:
        return f"not counted: {given}", Fits.YES
    return (f"counted: {given}", Fits.NO) if behind == {usual - 1} else (f"not clear: {given}", Fits.UNCLEAR)


def wrong_key(smoke: Smoke) -> None:
    """Make one call with a made-up key."""
    reply = smoke.ask("GET", "users/me", key=f"{OURS}made-up-key")
    is_page = 200 <= reply.status < 300 and reply.body is None
    smoke.report.line(
        "the answer to a made-up key",
        "403 (docs), 200 with a log-in page or 401 (others)",
        in_words(reply),
        yes_or_no(reply.status in (401, 403) or is_page),
    )


def clean_up(smoke: Smoke) -> None:
    """Delete the contacts and the tag; what could not be deleted is shown as left over."""
    statuses: Counter[int] = Counter()
    still_open = open_imports(smoke)
    for address in smoke.used:
        status = _try_to_delete(smoke, address)
        if status is None:
            continue
        statuses[status] += 1
        if status not in _GONE:
            smoke.report.keeps(f"contact {address} ({status or 'no answer'})")
    still_there = _still_on_list(smoke)
    given = ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(statuses.items()))
    smoke.report.line(
        "deleting the contacts",
        "DELETE contacts/{id}: 200",
        f"{given or 'none'}; then on the list: {'not readable' if still_there is None else still_there}",
        yes_or_no(set(statuses) <= set(_GONE) and still_there == 0),
    )
    _delete_tag(smoke)
    if still_open:
        smoke.report.keeps(f"an import that had not ended: contacts {smoke.tag}-N may still appear")


def _try_to_delete(smoke: Smoke, address: str) -> int | None:
    """Return the status of deleting a contact, None when there is none, 0 when there was no answer."""
    for _ in range(_TRIES):
        try:
            contact = smoke.client.contact_id(address)
            return None if contact is None else smoke.ask("DELETE", f"contacts/{contact}").status
        except Problem:
            continue
    return 0


def _still_on_list(smoke: Smoke) -> int | None:
    try:
        found = contacts_on_list(smoke)
    except Problem:
        return None
    return None if found is None else len(found)


def _delete_tag(smoke: Smoke) -> None:
    try:
        tag = smoke.client.tag_id(smoke.tag)
        reply: Reply | None = None if tag is None else smoke.ask("DELETE", f"tags/{tag}")
    except Problem:
        smoke.report.keeps(f"perhaps tag {smoke.tag}")
        return
    if reply is not None and reply.status not in _GONE:
        smoke.report.keeps(f"tag {smoke.tag} ({reply.status})")
