"""Destinations of a simulation: one that answers at once, one that imports, one that does both in one export.

They hold {(target, identity): values}. They answer, lose answers, let things land late, refuse some identities for ever
and others for a while, and check at each call and each landing what may never happen.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from random import Random
from typing import Any

from pydantic import BaseModel

from relay.destinations.contract import Account, Answer, Finding, ImportReport, Level, OpenImport, Quota, Step
from relay.domain.exports import Export
from relay.domain.problems import (
    UNCONFIRMED,
    Actor,
    ConnectionProblem,
    ExportProblem,
    Rejection,
    RejectionKind,
    Transient,
)
from tests.simulation.promises import promise
from tests.simulation.settings import options_of

UNKNOWN_USER = Rejection(RejectionKind.DATA, "refused", "the destination does not take this identity")
EXCLUDED = Rejection(RejectionKind.DESTINATION, "excluded", "the destination does not take this identity for now")
NO_EMAIL = Rejection(RejectionKind.DATA, "no_email", "the profile has no e-mail")
MALFORMED = Rejection(RejectionKind.DATA, "malformed_email", "the e-mail is malformed")
SAYS_NOTHING = Rejection(RejectionKind.DESTINATION, UNCONFIRMED, "the import says nothing", is_certain=False)

CALLS = Quota("calls", 1000, timedelta(seconds=1))

SAME_DAY = timedelta(hours=19)

LATEST = 0.9
"""The share of its bound within which whatever was called for has arrived."""

Place = tuple[str, str]
"""A target and an identity."""


class Kind(Enum):
    """How a destination answers."""

    ANSWERS = "answers"
    IMPORTS = "imports"
    MIXED = "mixed"
    """Two members or more are an import, a member alone and leavers are answered at once."""


@dataclass(slots=True)
class Row:
    """One step that was called for. It is under way until it has `landed`, or ended as `undone`."""

    step: Step
    counts_as_sent: datetime
    """Its deadline less the bound of a lost answer: so it is reckoned by whoever waits for it."""
    lands_before: datetime
    landed: bool = False
    undone: bool = False
    """The import failed or was interrupted before it."""
    is_silent: bool = False
    """The import says nothing of it, whatever became of it."""

    @property
    def place(self) -> Place:
        return self.step.target, self.step.identity

    @property
    def is_under_way(self) -> bool:
        return not self.landed and not self.undone


@dataclass(slots=True)
class Import:
    """What was queued: its rows by place, and who was refused."""

    id: str
    begun: datetime
    rows: dict[Place, Row]
    refused: dict[Place, Rejection]
    reports: int = 0


@dataclass
class SimDestination:
    """`now` is the true time. `arrives` is called with each step that a call brings, before anything is done."""

    name: str
    kind: Kind
    streams: bool
    now: Callable[[], datetime]
    step: Callable[[str], None]
    chance: Random
    arrives: Callable[[Export, Step], None] = lambda export, step: None
    deletes: Callable[[str], None] = lambda identity: None
    """Called with each identity that is to be deleted, before anything is done."""
    refuses: frozenset[str] = frozenset()
    excludes: frozenset[str] = frozenset()
    """Whom it refuses for a while."""
    key: str = "1"
    """The secret that it takes."""
    gone: set[str] = field(default_factory=set)
    """Targets that it does not have at present."""
    identity: str = "email"
    shards: int = 2
    call_size: int = 3
    at_once: int = 1
    lost_answer_bound: timedelta = timedelta(minutes=90)
    import_bound: timedelta = timedelta(hours=2)
    kept_after_delete: timedelta | None = timedelta(days=7)
    connection_model: type[BaseModel] = BaseModel
    options_model: type[BaseModel] = BaseModel
    reasons: Mapping[str, str] = field(default_factory=dict)
    stops: Mapping[str, str] = field(default_factory=dict)
    held: dict[Place, dict[str, str]] = field(default_factory=dict)
    last_at: dict[Place, datetime] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    """What is under way."""
    imports: dict[str, Import] = field(default_factory=dict)
    trouble: float = 0.0
    flaws: float = 0.0
    """How often an import does not do, or not tell of, one of its rows."""
    is_calm: bool = False
    is_over: bool = False
    """Whether nothing but runs over unchanged data is to come: what was refused today is not sent again."""
    refused_at: dict[tuple[Place, bool], datetime] = field(default_factory=dict)
    """When a place, joined or left, was refused last."""
    deleted: list[str] = field(default_factory=list)
    writes: int = 0
    """Calls for anybody but those whom it always refuses: these get a second chance every day."""
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    # What is declared.

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        return ()

    def identity_of(self, value: Any, export: Export) -> list[str] | Rejection:
        found = value if isinstance(value, list) else [value]
        if not found or None in found:
            return NO_EMAIL
        if any("@" not in one for one in found):
            return MALFORMED
        return sorted({one.strip().lower() for one in found})

    def encode(self, target: str, value: Any) -> str | None:
        return None if value is None else str(value)

    def targets(self, export: Export) -> Mapping[str, frozenset[str]]:
        return targets_of(self.kind, export)

    def owned(self, export: Export) -> frozenset[str]:
        return frozenset(self.targets(export))

    def tells_leaving(self, export: Export) -> bool:
        return not options_of(export).keep

    def complete(self, export: Export, values: Mapping[str, str]) -> Mapping[str, str]:
        return values

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        return joins + leaves >= self.call_size * self.at_once

    def calls(self, account: Account, export: Export, steps: Sequence[Step]) -> list[list[int]]:
        size, found = self.call_size, list[list[int]]()
        for joins in (True, False):
            indices = [index for index, step in enumerate(steps) if step.joins is joins]
            found += [indices[start : start + size] for start in range(0, len(indices), size)]
        return found

    # Calls that write.

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        if self.kind is Kind.ANSWERS:
            # It knows everybody by another name, which is looked up first.
            account.call("GET", self.name, quota=CALLS)
            self.step(f"before the second call {self.name}")
        account.call("POST", self.name, quota=CALLS)
        self.writes += any(step.identity not in self.refuses for step in steps)
        promise(len(steps) <= self.call_size, "a call is larger than the destination takes")
        for step in steps:
            self._check_arrival(export, step)
        self._refuse(account, steps)
        outcome = self._draw(["full", "broken", "broken, late", "never", "lost", "late", "late"])
        if outcome == "full":
            raise Transient("too_many_requests", "slow down", taken=False, retry_after=timedelta(seconds=30))
        if outcome == "never":
            raise Transient("timeout", "no answer")
        within = timedelta(minutes=5) if outcome in ("broken", "broken, late") else None
        if outcome == "broken":
            raise Transient("server_error", "500", effect_within=within)
        refused = {i: rejection for i, step in enumerate(steps) if (rejection := self._refusal(step)) is not None}
        self.refused_at |= {((steps[i].target, steps[i].identity), steps[i].joins): self.now() for i in refused}
        taken = {i: self._row(step, within) for i, step in enumerate(steps) if i not in refused}
        is_import = self.kind is Kind.IMPORTS or (self.kind is Kind.MIXED and len(steps) > 1 and steps[0].joins)
        queued = self._queue(steps, refused, taken) if is_import else None
        if queued is None and outcome not in ("late", "broken, late"):
            for row in taken.values():
                self._land(row)
        self.step(f"after call {self.name}")
        if outcome is not None:
            raise Transient("timeout", "no answer", effect_within=within)
        if queued is None:
            evidence = {i: f"evidence-{next(self._ids)}" for i in taken}
            return Answer(refused=refused, evidence=evidence)
        at_once = {
            i: rejection
            for i, rejection in refused.items()
            if (steps[i].target, steps[i].identity) not in queued.refused
        }
        return Answer(refused=at_once, import_id=queued.id, queued=len(steps) - len(at_once))

    def members(self, account: Account, target: str) -> int | None:
        return None

    def delete(self, account: Account, export: Export, identity: str) -> Rejection | None:
        """Take an identity out of every target: at once, or some time later when the call was lost."""
        account.call("DELETE", self.name, quota=CALLS)
        self.deletes(identity)
        self._refuse(account, ())
        self.deleted.append(identity)
        if identity in self.refuses:
            return UNKNOWN_USER
        outcome = self._draw(["never", "lost", "late"])
        if outcome == "never":
            raise Transient("timeout", "no answer")
        places = sorted(place for place in self.last_at if place[1] == identity)
        rows = [self._row(Step(*place, joins=False, at=self.last_at[place]), None) for place in places]
        if outcome != "late":
            for row in rows:
                self._land(row)
        self.step(f"after delete {self.name}")
        if outcome is not None:
            raise Transient("timeout", "no answer")
        return None

    def _check_arrival(self, export: Export, step: Step) -> None:
        self.arrives(export, step)
        promise(step.joins or self.tells_leaving(export), "leaving is told where the export keeps")
        refused_at = self.refused_at.get(((step.target, step.identity), step.joins))
        is_again = self.is_over and refused_at is not None and self.now() - refused_at < SAME_DAY
        promise(not is_again, f"{step.target} for {step.identity} is sent again on the day on which it was refused")
        for row in self.rows:
            if row.place == (step.target, step.identity):
                same = row.step.joins == step.joins and dict(row.step.values) == dict(step.values)
                promise(same, f"two calls of other content are open at {step.target} for {step.identity}")

    def _refuse(self, account: Account, steps: Sequence[Step]) -> None:
        if account.connection.settings != self.key:
            raise ConnectionProblem("unauthorised", "the key is refused")
        if any(step.target in self.gone for step in steps):
            raise ExportProblem("no_list", "the list is gone")

    def _draw(self, outcomes: Sequence[str]) -> str | None:
        return self.chance.choice(outcomes) if self.chance.random() < self.trouble else None

    def _refusal(self, step: Step) -> Rejection | None:
        if step.identity in self.refuses:
            return UNKNOWN_USER
        return EXCLUDED if step.joins and step.identity in self.excludes else None

    def _row(self, step: Step, within: timedelta | None) -> Row:
        bound, now = self.lost_answer_bound if within is None else within, self.now()
        lands_before = now + (timedelta(seconds=5) if self.is_calm else LATEST * bound)
        row = Row(step, now + bound - self.lost_answer_bound, lands_before)
        self.rows.append(row)
        return row

    def _queue(self, steps: Sequence[Step], refused: Mapping[int, Rejection], taken: Mapping[int, Row]) -> Import:
        """Queue an import: some of those that are refused are told of at once, the others when it has ended."""
        later = {
            (steps[index].target, steps[index].identity): rejection
            for index, rejection in refused.items()
            if self.chance.random() < 0.5
        }
        queued = Import(f"import-{next(self._ids)}", self.now(), {row.place: row for row in taken.values()}, later)
        self.imports[queued.id] = queued
        return queued

    # What arrives.

    def _land(self, row: Row) -> None:
        self.rows = [other for other in self.rows if other is not row]
        row.landed = True
        step, place = row.step, row.place
        late = place in self.last_at and step.at < self.last_at[place]
        promise(not late, f"a time went backwards at {step.target} for {step.identity}")
        self.last_at[place] = step.at
        if step.joins:
            self.held[place] = dict(step.values)
        else:
            self.held.pop(place, None)

    def land_some(self, *, everything: bool = False) -> None:
        """Let what is due land, and some of the other rows, in any order; rows of an import may have flaws."""
        rows = list(self.rows)
        self.chance.shuffle(rows)
        for row in rows:
            if everything or row.lands_before <= self.now() or self.chance.random() < 0.1:
                if self.chance.random() < self.flaws:
                    row.is_silent = self.chance.random() < 0.7
                    row.undone = not row.is_silent or self.chance.random() < 0.5
                if row.undone:
                    self.rows = [other for other in self.rows if other is not row]
                else:
                    self._land(row)

    def next_landing(self) -> datetime | None:
        """Return when the next row has landed at the latest."""
        return min((row.lands_before for row in self.rows), default=None)

    # Calls that only look.

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        account.call("GET", self.name, quota=CALLS)
        self._refuse(account, ())
        if self._draw(["broken"]):
            raise Transient("server_error", "500")
        given = self.imports[queued.import_id]
        given.reports += 1
        rows = [given.rows.get((step.target, step.identity)) for step in steps]
        gives_up = given.reports > 4 and self.chance.random() < self.flaws
        if any(row is not None and row.is_under_way for row in given.rows.values()) and not gives_up:
            return ImportReport(False)
        left = self.chance.randint(1, len(steps) - 1) if len(steps) > 1 and self.chance.random() < 0.3 else 0
        refused: dict[int, Rejection] = {}
        again: set[int] = set()
        for index, (step, row) in enumerate(zip(steps[: len(steps) - left], rows, strict=False)):
            if row is None:
                refused[index] = given.refused[step.target, step.identity]
            elif row.is_silent or row.is_under_way:
                refused[index] = SAYS_NOTHING
            elif row.undone:
                again.add(index)
        opened = frozenset(range(len(steps) - left, len(steps)))
        may_come = any(row is not None and row.is_under_way for row in rows)
        return ImportReport(True, refused, opened, frozenset(again), note="rest", may_come=may_come)

    def confirm(self, account: Account, export: Export, steps: Sequence[Step]) -> Mapping[int, bool]:
        account.call("GET", self.name, quota=CALLS)
        self._refuse(account, ())
        if self._draw(["broken"]):
            raise Transient("server_error", "500")
        unseen = self._draw(["unseen"]) is not None
        return {row: self._is_as_wanted(step) for row, step in enumerate(steps) if not (unseen and row == 0)}

    def _is_as_wanted(self, step: Step) -> bool:
        held = self.held.get((step.target, step.identity))
        return held == dict(step.values) if step.joins else held is None

    def cleared_before(self, account: Account, now: datetime) -> datetime | None:
        """Say what is over, now and then: nothing is under way that was to leave by then."""
        if self.chance.random() < 0.5:
            return None
        account.call("GET", self.name, quota=CALLS)
        self._refuse(account, ())
        if self._draw(["broken"]):
            raise Transient("server_error", "500")
        return min([now, *(row.counts_as_sent for row in self.rows)]) - timedelta(seconds=10)

    def check_before_run(self, account: Account, export: Export) -> list[Finding]:
        if self.gone & self.owned(export):
            return [Finding(export.key, Level.OK, "so far"), Finding(export.key, Level.ERROR, "the list is gone")]
        return []

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        account.call("GET", self.name, quota=CALLS)
        if account.connection.settings != self.key:
            return [Finding("account", Level.ERROR, "the key is refused", Actor.ADMINISTRATOR)]
        if self.trouble > 0.9:
            raise Transient("server_error", "500")
        found = [Finding("account", Level.OK, "the key works")]
        for export in exports:
            level = Level.ERROR if self.gone & self.owned(export) else Level.OK
            found.append(
                Finding(export.key, level, "the list is gone" if level is Level.ERROR else "the list is there")
            )
        return found


def targets_of(kind: Kind, export: Export) -> dict[str, frozenset[str]]:
    """Return what identities can be in or out of, and the segments that qualify for each."""
    if kind is Kind.ANSWERS:
        return {f"segment/{segment}": frozenset({segment}) for segment in export.segments}
    everybody = {f"list/{options_of(export).list}": frozenset(export.segments)}
    if kind is Kind.IMPORTS:
        return everybody
    return everybody | {f"tag/{options_of(export).list}/{s}": frozenset({s}) for s in export.segments}
