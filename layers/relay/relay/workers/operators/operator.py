"""Hands an operator's question to whoever answers it, and the answer back."""

from collections.abc import Callable, Mapping, Sequence, Set
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final

from relay.domain.problems import Fault, InputProblem, Problem, QuestionProblem
from relay.events import failed_event
from relay.observability import Observability
from relay.workers.operators import protocol
from relay.workers.operators.protocol import Level, Question
from relay.workers.operators.questions import QUESTIONS

Answers = Callable[[], Callable[[Any], Any]]
"""Makes what answers one kind of question: only what is asked is made."""


Names = Callable[[], Sequence[str]]
"""Lists the names there are of one kind."""


class Operator:
    """Answers the questions of one of the admin functions, each with a JSON object."""

    def __init__(
        self,
        level: Level,
        prefix: str,
        answers: Mapping[str, Answers],
        observe: Observability,
        names: Mapping[str, Names] = MappingProxyType({}),
    ) -> None:
        """`answers` has one entry for each of QUESTIONS; `names` lists what there is, by the code of its lack."""
        self._level = level
        self._prefix = prefix
        self._answers = answers
        self._observe = observe
        self._names = names

    @property
    def asks(self) -> Set[str]:
        """The questions that somebody answers, whatever they need."""
        return self._answers.keys()

    def handle(self, event: Any) -> dict[str, Any]:
        """Return the answer to a question, or why it is refused (see `protocol`). Raises nothing."""
        question: Question | None = None
        try:
            asked, question = protocol.read(event, QUESTIONS)
            kind = QUESTIONS[asked]
            protocol.require(self._level, kind.needs(question), prefix=self._prefix)
            return protocol.answered(kind, self._answers[asked]()(question))
        except InputProblem as problem:
            self._observe.problem("refused question", problem, field=problem.field)
            return protocol.refused(self._with_near_name(problem, question))
        except Exception as error:  # noqa: BLE001 - its text may hold personal data: the log says where it happened
            return protocol.refused(failed_event(error, self._observe))

    def _with_near_name(self, problem: InputProblem, question: Question | None) -> InputProblem:
        """Return a problem with a name that is not known as one that says which known name is nearest to it."""
        argument = _NAMED_BY.get(problem.code)
        given = getattr(question, argument or "", None)
        if argument is None or not isinstance(given, str) or problem.code not in self._names:
            return problem
        try:
            near = get_close_matches(given[:128], self._names[problem.code](), n=1)
        except Problem:
            return problem
        if not near:
            return problem
        what = f"{problem.faults[0].what}; the nearest is {near[0]}"
        return QuestionProblem(problem.code, what, field=argument, faults=[Fault(argument, what, near[0])])


_NAMED_BY: Final = {
    "unknown_export": "export",
    "unknown_connection": "connection",
    "unknown_source": "source",
    "unknown_segment": "segment",
}
"""Which argument names what there is not, by the code that says so."""
