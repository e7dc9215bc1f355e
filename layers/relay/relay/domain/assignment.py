"""The assignment of a profile: which identities it stands for at which targets of one export. Pure.

There is one for each (export, profile). It is written before an identity record names the profile, and reduced after
the identity is out or another profile has taken it over: a pair too many costs a look in vain, a pair too few would be
a person who is never removed.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from relay.domain.problems import RejectionKind


class Pair(NamedTuple):
    """An identity at a target; together with the connection they name an identity record."""

    target: str
    identity: str
    """Normalised, in clear: never logged."""


class MappingRejection(NamedTuple):
    """Why no identity could be made for a member, and since when."""

    kind: RejectionKind
    code: str
    at: datetime


class Assignment(NamedTuple):
    """What a profile stands for; the default is a profile that stands for nothing and never did.

    `settings` is the version of the export's settings under which the pairs were written last. `since` is when the
    profile was first assigned; the guard of a run counts those assigned before it. `took_over_at` is when it last took
    over what an alias stood for: for a run under way that is a change of the profile.
    """

    pairs: frozenset[Pair] = frozenset()
    settings: int = 0
    since: datetime | None = None
    rejection: MappingRejection | None = None
    took_over_at: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether the record need not be kept."""
        return not self.pairs and self.rejection is None

    def grown(self, pairs: Iterable[Pair], settings: int, now: datetime) -> "Assignment":
        """Return the assignment with more pairs, written under these settings."""
        return self._replace(
            pairs=self.pairs.union(pairs), settings=settings, since=now if self.since is None else self.since
        )
