"""Before anything is written: is the account usable, the list empty, and does the administrator agree?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from local.live.access import CannotRunError, require_consent
from local.live.activecampaign.smoke import Smoke
from local.live.live_account import Exchange, last
from local.live.replies import at, in_words
from local.live.report import Fits, yes_or_no
from relay.destinations.contract import Finding, Level
from relay.domain.problems import Problem

_TEXT_KINDS = ("text", "textarea", "hidden")
_PACED_CALLS = 5
"""The documented limit a second, of which the relay uses four."""


def begin(smoke: Smoke, variables: Mapping[str, str], ask: Callable[[str], str]) -> list[Finding]:
    """Look at key, list and field, and ask to begin; return the findings. Raises CannotRunError."""
    try:
        findings = smoke.destination.check(smoke.account, [smoke.export()])
        wrong = [finding.message for finding in findings if finding.level is Level.ERROR]
        if wrong:
            raise CannotRunError("; ".join(wrong))
        _require_text_field(smoke)
        name = _name_of_empty_list(smoke)
    except Problem as problem:
        raise CannotRunError(str(problem)) from None
    smoke.report.say(
        f'This makes 14 contacts {smoke.tag}-N@{smoke.domain} on list {smoke.list_id} ("{name}") and deletes them at '
        f"the end, and a tag {smoke.tag}.\nAutomations that start with a subscription to this list will start. It "
        "takes a few minutes."
    )
    require_consent(variables, ask, name)
    return findings


def account_lines(smoke: Smoke, findings: list[Finding], seen: list[Exchange]) -> None:
    """Tell what the first look at the account (`seen`) has shown."""
    report = smoke.report
    report.line(
        "key, list and fields",
        "users/me, lists/{id} and fields answer 200",
        "; ".join(f"{finding.level.value}: {finding.message}" for finding in findings)
        + (f"; ok: field {smoke.field_id} takes texts" if smoke.field_id else ""),
        yes_or_no(all(finding.level is Level.OK for finding in findings)),
    )
    me = last(seen, "GET", "users/me").reply
    shape = f"{in_words(me)}; user has an id: {'yes' if at(me.body, 'user', 'id') is not None else 'no'}"
    report.line("users/me", "200 {user: {id, username, ...}}", shape, yes_or_no(at(me.body, "user") is not None))
    settings = last(seen, "GET", "settings/account").reply
    readable = settings.status == 200 and at(settings.body, "subscriber_limit") is not None
    limit = at(settings.body, "subscriber_limit")
    report.line(
        "settings/account",
        "200 with subscriber_limit for a user of the Admin group, else 403",
        f"200, subscriber_limit as {'text' if isinstance(limit, str) else 'number'}"
        if readable
        else in_words(settings),
        yes_or_no(readable or settings.status == 403),
    )
    _rate_limit_line(smoke, me.headers)


def _rate_limit_line(smoke: Smoke, headers: Mapping[str, str]) -> None:
    limit, remaining = headers.get("ratelimit-limit"), headers.get("ratelimit-remaining")
    given = limit is not None and limit.isdigit()
    smoke.report.line(
        "the rate limit of an answer",
        "RateLimit-Limit: 5 (a second, for the account), RateLimit-Remaining",
        f"RateLimit-Limit: {limit or 'missing'}, RateLimit-Remaining: {remaining or 'missing'}",
        yes_or_no(int(limit or 0) >= _PACED_CALLS) if given else Fits.UNCLEAR,
    )


def _name_of_empty_list(smoke: Smoke) -> str:
    reply = smoke.ask("GET", f"lists/{smoke.list_id}")
    name = at(reply.body, "list", "name")
    if not isinstance(name, str) or not name.strip():
        raise CannotRunError(f"the name of list {smoke.list_id} cannot be read ({in_words(reply)})")
    on_it = contacts_on_list(smoke)
    if on_it is None:
        raise CannotRunError("the contacts of the list cannot be read, so nobody knows whether it is empty")
    if on_it:
        raise CannotRunError(f"list {smoke.list_id} has contacts already: make an empty one for this")
    return name


def contacts_on_list(smoke: Smoke) -> list[str] | None:
    """Return the ids of contacts on the list whatever their status (the first hundred), None if unreadable."""
    reply = smoke.ask("GET", "contacts", {"listid": smoke.list_id, "status": "-1", "limit": "100"})
    page = at(reply.body, "contacts")
    return [str(at(contact, "id")) for contact in page] if reply.status == 200 and isinstance(page, list) else None


def _require_text_field(smoke: Smoke) -> None:
    if smoke.field_id is None:
        return
    field = (smoke.client.fields() or {}).get(smoke.field_id)
    if field is None or field.kind not in _TEXT_KINDS:
        kind = "unknown" if field is None else field.kind
        raise CannotRunError(f"FIELD {smoke.field_id} is of type {kind}: name a text field")
