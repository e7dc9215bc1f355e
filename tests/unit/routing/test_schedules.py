"""Schedules drawn from a seed: several routers at once overtake each other, die and trip, and tables throttle.

Messages come in any order, again at any time, and to several routers at once. At every moment the receipts add up. When
the trouble is over, the store holds what it would hold without it, and whoever has to look has looked.
"""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from greenlet import getcurrent, greenlet

from relay.domain.changes import Change
from relay.stores.database import Write
from tests.fakes.memory_database import Trouble
from tests.fakes.routing_world import Crash, World, change, member

SEEDS = 150
ACTIONS = 120


class Tripped(Exception):  # noqa: N818 - a defect of the code, played
    """Something that the code did not expect."""


class Schedule(World):
    """One world and its trouble."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.calm = True
        self.met: Counter[str] = Counter()
        super().__init__(self._interfere)
        self.database.trouble = self._trouble
        self.loses_answers = True
        self.death_rate = self.chance.choice([0.0, 0.01, 0.04])
        self.trip_rate = self.chance.choice([0.0, 0.0, 0.05])
        self.trouble_rate = self.chance.choice([0.0, 0.02, 0.1])
        self.people = [[10 * number + device for device in range(self.chance.randint(1, 3))] for number in range(4)]
        self.posted: list[Sequence[Change]] = []
        self.workers: list[greenlet] = []
        self.calm = False

    def _interfere(self, step: str) -> None:
        parent = getcurrent().parent
        if self.calm or parent is None:
            return
        if self.chance.random() < self.death_rate:
            self.met["death"] += 1
            raise Crash(step)
        if self.chance.random() < self.trip_rate:
            self.met["defect"] += 1
            raise Tripped
        if self.chance.random() < 0.4:
            parent.switch()

    def _trouble(self, write: Write) -> Trouble | None:
        if self.calm or self.chance.random() >= self.trouble_rate:
            return None
        trouble = self.chance.choice(list(Trouble))
        self.met[trouble.value] += 1
        return trouble

    def act(self) -> None:
        """Do something at random."""
        roll = self.chance.random()
        if self.workers and roll < 0.6:
            self._go_on(self.chance.choice(self.workers))
        elif roll < 0.75:
            self._post()
        elif roll < 0.8:
            self.clock.sleep(self.chance.choice([0.1, 2.0, 60.0, 900.0]))
        elif roll < 0.85:
            queue = self.queue(self.chance.choice(["gainsight_px", "activecampaign"]))
            queue.broken = not queue.broken
        elif roll < 0.87:
            self.changes_broken = not self.changes_broken
        elif self.waiting and len(self.workers) < 4:
            waiting = sorted(self.waiting)
            records = self.receive(*self.chance.sample(waiting, self.chance.randint(1, min(6, len(waiting)))))
            acknowledge = self.chance.random() > 0.1

            def live() -> None:
                with suppress(Crash):
                    self.hand(records, acknowledge=acknowledge)

            worker = greenlet(live)
            self.workers.append(worker)
            self._go_on(worker)

    def _go_on(self, worker: greenlet) -> None:
        worker.switch()
        self.workers = [one for one in self.workers if not one.dead]

    def _post(self) -> None:
        batch = [self._change(position) for position in range(self.chance.randint(1, 4))]
        self.posted.append(batch)
        self.post(*batch)

    def _change(self, position: int) -> Change:
        person, chance = self.chance.choice(self.people), self.chance
        ids = chance.sample(person, min(len(person), chance.choice([1, 1, 1, 2, 3])))
        return change(
            ids if chance.random() > 0.05 else None,
            *(member(segment, chance.randint(0, 900), realized=chance.random() < 0.6) for segment in self._segments()),
            attributes={"plan": chance.choice(["free", "pro"])} if chance.random() < 0.7 else {},
            received_at=self.clock.now(),
            position=position,
        )

    def _segments(self) -> list[str]:
        return self.chance.sample(["s/a", "s/b", "s/nobody"], self.chance.randint(0, 2))

    def come_to_rest(self) -> None:
        """End all trouble, and let the messages come back until none is left."""
        for worker in self.workers:
            worker.throw(Crash)
        self.calm = True
        for queue in self.queues.values():
            queue.broken = False
        self.changes_broken = False
        self.clock.sleep(720)
        for _ in range(3):
            if self.waiting:
                assert self.run() == []
        assert not self.waiting


def play(seed: int) -> Schedule:
    world = Schedule(seed)
    for _ in range(ACTIONS):
        world.act()
        world.check_receipts()
    world.met["lost race"] += sum(world.database.lost_races.values())
    world.come_to_rest()
    world.check_receipts()
    world.check_all_is_seen()
    undisturbed = World()
    for batch in world.posted:
        undisturbed.post(*batch)
    if undisturbed.waiting:
        undisturbed.run()
    assert world.stored() == undisturbed.stored()
    assert world.totals().changes >= undisturbed.totals().changes
    return world


def test_whatever_happens_nothing_is_lost_and_the_receipts_add_up() -> None:
    met: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            met += play(seed).met
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    for kind in ("death", "defect", "throttled", "lost", "lost race"):
        assert met[kind] > 50, met
