"""Figures and their goals: as a table for people, as JSON for machines."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from local.screen import Screen

STORE_NOTE = (
    "The store is SQLite on this machine's disk, not DynamoDB. CPU time includes it, at the share given; boto3, which "
    "talks to DynamoDB on AWS, is not in it."
)

_WIDTH = 100

_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Goal:
    """What a figure must be: `=`, `<`, `<=` or `>=` a limit."""

    sign: str
    limit: float

    def is_met(self, value: float) -> bool:
        """Return whether a value is as it should be."""
        return _SIGNS[self.sign](value, self.limit)


@dataclass(frozen=True)
class Figure:
    """One measured number; `name` is for machines, `text` for people. A name `figure.case` is one of several cases."""

    name: str
    text: str
    value: float
    goal: Goal | None = None
    digits: int = 0
    """Shown after the point."""

    @property
    def is_missed(self) -> bool:
        """Whether it has a goal and does not meet it."""
        return self.goal is not None and not self.goal.is_met(self.value)

    def cells(self) -> tuple[str, str, str, str]:
        """Return the figure as a row of the table."""
        if self.goal is None:
            return self.text, self._shown(self.value), "", ""
        wanted = f"{self.goal.sign} {self._shown(self.goal.limit)}"
        return self.text, self._shown(self.value), wanted, "MISSED" if self.is_missed else "ok"

    def _shown(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


@dataclass(frozen=True)
class Report:
    """The outcome of a benchmark."""

    benchmark: str
    settings: Mapping[str, float]
    figures: Sequence[Figure]
    notes: Sequence[str] = ()

    @property
    def missed(self) -> list[Figure]:
        """The figures that do not meet their goals."""
        return [figure for figure in self.figures if figure.is_missed]

    def value(self, name: str) -> float:
        """Return a figure's value by its name."""
        return next(figure.value for figure in self.figures if figure.name == name)

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        return {
            "benchmark": self.benchmark,
            "settings": dict(self.settings),
            "figures": _nested({figure.name: round(figure.value, 4) for figure in self.figures}),
            "goals": {
                figure.name: {
                    "sign": figure.goal.sign,
                    "limit": round(figure.goal.limit, 4),
                    "met": not figure.is_missed,
                }
                for figure in self.figures
                if figure.goal is not None
            },
            "missed": [figure.name for figure in self.missed],
            "notes": list(self.notes),
        }

    def show(self, screen: Screen) -> None:
        """Show everything to a person."""
        settings = ", ".join(f"{name} {value:,g}" for name, value in self.settings.items())
        screen.title(f"{self.benchmark}: {settings}")
        screen.table(("", "measured", "goal", ""), [figure.cells() for figure in self.figures])
        for note in self.notes:
            screen.say("\n" + fill(note, _WIDTH))
        for figure in self.missed:
            screen.say(f"\nMISSED: {' '.join(figure.cells()[:3])}")


def _nested(figures: Mapping[str, float]) -> dict[str, Any]:
    """Return figures by name, those of several cases by case."""
    nested: dict[str, Any] = {}
    for name, value in figures.items():
        figure, _, case = name.partition(".")
        if case:
            nested.setdefault(figure, {})[case] = value
        else:
            nested[figure] = value
    return nested
