"""A destination for the bench: it does what its script says, call by call, and without one it takes what it is sent."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from relay.destinations.contract import Account, Answer, Finding, ImportReport, Level, OpenImport, Quota, Step
from relay.domain.exports import Export
from relay.domain.problems import Rejection, RejectionKind, Transient

UNKNOWN_USER = Rejection(RejectionKind.DESTINATION, "unknown_user", "the destination knows nobody of this address")
NO_EMAIL = Rejection(RejectionKind.DATA, "no_email", "the profile has no e-mail")
MALFORMED = Rejection(RejectionKind.DATA, "malformed_email", "the e-mail is malformed")

REASONS = {one.code: one.detail for one in (UNKNOWN_USER, NO_EMAIL, MALFORMED)}

QUOTA = Quota("calls", 1_000_000, timedelta(seconds=1))

TOO_MANY = Transient("too_many_requests", "slow down", taken=False, retry_after=timedelta(seconds=30))
DOWN = Transient("server_error", "500")


class Lost(Transient):
    """The destination took the call, the answer was lost."""

    def __init__(self) -> None:
        super().__init__("timeout", "no answer")


@dataclass(slots=True)
class Job:
    """A queued import. `undone` are the rows that it did not get to."""

    id: str
    steps: Sequence[Step]
    refused: Mapping[int, Rejection]
    landed: bool = False
    undone: frozenset[int] = frozenset()


class Nothing(BaseModel):
    """No fields."""


class ListSeven(BaseModel):
    """Options that say nothing: those of a test are texts, and name the list."""

    def __str__(self) -> str:
        return "7"


@dataclass
class BenchDestination:
    """Holds {(target, identity): values}. With `imports` it queues what it is sent until `land` is called."""

    name: str
    imports: bool
    streams: bool
    now: Callable[[], datetime]
    step: Callable[[str], None] = lambda name: None
    identity: str = "email"
    shards: int = 2
    call_size: int = 3
    at_once: int = 1
    lost_answer_bound: timedelta = timedelta(minutes=5)
    import_bound: timedelta = timedelta(hours=2)
    kept_after_delete: timedelta | None = timedelta(days=7)
    connection_model: type[BaseModel] = Nothing
    options_model: type[BaseModel] = ListSeven
    reasons: Mapping[str, str] = field(default_factory=lambda: REASONS)
    stops: Mapping[str, str] = field(default_factory=dict)

    held: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    calls_made: list[list[Step]] = field(default_factory=list)
    """The steps of each call, those included that came to nothing."""
    script: list[Exception | None] = field(default_factory=list)
    """One entry per call or report: what it ends with; None for a call that goes well."""
    answered: Callable[[], None] = lambda: None
    """Called after each answer."""
    refuses: set[str] = field(default_factory=set)
    rejection: Rejection = UNKNOWN_USER
    keeps: bool = False
    """Whether leavers are kept."""
    keeps_notes: bool = False
    """Whether it keeps notes, and names segments as the platform does."""
    evidence: str | None = None
    """What it gives back with everybody it takes."""

    deleted: list[str] = field(default_factory=list)
    """Whom it was asked to delete."""
    refuses_to_delete: set[str] = field(default_factory=set)

    jobs: list[Job] = field(default_factory=list)
    undone: set[str] = field(default_factory=set)
    """Whom an import does not get to, however often it lands."""
    confirms: dict[str, bool] = field(default_factory=dict)
    """What a look at an identity that ended as unconfirmed finds, where it is not what is held."""
    unseen: set[str] = field(default_factory=set)
    """Whom such a look leaves out."""

    findings: list[Finding] = field(default_factory=list)
    """Of every check."""
    findings_before_run: list[Finding] = field(default_factory=list)
    missing: str | None = None
    """A list that a check finds gone."""
    probes: list[list[str]] = field(default_factory=list)
    """The exports of each check."""
    probe_script: list[Exception] = field(default_factory=list)
    cleared: datetime | Exception | None = None
    """What it answers when it is asked before when all is over."""
    cleared_takes_a_call: bool = False

    uncounted: set[str] = field(default_factory=set)
    """Targets of which it does not say how many are in them."""

    last_at: dict[tuple[str, str], datetime] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        return ()

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        if value is None:
            return NO_EMAIL
        found = [value] if isinstance(value, str) else list(value)
        if not all("@" in one for one in found):
            return MALFORMED
        return sorted({one.strip().lower() for one in found})

    def encode(self, field: str, value: Any) -> str | None:
        return None if value is None else str(value)

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:
        return values

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        if self.imports:
            return {f"list/{export.options}": frozenset(export.segments)}
        return {f"segment/{segment}": frozenset({segment}) for segment in export.segments}

    def owned(self, export: Export) -> frozenset[str]:
        return frozenset(self.targets(export))

    def tells_leaving(self, export: Export) -> bool:
        return not self.keeps

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        return joins + leaves >= self.call_size

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:
        size = self.call_size
        return [list(range(start, min(start + size, len(steps)))) for start in range(0, len(steps), size)]

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        self.step(f"before call {self.name}")
        account.call("POST", "https://destination.example", quota=QUOTA)
        assert len(steps) <= self.call_size
        self.calls_made.append(list(steps))
        if self.keeps_notes:
            for segment in export.segments:
                account.notes.keep(f"name of {segment}", account.segment_name(segment) or segment)
        problem = self.script.pop(0) if self.script else None
        if problem is not None and not isinstance(problem, Lost):
            raise problem
        answer = self._take(steps)
        self.step(f"after call {self.name}")
        self.answered()
        if problem is not None:
            raise problem
        return answer

    def _take(self, steps: Sequence[Step]) -> Answer:
        refused = {row: self.rejection for row, step in enumerate(steps) if step.identity in self.refuses}
        job = Job(f"import-{next(self._ids)}", list(steps), refused)
        if self.imports:
            self.jobs.append(job)
            return Answer(import_id=job.id, queued=len(steps))
        self._land(job)
        evidence = {} if self.evidence is None else dict.fromkeys(range(len(steps)), self.evidence)
        return Answer(refused=refused, evidence=evidence)

    def delete(self, account: Account, export: Export, identity: str) -> Rejection | None:
        self.step(f"before delete {self.name}")
        account.call("DELETE", "https://destination.example", quota=QUOTA)
        self.deleted.append(identity)
        problem = self.script.pop(0) if self.script else None
        if problem is not None and not isinstance(problem, Lost):
            raise problem
        if identity in self.refuses_to_delete:
            return self.rejection
        for place in [place for place in self.held if place[1] == identity]:
            del self.held[place]
        self.step(f"after delete {self.name}")
        if problem is not None:
            raise problem
        return None

    def land(self) -> None:
        """Let all queued imports arrive."""
        for job in self.jobs:
            if not job.landed:
                self._land(job)

    def _land(self, job: Job) -> None:
        job.landed = True
        job.undone = frozenset(row for row, step in enumerate(job.steps) if step.identity in self.undone)
        for row, step in enumerate(job.steps):
            if row in job.refused or row in job.undone:
                continue
            key = step.target, step.identity
            if key in self.last_at and step.at < self.last_at[key]:
                self.complaints.append(f"a time went backwards at {step.target}")
            self.last_at[key] = step.at
            if step.joins:
                self.held[key] = dict(step.values)
            else:
                self.held.pop(key, None)

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        self.step(f"before report {self.name}")
        account.call("GET", "https://destination.example", quota=QUOTA)
        if self.keeps_notes:
            account.notes.keep("imports were asked about", "yes")
        if self.script and (problem := self.script.pop(0)) is not None:
            raise problem
        job = next(job for job in self.jobs if job.id == queued.import_id)
        if not job.landed:
            return ImportReport(False)
        rows = [_row_of(job, step) for step in steps]
        again = frozenset(place for place, row in enumerate(rows) if row in job.undone)
        refused = {place: job.refused[row] for place, row in enumerate(rows) if row in job.refused}
        return ImportReport(True, refused, again=again)

    def confirm(self, account: Account, export: Export, steps: Sequence[Step]) -> Mapping[int, bool]:
        self.step(f"before confirm {self.name}")
        account.call("GET", "https://destination.example", quota=QUOTA)
        if self.script and (problem := self.script.pop(0)) is not None:
            raise problem
        seen = {row: step for row, step in enumerate(steps) if step.identity not in self.unseen}
        return {row: self.confirms.get(step.identity, self._is_as_wanted(step)) for row, step in seen.items()}

    def _is_as_wanted(self, step: Step) -> bool:
        held = self.held.get((step.target, step.identity))
        return held == dict(step.values) if step.joins else held is None

    def members(self, account: Account, target: str) -> int | None:
        account.call("GET", "https://destination.example", quota=QUOTA)
        if self.script and (problem := self.script.pop(0)) is not None:
            raise problem
        return None if target in self.uncounted else sum(place[0] == target for place in self.held)

    def cleared_before(self, account: Account, now: datetime) -> datetime | None:
        if self.cleared_takes_a_call:
            account.call("GET", "https://destination.example", quota=QUOTA)
        if isinstance(self.cleared, Exception):
            raise self.cleared
        return self.cleared

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:
        return self.findings_before_run

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        self.probes.append([export.key for export in exports])
        if self.probe_script:
            raise self.probe_script.pop(0)
        gone = [
            Finding(export.key, Level.ERROR, "the list is gone") for export in exports if export.options == self.missing
        ]
        return [*self.findings, *gone]

    def holds(self) -> dict[str, dict[str, str]]:
        """Return what it holds by identity, whatever the target."""
        return {identity: values for (_, identity), values in self.held.items()}

    @property
    def sent(self) -> list[list[str]]:
        """Return the identities of every call, those who leave with a minus."""
        return [[("" if step.joins else "-") + step.identity for step in call] for call in self.calls_made]


def _row_of(job: Job, step: Step) -> int:
    """Return the row of an import that a step was; what a step carries besides is not kept with an import."""
    return next(
        row
        for row, queued in enumerate(job.steps)
        if (queued.target, queued.identity, queued.joins) == (step.target, step.identity, step.joins)
    )
