"""Why profiles are not where they belong, as it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from relay.domain.identity import wanted_content
from relay.domain.keyed_hash import KeyedHash
from relay.stores import assignments, identities
from relay.stores.database import Database


def codes_of(database: Database, keyed: KeyedHash, export: str, profiles: Sequence[str]) -> dict[str, set[str]]:
    """Return the codes of profiles of an export for which no identity could be made, or which a destination refuses.

    What it refuses counts as long as that is what is desired, and for the profile whose values are sent.
    """
    connection = export.partition("/")[0]
    found: dict[str, set[str]] = {}
    for profile, stored in assignments.load(database, export, profiles).items():
        assignment = stored.assignment
        codes = set() if assignment.rejection is None else {assignment.rejection.code}
        keys = [identities.key_of(keyed, connection, *pair) for pair in sorted(assignment.pairs)]
        for held in identities.load(database, keys).values():
            record, refused = held.record, held.record.refused
            if refused is not None and record.responsible == profile and refused.content == wanted_content(record):
                codes.add(refused.code)
        if codes:
            found[profile] = codes
    return found
