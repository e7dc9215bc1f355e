"""Playing one schedule to its end."""

from collections.abc import Callable
from datetime import timedelta

from tests.simulation import ending
from tests.simulation.promises import promise
from tests.simulation.world import World


def play(seed: int, actions: int = 250, *, make: Callable[[int], World] = World) -> World:
    """Play one schedule to its end and check everything; BrokenPromise when one is, a defect as it was met."""
    world = make(seed)
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
    world.pass_time(timedelta(hours=25).total_seconds())
    world.full_runs()
    for export in world.console.exports.values():
        ending.check_converged(world, export, strict=True)
    writes = sum(destination.writes for destination in world.destinations.values())
    world.pass_time(timedelta(minutes=1).total_seconds())
    world.full_runs()
    promise(sum(destination.writes for destination in world.destinations.values()) == writes, "a needless write call")
    for export in world.console.exports.values():
        ending.check_converged(world, export, strict=True)
        ending.check_assignments(world, export)
        ending.check_ledger(world, export)
