"""Which races must be lost in a session: two writers really meet in every place where that can happen."""

from collections.abc import Mapping

ENOUGH_SCHEDULES = 300
"""A session of so many schedules must have seen every kind."""

KINDS = frozenset(
    {
        "assignments, by ",
        "breakers, by ",
        "export, by runs.starter start",
        "identities, by reconcile.reconciler _round",
        "identities, by reconcile.recorder record",
        "imports, by ",
        "owners, by breaker.ownership _own",
        "pace, by breaker.pace _take",
        "profiles, by routing.write _save",
        "profiles, by routing.write _save_aliases",
        "run header, by ",
        "run out, by runs.settlement _settle",
        "segments, by routing.catalogue note",
    }
)
"""How the names of races begin: what kind of record, and the part of the library whose write came too late.

Two pages of one shard of a run never meet: their messages are of one FIFO group.
"""


def missing(races: Mapping[str, int]) -> list[str]:
    """Return the kinds that never happened."""
    return sorted(kind for kind in KINDS if not any(number and race.startswith(kind) for race, number in races.items()))
