"""Finding a profile by what an operator knows of it: its id, what its source calls it, or an identity at a destination.

Nothing is searched for: each of these can be worked out with the stack's keyed hash. What was asked for is not kept and
not logged.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from relay.destinations.contract import Destination
from relay.domain.exports import Export
from relay.domain.expressions import compiled
from relay.domain.identity import Unwanted
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Busy, Rejection, SettingsProblem
from relay.domain.profiles import Profile
from relay.settings.inventory import Inventory
from relay.settings.settings import Settings
from relay.sources.profile_key import keys_of
from relay.sources.reading import Incoming
from relay.stores import identities, profiles
from relay.stores.database import Database

PROFILE_ID: Final = re.compile("[0-9a-f]{32}")

MOST_TARGETS: Final = 2_000
"""At how many targets of all exports an identity is looked up at most."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    `profiles` are stored profiles, the likeliest first; `aliases` are the ids that led to the first. `ids` are all ids
    that were looked for, the likeliest first, whether or not anything is stored under them. `keys` is the `profile_key`
    of each source that was tried.
    """

    profiles: Sequence[Profile]
    aliases: Sequence[str]
    ids: Sequence[str]
    keys: dict[str, str]


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds profiles."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    keyed: KeyedHash
    inventory: Callable[[], Inventory]

    def find(self, asked: str) -> Found:
        """Return the profiles that a text stands for.

        The text is a profile id, a value that the `profile_key` of a source yields, `namespace:value`, `source:value`,
        or an identity as a destination knows it (an address). Raises Busy when AWS does not answer.
        """
        asked = asked.strip()
        keys: dict[str, str] = {}
        ids = list(dict.fromkeys([*self._as_id(asked), *self._by_sources(asked, keys), *self._by_identity(asked)]))
        found = profiles.follow(self.database, ids)
        roots = [(one, profiles.root_of(one, found)) for one in ids]
        stored = list(dict.fromkeys(root for _, root in roots if isinstance(found[root], Profile)))
        first = stored[0] if stored else None
        aliases = [one for one, root in roots if root == first and one != root]
        return Found([one for root in stored if isinstance(one := found[root], Profile)], aliases, ids, keys)

    def _as_id(self, asked: str) -> Iterator[str]:
        if PROFILE_ID.fullmatch(asked.lower()) is not None:
            yield asked.lower()

    def _by_sources(self, asked: str, keys: dict[str, str]) -> Iterator[str]:
        """Yield ids by the sources' `profile_key`, those first that name a source or a namespace."""
        before, colon, value = asked.partition(":")
        named: list[str] = []
        plain: list[str] = []
        for source in self.inventory().sources:
            try:
                expression = self.settings.source(source).profile_key
            except Busy:
                raise
            except SettingsProblem:
                continue
            keys[source] = expression
            if colon:
                in_namespace = _keys(_incoming(before, value), expression)
                named += [self.keyed(source, key) for key in in_namespace]
                if before == source:
                    named += [self.keyed(source, key) for key in _keys(_itself(value), "attributes.key")]
            plain += [self.keyed(source, key) for key in _keys(_itself(asked), "attributes.key")]
        yield from named
        yield from plain

    def _by_identity(self, asked: str) -> Iterator[str]:
        """Yield the profiles that stand for an identity at a target of an export; the winner first."""
        _, _, value = asked.partition(":")
        records: dict[str, None] = {}
        for export in self.settings.exports().valid.values():
            for text in (asked, value):
                records |= dict.fromkeys(self._records(export, text) if text else ())
        for stored in identities.load(self.database, list(records)[:MOST_TARGETS]).values():
            desired = stored.record.desired
            if not isinstance(desired, Unwanted):
                yield from desired.by
            elif desired.leaving is not None:
                yield desired.leaving

    def _records(self, export: Export, text: str) -> Iterator[str]:
        destination = self.destinations(export.destination)
        found = destination.identity_of(text, export)
        for identity in () if isinstance(found, Rejection) else found:
            for target in destination.targets(export):
                yield identities.key_of(self.keyed, export.connection, target, identity)


def _keys(incoming: Incoming, expression: str) -> Iterable[str]:
    return sorted(keys_of(incoming, compiled(expression)))


def _incoming(namespace: str, value: str) -> Incoming:
    """Return a profile that says nothing but one identity, in the form of either dialect."""
    entries = [{"id": value, "xdm:id": value}]
    raw = {"identityMap": {namespace: entries}, "xdm:identityMap": {namespace: entries}}
    return Incoming(raw, (), False, {namespace: [value]}, {namespace: value}, [])


def _itself(value: str) -> Incoming:
    """Return a profile whose key is a value itself."""
    return Incoming({}, (), False, {}, {"key": value}, [])
