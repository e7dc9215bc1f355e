"""The smoke test from beginning to end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from local.live.access import required
from local.live.gainsight_px import closing, opening, segment_lines
from local.live.gainsight_px.smoke import Smoke
from local.live.live_account import Exchange, LiveAccount
from local.live.report import Report
from relay.destinations.contract import Destination

PAUSE_SECONDS = 0.25
"""Between calls: nothing of the 200 a second."""


def run(
    destination: Destination,
    live: LiveAccount,
    report: Report,
    variables: Mapping[str, str],
    ask: Callable[[str], str],
) -> None:
    """Look at everything; the given user leaves the segment whatever happens. Raises CannotRunError."""
    identity = required(variables, "IDENTIFY_ID", "the id of a test user of PX")
    report.hide(identity)
    smoke = Smoke(destination, live, report, identity, secrets.token_hex(3))
    with live.witness.watch() as seen:
        opening.begin(smoke, variables, ask)
    report.head()
    try:
        _look(smoke, seen)
    finally:
        report.section("taking out", lambda: closing.clean_up(smoke))


def _look(smoke: Smoke, seen: list[Exchange]) -> None:
    report = smoke.report
    report.section("the log-in", lambda: opening.log_in_lines(smoke, seen))
    report.section("the key", lambda: opening.key_line(smoke, seen))
    report.section("the given user", lambda: opening.user_line(smoke))
    report.section("the feature", lambda: opening.feature_line(smoke))
    report.section("the segment", lambda: segment_lines.first_membership(smoke))
    report.section("references", lambda: segment_lines.references(smoke))
    report.section("reading calls", lambda: segment_lines.visible(smoke))
    report.section("the segment again", lambda: segment_lines.made_again(smoke))
    report.section("renaming", lambda: segment_lines.renamed(smoke))
    report.section("an unknown user", lambda: closing.unknown_user(smoke))
    report.section("limits", lambda: closing.limits(smoke))
