"""Profiles that nobody names are forgotten under crashes and lost races, and nobody else is."""

from tests.simulation.playing import play
from tests.simulation.retention_world import RetentionWorld


def test_only_whom_nobody_names_is_forgotten() -> None:
    worlds = [play(seed, 100, make=RetentionWorld) for seed in range(8)]
    assert sum(world.happened["profiles that nobody named"] for world in worlds) > 0
