"""What is remembered of the catalogue of segments, so that a segment that is known costs nothing."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from relay.clock import Clock
from relay.domain.changes import MembershipChange
from relay.stores import segments
from relay.stores.database import Database

MAX_AGE: Final = timedelta(minutes=1)
"""How long we rely on what we remember."""

MAX_SIZE: Final = 10_000
"""The most segments that we remember."""


class Catalogue:
    """Puts segments and their names into the catalogue that it does not have, as far as this environment remembers."""

    def __init__(self, database: Database, clock: Clock, *, max_size: int = MAX_SIZE) -> None:
        self._database = database
        self._clock = clock
        self._max_size = max_size
        self._known: dict[str, str | None] = {}
        self._since = clock.now()

    def __len__(self) -> int:
        return len(self._known)

    def note(self, memberships: Iterable[MembershipChange]) -> None:
        """Note the segments that memberships name."""
        now = self._clock.now()
        if now - self._since > MAX_AGE:
            self._known, self._since = {}, now
        known = self._known
        news: dict[str, str | None] = {}
        for membership in memberships:
            segment, name = membership.segment, membership.name
            if segment not in known or name not in (None, known[segment]):
                news[segment] = name if name is not None else news.get(segment)
        if not news:
            return
        segments.note(self._database, news, now)
        if len(known) + len(news) > self._max_size:
            known.clear()
        known.update(list(news.items())[: self._max_size])
