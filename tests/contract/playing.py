"""Having a conversation with one thing going wrong, and judging what the destination said of it by the sandbox."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from relay.destinations.contract import Finding, Level, Step
from relay.domain.problems import Busy, Conflict, ConnectionProblem, ExportProblem, Problem, Transient
from tests.contract.conversations import Conversation, Inquiry
from tests.contract.faults import RETRY_AFTER, Deviation, Fault, Kind
from tests.contract.subject import TAKEN, Outcome, Subject
from tests.fakes.wire import Act, Answered, Sent

NOBODYS_FAULT = (Kind.OUTAGE, Kind.SLOW_DOWN, Kind.ACCOUNT)
"""What no row of a call is to blame for."""

_IDS = re.compile(r"[0-9]+|[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class Point:
    """A request of a conversation, by its number in it."""

    number: int
    sent: Sent
    good: bytes
    """The answer it gets in good times."""
    reads: bool

    @property
    def place(self) -> tuple[str, str]:
        """Return method and path; ids are left out."""
        return self.sent.method, _IDS.sub("*", self.sent.path)


class Conversing:
    """A conversation with one subject, had once in good times, and then as often as one likes with a fault."""

    def __init__(self, kind: type[Subject], conversation: Conversation) -> None:
        self.subject = kind()
        self._conversation = conversation
        self._answers: list[bytes] = []
        first = self._begin()
        self.subject.wire.interfere = self._listen
        self.good = self._attempt()
        self.subject.settle()
        self.in_the_end = self.subject.shows(self.steps)
        sent = self.subject.wire.requests[first : self.subject.ends[self._calls_before]]
        self.points = [
            Point(number, one, self._answers[number], reads(self.subject, one)) for number, one in enumerate(sent)
        ]
        self.met = self.subject.limit.met

    def writing(self) -> Iterator[Point]:
        """Yield the requests of the first call that may change something."""
        return (point for point in self.points if not point.reads)

    def reading(self) -> Iterator[Point]:
        """Yield one request of each kind of the first call that changes nothing."""
        seen = set()
        for point in self.points:
            if point.reads and point.place not in seen:
                seen.add(point.place)
                yield point

    def play(self, point: Point, fault: Fault | Deviation) -> None:
        """Have the conversation with a fault at one request, and judge it."""
        first = self._begin()
        written: list[Sent] = []
        before: list[Sent] = []
        interfere = fault.interference(self._telling_text())

        def meet(sent: Sent, act: Act) -> Answered:
            number = len(self.subject.wire.requests) - 1 - first
            is_again = fault.lasts and number > point.number
            is_met = number == point.number or (is_again and sent.place == point.sent.place)
            if number == point.number:
                before.extend(written)
            if not (is_met and fault.is_certain) and writes(self.subject, sent):
                written.append(sent)
            return interfere(sent, act) if is_met else act()

        self.subject.wire.interfere = meet
        outcomes = self._attempt()
        self._judge_kinds(outcomes, fault, after=before)
        self._judge_certainty(outcomes, fault if not point.reads else None, nothing_open=not written)
        self._send_again(outcomes)
        assert_clean(self.subject, *self._texts(outcomes))

    def play_our_limit(self, at: int, limit: Callable[[], Problem]) -> None:
        """Have the conversation with our own side at its limit, at one call or note."""
        self._begin()
        self.subject.limit.met, self.subject.limit.at, self.subject.limit.problem = 0, at, limit
        written: list[Sent] = []

        def note(sent: Sent, act: Act) -> Answered:
            if writes(self.subject, sent):
                written.append(sent)
            return act()

        self.subject.wire.interfere = note
        outcomes = self._attempt()
        met = [outcome.problem for outcome in outcomes if outcome.problem is not None]
        assert all(isinstance(problem, Busy | Conflict) for problem in (*met, *self.subject.problems)), (
            self.subject.problems
        )
        # What can be done without the call that had no room may be done: then it is as good as with it.
        if not met:
            assert [outcome.rejection for outcome in outcomes] == [outcome.rejection for outcome in self.good]
        self._judge_certainty(outcomes, None, nothing_open=not written)
        self.subject.limit.at = None
        self._send_again(outcomes)

    def _begin(self) -> int:
        """Begin from the start; return how many requests were sent before the conversation."""
        subject = self.subject
        subject.reset()
        self._conversation.before(subject)
        self.steps: list[Step] = self._conversation.steps(subject)
        self.before = subject.shows(self.steps)
        self._calls_before = len(subject.ends)
        subject.problems.clear()
        return len(subject.wire.requests)

    def _attempt(self) -> list[Outcome]:
        self.subject.in_vain = self._end_trouble
        return self.subject.attempt(self.steps)

    def _end_trouble(self) -> None:
        self.subject.wire.interfere = lambda sent, act: act()

    def _listen(self, sent: Sent, act: Act) -> Answered:
        answered = act()
        self._answers.append(answered.body)
        return answered

    def _telling_text(self) -> str:
        return f"no {self.steps[0].identity} with {self.subject.secrets[0]}"

    def _texts(self, outcomes: Sequence[Outcome]) -> Iterator[str]:
        problems = [*self.subject.problems, *(outcome.problem for outcome in outcomes if outcome.problem is not None)]
        yield from ("".join(traceback.format_exception(problem)) for problem in problems)
        yield from (outcome.rejection.detail for outcome in outcomes if outcome.rejection is not None)

    def _judge_kinds(self, outcomes: Sequence[Outcome], fault: Fault | Deviation, after: Sequence[Sent]) -> None:
        """What is nobody's fault refuses nobody, and stops nothing that waiting would mend."""
        for problem in self.subject.problems:
            if not after:
                judge_problem(problem, fault)
        if fault.kind in NOBODYS_FAULT:
            blamed = [
                outcome.rejection
                for outcome, good in zip(outcomes, self.good, strict=True)
                if outcome.rejection not in (None, good.rejection)
            ]
            assert not [rejection for rejection in blamed if rejection.is_certain], f"is to blame for nothing: {blamed}"

    def _judge_certainty(
        self, outcomes: Sequence[Outcome], fault: Fault | Deviation | None, *, nothing_open: bool
    ) -> None:
        """What is said to be done is done, what certainly is not is not, and what nobody knows is not known."""
        subject = self.subject
        shown_at_once = subject.shows(self.steps)
        problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
        for problem in problems:
            if fault is not None and fault.by_proxy and problem.taken is None and not nothing_open:
                assert problem.effect_within is None, "what a proxy answers says nothing of what the vendor still does"
            if problem.effect_within is not None:
                subject.time.pass_(problem.effect_within / timedelta(seconds=1))
                shown_at_once = subject.shows(self.steps)
        subject.settle()
        shown = subject.shows(self.steps)
        if any(problem.effect_within is not None for problem in problems):
            assert shown == shown_at_once, "it took effect later than was said"
        for outcome, now, before, wanted in zip(outcomes, shown, self.before, self.in_the_end, strict=True):
            if outcome.taken is True:
                assert now == wanted, f"said to be done: {now}, not {wanted}"
            if outcome.taken is False:
                assert now == before, f"said not to be done: {now}, not {before}"
        if nothing_open:
            for problem in problems:
                assert problem.taken is False, f"certainly nothing was done, and nobody is told: {problem!r}"

    def _send_again(self, outcomes: Sequence[Outcome]) -> None:
        """Once it is over, and probes have looked, the same again ends right."""
        subject = self.subject
        self._end_trouble()
        if any(isinstance(problem, ConnectionProblem | ExportProblem) for problem in subject.problems):
            for exports in ([], [subject.export]):
                subject.destination.check(subject.account(), exports)
        good = [index for index, outcome in enumerate(self.good) if outcome == TAKEN]
        left = [index for index in good if outcomes[index] != TAKEN]
        again = subject.attempt([self.steps[index] for index in left])
        assert set(again) <= {TAKEN}, f"sent again: {again}"
        subject.settle()
        shown = subject.shows(self.steps)
        for index in good:
            assert shown[index] == self.in_the_end[index], f"in the end: {shown[index]}, not {self.in_the_end[index]}"


