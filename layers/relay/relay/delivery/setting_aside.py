"""Setting aside: what goes wrong in our own code concerns the profile that it was met with, and nobody else.

Where work on several profiles fails with something that is none of our problems, it is done once more for one half and
the other, down to the one that fails alone. That one is recorded, counted as rejected and shown; the others go on.
Doing it once more is what a redelivered message does after a crash, so it needs no rule of its own.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import relay
from relay.clock import Clock
from relay.delivery.messages import shard_of
from relay.domain.claims import AWAITED, RunTag
from relay.domain.exports import Export
from relay.domain.problems import Problem
from relay.domain.runs import Outcome, Run
from relay.observability import Observability, places
from relay.stores import claims, defects, deliveries, flights, runs
from relay.stores.database import Database
from relay.stores.defects import Defect
from relay.stores.flights import Entry

MOST_IN_A_ROW = 10
"""So many that failed alone, and nothing that went well between them: then it is not the profiles.

A broken deploy must neither work on a million profiles one by one nor set them all aside: their messages fail, as they
do for everything that cannot be attributed to a profile, and wait in the dead-letter queue for the next deploy.
"""

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


class SettingAside:
    """Finds whom a defect concerns, and remembers it. One for each process: it counts failures across messages."""

    def __init__(self, database: Database, clock: Clock, observe: Observability | None = None) -> None:
        self._database = database
        self._clock = clock
        self._observe = Observability() if observe is None else observe
        self._in_a_row: Counter[str] = Counter()

    def by_parts(
        self,
        work: str,
        items: Iterable[Item],
        attempt: Callable[[Sequence[Item]], None],
        give_up: Callable[[Item], None] = lambda item: None,  # noqa: ARG005 - says what it takes
        alone: Collection[Item] = (),
    ) -> dict[Item, Exception]:
        """Do `attempt` for all items together; where that fails, for parts of them, in order.

        An item that fails alone, and failed before, is given up, which is done at its place in the order; those given
        up are returned. Items named in `alone` failed another time: they are tried by themselves, after the others.
        What `attempt` has done for a part must do no harm when it is done once more.
        `work` names what is done: of each kind of work it is counted by itself how many failed in a row.
        Raises what `attempt` raises when that is a Problem, or when `MOST_IN_A_ROW` failed.
        """
        suspects = set(alone)
        together: list[Item] = []
        waiting: list[list[Item]] = []
        for item in items:
            if item in suspects:
                waiting.append([item])
            else:
                together.append(item)
        if together:
            waiting.append(together)
        failed: dict[Item, Exception] = {}
        while waiting:
            part = waiting.pop()
            try:
                attempt(part)
            except Problem:
                raise
            except Exception as error:
                again = _again(part, suspects)
                suspects.update(part)
                if again:
                    waiting += again
                    continue
                self._in_a_row[work] += 1
                if self._in_a_row[work] >= MOST_IN_A_ROW:
                    raise
                give_up(part[0])
                failed[part[0]] = error
            else:
                self._in_a_row[work] = 0
        return failed

    def outcome(self, export: Export, run: RunTag | None, profile: str) -> Outcome:
        """Return how a profile that is set aside counts: as outstanding while an import of it moves a run's ledger."""
        is_counted = run is not None and self._is_counted(export, run, profile)
        return Outcome.OUTSTANDING if is_counted else Outcome.REJECTED

    def _is_counted(self, export: Export, run: RunTag, profile: str) -> bool:
        for queued in flights.open_imports(self._database, export.connection):
            found = flights.load_import(self._database, export.connection, queued.flight)
            rows = [] if found is None else [row for row in found[1] if (row.profile, row.run) == (profile, run)]
            if any(self._moves_ledger(queued.flight, row) for row in rows):
                return True
        try:
            delivery = deliveries.load(self._database, export.key, [profile])[profile]
        except Problem:
            raise
        except Exception:  # noqa: BLE001 - what is wrong with the profile may be just its delivery
            return False
        return run.mark == delivery.counted_in

    def _moves_ledger(self, flight: str, row: Entry) -> bool:
        """Whether the end of an import still moves a run's ledger for a row: not where the row is sent again."""
        try:
            claim = claims.load(self._database, [row.claim])[row.claim]
        except Problem:
            raise
        except Exception:  # noqa: BLE001 - what is wrong may be just the claim; then the row cannot be sent again either
            return True
        return claim.flight is not None and claim.flight.id == flight

    def end_wait(self, export: Export, run: Run, profile: str) -> None:
        """Have a run wait no more for a profile, which is set aside."""
        tag = RunTag(run.id, shard_of(profile, run.shards), AWAITED)
        outcome = self.outcome(export, tag, profile)
        runs.give_up_wait(self._database, tag.run, tag.shard, profile, outcome, self._clock.now())

    def known(self, export: Export, profiles: Sequence[str]) -> set[str]:
        """Return those of the profiles that are recorded as set aside."""
        if not profiles:
            return set()
        return defects.between(self._database, export.key, min(profiles), max(profiles)).intersection(profiles)

    def note(self, export: Export, failed: Mapping[str, Exception]) -> None:
        """Record profiles as set aside, and log them."""
        if not failed:
            return
        now = self._clock.now()
        defects.note(
            self._database,
            export.key,
            [
                Defect(profile, type(error).__name__, tuple(places(error)), code_version(), now)
                for profile, error in failed.items()
            ],
        )
        for profile, error in failed.items():
            self._observe.problem("set aside", error, export=export.key, profile=profile)

    def forget(self, export: Export, profiles: Collection[str]) -> None:
        """Forget that profiles were set aside: they went well."""
        if profiles:
            defects.forget(self._database, export.key, profiles)


def _again(part: list[Item], suspects: Collection[Item]) -> list[list[Item]]:
    """Return the parts in which a part that failed is tried again: its halves, or the same once more."""
    if len(part) > 1:
        middle = len(part) // 2
        return [part[middle:], part[:middle]]
    return [] if part[0] in suspects else [part]
