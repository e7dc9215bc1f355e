"""Looking at one connection and its exports for an operator: what is wrong, and who must do what."""

from relay.delivery import mapping_samples
from relay.delivery.opening import Opener
from relay.destinations.contract import Finding, Level
from relay.domain.problems import Problem


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
    return findings + mapping_samples.look_at(opener.database, opener.destinations, exports)
