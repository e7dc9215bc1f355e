"""Hands an operator's question to whoever answers it, and the answer back."""

from collections.abc import Callable, Mapping, Set
from typing import Any

from relay.domain.problems import InputProblem
from relay.events import failed_event
from relay.observability import Observability
from relay.workers.operators import protocol
from relay.workers.operators.protocol import Level
from relay.workers.operators.questions import QUESTIONS

Answers = Callable[[], Callable[[Any], Any]]
"""Makes what answers one kind of question: only what is asked is made."""


class Operator:
    """Answers the questions of one of the admin functions, each with a JSON object."""

    def __init__(self, level: Level, prefix: str, answers: Mapping[str, Answers], observe: Observability) -> None:
        """`answers` has one entry for each of QUESTIONS."""
        self._level = level
        self._prefix = prefix
        self._answers = answers
        self._observe = observe

    @property
    def asks(self) -> Set[str]:
        """The questions that somebody answers, whatever they need."""
        return self._answers.keys()

    def handle(self, event: Any) -> dict[str, Any]:
        """Return the answer to a question, or why it is refused (see `protocol`). Raises nothing."""
        try:
            asked, question = protocol.read(event, QUESTIONS)
            kind = QUESTIONS[asked]
            protocol.require(self._level, kind.needs(question), prefix=self._prefix)
            return protocol.answered(kind, self._answers[asked]()(question))
        except InputProblem as problem:
            self._observe.problem("refused question", problem, field=problem.field)
            return protocol.refused(problem)
        except Exception as error:  # noqa: BLE001 - its text may hold personal data: the log says where it happened
            return protocol.refused(failed_event(error, self._observe))