class Inquiring:
    """An inquiry of a subject with members, made once in good times, then as often as one likes with a fault."""

    def __init__(self, kind: type[Subject], inquiry: Inquiry) -> None:
        self.subject = kind()
        self._inquiry = inquiry
        self._steps = [self.subject.step(1), self.subject.step(2)]
        assert self.subject.deliver(self._steps) == {}
        self._notes = dict(self.subject.notes.kept)
        self._shown = self.subject.shows(self._steps)
        self._requests = self._ask()

    def points(self) -> Iterator[Point]:
        """Yield one request of each kind."""
        seen = set()
        for number, (sent, good) in enumerate(zip(self._requests, self._answers, strict=True)):
            point = Point(number, sent, good, reads=True)
            if point.place not in seen:
                seen.add(point.place)
                yield point

    def play(self, number: int | None, fault: Fault | Deviation) -> object:
        """Ask with a fault at one request, or at each; return the answer, or the problem in its place."""
        self.subject.lines.clear()
        first = len(self.subject.wire.requests)
        interfere = fault.interference(f"no {self._steps[0].identity} with {self.subject.secrets[0]}")

        def meet(sent: Sent, act: Act) -> Answered:
            at = len(self.subject.wire.requests) - 1 - first
            return interfere(sent, act) if number in (None, at) or (fault.lasts and at > number) else act()

        self.subject.wire.interfere = meet
        answer: object = None
        try:
            answer = self._inquiry(self.subject)
            text = str(answer)
        except Problem as problem:
            answer = problem
            text = "".join(traceback.format_exception(problem))
            judge_problem(problem, fault)
        if fault.kind in (Kind.OUTAGE, Kind.SLOW_DOWN):
            assert not errors_in(answer), "an outage is no error of an administrator's"
        assert_clean(self.subject, text)
        self.subject.wire.interfere = lambda sent, act: act()
        self.subject.notes.kept = dict(self._notes)
        assert self.subject.shows(self._steps) == self._shown, "it changed something"
        return answer

    def play_our_limit(self, at: int, limit: Callable[[], Problem]) -> None:
        """Ask with our own side at its limit, at one call or note: it is met as such, or the answer is as good."""
        self.subject.limit.met, self.subject.limit.at, self.subject.limit.problem = 0, at, limit
        answer: Any
        try:
            answer = self._inquiry(self.subject)
        except Problem as problem:
            answer = problem
        # Of several people some may be left for the next time.
        is_part = isinstance(answer, dict) and answer.items() <= self.good.items()
        is_ours = isinstance(answer, Busy | Conflict)
        assert is_ours or is_part or answer == self.good, f"neither ours nor as good as with room: {answer!r}"
        self.subject.limit.at = None
        self.subject.notes.kept = dict(self._notes)

    def _listen(self, sent: Sent, act: Act) -> Answered:
        answered = act()
        self._answers.append(answered.body)
        return answered

    def _ask(self) -> list[Sent]:
        first = len(self.subject.wire.requests)
        self.subject.limit.met = 0
        self._answers: list[bytes] = []
        self.subject.wire.interfere = self._listen
        self.good: Any = self._inquiry(self.subject)
        self.subject.wire.interfere = lambda sent, act: act()
        self.met = self.subject.limit.met
        assert errors_in(self.good) == []
        self.subject.notes.kept = dict(self._notes)
        return self.subject.wire.requests[first:]


