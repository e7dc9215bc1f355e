"""Made-up members of segments: in the form in which the stores keep them, and never all in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

from local.benchmarks.disk_database import DiskDatabase, Loading
from local.people import Customer
from relay.domain.keyed_hash import BUCKETS, KeyedHash
from relay.domain.profiles import Membership, Profile, Register
from relay.stores import profiles, segments

SOURCE = "shop"
_LEAVERS = 10
"""One profile in so many leaves."""


class Trouble(Enum):
    """Why a destination takes somebody of a real population not, or not as they are."""

    EXCLUDED = "excluded"
    """On the account's exclusion list: one in a hundred."""
    UNSUBSCRIBED = "unsubscribed"
    """Unsubscribed by hand: one in a hundred."""
    MALFORMED = "malformed"
    """An address that is none: one in two hundred."""
    BOUNCED = "bounced"
    """An address that has bounced: one in a thousand."""


@dataclass(frozen=True)
class Population:
    """`count` profiles, each a member of all the segments.

    The profile ids are spread evenly over the buckets, so that each shard gets its share to within one profile: what
    is measured is then what full calls cost, and not by how much the last one of a shard was short.
    """

    count: int
    segments: tuple[str, ...]
    has_troubles: bool = False

    def shard(self, index: int, shards: int) -> Iterator[tuple[str, int]]:
        """Yield the profiles of a shard, sorted: (profile id, number)."""
        for bucket in range(index, BUCKETS, shards):
            yield from self.bucket(bucket)

    def bucket(self, bucket: int) -> list[tuple[str, int]]:
        """Return the profiles of a bucket, sorted: (profile id, number)."""
        return sorted((_profile_id(number), number) for number in range(bucket, self.count, BUCKETS))

    def leaves(self, number: int) -> bool:
        """Whether a profile is one of the tenth that leaves; there is one in every ten of each shard."""
        return number // 4 % _LEAVERS == 0

    def trouble(self, number: int) -> Trouble | None:
        """Return what is wrong with a profile; each trouble is spread evenly over the shards."""
        place = number // 4 % 1000
        if not self.has_troubles:
            return None
        if place % 100 == 10:
            return Trouble.EXCLUDED
        if place % 100 == 60:
            return Trouble.UNSUBSCRIBED
        if place % 200 == 35:
            return Trouble.MALFORMED
        return Trouble.BOUNCED if place == 85 else None

    def troubles(self) -> Iterator[tuple[int, Trouble]]:
        """Yield the profiles with which something is wrong, by number."""
        for number in range(self.count):
            if (trouble := self.trouble(number)) is not None:
                yield number, trouble

    def email(self, number: int) -> str:
        """Return a profile's address."""
        host = "harbour-books" if self.trouble(number) is Trouble.MALFORMED else "harbour-books.example"
        return f"customer{number}@{host}"


def store(path: Path, population: Population) -> None:
    """Write a population into a new database: catalogue, segment index and profiles."""
    disk, since = DiskDatabase(path), datetime.now(UTC) - timedelta(hours=2)
    segments.note(disk, dict.fromkeys(population.segments), since)
    for bucket in range(BUCKETS):
        members = population.bucket(bucket)
        entries = [(segment, profile_id) for segment in population.segments for profile_id, _ in members]
        segments.add(Loading(disk), entries)
        made = [_profile(profile_id, number, population, since) for profile_id, number in members]
        profiles.save(Loading(disk), made, since)
    disk.close()


def take_out(disk: DiskDatabase, profile_ids: Iterable[str], now: datetime) -> None:
    """Let stored profiles leave all their segments."""
    for part in _parts(profile_ids, 1_000):
        found = [profile for profile in profiles.load(disk, part) if profile is not None]
        profiles.save(Loading(disk), [_outside(profile, now) for profile in found], now)


def _parts(ids: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    part: list[str] = []
    for one in ids:
        part.append(one)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _outside(profile: Profile, now: datetime) -> Profile:
    return replace(profile, memberships={segment: Membership(False, now, now) for segment in profile.memberships})


_hash = KeyedHash("benchmark")


def _profile_id(number: int) -> str:
    return f"{number % BUCKETS:02x}{_hash('profile', SOURCE, str(number))[2:]}"


def _profile(profile_id: str, number: int, population: Population, since: datetime) -> Profile:
    email = population.email(number)
    customer = Customer(number, email)
    first_name, last_name, phone, tier = customer.contact
    # Platforms tell the time of each qualification: some profiles qualify together, most do not.
    at = since + timedelta(seconds=number % 3600)
    return Profile(
        id=profile_id,
        source=SOURCE,
        identities={
            "crm_id": Register([f"HB-{200_000 + number}"], at, at),
            "email": Register([email], at, at),
        },
        attributes={
            "first_name": Register(first_name, at, at),
            "last_name": Register(last_name, at, at),
            "phone": Register(phone, at, at),
            "tier": Register(tier, at, at),
        },
        memberships={segment: Membership(True, at, at) for segment in population.segments},
    )
