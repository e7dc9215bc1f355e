"""CPU time of the threads that work, by part.

Each thread reads its own CPU clock (user and system) when it goes through a door, and when it comes back: time belongs
to the innermost part that is open. A door costs about 2 microseconds, and a thousand profiles go through some
hundred doors: less than one per cent of what is measured.
"""

import threading
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


class _Thread(threading.local):
    def __init__(self) -> None:
        self.open: list[str] = []
        self.since = 0.0


class CpuMeter:
    """Adds up what threads use within parts; `calls` counts how often each part was entered."""

    def __init__(self) -> None:
        self._thread = _Thread()
        self._lock = threading.Lock()
        self._spent: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of this thread for a part meanwhile, but for what goes to parts within."""
        thread = self._thread
        self._change(thread, entering=name)
        thread.open.append(name)
        try:
            yield
        finally:
            self._change(thread, entering=None)
            thread.open.pop()

    def _change(self, thread: _Thread, entering: str | None) -> None:
        now = time.thread_time()
        with self._lock:
            if thread.open:
                self._spent[thread.open[-1]] += now - thread.since  # type: ignore[assignment]
            if entering is not None:
                self._calls[entering] += 1
        thread.since = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time counts for a part."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        return timed

    def take(self) -> tuple[Counter[str], Counter[str]]:
        """Return CPU seconds and calls by part, and begin again. Nobody may be at work."""
        with self._lock:
            taken = self._spent, self._calls
            self._spent, self._calls = Counter(), Counter()
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
