"""CPU time of a function, by part.

The CPU clock of the thread (user and system) is read where it enters and where it leaves a client. Time belongs to the
innermost part that is open. Each reading costs about a microsecond, and a thousand profiles take some hundred of them:
less than one per cent of what is measured.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from relay.stores.database import Database, Item, Key, Table, Write

OWN: Final = "own"
DATABASE: Final = "database"
QUEUES: Final = "queues"
DESTINATION: Final = "destination"
PARTS: Final = (OWN, DATABASE, QUEUES, DESTINATION)
"""Our own code; our clients of DynamoDB and SQS; our client of the destination: encoding, HTTP and decoding."""

BENCHMARK: Final = "benchmark"
"""What would not be there on AWS; it counts nowhere."""


class CpuMeter:
    """Adds up what one thread uses within parts, and how often each part was entered."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._since = 0.0
        self._spent: Counter[str] = Counter()
        self._entered: Counter[str] = Counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count time for a part meanwhile, but for what goes to parts within."""
        self._charge()
        self._entered[name] += 1
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        now = time.thread_time()
        if self._open:
            self._spent[self._open[-1]] += now - self._since  # type: ignore[assignment]
        self._since = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time counts for a part."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        return timed

    def take(self) -> tuple[Counter[str], Counter[str]]:
        """Return CPU seconds by part and how often each was entered, and begin again."""
        taken = self._spent, self._entered
        self._spent, self._entered = Counter(), Counter()
        return taken


class TimedDatabase:
    """A database whose CPU time counts for `DATABASE`."""

    def __init__(self, database: Database, cpu: CpuMeter) -> None:
        self._database = database
        self._cpu = cpu

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """As the database's own."""
        with self._cpu.part(DATABASE):
            return self._database.get(keys)

    def scan(self, table: Table, *, after: str = "", limit: int) -> tuple[list[Item], str]:
        """As the database's own."""
        with self._cpu.part(DATABASE):
            return self._database.scan(table, after=after, limit=limit)

    def query(self, table: Table, pk: str, **range_: Any) -> list[Item]:
        """As the database's own."""
        with self._cpu.part(DATABASE):
            return self._database.query(table, pk, **range_)

    def write(self, writes: Sequence[Write]) -> list[bool]:
        """As the database's own."""
        with self._cpu.part(DATABASE):
            return self._database.write(writes)

    def transact(self, writes: Sequence[Write]) -> bool:
        """As the database's own."""
        with self._cpu.part(DATABASE):
            return self._database.transact(writes)
