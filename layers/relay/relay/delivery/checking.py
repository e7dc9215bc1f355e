"""Looking at one connection and its exports for an operator: what is wrong, and who must do what."""

from collections.abc import Iterator

from relay.delivery.opening import Opener
from relay.delivery.setting_aside import code_version
from relay.destinations.contract import Finding, Level
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.problems import Actor, Problem
from relay.stores import defects
from relay.stores.defects import Defect


def look_at(opener: Opener, connection: str) -> list[Finding]:
    """Check a connection with its secret as it is now, and all its exports, without changing anything.

    Trouble of any kind is a finding too, never an exception.
    """
    listing = opener.settings.exports()
    exports = [export for export in listing.valid.values() if export.connection == connection]
    findings = [
        Finding(invalid.subject, Level.ERROR, str(invalid.problem), invalid.problem.actor)
        for invalid in listing.problems
        if invalid.subject.removeprefix("export ").startswith(f"{connection}/")
    ]
    try:
        settled = opener.settings.connection(connection, fresh=True)
        account, _ = opener.account(settled)
        findings += opener.destinations(settled.destination).check(account, exports)
    except Problem as problem:
        findings.append(Finding("connection", Level.ERROR, str(problem), problem.actor))
    return findings + [finding for export in exports for finding in _set_aside(opener, export)]


def _set_aside(opener: Opener, export: Export) -> Iterator[Finding]:
    """Yield one finding for each place in our code where profiles met a defect."""
    by_place: dict[tuple[str, str], list[Defect]] = {}
    for defect in defects.of_export(opener.database, export.key, defects.MOST_SHOWN):
        by_place.setdefault((defect.error, " < ".join(reversed(defect.places))), []).append(defect)
    for (error, places), found in sorted(by_place.items()):
        newest = max(found, key=lambda defect: defect.at)
        number = f"{len(found)} profile{'' if len(found) == 1 else 's'}"
        code = "this code" if newest.code == code_version() else f"code {newest.code}, not the one that runs now"
        message = (
            f"{number} set aside because of a defect of ours, {error} at {places}, last at "
            f"{moments.text(newest.at)} under {code}: report it; every run tries them again"
        )
        yield Finding(export.key, Level.ERROR, message, Actor.US)
