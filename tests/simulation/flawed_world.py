"""What the plain world leaves out: our own code has defects that some profiles meet, now and then."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from relay.destinations.contract import Account, Answer, ImportReport, OpenImport, Step
from relay.domain.exports import Export
from relay.domain.problems import Rejection
from relay.stores.database import Item, Key, Table, Write
from tests.simulation.database import SimDatabase
from tests.simulation.destinations import Kind, SimDestination, targets_of
from tests.simulation.world import World

KINDS = ("address", "address", "profile", "record", "nothing")


class PlantedError(Exception):
    """A defect: nothing of ours."""


class FlawedDatabase(SimDatabase):
    """Trips over what touches some keys in one table by one operation, `get` or `write`.

    What records that a profile was set aside is spared: it must itself work.
    """

    fault: tuple[str, Table] | None = None
    victims: frozenset[str] = frozenset()

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        self._trip("get", keys)
        return super().get(keys)

    def write(self, writes: Sequence[Write]) -> list[bool]:
        self._trip("write", [write.key for write in writes])
        return super().write(writes)

    def _trip(self, operation: str, keys: Sequence[Key]) -> None:
        for key in keys:
            is_named = key.pk in self.victims or key.sk in self.victims
            if is_named and self.fault == (operation, key.table) and not key.pk.startswith("defects#"):
                raise PlantedError


@dataclass
class FlawedDestination(SimDestination):
    """Trips over some identities, most of the time."""

    trips_over: set[str] = field(default_factory=set)

    def _trip(self, *values: Any) -> None:
        if self.trips_over and self.chance.random() < 0.8 and any(value in self.trips_over for value in values):
            raise PlantedError

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        self._trip(*(value if isinstance(value, list) else [value]))
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


class FlawedWorld(World):
    """A defect concerns one address or one profile for a while, then others, and none in the end."""

    is_flawed = True
    database_kind = FlawedDatabase

    def _destination(self, kind: Kind) -> SimDestination:
        plain = super()._destination(kind)
        return FlawedDestination(**{one.name: getattr(plain, one.name) for one in fields(SimDestination)})

    def consume(self, name: str, group: str | None = None) -> bool:
        self._break_now_and_then()
        return super().consume(name, group)

    def check(self, about: str = "") -> bool:
        self._break_now_and_then()
        return super().check(about)

    def _break_now_and_then(self) -> None:
        if not self.is_calm and self.chance.random() < 0.1:
            self._break(self.chance.choice(KINDS))

    def _break(self, what: str) -> None:
        database, address = self.database, self.chance.choice(("ann@x.example", "bob@x.example"))
        assert isinstance(database, FlawedDatabase)
        database.fault = None
        for destination in self.destinations.values():
            assert isinstance(destination, FlawedDestination)
            destination.trips_over = {address} if what == "address" else set()
        operation = self.chance.choice(("get", "write"))
        if what == "profile":
            database.victims = frozenset({self.chance.choice(self.ids)})
            database.fault = operation, Table.ASSIGNMENTS
        elif what == "record":
            database.victims = frozenset(self._records_of(address))
            database.fault = operation, Table.IDENTITIES
        self.say(f"breaks: {what} {address} {database.fault}")

    def _records_of(self, address: str) -> Iterator[str]:
        for destination, export in itertools.product(self.destinations.values(), self.console.exports.values()):
            for target in targets_of(destination.kind, export):
                yield self.record_key(destination.name, target, address)

    def settle_down(self) -> None:
        """Come to rest in spite of defects, some times over; then mend everything, and let a run look at everybody."""
        for _ in range(2):
            self._break(self.chance.choice(KINDS))
            super().settle_down()
            self.full_runs()
        self._break("nothing")
        super().settle_down()
        # A run leaves alone who has just met a defect.
        self.pass_time(60)
        self.full_runs()

    def unrest(self) -> list[str]:
        """A wait that meets a defect stays until that is mended."""
        assert isinstance(self.database, FlawedDatabase)
        victims = self.database.victims if self.database.fault else frozenset[str]()
        return [one for one in super().unrest() if not any(victim in one for victim in victims)]

    def check_no_defect(self) -> None:
        for defect in self.observed.defects:
            if not isinstance(defect, PlantedError):
                raise defect
