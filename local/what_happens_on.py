"""Prints "what happens on" into docs/stops.md: what the code does on each kind of answer, from its own tables.

python -m local.what_happens_on          write the page
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import requests

from relay.breaker.failures import TABLE, Kind, row_for
from relay.destinations.api import some_json
from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Quota, Reply
from relay.destinations.error_table import DEFAULT_TABLE, Outcome, Refused, result_of
from relay.domain.problems import Actor, Problem

PAGE = Path(__file__).parents[1] / "docs" / "stops.md"
BEGIN = "<!-- printed by make pages -->"
END = "<!-- until here -->"

_ACTORS = {Actor.ADMINISTRATOR: "administrator", Actor.WAIT: "nobody", Actor.US: "we"}
_NOT_TAKEN = "nobody of the call was taken; all are sent again"
_NOT_KNOWN = "nobody knows who was taken. The same values may be sent again at once; others wait for the deadline"
_OTHERS = "the others of the call go on"
_CALLS = Quota("calls", 1, cast("Any", None))


class _NoAnswer(requests.Session):
    """A session whose every request fails in one way."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def request(self, *_: Any, **__: Any) -> requests.Response:
        raise self._error


def _status(status: int, body: Any = None, size: int = 0) -> Callable[[], None]:
    def meet() -> None:
        try:
            result_of(Reply(status, {}, body, size), DEFAULT_TABLE, some_json)
        except Refused as refused:
            raise _Split(refused.row.outcome) from None

    return meet


def _failure(error: Exception) -> Callable[[], None]:
    def meet() -> None:
        caller = HttpCaller("", pace=lambda _: None, log=lambda *_, **__: None, session=_NoAnswer(error))
        caller("GET", "https://example.com/", quota=_CALLS)

    return meet


class _Split(Exception):  # noqa: N818 - an outcome, not an error
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value[1])
        self.actor = Actor.ADMINISTRATOR


def _defect() -> None:
    raise KeyError("a defect")


ON: Sequence[tuple[str, Callable[[], None]]] = (
    ("429", _status(429)),
    ("401, 403", _status(401)),
    ("402", _status(402)),
    ("404", _status(404)),
    ("400, 413, 422", _status(422)),
    ("3xx", _status(302)),
    ("5xx, 408", _status(500)),
    ("a status nobody documented", _status(418)),
    ("HTML, or no JSON, with 200", _status(200, None, 100)),
    ("no connection, or none in time", _failure(requests.exceptions.ConnectTimeout())),
    ("a time-out: no answer in time", _failure(requests.exceptions.ReadTimeout())),
    ("a lost answer: the connection breaks", _failure(requests.exceptions.ConnectionError())),
    ("a defect of ours", _defect),
)
"""What is met, and how it is met in a test."""


def printed() -> list[str]:
    """Return the lines that the page holds between its marks."""
    return [*_answers(), "", *_table()]


def _answers() -> Iterator[str]:
    yield "| a destination's answer | code | what happens | those of the call | who must act |"
    yield "|---|---|---|---|---|"
    for name, meet in ON:
        try:
            meet()
        except _Split as split:
            yield _line(
                name, "a destination's own", f"{split}. That one profile is rejected", _OTHERS, _ACTORS[split.actor]
            )
        except Problem as problem:
            row = row_for(problem)
            taken = _NOT_TAKEN if problem.taken is False else _NOT_KNOWN
            yield _line(name, f"`{problem.code}`", row.do.value, taken, _ACTORS[problem.actor])
        except Exception as error:  # noqa: BLE001 - a defect is one of the things that are met
            alone = next(row for row in TABLE if row.kind is Kind.SET_ASIDE)
            row = row_for(error)
            what = f"{alone.do.value}. Where no single profile explains it: {row.do.value}"
            yield _line(name, "`defect`", what, _OTHERS, _ACTORS[row.actor])


def _table() -> Iterator[str]:
    yield "| kind of problem | how things stand | what is done | who must act | then |"
    yield "|---|---|---|---|---|"
    for row in TABLE:
        yield _line(row.kind.value, row.when.value, row.do.value, _ACTORS[row.actor], row.says)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def on_page(text: str) -> list[str]:
    """Return the lines that a page holds between its marks; ValueError when it has none."""
    lines = text.splitlines()
    return lines[lines.index(BEGIN) + 2 : lines.index(END) - 1]


def written(text: str) -> str:
    """Return the page with what is printed now."""
    lines = text.splitlines()
    before, after = lines[: lines.index(BEGIN) + 1], lines[lines.index(END) :]
    return "\n".join([*before, "", *printed(), "", *after, ""])


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
