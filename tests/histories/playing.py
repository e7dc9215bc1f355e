"""One history: random days of people, runs, trouble and hands; then calm, and everything must be as it should."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from relay.domain import ledger
from relay.domain.assignment import Assignment
from relay.domain.identity import wanted_content
from relay.messages import Look, by_shard, group
from relay.queues import Message
from relay.stores import assignments, identities, runs
from relay.stores.database import Table
from tests.fakes.virtual_clock import VirtualClock
from tests.histories.activecampaign_side import ActiveCampaignSide
from tests.histories.gainsight_px_side import GainsightPxSide
from tests.histories.promises import promise
from tests.histories.side import SEGMENTS, Side, Stored
from tests.histories.world import World

SIDES: dict[str, type[Side]] = {side.name: side for side in (ActiveCampaignSide, GainsightPxSide)}

CALM = timedelta(hours=50)
"""Longer than an import may stay open and a message hidden."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a history that kept every promise was made of."""

    calls: int
    injected: int
    kills: int
    hands: int
    refusals: int


class History:
    """Plays one seed; `world.lines` say afterwards what happened."""

    def __init__(self, seed: int, name: str) -> None:
        self.seed = seed
        self.chance = random.Random(f"{name} {seed}")
        clock = VirtualClock()
        self.side = SIDES[name](self.chance, clock)
        self.world = World(self.chance, self.side, clock)
        self.crowd = self.chance.randint(30, 120)
        self.hands = 0

    def play(self) -> Summary:
        """Play to the end; BrokenPromise when a promise is broken, a defect as it was met."""
        random.seed(self.seed)
        self._gather()
        for _ in range(self.chance.randint(3, 6)):
            self._round()
        world = self.world
        world.death_rate = 0.0
        self._calm_down()
        world.rest(CALM)
        if self.side.export.stream:
            self._check_ledgers()
        self._full_run()
        world.run_until(world.clock.now() + timedelta(hours=24, minutes=1))
        self._full_run()
        stored = self._stored()
        differences = self.side.differences(stored)
        promise(not differences, "; ".join(differences[:5]))
        aliases = assignments.load(self.world.database, self.side.export.key, self.world.people.aliases)
        promise(not any(one.assignment.pairs for one in aliases.values()), "an alias has not handed over")
        writes = self.side.counters()["write_calls"]
        self._full_run()
        counted = self.side.counters()
        promise(counted["write_calls"] == writes, f"{counted['write_calls'] - writes} needless write calls")
        promise(counted["limit_violations"] == 0, f"limits exceeded: {counted['quotas']}")
        refusals = len(stored.refused) + len(stored.rejected)
        return Summary(counted["calls"], sum(counted["injected"].values()), world.kills, self.hands, refusals)

    def _gather(self) -> None:
        people, world = self.world.people, self.world
        for number in range(self.crowd):
            person = self.side.person(number, self.crowd)
            person.inside = {segment for segment in SEGMENTS if self.chance.random() < 0.5}
            people.everybody.append(person)
            people.store(person, SEGMENTS)
        for _ in range(self.chance.randint(0, 3)):
            self._by_hand()
        world.start_run()

    def _round(self) -> None:
        acts = [self._change, self._change, self._trouble, self._trouble, self._by_hand, self._by_hand, self._run]
        if self.seed % 2:
            # In the other half everybody stays who they are.
            acts.append(self._join)
        for _ in range(self.chance.randint(3, 8)):
            self.chance.choice(acts)()
            pause = self.chance.choice([0.5, 5, 30, 200, 200, 1500])
            self.world.run_until(self.world.clock.now() + timedelta(seconds=pause))
        if self.chance.random() < 0.6:
            self._calm_down()
        if self.chance.random() < 0.5:
            self.world.confirm_run()
        pause = self.chance.choice([60, 600, 4000, 15_000])
        self.world.run_until(self.world.clock.now() + timedelta(seconds=pause))

    def _change(self) -> None:
        """Some people join, leave, return or are edited; a streaming export looks at once, as route asks."""
        changed = []
        for person in self.world.people.some(1, self.chance.choice([3, 12, 60])):
            roll = self.chance.random()
            if roll < 0.6:
                person.inside ^= {self.chance.choice(SEGMENTS)}
            elif roll < 0.7:
                person.inside = set()
            else:
                self.side.edit(person, self.crowd)
            changed.append(self.world.people.store(person, SEGMENTS))
        self.world.tell(f"{len(changed)} people change")
        self._look_at(changed)

    def _join(self) -> None:
        """Some pairs of people turn out to be one each."""
        people = list(self.world.people.some(2, 8))
        joined = [self.world.people.join(one, other) for one, other in zip(people[::2], people[1::2], strict=False)]
        self.world.tell(f"{len(joined)} pairs of people become one each: {joined}")
        self._look_at([one for pair in joined for one in pair])

    def _look_at(self, changed: Sequence[str]) -> None:
        export = self.side.export
        if export.stream:
            self.world.queue.send(
                [
                    Message(
                        Look(export.connection, export.name, export.version, ids).to_json(),
                        group(export.connection, shard),
                    )
                    for shard, ids in by_shard(changed, self.side.destination.shards)
                ]
            )

    def _trouble(self) -> None:
        rules = [self.side.fault() for _ in range(self.chance.randint(1, 4))]
        self.world.tell(f"trouble: {rules}")
        self.side.post("faults", rules)

    def _by_hand(self) -> None:
        done = self.side.by_hand(self.world.people.everybody)
        self.hands += done is not None
        self.world.tell(f"by hand: {done}")

    def _run(self) -> None:
        self.world.start_run()

    def _calm_down(self) -> None:
        self.world.tell("calm")
        self.side.calm()

    def _full_run(self) -> None:
        self.world.start_run()
        self.world.rest(CALM)
        self._check_ledgers()

    def _check_ledgers(self) -> None:
        """Every run's ledger adds up, none hangs, and no message died."""
        database = self.world.database
        for item in database.items(Table.CONTROL):
            if str(item["pk"]).startswith("run#") and item["sk"] == "header":
                run = str(item["pk"]).removeprefix("run#")
                counts = ledger.total(shard.counts for shard in runs.shards(database, run))
                promise(ledger.adds_up(counts), f"run {run}: {dict(counts)}")
                if item["state"] in ("finished", "many-rejected"):
                    promise(ledger.is_settled(counts), f"run {run} finished: {dict(counts)}")
        for queue in (self.world.queue, self.world.checks):
            promise(not queue.dead, f"{len(queue.dead)} messages of {queue.name} died")

    def _stored(self) -> Stored:
        people, export = self.world.people, self.side.export
        ids = [*(people.id_of(person) for person in people.everybody), *people.aliases]
        held = assignments.load(self.world.database, export.key, ids)
        return Stored(
            people.wanted(export, self.side.destination),
            self._refused([stored.assignment for stored in held.values()]),
            {profile: one.assignment.rejection.code for profile, one in held.items() if one.assignment.rejection},
        )

    def _refused(self, held: Sequence[Assignment]) -> dict[tuple[str, str], str]:
        """Return the codes of identities that the destination does not take as desired."""
        world = self.world
        keys = {
            identities.key_of(world.keyed, self.side.export.connection, *pair): pair
            for one in held
            for pair in one.pairs
        }
        found = identities.load(world.database, list(keys))
        return {
            keys[key]: stored.record.refused.code
            for key, stored in found.items()
            if stored.record.refused is not None and stored.record.refused.content == wanted_content(stored.record)
        }


def play(seed: int, name: str) -> Summary:
    """Play one history of a destination."""
    return History(seed, name).play()
