"""What the plain world leaves out: our own code has defects that some profiles meet, now and then."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.delivery.wishes import claim_key
from relay.destinations.contract import Account, Answer, ImportReport, OpenImport, Step
from relay.domain.exports import Export
from relay.domain.problems import Rejection
from relay.stores.database import Table
from tests.fakes.faults import FaultyDatabase, PlantedError, Victim
from tests.simulation.destinations import SimDestination
from tests.simulation.world import World, play

KINDS = ("address", "address", "profile", "claim", "nothing")


@dataclass
class FlawedDestination(SimDestination):
    """Trips over some identities, most of the time."""

    trips_over: set[str] = field(default_factory=set)

    def _trip(self, *values: Any) -> None:
        if self.trips_over.intersection(value for value in values if value is not None) and self.chance.random() < 0.8:
            raise PlantedError

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        self._trip(value)
        return super().identity_of(value, export)

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:
        self._trip(*(step.identity for step in steps))
        return super().calls(account, export, steps)

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        self._trip(*(step.identity for step in steps))
        answer = super().send(account, export, steps)
        self._trip(*(step.identity for step in steps))
        return answer

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        self._trip(*(step.identity for step in steps))
        return super().import_report(account, export, queued, steps)

    def confirm(self, account: Account, export: Export, steps: Sequence[Step]) -> Mapping[int, bool]:
        self._trip(*(step.identity for step in steps))
        return super().confirm(account, export, steps)


class FlawedWorld(World):
    """A defect concerns one address or one profile for a while, then others, and none in the end."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.is_mended = False
        self.database.__class__ = FaultyDatabase

    def _destination(self, name: str) -> SimDestination:
        plain = super()._destination(name)
        return FlawedDestination(**{key: value for key, value in vars(plain).items() if not key.startswith("_")})

    def consume(self, name: str) -> bool:
        self._break_now_and_then()
        return super().consume(name)

    def check(self) -> bool:
        self._break_now_and_then()
        return super().check()

    def _break_now_and_then(self) -> None:
        if not self.is_mended and self.chance.random() < 0.1:
            self._break(self.chance.choice(KINDS))

    def _break(self, what: str) -> None:
        database, address = self.database, self.chance.choice(("ann@x.example", "bob@x.example"))
        assert isinstance(database, FaultyDatabase)
        database.fault = None
        for destination in self.destinations.values():
            assert isinstance(destination, FlawedDestination)
            destination.trips_over = {address} if what == "address" else set()
        operation = self.chance.choice(("get", "write"))
        if what == "profile":
            database.victim = Victim(frozenset({self.chance.choice(self.ids)}))
            database.fault = (operation, self.chance.choice((Table.DELIVERIES, Table.CONTROL)))
        elif what == "claim":
            database.victim = Victim(frozenset(self._claims_on(address)))
            database.fault = (operation, Table.CLAIMS)

    def _claims_on(self, address: str) -> Iterator[str]:
        for name, export in itertools.product(self.destinations, self.settings.exports_now.values()):
            for target in self.destinations[name].targets(export):
                yield claim_key(self.keyed, name, target, address)

    def settle_down(self) -> None:
        """Come to rest in spite of defects, some times over; then mend everything, and let a run look at everybody."""
        for _ in range(3):
            self._break(self.chance.choice(KINDS))
            super().settle_down()
            self.full_runs()
            self.check_ledgers()
            self.check_finished_runs()
        self.is_mended = True
        self._break("nothing")
        super().settle_down()
        self.full_runs()

    def check_no_defect(self) -> None:
        for defect in self.observe.defects:
            if not isinstance(defect, PlantedError):
                raise defect


def play_flawed(seed: int, actions: int = 250, *, make: Callable[[int], World] = FlawedWorld) -> World:
    """Play one schedule with defects; a streaming export needs a run to tell those who were set aside."""
    return play(seed, actions, make=make)
