"""What the contract suite needs to know of a destination: its sandbox, and how to read what the sandbox holds."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from relay.delivery.import_checks import CAME_TO_NOTHING, MOST_TRIES
from relay.destinations import registry
from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Account, Answer, Destination, OpenImport, Quota, Step
from relay.domain.exports import Connection, Export
from relay.domain.problems import Busy, Problem, Rejection
from tests.fakes.scripted_caller import DictNotes
from tests.fakes.wsgi_session import WsgiAdapter, wsgi_session

BASE_URL = "http://sandbox.invalid"
START = datetime(2026, 11, 1, tzinfo=UTC)
_NUMBERS = itertools.count(1)


def busy() -> Problem:
    """Return our own limit."""
    return Busy("throttled", "our own side is at its limit")


class OurLimit:
    """Our own side at its limit, at a call (pace) or a note (the database) that a test picks by its number."""

    def __init__(self) -> None:
        self.met = 0
        """Calls and notes so far."""
        self.at: int | None = None
        self.problem: Callable[[], Problem] = busy

    def meet(self) -> None:
        """Count, and raise when it is the one."""
        self.met += 1
        if self.met == self.at:
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

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


class Subject(ABC):
    """One destination under test, with a fresh sandbox."""

    name: str
    comes_back: bool
    """Whether one who left in the way of `export` can be taken back."""
    leaves_out: bool
    """Whether it may take a call and then leave somebody out, and tells when asked."""
    secrets: tuple[str, ...]
    """Everything in the connection that must never be seen."""
    delivery_path: str
    """A regular expression of the path of the call that delivers."""
    backlog: timedelta = timedelta()
    """How long every quota of the account makes others wait while steps are sent."""
    identity_rejections: Mapping[str, Any]
    """Raw values that are no identity, by the code of the rejection they lead to."""

    def __init__(self) -> None:
        self.time = PassingTime()
        self.limit = OurLimit()
        self.notes = LimitedNotes(self.limit)
        self.memos: dict[tuple[str, str], str] = {}
        self.app = self.create_app()
        self.sandbox: FlaskClient = self.app.test_client()
        self.adapter = WsgiAdapter(self.app, self.time)
        self.lines: list[dict[str, Any]] = []
        self.paced: list[Quota] = []
        self.destination: Destination = registry.load(self.name)
        # A name of its own: what the process keeps for a connection must not reach another test's sandbox.
        self.connection = Connection(
            f"acme-{next(_NUMBERS)}",
            self.name,
            "Acme",
            self.destination.connection_model.model_validate(self.connection_fields()),
        )
        self.export = self.export_with({})

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
        """Return a mapping with every kind of target."""

    @abstractmethod
    def identity(self, number: int) -> str:
        """Return the normalised identity of person `number`."""

    @abstractmethod
    def values(self, word: str) -> dict[str, str]:
        """Return encoded values of a step that hold a word, as far as the destination takes values."""

    @abstractmethod
    def members(self) -> set[str]:
        """Return who is in at the sandbox."""

    @abstractmethod
    def held_values(self, identity: str) -> Mapping[str, str]:
        """Return the values the sandbox holds of someone, by mapping target; empty ones too."""

    def leave_out(self, identity: str) -> None:
        """Have the sandbox take a call with this identity and then not act on it, if it ever `leaves_out`."""
        raise NotImplementedError

    def export_with(self, options: Mapping[str, Any]) -> Export:
        """Return an export of two segments with these options on top of `options`."""
        return Export(
            self.connection.name,
            "everyone",
            self.name,
            True,
            self.destination.streams,
            ("aep/one", "aep/two"),
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
            session=wsgi_session(self.adapter),
            monotonic=self.time,
        )
        return Account(
            self.connection,
            caller,
            self.notes,
            BASE_URL,
            backlog=lambda _: self.backlog,
            memo_at=lambda target, identity: self.memos.get((target, identity)),
        )

    def step(self, number: int, *, joins: bool = True, word: str | None = "word", after: int = 0) -> Step:
        """Return a step of person `number` for the first target, `after` seconds later than the start."""
        target = sorted(self.destination.targets(self.export))[0]
        values = self.values(word) if word is not None else {}
        told = self.destination.complete(self.export, values) if joins else {}
        return Step(target, self.identity(number), joins, START + timedelta(seconds=after), told)

    def deliver(self, steps: Sequence[Step], tries: int = 1) -> dict[int, Rejection]:
        """Deliver as the engine does, waiting for imports; return the refused steps."""
        refused: dict[int, Rejection] = {}
        for call in self.destination.calls(self.account(), self.export, self._with_memos(steps)):
            part = self._with_memos([steps[index] for index in call])
            answer = self.destination.send(self.account(), self.export, part)
            self._remember(part, answer)
            refused.update({call[place]: rejection for place, rejection in answer.refused.items()})
            if answer.import_id is not None:
                queued = [index for place, index in enumerate(call) if place not in answer.refused]
                refused.update(self._wait_for_import(answer.import_id, answer.queued, queued, steps, tries))
        return refused

    def fault(self, do: Mapping[str, Any], *, path: str = "", contains: str = "", times: int | None = 1) -> None:
        """Have the sandbox misbehave."""
        match = {"path": path, "contains": contains}
        answer = self.sandbox.post("/_sandbox/faults", json=[{"match": match, "times": times, "do": do}])
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def state(self) -> Any:
        """Return what the sandbox holds."""
        return self.sandbox.get("/_sandbox/state").get_json()

    def counters(self) -> Any:
        """Return what the sandbox counted."""
        return self.sandbox.get("/_sandbox/counters").get_json()

    def _pace(self, quota: Quota) -> None:
        self.limit.meet()
        self.paced.append(quota)
        self.time.pass_(quota.per / quota.calls / timedelta(seconds=1))

    def _with_memos(self, steps: Sequence[Step]) -> list[Step]:
        return [replace(step, memo=self.memos.get((step.target, step.identity))) for step in steps]

    def _remember(self, steps: Sequence[Step], answer: Answer) -> None:
        for index, step in enumerate(steps):
            if index not in answer.refused:
                self.memos.pop((step.target, step.identity), None)
            if index in answer.memos:
                self.memos[step.target, step.identity] = answer.memos[index]

    def open_import(self, import_id: str, contacts: int | None, note: str | None = None) -> OpenImport:
        """Return an import as the engine asks about it now, queued a moment ago."""
        now = datetime.fromtimestamp(self.time(), UTC)
        return OpenImport(import_id, now - timedelta(seconds=10), now, contacts, note)

    def _wait_for_import(
        self, import_id: str, queued: int | None, indices: Sequence[int], steps: Sequence[Step], tries: int
    ) -> dict[int, Rejection]:
        refused: dict[int, Rejection] = {}
        note: str | None = None
        for _ in range(100):
            part = [steps[index] for index in indices]
            asked = self.open_import(import_id, queued, note)
            account = replace(self.account(), backlog=lambda _: timedelta())
            report = self.destination.import_report(account, self.export, asked, part)
            if report.finished:
                refused |= {indices[place]: rejection for place, rejection in report.refused.items()}
                again = [indices[place] for place in sorted(report.again)]
                refused |= self._deliver_again(again, steps, tries)
                indices, queued, note = [indices[place] for place in sorted(report.open)], None, report.note
                if not indices:
                    return refused
            self.time.pass_(10)
        raise AssertionError("the import never ended")

    def _deliver_again(self, indices: Sequence[int], steps: Sequence[Step], tries: int) -> dict[int, Rejection]:
        if tries == MOST_TRIES:
            return dict.fromkeys(indices, CAME_TO_NOTHING)
        refused = self.deliver([steps[index] for index in indices], tries + 1) if indices else {}
        return {indices[place]: rejection for place, rejection in refused.items()}
