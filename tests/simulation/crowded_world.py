"""What the plain world leaves out: more profiles want an identity than its record can name, sometimes by a hundred."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from relay.domain import identity
from tests.simulation.world import EMAILS, SOURCE, World


class CrowdedWorld(World):
    """Who was turned away is looked at again by runs; until then the winner is the smallest of those who are named."""

    is_crowded = True

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        super().__init__(seed, tell)
        self.is_large = self.chance.random() < 0.2
        """Whether a hundred profiles share an address; then records name as many as they do in earnest."""
        people = self.chance.randint(130, 160) if self.is_large else self.chance.randint(6, 14)
        self.people = [
            [self.keyed(SOURCE, f"{number}.{device}") for device in range(self.chance.choice([1, 1, 2]))]
            for number in range(people)
        ]
        self.most = identity.MOST_CLAIMANTS if self.is_large else self.chance.randint(1, 3)
        if self.is_large:
            for destination in self.destinations.values():
                destination.call_size = 50

    def post(self) -> None:
        for _ in range(4 if self.is_large else 1):
            super().post()

    def _address(self) -> Any:
        return self.chance.choice(EMAILS[:1] * 30 + EMAILS) if self.is_large else super()._address()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with super().under_way(), patch.object(identity, "MOST_CLAIMANTS", self.most):
            yield

    def full_runs(self) -> None:
        # Who leaves on a second pass makes room for those who are looked at by the next run.
        super().full_runs()
        super().full_runs()
