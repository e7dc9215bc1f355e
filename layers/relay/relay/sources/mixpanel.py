"""Mixpanel's cohort webhook: who entered a cohort, who left it, or all of its members in pages.

https://docs.mixpanel.com/docs/cohort-sync/webhooks
`members` are pages of the whole cohort: when all pages of a `mixpanel_session_id` are there, who is in none of them has
left. Bodies without `page_info` or a session are met in the field: they add members, and remove nobody.
`add_members` and `remove_members` are differences. The body has no time, so memberships have that of receipt.
Answers of 400, 401, 403 and 404 pause the sync and tell people; others are tried again. So only what a person must mend
is answered with 400 or 401.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from relay.domain.changes import MembershipChange
from relay.domain.closed_sets import SetPage
from relay.domain.values import whole
from relay.problem_details import InputError, pointer, wrong_shape
from relay.sources.dialect import Answer, Dialect, Refused, Source, Taken, in_json
from relay.sources.json_body import document, flaw_of
from relay.sources.reading import (
    MAX_IDENTITY,
    UNFIT_SNAPSHOT,
    Incoming,
    LeftOut,
    Misshapen,
    Parts,
    Place,
    Reading,
    name_of,
    read_each,
)
from relay.sources.recognising import sender_of

ACTIONS: Final = {"members": True, "add_members": True, "remove_members": False}
"""Whether whom a message names is in the cohort."""

IDENTITY = "mixpanel_distinct_id"
"""The namespace of the ids that Mixpanel knows people by, and its key of a member."""

MAX_PAGES = 100_000
"""The most pages of a cohort: 100 million members at the 1,000 a call that Mixpanel sends at most."""

PAUSING = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
"""What is wrong with a body stays wrong when it is sent again: answered with 400, so that somebody looks."""

_OWN_ID: Final = "$distinct_id"
"""How Mixpanel calls the same id among its own properties, which may be exported, too."""
_PAGE: Final[Place] = ("parameters", "page_info")
_UNPLACED: Final = "does not say which page of the cohort it is: its members are taken, and nobody is removed"
_ACTION = re.compile(rb'"action"\s{0,20}:\s{0,20}"(members|add_members|remove_members)"')


def read(raw: bytes, source: Source, received_at: datetime) -> Reading:
    """Read one message; raises Refusal (400, 413 or 422)."""
    body = document(raw)
    parameters = _parameters(body, source)
    action = body["action"]
    members = _members(body, parameters)
    read_page = _page(parameters, source, members) if action == "members" else None
    name = name_of(parameters.get("mixpanel_cohort_name"))

    def read_one(place: Place, given: Any) -> Incoming:
        if not isinstance(given, dict):
            raise Misshapen([InputError("must be a member (an object)", pointer(place))])
        parts = Parts(source.name, place, given)
        segment = parts.segment(parameters["mixpanel_cohort_id"])
        key = next((one for one in (IDENTITY, _OWN_ID) if given.get(one) is not None), None)
        user = None if key is None else parts.identity(given[key], key)
        return parts.incoming(
            identities={} if user is None else {IDENTITY: [user]},
            attributes=parts.attributes({key: value for key, value in given.items() if key != IDENTITY}),
            memberships=[] if segment is None else [MembershipChange(segment, ACTIONS[action], received_at, name)],
            snapshot=False,
        )

    places = ((("parameters", "members", index), one) for index, one in enumerate(members))
    found = read_each(body, places, read_one, dialect=source.dialect)
    is_unplaced = action == "members" and read_page is None
    left_out = [LeftOut(UNFIT_SNAPSHOT, InputError(_UNPLACED, pointer(_PAGE)))] if is_unplaced else []
    return Reading(found.profiles, found.misshapen, left_out, page=read_page, reply={"action": action})


def _parameters(body: Any, source: Source) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise wrong_shape([InputError("must be an object", pointer([]))], sender_of(body, source.dialect))
    errors = []
    action = body.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        errors.append(InputError(f"must be one of {', '.join(ACTIONS)}", pointer(["action"])))
    given = body.get("parameters")
    parameters: Mapping[str, Any] = given if isinstance(given, dict) else {}
    if not isinstance(given, dict):
        errors.append(InputError("must be an object", pointer(["parameters"])))
    else:
        cohort = Parts(source.name, (), {}).segment(parameters.get("mixpanel_cohort_id"))
        if cohort is None:
            errors.append(InputError("must be a cohort's id", pointer(["parameters", "mixpanel_cohort_id"])))
        if not isinstance(_members(body, parameters), list):
            errors.append(InputError("must be a list", pointer(["parameters", "members"])))
    if errors:
        raise wrong_shape(errors, sender_of(body, source.dialect))
    return parameters


def _members(body: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """Return the members; a difference that has none says that nobody changed.

    Calls with the list beside `parameters` are met, too.
    """
    found = parameters.get("members", body.get("members"))
    return [] if found is None and (body["action"] != "members" or "members" in parameters) else found


def _page(parameters: Mapping[str, Any], source: Source, members: Sequence[Any]) -> SetPage | None:
    """Return which page of the cohort it is, None where the body does not say: then who is there is taken.

    Raises Refusal for a page that cannot be: it may not remove anybody.
    """
    session, info = parameters.get("mixpanel_session_id"), parameters.get("page_info")
    if session is None or info is None or parameters.get("members") is None:
        return None
    number, pages = (_count(info.get(key)) if isinstance(info, dict) else None for key in ("page_count", "total_pages"))
    if pages == 0 and not members:
        number, pages = 1, 1
    reference = Parts(source.name, (), {}).segment(parameters["mixpanel_cohort_id"])
    errors = []
    if not (isinstance(session, str) and 0 < len(session) <= MAX_IDENTITY and flaw_of(session) is None):
        errors.append(InputError("must be a text", pointer(["parameters", "mixpanel_session_id"])))
    if number is None or pages is None or not 1 <= number <= pages <= MAX_PAGES:
        errors.append(InputError("must have page_count from 1 to total_pages", pointer(_PAGE)))
    if errors or number is None or pages is None:
        raise wrong_shape(errors)
    return SetPage(str(reference), str(session), number, pages)


def _count(given: Any) -> int | None:
    value = whole(given)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def answer(taken: Taken) -> Answer:
    """Return the success that Mixpanel wants, also when some members were left out: they are counted here."""
    return in_json(HTTPStatus.OK, {"action": taken.reply.get("action", "members"), "status": "success"})


def refuse(refused: Refused) -> Answer:
    """Return the failure that Mixpanel shows to people."""
    refusal = refused.refusal
    status = HTTPStatus.BAD_REQUEST if refusal.status in PAUSING else refusal.status
    action = _ACTION.search(refused.raw[:10_000])
    body = {
        "action": "members" if action is None else action[1].decode(),
        "status": "failure",
        "error": {
            "message": f"{refusal.sentences(3)} ({refusal.code}, request {refused.request_id})",
            "code": int(status),
        },
    }
    return in_json(status, body, refusal.headers)


DIALECT: Final = Dialect(read, answer, refuse)
