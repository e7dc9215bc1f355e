"""Who leaves by a set: members by the segment's index whom the set does not name and nothing newer speaks for."""

from collections import Counter
from collections.abc import Iterator

from relay.domain.closed_sets import Kind, Present
from relay.domain.profiles import Profile
from relay.domain.segment_imports import SegmentImport
from relay.stores import profiles, segments
from relay.stores.database import Database

LISTED = 1_000
"""How many entries of the index are read at once."""


class Leavers:
    """Looks for leavers, bucket by bucket."""

    def __init__(self, database: Database, one: SegmentImport, present: Present) -> None:
        self._database = database
        self._one = one
        self._present = present

    def has(self, profile: Profile) -> bool:
        """Return whether a profile, as it is stored now, is to leave."""
        held = profile.memberships.get(self._one.segment)
        is_older = held is not None and held.realized and held.at <= self._one.at
        return is_older and not self._is_named(profile)

    def of(self, bucket: int, counts: Counter[str]) -> Iterator[list[Profile]]:
        """Yield those who are to leave, and count: `leaving`, `left` before by this import, and `later`.

        `later` are members whom something newer than the set speaks for.
        """
        named = self._present.bucket(bucket)
        after = ""
        while listed := segments.listing(self._database, self._one.segment, bucket, after=after, limit=LISTED):
            after = listed[-1]
            missing = [one for one in listed if bytes.fromhex(one) not in named]
            found = profiles.load(self._database, missing)
            leaving = [one for one in found if one is not None and self._leaves(one, counts)]
            counts["leaving"] += len(leaving)
            if leaving:
                yield leaving

    def members(self, bucket: int) -> Counter[str]:
        """Return what the pages did with whom they name."""
        kinds = Counter(self._present.bucket(bucket).values())
        return Counter({_NAMES[Kind(kind)]: number for kind, number in kinds.items()})

    def _leaves(self, profile: Profile, counts: Counter[str]) -> bool:
        one = self._one
        held = profile.memberships.get(one.segment)
        if held is None:
            return False
        if not held.realized:
            counts["left"] += held.at == one.at and profile.trace == one.id
            return False
        if held.at > one.at:
            counts["later"] += not self._is_named(profile)
            return False
        return self.has(profile)

    def _is_named(self, profile: Profile) -> bool:
        """Return whether the set names a profile, by its own id or by one that became an alias of it since."""
        return any(self._present.names(bytes.fromhex(one)) for one in (profile.id, *profile.joined))


_NAMES = {
    Kind.UNCHANGED: "unchanged",
    Kind.UPDATED: "updated",
    Kind.REJECTED: "rejected",
    Kind.ENTERED: "entered",
}
