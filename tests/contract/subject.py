"""What a destination brings to the contract suite, and delivering to it as the engine does.

**To have a destination held to its contract, write `<name>_subject.py` with one subclass of `Subject`, and name it in
its `SUBJECTS`.** It has to provide:

- a sandbox of the vendor (`create_app`), made with `sandboxes.control`, that lives in `self.time`, refuses what
  the vendor refuses and enforces the vendor's documented limits;
- settings: `connection_fields`, `options` under which those who leave are told, a `mapping` with every kind of field;
- people: `identity` and `values` by number and word;
- how to read the sandbox: `members` of a target, and all else that is `held` of somebody. What is done to a person
  shows in these two; the suite judges every answer of the destination by them;
- how to make it difficult: `refuse` somebody, `spoil` the account for the export;
- facts as attributes: `name`, `secrets`, `delivery_path`, `identity_rejections`.

The rest has defaults which say that the vendor has no such thing; the suite plays more where it has. Take one subclass
for each way of delivering that the options choose. The suite then plays, without a further line:

- who joins, leaves, comes back, and who does both at once; values; edits of the export (`test_membership`);
- calls: how steps are cut, full ones, refused rows beside taken ones, anywhere in a call (`test_calls`);
- every fault at every request of every conversation (`test_faults`), answers of another shape included;
- imports, looked at again and again and in parts (`test_imports`);
- vendor's pages to their end (`test_pages`);
- a minute, an hour and a day at every declared limit (`test_limits`);
- its declarations, checks and texts (`test_declarations`).
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Account, Answer, Destination, ImportReport, OpenImport, Quota, Step
from relay.domain.exports import Connection, Export
from relay.domain.problems import UNCONFIRMED, Problem, Rejection, RejectionKind
from tests.contract.destinations import PACKAGES
from tests.fakes.scripted_caller import DictNotes
from tests.fakes.wire import Wire

BASE_URL = "http://sandbox.invalid"
START = datetime(2026, 11, 1, tzinfo=UTC)
MOST_TRIES = 3
"""How often the engine sends what an import did not do."""
MOST_LOOKS, LOOKS_IN_VAIN = 100, 10
CAME_TO_NOTHING = Rejection(
    RejectionKind.DESTINATION, UNCONFIRMED, "the imports it was in came to nothing", is_certain=False
)
_NUMBERS = itertools.count(1)


class OurLimit:
    """Our own side at its limit, at a call (pace) or a note (the database) that a test picks by its number."""

    def __init__(self) -> None:
        self.met = 0
        """Calls and notes so far."""
        self.at: int | None = None
        self.problem: Callable[[], Problem] | None = None

    def meet(self) -> None:
        """Count, and raise when it is the one."""
        self.met += 1
        if self.met == self.at and self.problem is not None:
            raise self.problem()


class LimitedNotes(DictNotes):
    """Notes whose database can be at its limit."""

    def __init__(self, limit: OurLimit) -> None:
        super().__init__()
        self._limit = limit

    def get(self, key: str) -> str | None:
        self._limit.meet()
        return super().get(key)

    def keep(self, key: str, value: str, *, replaces: str | None = None) -> str:
        self._limit.meet()
        return super().keep(key, value, replaces=replaces)


class PassingTime:
    """Seconds that pass only when told; the sandbox, the door and the pace share them."""

    def __init__(self) -> None:
        self.seconds = START.timestamp()

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the destination said of one step.

    `taken` is None where nobody knows. `problem` is that of the whole call, `rejection` of this row alone.
    """

    taken: bool | None
    rejection: Rejection | None = None
    problem: Problem | None = None


TAKEN = Outcome(True)
NOT_SENT = Outcome(False)


