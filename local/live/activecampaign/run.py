"""The smoke test from beginning to end."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping

from local.live.access import CannotRunError, given, required
from local.live.activecampaign import closing, import_lines, opening, single_lines
from local.live.activecampaign.smoke import Smoke
from local.live.live_account import LiveAccount
from local.live.report import Report
from relay.destinations.contract import Destination

PAUSE_SECONDS = 1.1
"""Between calls: leaves four of the five a second to everybody else."""

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def run(
    destination: Destination,
    live: LiveAccount,
    report: Report,
    variables: Mapping[str, str],
    ask: Callable[[str], str],
) -> None:
    """Look at everything; the contacts go whatever happens. Raises CannotRunError when it could not begin."""
    smoke = Smoke(
        destination=destination,
        live=live,
        report=report,
        list_id=_fitting(required(variables, "LIST", "the number of an empty list"), _NUMBER, "LIST"),
        domain=_fitting(required(variables, "EMAIL_DOMAIN", "such as example.com").lower(), _DOMAIN, "EMAIL_DOMAIN"),
        mark=secrets.token_hex(3),
        field_id=_fitting(field, _NUMBER, "FIELD") if (field := given(variables, "FIELD")) else None,
    )
    with live.witness.watch() as seen:
        findings = opening.begin(smoke, variables, ask)
    report.head()
    try:
        _look(smoke, lambda: opening.account_lines(smoke, findings, seen))
    finally:
        closing.clean_up(smoke)
    report.section("a made-up key", lambda: closing.wrong_key(smoke))


def _look(smoke: Smoke, account_lines: Callable[[], None]) -> None:
    report = smoke.report
    report.section("the account", account_lines)
    report.section("the first import", lambda: import_lines.first_import(smoke))
    report.section("a malformed row", lambda: import_lines.malformed_row(smoke))
    report.section("an unsubscribed contact", lambda: import_lines.unsubscribed_before(smoke))
    report.section("single contacts", lambda: single_lines.one_contact(smoke))
    report.section("list entries", lambda: single_lines.fingerprints(smoke))
    if smoke.field_id is not None:
        report.section("a custom field", lambda: single_lines.field_round_trip(smoke))
    report.section("a tag", lambda: single_lines.tag_round_trip(smoke))
    report.section("an unknown import", lambda: closing.unknown_import(smoke))
    report.section("limits", lambda: closing.limits(smoke))


def _fitting(value: str, pattern: re.Pattern[str], name: str) -> str:
    if not pattern.fullmatch(value):
        raise CannotRunError(f"{name} cannot be {value}")
    return value
