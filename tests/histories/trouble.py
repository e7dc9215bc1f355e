"""What any sandbox can be asked to do wrong."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

NO_ANSWER = 31
"""Seconds, one more than the door waits for an answer."""

STATUSES = (400, 401, 402, 403, 404, 408, 413, 422)


@dataclass(frozen=True, slots=True)
class Place:
    """A call that can be answered wrongly.

    `untrue` are refusals that would say something untrue which nobody can notice, such as "it is not there" of what is
    there. `lies`: whether success in another shape than documented can be known from success.
    """

    method: str | None
    path: str
    untrue: frozenset[int] = frozenset()
    lies: bool = True


def rule(chance: Random, place: Place, do: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a rule of the fault script; most act a few times, some for as long as they are not cleared away."""
    match: dict[str, Any] = {"path": place.path}
    if place.method is not None:
        match["method"] = place.method
    times = None if chance.random() < 0.06 else chance.choice([1, 1, 2, 2, 3, 6])
    after = chance.choice([0, 0, 1, 5])
    return {"match": match, "times": times, "after": after, "do": do or _deed(chance, place)}


def _deed(chance: Random, place: Place) -> dict[str, Any]:
    """Return what a rule does: every class of error."""
    statuses = [status for status in STATUSES if status not in place.untrue]
    kinds: list[dict[str, Any]] = [
        {"status": chance.choice(statuses), "body": {"message": "no"}},
        {"status": 429, "headers": {"Retry-After": str(chance.choice([1, 17, 90]))}},
        {"status": 429},
        {"status": 500},
        {"status": 503, "body": "<html>Unavailable</html>"},
        {"delay": NO_ANSWER},
        {"delay": NO_ANSWER, "status": 504},
        {"delay": chance.randint(5, 25)},
        {"drop": "before"},
        {"drop": "after"},
        {"html": True},
    ]
    if place.lies:
        kinds.append({"status": 200, "body": chance.choice([{"ok": True}, [], {"message": "welcome"}])})
    return chance.choice(kinds)
