"""The people of a history: profiles that join, leave, return and are edited, written as route writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from relay.destinations.contract import Destination
from relay.domain import merging
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.profiles import Alias, Membership, Profile, Register
from relay.reconcile.desired import desired_of
from relay.stores import profiles, segments
from relay.stores.database import Database


@dataclass(slots=True)
class Person:
    """What the platform knows of one person now; a value of None means cleared."""

    number: int
    attributes: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, Any] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One profile wants an identity at a target, with these values."""

    profile: str
    pair: Pair
    values: Mapping[str, str]


class People:
    """All people of a history."""

    def __init__(self, database: Database, keyed: KeyedHash, chance: Random, now: Callable[[], datetime]) -> None:
        self._database = database
        self._keyed = keyed
        self._chance = chance
        self._now = now
        self.everybody: list[Person] = []
        self.aliases: list[str] = []
        """The ids of those who turned out to be somebody else."""

    def id_of(self, person: Person) -> str:
        return self._keyed("shop", str(person.number))

    def store(self, person: Person, memberships: Iterable[str]) -> str:
        """Write a person's profile: index, catalogue, profile. Qualification times never go backwards."""
        now, profile_id = self._now(), self.id_of(person)
        segments.add(self._database, [(segment, profile_id) for segment in sorted(person.inside)])
        segments.note(self._database, dict.fromkeys(memberships), now)
        old = profiles.load(self._database, [profile_id])[0] or Profile(profile_id, "shop")
        changed = dict(old.memberships)
        for segment in memberships:
            before = old.memberships.get(segment)
            if before is None or before.realized != (segment in person.inside):
                changed[segment] = Membership(segment in person.inside, self._qualified(before), now)
        profile = replace(
            old,
            attributes={name: Register(value, now, now) for name, value in person.attributes.items()},
            identities={name: Register(value, now, now) for name, value in person.identities.items()},
            memberships=changed,
        )
        profiles.save(self._database, [profile], now)
        return profile_id

    def join(self, one: Person, other: Person) -> tuple[str, str]:
        """Let two people turn out to be one, as route writes it; return both ids, the survivor's first."""
        survivor, gone = sorted((one, other), key=self.id_of)
        ids = self.id_of(survivor), self.id_of(gone)
        kept, lost = profiles.load(self._database, ids)
        assert kept is not None
        assert lost is not None
        whole = merging.join(kept, lost)
        survivor.inside = {segment for segment, held in whole.memberships.items() if held.realized}
        survivor.attributes = {name: register.value for name, register in whole.attributes.items()}
        survivor.identities = {name: register.value for name, register in whole.identities.items()}
        now = self._now()
        segments.add(self._database, [(segment, ids[0]) for segment in sorted(survivor.inside)])
        profiles.save(self._database, [whole], now)
        profiles.save_aliases(self._database, [Alias(ids[1], ids[0], now, lost.version)])
        self.everybody.remove(gone)
        self.aliases.append(ids[1])
        return ids

    def _qualified(self, before: Membership | None) -> datetime:
        at = self._now() - timedelta(seconds=self._chance.randint(0, 600))
        return at if before is None else max(at, before.at + timedelta(seconds=1))

    def wanted(self, export: Export, destination: Destination) -> dict[Pair, list[Wanted]]:
        """Return who wants what of an export, the winner (the smallest profile id) first."""
        ids = sorted(self.id_of(person) for person in self.everybody)
        found: dict[Pair, list[Wanted]] = {}
        for profile_id, profile in zip(ids, profiles.load(self._database, ids), strict=True):
            for member in desired_of(export, destination, profile, self._keyed).members:
                found.setdefault(member.pair, []).append(Wanted(profile_id, member.pair, member.values))
        return found

    def some(self, least: int, most: int) -> Sequence[Person]:
        """Return some of the people."""
        return self._chance.sample(self.everybody, min(self._chance.randint(least, most), len(self.everybody)))
