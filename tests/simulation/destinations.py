"""Two destinations for the simulation: one that answers at once, one that imports when it likes."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from pydantic import BaseModel

from relay.destinations.contract import Account, Answer, Finding, ImportReport, Level, OpenImport, Step
from relay.domain.exports import Export
from relay.domain.problems import Actor, ConnectionProblem, Rejection, RejectionKind, Transient

UNKNOWN_USER = Rejection(RejectionKind.DATA, "refused", "the destination does not take this identity")
NO_EMAIL = Rejection(RejectionKind.DATA, "no_email", "the profile has no e-mail")
MALFORMED = Rejection(RejectionKind.DATA, "malformed_email", "the e-mail is malformed")


@dataclass(slots=True)
class Import:
    id: str
    steps: Sequence[Step]
    begun: datetime
    lands_before: datetime
    refused: dict[int, Rejection] = field(default_factory=dict)
    landed: bool = False
    undone: frozenset[int] = frozenset()
    """Rows that an import which failed or was interrupted did not get to."""


@dataclass
class SimDestination:
    """Holds {(target, identity): values}; answers, loses answers, lands things late, refuses some identities."""

    name: str
    imports_later: bool
    streams: bool
    now: Callable[[], datetime]
    step: Callable[[str], None]
    chance: Random
    refuses: frozenset[str]
    identity: str = "email"
    shards: int = 2
    call_size: int = 3
    lost_answer_bound: timedelta = timedelta(minutes=90)
    import_bound: timedelta = timedelta(hours=2)
    connection_model: type[BaseModel] = BaseModel
    options_model: type[BaseModel] = BaseModel
    held: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    last_at: dict[tuple[str, str], datetime] = field(default_factory=dict)
    imports: list[Import] = field(default_factory=list)
    late: list[Import] = field(default_factory=list)
    trouble: float = 0.0
    bad_imports: int = 0
    """How many more imports may fail or be interrupted, at any time."""
    key_is_bad: bool = False
    trouble_before_run: list[Finding] = field(default_factory=list)
    writes: int = 0
    complaints: list[str] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        return ()

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        if value is None:
            return NO_EMAIL
        if "@" not in value:
            return MALFORMED
        return [value.strip().lower()]

    def encode(self, target: str, value: Any) -> str | None:
        return None if value is None else str(value)

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        if self.imports_later:
            return {f"list/{export.options}": frozenset(export.segments)}
        return {f"segment/{segment}": frozenset({segment}) for segment in export.segments}

    def owned(self, export: Export) -> frozenset[str]:
        return frozenset(self.targets(export))

    def says_goodbye(self, export: Export) -> bool:
        return True

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:
        return values

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        return joins + leaves >= self.call_size

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:
        size = self.call_size
        return [list(range(start, min(start + size, len(steps)))) for start in range(0, len(steps), size)]

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        self.step(f"before call {self.name}")
        assert len(steps) <= self.call_size
        self.writes += 1
        if self.key_is_bad:
            raise ConnectionProblem("unauthorised", "the key is refused")
        fate = self.chance.random() < self.trouble and self.chance.choice(["full", "broken", "lost", "late", "late"])
        if fate == "full":
            raise Transient("too_many_requests", "slow down", taken=False, retry_after=timedelta(seconds=30))
        if fate == "broken":
            raise Transient("server_error", "500")
        answer = self._take(steps, late=fate == "late")
        self.step(f"after call {self.name}")
        if fate in ("lost", "late"):
            raise Transient("timeout", "no answer")
        return answer

    def _take(self, steps: Sequence[Step], *, late: bool) -> Answer:
        refused = {row: UNKNOWN_USER for row, step in enumerate(steps) if step.identity in self.refuses}
        now = self.now()
        job = Import(f"import-{next(self._ids)}", list(steps), now, now + self.lost_answer_bound * 0.9, refused)
        if self.imports_later:
            self.imports.append(job)
            return Answer(import_id=job.id, queued=len(steps))
        if late:
            self.late.append(job)
        else:
            self._land(job)
        return Answer(refused=refused)

    def _land(self, job: Import) -> None:
        job.landed = True
        if self.imports_later and self.bad_imports and self.chance.random() < 0.4:
            self.bad_imports -= 1
            job.undone = frozenset(range(self.chance.randint(0, len(job.steps) - 1), len(job.steps)))
        for row, step in enumerate(job.steps):
            if row in job.refused or row in job.undone:
                continue
            key = (step.target, step.identity)
            if key in self.last_at and step.at < self.last_at[key]:
                self.complaints.append(f"a time went backwards at {step.target}")
            self.last_at[key] = step.at
            if step.joins:
                self.held[key] = dict(step.values)
            else:
                self.held.pop(key, None)

    @property
    def under_way(self) -> list[Import]:
        """Return what has not arrived yet."""
        return [job for job in (*self.imports, *self.late) if not job.landed]

    def land_some(self, *, everything: bool = False) -> None:
        """Let things that are on their way arrive: those that are due, and some of the others, in any order."""
        jobs = self.under_way
        self.chance.shuffle(jobs)
        for job in jobs:
            if everything or job.lands_before <= self.now() or self.chance.random() < 0.1:
                self._land(job)

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        self.step(f"before report {self.name}")
        if self.key_is_bad:
            raise ConnectionProblem("unauthorised", "the key is refused")
        if self.chance.random() < self.trouble:
            raise Transient("server_error", "500")
        job = next(job for job in self.imports if job.id == queued.import_id)
        rows = [job.steps.index(step) for step in steps]
        if not job.landed:
            return ImportReport(False)
        left = self.chance.randint(1, len(steps) - 1) if len(steps) > 1 and self.chance.random() < 0.2 else 0
        told = len(steps) - left
        again = {place for place, row in enumerate(rows[:told]) if row in job.undone}
        refused = {
            place: job.refused[row]
            for place, row in enumerate(rows[:told])
            if row in job.refused and place not in again
        }
        return ImportReport(True, refused, frozenset(range(told, len(steps))), frozenset(again), note="rest")

    def confirm(self, account: Account, export: Export, steps: Sequence[Step]) -> Mapping[int, bool]:
        self.step(f"before confirm {self.name}")
        if self.chance.random() < self.trouble:
            raise Transient("server_error", "500")
        return {row: self._is_as_wanted(step) for row, step in enumerate(steps)}

    def _is_as_wanted(self, step: Step) -> bool:
        held = self.held.get((step.target, step.identity))
        return held == dict(step.values) if step.joins else held is None

    def cleared_before(self, account: Account, now: datetime) -> datetime | None:
        """Say what is over, now and then; a call begins within the tenth of the bound that nothing lands in."""
        self.step(f"before overview {self.name}")
        if self.chance.random() < self.trouble:
            raise Transient("server_error", "500")
        return (
            min([now, *(job.begun for job in self.under_way)]) - self.lost_answer_bound * 0.1
            if self.chance.random() < 0.5
            else None
        )

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:
        return self.trouble_before_run

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        if self.key_is_bad:
            return [Finding("account", Level.ERROR, "the key is refused", Actor.ADMINISTRATOR)]
        if self.trouble > 0.9:
            raise Transient("server_error", "500")
        return []
