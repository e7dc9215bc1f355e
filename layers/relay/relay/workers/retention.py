"""Profiles that nobody has named for a long time are forgotten, as if somebody had asked for it.

A profile is named by every change of it, new or not, by an export one of whose segments it is in, and by an export
that has it assigned. What a change says may be known already: such a change is noted once in `NOTED_AGAIN`
(`relay.domain.profiles`), so that much is added to the time. Nobody is forgotten earlier.

Each tick looks at one page of the table. A pass over all begins at most once a day.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from relay.clock import Clock
from relay.domain.changes import Forget
from relay.domain.profiles import NOTED_AGAIN, Profile
from relay.observability import Observability
from relay.settings.exports import Outline
from relay.settings.settings import Settings
from relay.settings.shapes import Listing
from relay.stores import assignments, profiles, registry, retention
from relay.stores.database import Database, Item
from relay.stores.retention import Pass
from relay.workers.forgetting import Forgetting

PAGE: Final = 1_000
"""Profiles of one page. DynamoDB ends a page at 1 MB, too."""

MOST: Final = 100
"""The most people who are forgotten in one tick: each takes some more steps a minute later."""

PASS: Final = timedelta(days=1)


class Retention:
    """Forgets profiles that were not named for `kept`. `outlines` are those of all exports that can be read, by key."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        outlines: Callable[[], Mapping[str, Outline]],
        forgetting: Forgetting,
        clock: Clock,
        observe: Observability,
        kept: timedelta,
    ) -> None:
        self._database = database
        self._settings = settings
        self._outlines = outlines
        self._forgetting = forgetting
        self._clock = clock
        self._observe = observe
        self._kept = kept

    def step(self, listing: Listing) -> None:  # noqa: ARG002 - as the tick calls its steps
        """Look at one page. While the settings of an export cannot be read nobody knows whom it names: all stay."""
        outlines, keys = self._outlines(), set(self._settings.export_keys())
        if keys - outlines.keys():
            return
        now, last = self._clock.now(), retention.load(self._database)
        if last is None or (not last.after and now - last.begun_at >= PASS):
            last = Pass(now)
        elif not last.after:
            return
        items, after = profiles.page(self._database, last.after, PAGE)
        old = [one for item in items if (one := self._old(item)) is not None]
        followed = {segment for outline in outlines.values() for segment in outline.segments}
        unnamed = self._not_assigned([one for one in old if not _is_in(one, followed)], keys)
        for one in unnamed[:MOST]:
            self._forgetting.forget(one, Forget.HERE)
        if len(unnamed) > MOST:
            after = unnamed[MOST - 1].id
        retention.save(self._database, Pass(last.begun_at, after))

    def _old(self, item: Item) -> Profile | None:
        """Return the profile of an item that no change has named for so long, None for anything else."""
        try:
            stored = profiles.of_item(item)
        except Exception as error:  # noqa: BLE001 - one profile that cannot be read keeps no other
            self._observe.problem("retention", error, subject=str(item["pk"]))
            return None
        if not isinstance(stored, Profile) or stored.is_tombstone or stored.changed_at is None:
            return None
        return stored if self._clock.now() - stored.changed_at >= self._kept + NOTED_AGAIN else None

    def _not_assigned(self, old: Sequence[Profile], keys: set[str]) -> list[Profile]:
        """Return those whom no export has assigned, under none of their ids; a deleted export counts, too."""
        ids = [one for profile in old for one in (profile.id, *sorted(profile.joined))]
        assigned: set[str] = set()
        if ids:
            for key in sorted(keys | registry.load(self._database).keys()):
                held = assignments.load(self._database, key, ids)
                assigned |= {one for one, stored in held.items() if stored.version}
        return [one for one in old if assigned.isdisjoint({one.id, *one.joined})]


def _is_in(profile: Profile, segments: set[str]) -> bool:
    return any(held.realized and segment in segments for segment, held in profile.memberships.items())
