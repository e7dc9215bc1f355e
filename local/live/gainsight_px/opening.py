"""Before anything is written, and what that first look shows: token, key and feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from local.live.access import CannotRunError, require_consent
from local.live.gainsight_px.smoke import MEMBERSHIP, NAME, SEGMENT, Smoke
from local.live.live_account import Exchange, last
from local.live.replies import at, in_words
from local.live.report import Fits, yes_or_no
from relay.destinations.contract import Reply
from relay.domain.problems import Problem

SUBSCRIPTION = "admin/subscription"


def begin(smoke: Smoke, variables: Mapping[str, str], ask: Callable[[str], str]) -> None:
    """Look at the key or log-in, and ask to begin. Raises CannotRunError."""
    with smoke.live.witness.watch() as seen:
        try:
            smoke.destination.check(smoke.account, [smoke.export])
        except Problem as problem:
            # A feature that is off is a line of the table; a key that is refused leaves nothing to look at.
            if not any(exchange.is_call("GET", SUBSCRIPTION) and exchange.reply.status == 200 for exchange in seen):
                raise CannotRunError(str(problem)) from None
    smoke.report.say(
        f'This makes an external segment "{NAME}" (external id {SEGMENT}), puts the given user and one that does not '
        "exist into it, and takes both out again.\nIt cannot be undone: PX documents no call that deletes an external "
        "segment. The next run uses the same one."
    )
    require_consent(variables, ask, NAME)


def log_in_lines(smoke: Smoke, seen: list[Exchange]) -> None:
    """Tell what came as a token, if one was needed, and that it was fetched once."""
    if getattr(smoke.account.connection.settings, "api_key", None) is not None:
        smoke.report.line("the log-in", "X-APTRINSIC-API-KEY", "an API key: no token is needed", Fits.YES)
        return
    tokens = [exchange for exchange in seen if "/v1/" not in exchange.url]
    body, status = tokens[0].reply.body, tokens[0].reply.status
    kind, lifetime = at(body, "token_type"), at(body, "expires_in")
    has_token = status == 200 and isinstance(at(body, "access_token"), str)
    is_bearer = isinstance(kind, str) and kind.lower() == "bearer"
    smoke.report.line(
        "the token",
        "not published; RFC 6749: 200 {access_token, token_type: Bearer, expires_in}",
        f"{in_words(tokens[0].reply)}; type {kind}, for {lifetime} s",
        Fits.UNCLEAR if has_token and lifetime is None else yes_or_no(has_token and is_bearer),
    )
    used = len(seen) - len(tokens)
    smoke.report.line(
        "the token is used again",
        "a token is good until it expires",
        f"{len(tokens)} token for {used} calls",
        yes_or_no(len(tokens) == 1 and used > 1),
    )


def key_line(smoke: Smoke, seen: list[Exchange]) -> None:
    """Tell whether the subscription can be read."""
    reply = last(seen, "GET", SUBSCRIPTION).reply
    smoke.report.line(
        "reading the subscription (permission Read)",
        "200 {id, name, timeZone, products}",
        in_words(reply),
        yes_or_no(reply.status == 200 and at(reply.body, "id") is not None),
    )


def user_line(smoke: Smoke) -> None:
    """Tell whether PX knows the given user."""
    reply = smoke.ask("GET", f"users/{quote(smoke.identity, safe='')}")
    smoke.report.line(
        "the given user",
        "200 User, or 404",
        f"{reply.status}, {'known' if reply.status == 200 else 'not known (the lines below mean less)'}",
        yes_or_no(reply.status == 200),
    )


def feature_line(smoke: Smoke) -> None:
    """Tell how an update of nobody is answered, which is how the relay finds out whether the feature is on."""
    reply = smoke.ask("POST", MEMBERSHIP, json={"identityType": "IDENTIFY_ID", "add": [], "remove": []})
    smoke.report.line(
        "an update of nobody's membership",
        "not documented (we expect a success or a 400, both show that the feature is on)",
        in_words(reply),
        yes_or_no(is_taken(reply) or (reply.status in (400, 413, 422) and reply.body is not None)),
    )


def is_taken(reply: Reply) -> bool:
    """Return whether an answer is a success of the API, not a page of something in front of it."""
    return 200 <= reply.status < 300 and (reply.body is not None or reply.size == 0)
