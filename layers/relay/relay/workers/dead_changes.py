"""Changes of forgotten people are removed from the dead-letter queue of changes, the only one with personal data.

A message that holds others, too, is written again without the forgotten.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from relay.clock import Clock
from relay.domain import moments
from relay.domain.problems import Problem
from relay.domain.profiles import Profile
from relay.queues import DeadLetters

SEARCHED_FOR: Final = timedelta(seconds=15)
"""How long the queue is looked through at a time."""


class Search(NamedTuple):
    """How many changes were removed, by the profile's id; and whether all of the queue was looked at."""

    removed: Mapping[str, int]
    is_all_seen: bool


class DeadChanges:
    """Looks through the dead-letter queue of changes. Safe to repeat."""

    def __init__(self, queue: DeadLetters, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock

    def remove(self, people: Sequence[Profile]) -> Search:
        """Remove what profiles that were forgotten said by then. SQS that does not answer is a queue not looked at."""
        until = {
            one: (profile.id, profile.forgotten.at)
            for profile in people
            if profile.forgotten is not None
            for one in (profile.id, *profile.joined)
        }
        removed: Counter[str] = Counter()
        if not until:
            return Search(removed, True)

        def rewritten(body: dict[str, Any]) -> dict[str, Any] | None:
            rest, found = _without(body, until)
            removed.update(found)
            return rest

        try:
            is_all_seen = self._queue.rewrite(rewritten, self._clock.now() + SEARCHED_FOR)
        except Problem:
            is_all_seen = False
        return Search(removed, is_all_seen)


def _without(
    body: dict[str, Any], until: Mapping[str, tuple[str, datetime]]
) -> tuple[dict[str, Any] | None, Counter[str]]:
    """Return a message of changes without the forgotten, None when nothing is left of it; and whose changes those were.

    `until` says by id whose it is, and until when that one was forgotten. A change that was received later is newer.
    What is no message of changes stays as it is, and so does a page of a closed set: without it nobody ever leaves.
    """
    given = body.get("changes")
    if not isinstance(given, list):
        return body, Counter()
    owners = [_owner(change, until) for change in given]
    rest = [change for change, owner in zip(given, owners, strict=True) if owner is None]
    is_left = bool(rest) or not given or "set" in body
    return ({**body, "changes": rest} if is_left else None), Counter(owner for owner in owners if owner is not None)


def _owner(change: Any, until: Mapping[str, tuple[str, datetime]]) -> str | None:
    try:
        ids, received = change["profile"], moments.parse(change["received_at"])
        return next((until[one][0] for one in ids if one in until and received <= until[one][1]), None)
    except (KeyError, TypeError, ValueError):
        return None
