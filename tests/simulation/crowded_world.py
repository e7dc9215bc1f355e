"""What the plain world leaves out: more profiles want an identity than its claim can name."""

from collections.abc import Callable
from random import Random
from unittest.mock import patch

from relay.delivery import planning
from relay.domain import claims
from tests.simulation.world import SOURCE, World, play


class CrowdedWorld(World):
    """Who was turned away is looked at again by runs; until then the winner is the smallest of those who are named."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.all_asked = False
        self.people = [
            [self.keyed(SOURCE, f"{number}.{device}") for device in range(self.chance.choice([1, 1, 2]))]
            for number in range(self.chance.randint(6, 14))
        ]

    def full_runs(self) -> None:
        # Who leaves on a second pass makes room for those who are looked at by the next run.
        super().full_runs()
        super().full_runs()
        self.all_asked = True

    def check_converged(self, name: str) -> None:
        if self.all_asked:
            super().check_converged(name)
        else:
            self.check_nobody_is_missing(name)


def play_crowded(seed: int, actions: int = 250, *, make: Callable[[int], World] = CrowdedWorld) -> World:
    """Play one schedule with claims that name very few, and perhaps with profiles worked on claim by claim."""
    chance = Random(seed)
    few = patch.multiple(claims, MOST_CLAIMANTS=chance.randint(1, 2), MOST_WAITERS=chance.randint(0, 2))
    with few, patch.object(planning, "CLAIMS_AT_ONCE", chance.choice((1, planning.CLAIMS_AT_ONCE))):
        return play(seed, actions, make=make)
