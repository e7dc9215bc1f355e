"""The segment's metadata: made, made again, renamed; and whether any reading call shows it."""

from __future__ import annotations

from typing import Any

from local.live.gainsight_px.smoke import DESCRIPTION, MEMBERSHIP, METADATA, NAME, SEGMENT, Smoke
from local.live.live_account import Exchange, last
from local.live.replies import at, in_words
from local.live.report import Fits, yes_or_no
from relay.destinations.contract import Answer, Reply
from relay.domain import moments

_PAGES = 10


def first_membership(smoke: Smoke) -> None:
    """Make the segment and put the given user into it, as the first delivery of an export does."""
    answer, seen = smoke.send(smoke.identity, joins=True)
    made = last(seen, "POST", METADATA).reply
    given = at(made.body, "id")
    smoke.segment_id = given if isinstance(given, str) and given else None
    as_sent = at(made.body, "externalId") == SEGMENT
    smoke.report.line(
        "the segment made known (permission Write)",
        "200 {id, externalId, name, description}",
        f"{in_words(made)}; id {'is there' if smoke.segment_id else 'is missing'}, externalId "
        f"{'as sent' if as_sent else 'another'}",
        yes_or_no(smoke.segment_id is not None and as_sent),
    )
    membership_line(smoke, "the given user put into the segment", answer, seen)


def references(smoke: Smoke) -> None:
    """Tell whether a membership may name the segment by PX's id or by ours."""
    replies = {"id": _tell(smoke, smoke.segment_id or ""), "external_id": _tell(smoke, SEGMENT)}
    taken = {reference for reference, reply in replies.items() if 200 <= reply.status < 300}
    if taken == {"external_id"}:
        smoke.segment_ref = "external_id"
    advice = "" if "id" in taken else "; set segment_ref to external_id" if taken else "; neither is taken"
    smoke.report.line(
        "segmentId as PX's id, or as our external id",
        "not documented (option segment_ref, id by default)",
        f"id: {replies['id'].status}; external id: {replies['external_id'].status}{advice}",
        yes_or_no("id" in taken),
    )


def made_again(smoke: Smoke) -> None:
    """Have the destination make the segment as if it had never done so."""
    _, seen = smoke.send(smoke.identity, joins=True, as_if_new=True)
    reply = last(seen, "POST", METADATA).reply
    same = smoke.segment_id is not None and at(reply.body, "id") == smoke.segment_id
    smoke.report.line(
        "the segment made again, failIfExists=false",
        "not documented (we expect the same segment, by its externalId)",
        f"{in_words(reply)}; {'the same id' if same else 'another id'}",
        yes_or_no(same),
    )


def renamed(smoke: Smoke) -> None:
    """Rename the segment, and give it back its name."""
    new_name = f"{NAME}, renamed"
    reply = _put(smoke, new_name)
    back = _put(smoke, NAME)
    shown = at(reply.body, "name")
    smoke.report.line(
        "the segment renamed with PUT, and back",
        "200 {id, externalId, name, description}",
        f"{in_words(reply)}; {'the new name' if shown == new_name else 'not the new name'} is shown; "
        f"back: {back.status}",
        yes_or_no(reply.status == 200 and back.status == 200 and shown == new_name),
    )


def visible(smoke: Smoke) -> None:
    """Look for the segment and the membership in the calls that read; the relay relies on neither."""
    docs = "not documented for external segments (the relay does not use it)"
    found, reply = _listed(smoke)
    smoke.report.line(
        "GET segment", docs, f"{in_words(reply)}; the segment is {'there' if found else 'not there'}", Fits.YES
    )
    filters = f"segmentId=={smoke.segment_id};identifyId=={smoke.identity}"
    reply = smoke.ask("GET", "events/segment_match", params={"filter": filters})
    events = at(reply.body, "featureMatchEvents")
    count = len(events) if isinstance(events, list) else 0
    smoke.report.line(
        "GET events/segment_match", docs, f"{in_words(reply)}; {count} events of user and segment", Fits.YES
    )


def membership_line(smoke: Smoke, what: str, answer: Answer, seen: list[Exchange]) -> None:
    """Tell how a membership was answered."""
    reply = last(seen, "POST", MEMBERSHIP).reply
    refused = f"; rejected as {answer.refused[0].code}" if answer.refused else ""
    smoke.report.line(
        what,
        "200 (no body documented), 400, 401, 429",
        f"{in_words(reply)}{refused}",
        yes_or_no(not answer.refused and 200 <= reply.status < 300),
    )


def _tell(smoke: Smoke, reference: str) -> Reply:
    at_time = moments.text(smoke.live.clock.now())
    action = {"segmentId": reference, "lastQualificationTime": at_time, "identities": [smoke.identity]}
    return smoke.ask("POST", MEMBERSHIP, json={"identityType": "IDENTIFY_ID", "add": [action], "remove": []})


def _put(smoke: Smoke, name: str) -> Reply:
    body = {"id": smoke.segment_id, "externalId": SEGMENT, "name": name, "description": DESCRIPTION}
    return smoke.ask("PUT", METADATA, json=body)


def _listed(smoke: Smoke) -> tuple[bool, Reply]:
    for page in range(_PAGES):
        reply = smoke.ask("GET", "segment", params={"pageNumber": str(page), "pageSize": "200"})
        listed: Any = at(reply.body, "segments")
        rows = listed if isinstance(listed, list) else []
        if any(at(row, "id") == smoke.segment_id or at(row, "name") == NAME for row in rows):
            return True, reply
        if not rows or at(reply.body, "isLastPage") is True:
            break
    return False, reply
