"""Segments that an export names and the platform never sent: one wording for who writes, who checks, and a run."""

from collections.abc import Sequence
from difflib import get_close_matches

from relay.domain.problems import Fault
from relay.stores import segments
from relay.stores.database import Database

THEN = "let the platform send somebody of it first (relay send SOURCE FILE does the same), or correct the name"


def look(database: Database, named: Sequence[str]) -> list[Fault]:
    """Return a fault for each segment (`source/segment`) that was never seen, with the nearest that was."""
    unseen = sorted(set(named) - segments.known(database, named))
    there = [segment.id for segment in segments.catalogue(database)] if unseen else []
    return [_fault(segment, there) for segment in unseen]


def _fault(segment: str, there: Sequence[str]) -> Fault:
    near = next(iter(get_close_matches(segment, there, n=1)), None)
    hint = "" if near is None else f"; the nearest is {near}"
    return Fault("segments", f"segments never seen: {segment}: {THEN}{hint}", near)
