"""One history: random days of people, runs, trouble and hands; then calm, and everything must be as it should."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from relay.domain import ledger
from relay.domain.assignment import Pair
from relay.domain.identity import Record
from relay.domain.runs import RunState
from relay.messages import Look, by_shard, group
from relay.queues import Message
from relay.stores import assignments, identities, runs
from relay.stores.database import Table
from tests.fakes.virtual_clock import VirtualClock
from tests.histories.activecampaign_side import ActiveCampaignSide
from tests.histories.gainsight_px_side import GainsightPxSide
from tests.histories.promises import promise
from tests.histories.side import CONNECTION, SEGMENTS, Side, Stored
from tests.histories.world import World

SIDES: dict[str, type[Side]] = {side.name: side for side in (ActiveCampaignSide, GainsightPxSide)}

DONE = (RunState.FINISHED, RunState.MANY_REJECTED)

CALM = timedelta(hours=50)
"""Longer than an import may stay open and a message hidden."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a history that kept every promise was made of."""

    calls: int
    injected: int
    kills: int
    stops: int
    hands: int
    edits: int
    refusals: int


class History:
    """Plays one seed; `world.happened` says afterwards what happened."""

    def __init__(self, seed: int, name: str) -> None:
        self.seed = seed
        self.chance = random.Random(f"{name} {seed}")
        clock = VirtualClock()
        self.side = SIDES[name](self.chance, clock)
        self.world = World(self.chance, self.side, clock)
        self.crowd = self.chance.randint(30, 120)
        self.hands = 0
        self.edits = 0

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
        self._check_ledgers()
        self._full_runs()
        world.run_until(world.clock.now() + timedelta(hours=24, minutes=1))
        self._full_runs()
        stored = self._stored()
        differences = self.side.differences(stored)
        promise(not differences, "; ".join(differences[:5]))
        self._check_records(stored)
        writes = self.side.counters()["write_calls"]
        self._full_runs()
        counted = self.side.counters()
        promise(counted["write_calls"] == writes, f"{counted['write_calls'] - writes} needless write calls")
        promise(counted["limit_violations"] == 0, f"limits exceeded: {counted['quotas']}")
        refusals = sum(stored.record(pair).refused is not None for pair in stored.wanted)
        injected = sum(counted["injected"].values())
        return Summary(counted["calls"], injected, world.kills, world.observe.stops, self.hands, self.edits, refusals)

    def _gather(self) -> None:
        people, world = self.world.people, self.world
        for number in range(self.crowd):
            person = self.side.person(number, self.crowd)
            person.inside = {segment for segment in SEGMENTS if self.chance.random() < 0.5}
            people.everybody.append(person)
            people.store(person, SEGMENTS)
        for _ in range(self.chance.randint(0, 3)):
            self._by_hand()
        # Nothing begins so shortly after the export was saved.
        world.run_until(world.clock.now() + timedelta(minutes=1))
        self._run()

    def _round(self) -> None:
        acts = [self._change, self._change, self._trouble, self._trouble, self._by_hand, self._by_hand, self._run]
        acts.append(self._operate)
        if self.seed % 2:
            # In the other half everybody stays who they are.
            acts.append(self._join)
        if self.side.edits:
            acts += [self._edit, self._edit]
        for _ in range(self.chance.randint(3, 8)):
            self.chance.choice(acts)()
            pause = self.chance.choice([0.5, 5, 30, 200, 200, 1500])
            self.world.run_until(self.world.clock.now() + timedelta(seconds=pause))
        if self.chance.random() < 0.6:
            self._calm_down()
        if self.chance.random() < 0.5:
            self.world.confirm_runs()
        pause = self.chance.choice([60, 600, 4000, 15_000])
        self.world.run_until(self.world.clock.now() + timedelta(seconds=pause))

    def _change(self) -> None:
        """Some people join, leave, return or are edited; an export that streams looks at once, as route asks it to."""
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
        for export in self.world.exports:
            if export.active and export.stream:
                looks = [
                    (Look(export.connection, export.name, export.version, ids), group(export.connection, shard))
                    for shard, ids in by_shard(changed, self.side.destination.shards)
                ]
                self.world.queue.send([Message(look.to_json(), place) for look, place in looks])

    def _edit(self) -> None:
        before = dict(self.world.console.exports)
        self.world.tell(f"edited: {self.side.edit_settings(self.world.console)}")
        for key, export in self.world.console.exports.items():
            if export != before.get(key):
                self.edits += 1
                self.side.seen(export)

    def _trouble(self) -> None:
        rules = [self.side.fault() for _ in range(self.chance.randint(1, 4))]
        self.world.tell(f"trouble: {rules}")
        self.side.post("faults", rules)

    def _by_hand(self) -> None:
        done = self.side.by_hand(self.world.people.everybody)
        self.hands += done is not None
        self.world.tell(f"by hand: {done}")

    def _run(self) -> None:
        for export in self.world.exports:
            self.world.start_run(export)

    def _operate(self) -> None:
        """An operator cancels a run, or has rejections tried again."""
        active = self.world.active_runs()
        if active and self.chance.random() < 0.5:
            self.world.cancel(self.chance.choice(active))
        elif self.world.exports:
            self.world.retry(self.chance.choice(self.world.exports))

    def _calm_down(self) -> None:
        self.world.tell("calm")
        self.side.calm()
        for export in self.world.exports:
            if not export.active:
                self.world.edit(replace(export, active=True))

    def _full_runs(self) -> None:
        self._run()
        self.world.rest(CALM)
        self._check_ledgers()
        for export in self.world.exports:
            run = runs.newest(self.world.database, export.key)
            promise(run is not None and run.state in DONE, f"the last run of {export.key} is {run}")

    def _check_ledgers(self) -> None:
        """Every run's ledger adds up, none hangs, and no message died."""
        database = self.world.database
        for item in database.items(Table.CONTROL):
            if str(item["pk"]).startswith("run#") and item["sk"] == "header":
                run = str(item["pk"]).removeprefix("run#")
                counts: Counter[str] = ledger.total(shard.counts for shard in runs.shards(database, run))
                promise(ledger.adds_up(counts), f"run {run}: {dict(counts)}")
                if RunState(str(item["state"])) in DONE:
                    promise(ledger.is_settled(counts), f"run {run} finished: {dict(counts)}")
        for queue in (self.world.queue, self.world.checks):
            promise(not queue.dead, f"{len(queue.dead)} messages of {queue.name} died")

    def _check_records(self, stored: Stored) -> None:
        """The winner is the smallest who wants it, whoever wants it is assigned, and nothing is under way."""
        people, database = self.world.people, self.world.database
        for pair, wants in stored.wanted.items():
            record, export = stored.record(pair), stored.owners[pair.target]
            promise(record.winner == wants[0].profile, f"the winner of {pair} is not {wants[0].profile}: {record}")
            promise(record.open is None, f"a call is open at {pair}: {record}")
            ids = [want.profile for want in wants]
            assigned = assignments.load(database, export.key, ids)
            missing = [one for one in ids if pair not in assigned[one].assignment.pairs]
            promise(not missing, f"{missing} are not assigned {pair}")
        for export in self.world.exports:
            aliases = assignments.load(database, export.key, people.aliases).values()
            promise(not any(stored.assignment.pairs for stored in aliases), "an alias has not handed over")

    def _stored(self) -> Stored:
        world, destination = self.world, self.side.destination
        named = {
            str(item["sk"]): str(item["export"]) for item in world.database.items(Table.CONTROL, f"owners#{CONNECTION}")
        }
        exports = {target: world.console.exports.get(f"{CONNECTION}/{name}") for target, name in named.items()}
        owned = {target: export for target, export in exports.items() if export is not None}
        wanted = {
            pair: wants for export in world.exports for pair, wants in world.people.wanted(export, destination).items()
        }
        for pair in wanted:
            promise(pair.target in owned, f"nobody owns {pair.target}")

        def record(pair: Pair) -> Record:
            key = identities.key_of(world.keyed, CONNECTION, *pair)
            return identities.load(world.database, [key])[key].record

        return Stored(owned, wanted, record)


def play(seed: int, name: str) -> Summary:
    """Play one history of a destination."""
    return History(seed, name).play()