class Subject(ABC):
    """One destination under test, with a fresh sandbox; see the head of this module."""

    name: str
    secrets: tuple[str, ...]
    """Everything in the connection that must never be seen."""
    delivery_path: str
    """A regular expression of the path of the first call that delivers. Its body holds the identity."""
    identity_rejections: Mapping[str, Any]
    """Raw values that are no identity, by the code of the rejection they lead to."""

    # What the vendor may not have.

    comes_back = True
    """Whether one who left in the way of `export` can be taken back."""
    leaves_out = False
    """Whether it may take a call and then leave somebody out, and tells when asked."""
    backlog = timedelta()
    """How long every quota of the account makes others wait while steps are sent."""
    settles_within = timedelta()
    """After what time a call that was taken has shown all its effect."""
    reads = ""
    """A regular expression of requests (`POST /oauth/token`) that change nothing, though they are no GET."""
    prepares = ""
    """A regular expression of requests that change something, but nothing of anybody (a segment or tag is made)."""
    without_body = ""
    """A regular expression of requests whose success has no documented body."""
    page_size: int | None = None
    """How many records are in a page of the vendor."""

    def __init__(self) -> None:
        self.time = PassingTime()
        self.app = self.create_app()
        self.account_under_test: Any = self.app.extensions["sandbox"]
        self.sandbox: FlaskClient = self.app.test_client()
        self.destination = self.load()
        self.reset()

    def reset(self) -> None:
        """Begin again with a fresh sandbox."""
        self.time.seconds = START.timestamp()
        self.account_under_test.reset()
        self.wire = Wire(self.app, self.time)
        self.limit = OurLimit()
        self.notes = LimitedNotes(self.limit)
        self.evidence: dict[tuple[str, str], str] = {}
        self.problems: list[Problem] = []
        """All that were met while delivering."""
        self.ends: list[int] = []
        """How many requests had been sent when each call was over."""
        self.in_vain: Callable[[], None] = lambda: None
        """Called when an import was looked at some times."""
        self.lines: list[dict[str, Any]] = []
        self.paced: list[Quota] = []
        # A name of its own: what the process keeps for a connection must not reach another test's sandbox.
        self.connection = Connection(
            f"acme-{next(_NUMBERS)}",
            self.name,
            "Acme",
            self.destination.connection_model.model_validate(self.connection_fields()),
        )
        self.export = self.export_with({})

    def load(self) -> Destination:
        """Return the destination."""
        found: Destination = import_module(PACKAGES[self.name]).DESTINATION
        return found

    # What every destination has to provide.

    @abstractmethod
    def create_app(self) -> Flask:
        """Return the sandbox, living in `self.time`."""

    @abstractmethod
    def connection_fields(self) -> dict[str, str]:
        """Return the destination's fields of a connection's secret."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return options of an export under which those who leave are told."""

    @abstractmethod
    def mapping(self) -> dict[str, str]:
        """Return a mapping with every kind of field."""

    @abstractmethod
    def identity(self, number: int) -> str:
        """Return the normalised identity of person `number`."""

    @abstractmethod
    def values(self, word: str) -> dict[str, str]:
        """Return encoded values of a step that hold a word, as far as the destination takes values."""

    @abstractmethod
    def members(self, target: str) -> set[str]:
        """Return who is in a target at the sandbox."""

    @abstractmethod
    def held(self, identity: str) -> Mapping[str, str]:
        """Return all that the sandbox holds of somebody beside memberships; values by field of the mapping."""

    @abstractmethod
    def refuse(self, identity: str) -> None:
        """Have the vendor refuse somebody who is known to the sandbox by now, in its own way."""

    @abstractmethod
    def spoil(self) -> None:
        """Have the account lack what the export cannot work without."""

    # What it may have.

    def edits(self) -> Sequence[Export]:
        """Return `export` as administrators may have edited it, so that it has none of its targets any more."""
        return ()

    def delete(self, target: str) -> None:
        """Have somebody delete at the vendor what an edit left behind, if there are `edits`."""
        raise NotImplementedError

    def introduce(self, identity: str) -> None:  # noqa: B027 - most sandboxes need not know anybody before
        """Have the sandbox know somebody, where it has to before steps for them come."""

    def leave_out(self, identity: str) -> None:
        """Have the sandbox take a call with this identity and then not act on it, if it ever `leaves_out`."""
        raise NotImplementedError

    def crowd(self, count: int) -> None:
        """Have `count` records in front of everything that is read in pages, of person 1 too."""
        raise NotImplementedError

    def last_time(self, target: str, identity: str) -> datetime | None:
        """Return the time the sandbox was last told for an identity and target, where the vendor takes times."""
        return None

    # What the suite does with it.

    @property
    def target(self) -> str:
        """Return the first target of the export."""
        return min(self.destination.targets(self.export))

    def inside(self) -> set[str]:
        """Return who is in the first target of the export."""
        return self.members(self.target)

    def export_with(self, options: Mapping[str, Any], segments: Sequence[str] = ("aep/one", "aep/two")) -> Export:
        """Return an export of two segments with these options on top of `options`."""
        return Export(
            self.connection.name,
            "everyone",
            self.name,
            True,
            self.destination.streams,
            tuple(segments),
            self.mapping(),
            self.destination.options_model.model_validate({**self.options(), **options}),
            1,
        )

    def account(self) -> Account:
        """Return the account as the engine would make it, over the in-process sandbox."""
        caller = HttpCaller(
            self.connection.name,
            pace=self._pace,
            log=lambda message, **fields: self.lines.append({"message": message, **fields}),
            session=self.wire,
            monotonic=self.time,
        )
        return Account(
            self.connection,
            caller,
            self.notes,
            BASE_URL,
            backlog=lambda _: self.backlog,
            evidence_at=lambda target, identity: self.evidence.get((target, identity)),
        )

    def step(
        self, number: int, *, joins: bool = True, word: str | None = "word", after: int = 0, target: str | None = None
    ) -> Step:
        """Return a step of person `number`, for the first target unless named, `after` seconds later than the start."""
        identity = self.identity(number)
        self.introduce(identity)
        values = self.values(word) if word is not None else {}
        given = self.destination.complete(self.export, values) if joins else {}
        return Step(self.target if target is None else target, identity, joins, START + timedelta(seconds=after), given)

    def held_values(self, identity: str) -> Mapping[str, str]:
        """Return the values of the mapping that the sandbox holds of somebody."""
        return {name: value for name, value in self.held(identity).items() if name in self.mapping()}

    def shows(self, steps: Sequence[Step]) -> list[tuple[bool, Mapping[str, str]]]:
        """Return what the sandbox shows of the person and target of each step."""
        members = {target: self.members(target) for target in {step.target for step in steps}}
        return [(step.identity in members[step.target], self.held(step.identity)) for step in steps]

    def deliver(self, steps: Sequence[Step]) -> dict[int, Rejection]:
        """Deliver as the engine does, waiting for imports; return the refused steps, raise the problem of a call."""
        outcomes = self.attempt(steps)
        for outcome in outcomes:
            if outcome.problem is not None:
                raise outcome.problem
        return {index: outcome.rejection for index, outcome in enumerate(outcomes) if outcome.rejection is not None}

    def attempt(self, steps: Sequence[Step], tries: int = 1) -> list[Outcome]:
        """Deliver as the engine does; return what was said of each step. A call with a problem is the last one."""
        outcomes = [NOT_SENT] * len(steps)
        for call in self.destination.calls(self.account(), self.export, self._with_evidence(steps)):
            part = self._with_evidence([steps[index] for index in call])
            try:
                answer = self.destination.send(self.account(), self.export, part)
            except Problem as problem:
                self.problems.append(problem)
                self.ends.append(len(self.wire.requests))
                for index in call:
                    outcomes[index] = Outcome(problem.taken, None, problem)
                break
            for place, outcome in self._final(part, answer, tries).items():
                outcomes[call[place]] = outcome
            self.ends.append(len(self.wire.requests))
        return outcomes

    def _final(self, steps: Sequence[Step], answer: Answer, tries: int) -> dict[int, Outcome]:
        """Return what an answer says of each step in the end, having waited for an import."""
        refused = {index: self._refused(rejection) for index, rejection in answer.refused.items()}
        others = [index for index in range(len(steps)) if index not in refused]
        if answer.import_id is None:
            self._remember(steps, answer)
            return dict.fromkeys(others, TAKEN) | refused
        return refused | self._look_at_import(answer.import_id, answer.queued, others, steps, tries)

    def settle(self) -> None:
        """Let everything happen that was begun."""
        self.time.pass_(self.settles_within / timedelta(seconds=1))

    def fault(self, do: Mapping[str, Any], *, path: str = "", contains: str = "", times: int | None = 1) -> None:
        """Have the sandbox misbehave."""
        match = {"path": path, "contains": contains}
        answer = self.sandbox.post("/_sandbox/faults", json=[{"match": match, "times": times, "do": do}])
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def state(self) -> Any:
        """Return what the sandbox holds, as its control API shows it."""
        return self.account_under_test.state(summary=False)

    def counters(self) -> Any:
        """Return what the sandbox counted."""
        return self.sandbox.get("/_sandbox/counters").get_json()

    def _pace(self, quota: Quota) -> None:
        self.limit.meet()
        self.paced.append(quota)
        self.time.pass_(quota.per / quota.calls / timedelta(seconds=1))

    def _with_evidence(self, steps: Sequence[Step]) -> list[Step]:
        return [replace(step, evidence=self.evidence.get((step.target, step.identity))) for step in steps]

    def _remember(self, steps: Sequence[Step], answer: Answer) -> None:
        for index, step in enumerate(steps):
            if index not in answer.refused:
                self.evidence.pop((step.target, step.identity), None)
            if index in answer.evidence:
                self.evidence[step.target, step.identity] = answer.evidence[index]

    # Imports.

    is_time_left: Callable[[], bool] = staticmethod(lambda: True)
    """Whether a look at an import may go on."""

    def open_import(self, import_id: str, contacts: int | None, note: str | None = None) -> OpenImport:
        """Return an import as the engine asks about it now, queued a moment ago."""
        now = self.time.now()
        return OpenImport(import_id, now - timedelta(seconds=10), now, contacts, note, self.is_time_left)

    def _look_at_import(
        self, import_id: str, queued: int | None, indices: Sequence[int], steps: Sequence[Step], tries: int
    ) -> dict[int, Outcome]:
        """Look at an import until it has answered for all; a look that fails is had again."""
        said: dict[int, Outcome] = {}
        note: str | None = None
        waiting = list(indices)
        for looks in range(MOST_LOOKS):
            if looks == LOOKS_IN_VAIN:
                self.in_vain()
            try:
                report = self.look(import_id, queued, [steps[index] for index in waiting], note)
            except Problem as problem:
                self.problems.append(problem)
                self.time.pass_(10)
                continue
            if report.finished:
                said |= {index: TAKEN for place, index in enumerate(waiting) if place not in report.open}
                said |= {waiting[place]: self._refused(why) for place, why in report.refused.items()}
                said |= self._send_again([waiting[place] for place in sorted(report.again)], steps, tries)
                waiting, queued, note = [waiting[place] for place in sorted(report.open)], None, report.note
                if not waiting:
                    return said
            self.time.pass_(10)
        raise AssertionError("the import never ended")

    def look(self, import_id: str, queued: int | None, steps: Sequence[Step], note: str | None = None) -> ImportReport:
        """Look at an import once, while nobody else waits for calls."""
        account = replace(self.account(), backlog=lambda _: timedelta())
        opened = self.open_import(import_id, queued, note)
        return self.destination.import_report(account, self.export, opened, steps)

    def _send_again(self, indices: Sequence[int], steps: Sequence[Step], tries: int) -> dict[int, Outcome]:
        if tries == MOST_TRIES:
            return dict.fromkeys(indices, Outcome(None, CAME_TO_NOTHING))
        again = self.attempt([steps[index] for index in indices], tries + 1) if indices else []
        return dict(zip(indices, again, strict=True))

    def _refused(self, rejection: Rejection) -> Outcome:
        declared = self.destination.reasons.get(rejection.code)
        assert declared == rejection.detail, f"operators are not told what {rejection.code} means"
        return Outcome(False if rejection.is_certain else None, rejection)