def errors_in(answer: object) -> list[Finding]:
    """Return the errors among findings."""
    findings = answer if isinstance(answer, list) else []
    return [found for found in findings if found.level is Level.ERROR]


def judge_problem(problem: Problem, fault: Fault | Deviation) -> None:
    """Make sure that a problem is of the kind its fault calls for."""
    if fault.kind in (Kind.OUTAGE, Kind.SLOW_DOWN):
        assert isinstance(problem, Transient), f"it passes by itself: {problem!r}"
        assert not isinstance(problem, Busy), f"it is not ours: {problem!r}"
    if fault.kind is Kind.ACCOUNT:
        assert isinstance(problem, ConnectionProblem | ExportProblem), f"waiting does not mend it: {problem!r}"
    if "rest" in fault.name and isinstance(problem, Transient):
        assert problem.retry_after == timedelta(seconds=RETRY_AFTER), "the rest asked for is not kept"


def reads(subject: Subject, sent: Sent) -> bool:
    """Return whether a request changes nothing, whatever it is answered."""
    is_other = subject.reads != "" and re.search(subject.reads, f"{sent.method} {sent.path}") is not None
    return sent.method == "GET" or is_other


def writes(subject: Subject, sent: Sent) -> bool:
    """Return whether a request may change what is held of somebody."""
    is_other = subject.prepares != "" and re.search(subject.prepares, f"{sent.method} {sent.path}") is not None
    return not reads(subject, sent) and not is_other


def has_no_body(subject: Subject, sent: Sent) -> bool:
    """Return whether nothing is documented of the body of a success."""
    return subject.without_body != "" and re.search(subject.without_body, f"{sent.method} {sent.path}") is not None


def assert_clean(subject: Subject, *texts: str) -> None:
    """Make sure that neither texts nor any log line so far holds anything personal or secret."""
    seen = "\n".join(texts) + json.dumps(subject.lines, ensure_ascii=False)
    planted = [subject.identity(number) for number in range(40)]
    words = list(subject.values("word").values())
    for forbidden in (*planted, *subject.secrets, *words):
        assert forbidden not in seen, f"{forbidden} is shown"
