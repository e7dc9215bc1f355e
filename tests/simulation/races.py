"""Which races must be lost in a session: two writers really meet in every place where that can happen."""

from collections.abc import Mapping

ENOUGH_SCHEDULES = 300
"""A session of so many schedules must have seen every kind."""

KINDS: frozenset[str] = frozenset()
"""What kind of record, and the part of the library whose write came too late."""


def missing(races: Mapping[str, int]) -> list[str]:
    """Return the kinds that never happened."""
    return sorted(KINDS - {kind for kind, number in races.items() if number})
