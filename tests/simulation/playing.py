"""Playing schedules: one to its end, or a session of many over all worlds."""

import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from os import cpu_count
from typing import NamedTuple

from tests.simulation import ending
from tests.simulation.crowded_world import CrowdedWorld
from tests.simulation.flawed_world import FlawedWorld
from tests.simulation.importing_world import ImportingWorld
from tests.simulation.promises import BrokenPromise, promise
from tests.simulation.races import missing
from tests.simulation.watch import live
from tests.simulation.wider_world import WiderWorld
from tests.simulation.world import World

ACTIONS = 350
"""What happens at random in a schedule, before it comes to rest."""

WORLDS: Mapping[str, type[World]] = {
    "plain": World,
    "wide": WiderWorld,
    "crowded": CrowdedWorld,
    "flawed": FlawedWorld,
    "importing": ImportingWorld,
}

TURNS = ("plain", "wide", "importing", "plain", "crowded", "wide", "flawed")
"""The worlds of consecutive seeds of a session."""

MUST_HAPPEN = (
    "aliases",
    "batches of writes of which some failed",
    "deaths",
    "deaths while other calls were under way",
    "exports handed over",
    "identities shared by a hundred",
    "identities taken out",
    "people who entered by a set",
    "people who left by a set",
    "rare events in our own code",
    "runs confirmed",
    "single writes lost",
    "single writes throttled",
)
"""What a session of `races.ENOUGH_SCHEDULES` must have seen besides lost races."""

YEAR = timedelta(days=365)


def play(
    seed: int, actions: int = ACTIONS, *, make: Callable[..., World] = World, tell: Callable[[str], None] | None = None
) -> World:
    """Play one schedule to its end and check everything; BrokenPromise when one is, a defect as it was met."""
    world = make(seed, tell)
    with world.under_way():
        _play(world, actions)
    return world


def _play(world: World, actions: int) -> None:
    world.tick()
    world.run_wild(actions)
    world.settle_down()
    ending.check_nothing_is_lost(world)
    for export in world.console.exports.values():
        if export.stream:
            ending.check_converged(world, export, strict=False)
    world.edit_at_rest()
    came_back = any(map(world.watch.is_deleted_first, live(world.watch.profiles.values())))
    world.pass_time(timedelta(hours=25).total_seconds())
    world.full_runs()
    if ending.has_passed_refusals(world) or ending.has_just_taken_over(world):
        # The winner left in that run, and the next one in line was refused the same before; or what an alias left to
        # somebody in that run is a change that the next run sees to.
        world.pass_time(timedelta(minutes=1).total_seconds())
        world.full_runs()
    world.has_run = True
    world.come_to_rest()
    if came_back:
        # They were deleted at the destinations first, so exports that do not stream take them in with the next run.
        world.pass_time(timedelta(minutes=1).total_seconds())
        world.full_runs()
    ending.check_forgotten(world)
    for export in world.console.exports.values():
        ending.check_converged(world, export, strict=True)
    for destination in world.destinations.values():
        destination.is_over = True
    writes = sum(destination.writes for destination in world.destinations.values())
    world.pass_time(timedelta(minutes=1).total_seconds())
    world.full_runs()
    promise(sum(destination.writes for destination in world.destinations.values()) == writes, "a needless write call")
    for export in world.console.exports.values():
        ending.check_converged(world, export, strict=True)
        ending.check_assignments(world, export)
        ending.check_ledger(world, export)


class Task(NamedTuple):
    """One schedule to be played; `world` is a key of `WORLDS`."""

    seed: int
    world: str
    actions: int = ACTIONS


class Played(NamedTuple):
    """What came of a schedule: the promise that it broke, and what it has seen."""

    task: Task
    problem: str | None
    seen: Counter[str]
    races: Counter[str]
    member_seconds: float
    cpu_seconds: float


def attempt(task: Task) -> Played:
    """Play one schedule, whatever comes of it."""
    begun, problem = time.process_time(), None
    made: list[World] = []

    def make(seed: int, tell: Callable[[str], None] | None) -> World:
        made.append(WORLDS[task.world](seed, tell))
        return made[0]

    try:
        play(task.seed, task.actions, make=make)
    except (BrokenPromise, Exception):  # noqa: BLE001 - whatever goes wrong is a finding, with its seed
        problem = traceback.format_exc(limit=-6)
    seen, races, seconds = Counter[str](), Counter[str](), 0.0
    for world in made:
        seen, races, seconds = world.seen(), world.database.races, world.member_seconds
    return Played(task, problem, seen, races, seconds, time.process_time() - begun)


def tasks(seed: int, schedules: int, world: str | None = None, actions: int = ACTIONS) -> list[Task]:
    """Return the schedules of a session from consecutive seeds, of one world or of all in turn."""
    return [
        Task(seed + number, TURNS[number % len(TURNS)] if world is None else world, actions)
        for number in range(schedules)
    ]


def play_all(wanted: Iterable[Task], processes: int | None = None) -> Iterator[Played]:
    """Play schedules in several processes; yields them in order."""
    with ProcessPoolExecutor(processes or cpu_count()) as pool:
        try:
            yield from pool.map(attempt, wanted, chunksize=2)
        finally:
            pool.shutdown(cancel_futures=True)


class Session:
    """What a session has seen."""

    def __init__(self) -> None:
        self.by_world: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.races: Counter[str] = Counter()
        self.broken: list[Played] = []
        self.member_seconds = self.cpu_seconds = 0.0

    def add(self, played: Played) -> None:
        """Add a schedule."""
        self.by_world[played.task.world] += 1
        self.seen.update(played.seen)
        self.races.update(dict(played.races))
        self.member_seconds += played.member_seconds
        self.cpu_seconds += played.cpu_seconds
        if played.problem is not None:
            self.broken.append(played)

    def unseen(self) -> list[str]:
        """Return what should have happened in a long session, and never did."""
        return [*(what for what in MUST_HAPPEN if not self.seen[what]), *missing(self.races)]

    def lines(self) -> Iterator[str]:
        """Yield what is to be told of it."""
        schedules = self.by_world.total()
        worlds = ", ".join(f"{number} {world}" for world, number in sorted(self.by_world.items()))
        yield f"{schedules} schedules ({worlds}), {len(self.broken)} broke a promise"
        yield ", ".join(f"{self.seen[what]} {what}" for what in sorted({*self.seen, *MUST_HAPPEN}))
        years = self.member_seconds / YEAR.total_seconds()
        yield f"{years:.1f} member-years, {self.cpu_seconds / max(1, schedules):.3f} CPU seconds per schedule"
        yield f"{self.races.total()} lost races of {len(self.races)} kinds:"
        for kind, number in sorted(self.races.items(), key=lambda entry: (-entry[1], entry[0])):
            yield f"{number:7} {kind}"


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
