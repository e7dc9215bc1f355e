"""Setting aside: what goes wrong in our own code concerns the profile that it was met with, and nobody else.

Where work on several profiles fails with something that is none of our problems, it is done once more with half of
them, down to the one that fails alone. That one is recorded, counted as rejected and shown; the others go on. Doing it
once more is what a message does that comes back after a crash, so it needs no rule of its own.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import relay
from relay.clock import Clock
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.problems import Problem
from relay.observability import Observability, places
from relay.stores import defects, runs
from relay.stores.database import Database
from relay.stores.defects import Defect

MOST_IN_A_ROW: Final = 10
"""So many that failed alone, and nothing that went well between them: then it is not the profiles.

A broken deploy must neither work on a million profiles one by one nor set them all aside: their messages fail, as they
do for everything that cannot be attributed to a profile, and wait in the dead-letter queue for the next deploy.
"""

READ_AGAIN: Final = timedelta(minutes=1)
"""How often a process reads who is on record."""

Item = TypeVar("Item")


@cache
def code_version() -> str:
    """Return what names the code that runs: a hash of the library's files."""
    digest = hashlib.sha256()
    root = Path(relay.__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


class SetAside:
    """Remembers whom defects concern. One for each process: it counts failures across messages."""

    def __init__(self, database: Database, clock: Clock, observe: Observability) -> None:
        self._database = database
        self._clock = clock
        self._observe = observe
        self._in_a_row: set[object] = set()
        self._known: dict[str, tuple[datetime, dict[str, datetime]]] = {}
        """Who is on record of an export, since when, and when that was read."""

    def by_halves(self, items: Sequence[Item], attempt: Callable[[Sequence[Item]], None]) -> dict[Item, Exception]:
        """Do `attempt` for all items; where that meets a defect, for one half and the other; return who failed alone.

        What `attempt` has done for a part must do no harm when it is done once more. Raises what it raises when that is
        a Problem, or when `MOST_IN_A_ROW` failed.
        """
        failed: dict[Item, Exception] = {}
        waiting = [items] if items else []
        while waiting:
            part = waiting.pop()
            try:
                attempt(part)
            except Problem:
                raise
            except Exception as error:  # noqa: BLE001 - it is handed to the caller
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                    continue
                self._count(part[0], error)
                failed[part[0]] = error
            else:
                self.went_well()
        return failed

    def set_aside(self, export: str, failed: Mapping[str, Exception]) -> None:
        """Record profiles that failed alone; raises the failure when it is one of `MOST_IN_A_ROW`."""
        for profile, error in failed.items():
            self._count(profile, error)
        self.note(export, failed)

    def note(self, export: str, failed: Mapping[str, Exception]) -> None:
        """Record profiles of an export (its key) that failed alone, and log them."""
        if not failed:
            return
        now = self._clock.now()
        self._on_record(export).update(dict.fromkeys(failed, now))
        defects.note(
            self._database,
            export,
            [
                Defect(profile, type(error).__name__, tuple(places(error)), code_version(), now)
                for profile, error in failed.items()
            ],
        )
        for profile, error in failed.items():
            self._observe.problem("set aside", error, export=export, profile=profile)

    def recovered(self, export: str, profiles: Iterable[str]) -> None:
        """Take profiles of an export off the record with whom all went well; a minute late where others noted them.

        Those whom the present run has counted as rejected stay on record until it ends: it asks for them.
        """
        known = self._on_record(export)
        well = known.keys() & set(profiles)
        if not well:
            return
        run = runs.active(self._database, export)
        gone = [one for one in well if run is None or known[one] < run.started_at - CLOCK_MARGIN]
        defects.forget(self._database, export, gone)
        for profile in gone:
            del known[profile]

    def _on_record(self, export: str) -> dict[str, datetime]:
        now = self._clock.now()
        read_at, known = self._known.get(export, (now - READ_AGAIN, {}))
        if now - read_at >= READ_AGAIN:
            found = defects.of_export(self._database, export, defects.MOST_SHOWN)
            read_at, known = now, {defect.profile: defect.at for defect in found}
            self._known[export] = read_at, known
        return known

    def went_well(self) -> None:
        """Note that something went well: what failed before was met with its own profile."""
        self._in_a_row.clear()

    def _count(self, item: object, error: Exception) -> None:
        """Count an item that failed; one that fails again and again is one."""
        self._in_a_row.add(item)
        if len(self._in_a_row) >= MOST_IN_A_ROW:
            raise error
