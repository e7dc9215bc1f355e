"""A small relay that exports to the Gainsight PX sandbox: which identities a segment holds after each change."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from relay.destinations.gainsight_px import GainsightPx
from relay.domain.exports import Export
from relay.domain.profiles import Membership, Profile, Register
from relay.messages import Look, by_shard, group
from relay.queues import Message
from relay.stores import profiles, segments
from sandboxes.gainsight_px import create_app
from sandboxes.gainsight_px.settings import GainsightPxConfig
from tests.fakes.virtual_clock import VirtualClock
from tests.histories.gainsight_px_side import ATTRIBUTES, GainsightPxSide
from tests.histories.people import Person
from tests.histories.side import CONNECTION, FIRST, SEGMENTS
from tests.histories.world import World
from tests.simulation.settings import SEEN_WITHIN

VIP, LAPSED = SEGMENTS
REST = timedelta(days=2)


class _Side(GainsightPxSide):
    def _app(self) -> Any:
        config = GainsightPxConfig(attributes=dict.fromkeys(ATTRIBUTES.values(), "BOOLEAN"))
        return create_app(config, clock=self.clock.timestamp, sleep=self.clock.advance)

    def _export(self) -> Export:
        mapping = {"IDENTIFY_ID": "identities.ECID"}
        options = GainsightPx.options_model.model_validate({})
        return Export(CONNECTION, FIRST, self.name, True, True, SEGMENTS, mapping, options, 0)


class Day:
    """A relay with a streaming export of both segments to its account; nothing happens by chance."""

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock()
        self.side = _Side(Random(0), self.clock)
        self.world = World(Random(0), self.side, self.clock)
        self.world.death_rate, self.world.budget = 0.0, None
        if options:
            self.edit(**options)
        self.run()

    def edit(self, **options: Any) -> None:
        """Save the export with these options, and let the run end that follows."""
        [export] = self.world.exports
        self.world.edit(replace(export, options=GainsightPx.options_model.model_validate(options)))
        self.run()

    def run(self) -> None:
        """Start a run and let the relay come to rest."""
        self.clock.advance(2 * SEEN_WITHIN.total_seconds())
        [export] = self.world.exports
        self.world.start_run(export)
        self.world.rest(REST)

    def put(self, number: int, *ids: str, inside: tuple[str, ...], at: datetime | None = None) -> None:
        """Store person `number` with these ids, qualified for segments at a time, and look at them as route does."""
        self.clock.advance(60)
        now, profile = self.clock.now(), self.world.people.id_of(Person(number))
        segments.add(self.world.database, [(segment, profile) for segment in inside])
        segments.note(self.world.database, dict.fromkeys(SEGMENTS), now)
        old = profiles.load(self.world.database, [profile])[0] or Profile(profile, "shop")
        held = {segment: Membership(segment in inside, at or now, now) for segment in SEGMENTS}
        changed = replace(old, identities={"ECID": Register(list(ids), now, now)}, memberships=held)
        profiles.save(self.world.database, [changed], now)
        [export] = self.world.exports
        for shard, looked_at in by_shard([profile], self.side.destination.shards):
            look = Look(export.connection, export.name, export.version, looked_at)
            self.world.queue.send([Message(look.to_json(), group(export.connection, shard))])
        self.world.rest(REST)

    def members(self, segment: str) -> set[str]:
        found = self.side.account.segment_by_external_id(segment)
        return set() if found is None else set(found.members)

    def marked(self, segment: str) -> set[str]:
        """Return the users whose attribute says that they are in a segment."""
        users: dict[str, Any] = self.side.account.users
        name = ATTRIBUTES[segment]
        return {one for one, user in users.items() if user.get("customAttributes", {}).get(name) is True}

    @property
    def writes(self) -> int:
        return int(self.side.counters()["write_calls"])


@pytest.fixture
def day() -> Day:
    day = Day()
    day.put(1, "someone else", inside=SEGMENTS)
    return day


def test_when_an_identity_changes_the_old_one_leaves_and_the_new_one_joins(day: Day) -> None:
    day.put(2, "old", inside=SEGMENTS)
    day.put(2, "new", inside=SEGMENTS)
    for segment in SEGMENTS:
        assert day.members(segment) == {"someone else", "new"}
    writes = day.writes
    day.put(2, "new", inside=SEGMENTS)
    day.run()
    assert day.writes == writes


def test_the_smallest_identity_of_a_namespace_counts_where_the_export_says_nothing(day: Day) -> None:
    day.put(2, "b", "a", inside=SEGMENTS)
    assert day.members(VIP) == day.members(LAPSED) == {"someone else", "a"}
    day.put(2, "b", "c", inside=SEGMENTS)
    assert day.members(VIP) == day.members(LAPSED) == {"someone else", "b"}


def test_all_identities_of_a_namespace_where_the_export_says_so(day: Day) -> None:
    day.edit(multiple_identities="all")
    day.put(2, "b", "a", inside=(VIP,))
    assert (day.members(VIP), day.members(LAPSED)) == ({"someone else", "a", "b"}, {"someone else"})
    day.put(2, "c", "b", inside=(VIP,))
    assert day.members(VIP) == {"someone else", "b", "c"}
    day.put(2, "c", "b", inside=(LAPSED,))
    assert (day.members(VIP), day.members(LAPSED)) == ({"someone else"}, {"someone else", "b", "c"})


def test_times_that_are_sent_never_go_backwards(day: Day) -> None:
    begun = day.clock.now()
    for number, inside in enumerate([SEGMENTS, (), (VIP,), ()]):
        day.put(2, "a", inside=inside, at=begun - timedelta(days=number))
    assert day.members(VIP) == day.members(LAPSED) == {"someone else"}
    # In and out of both, and of one once more; and the other person.
    assert day.side.account.identities_told == 6 + 2
    assert day.side.account.times_backwards == 0


def test_everybody_is_sent_again_after_a_segment_was_lost(day: Day) -> None:
    day.put(2, "a", inside=(VIP,))
    day.side.control.delete(f"/_sandbox/segments/{VIP}")
    writes = day.writes
    day.run()
    assert day.writes == writes
    day.edit(tell_again=1)
    assert (day.members(VIP), day.members(LAPSED)) == ({"someone else", "a"}, {"someone else"})


def test_from_segments_to_attributes_and_back(day: Day) -> None:
    for name in ("a", "someone else"):
        day.side.post("users", {"identifyId": name})
    day.put(2, "a", inside=(VIP,))
    for _ in range(2):
        day.edit(mode="attributes", attributes=ATTRIBUTES)
        assert (day.members(VIP), day.members(LAPSED)) == (set(), set())
        assert (day.marked(VIP), day.marked(LAPSED)) == ({"someone else", "a"}, {"someone else"})
        day.edit()
        assert (day.members(VIP), day.members(LAPSED)) == ({"someone else", "a"}, {"someone else"})
        assert (day.marked(VIP), day.marked(LAPSED)) == (set(), set())
