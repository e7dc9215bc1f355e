"""Figures and their goals: as a table for people, as JSON for machines."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from textwrap import fill
from typing import Any

from local.screen import Screen

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


class Section(StrEnum):
    """Where a figure stands in the JSON."""

    FIGURES = "figures"
    PARTS = "parts"
    """What figures are made of."""
    OUTCOME = "outcome"
    """Whether the work was done, and done well."""


@dataclass(frozen=True)
class Figure:
    """One measured number; `name` is for machines, `text` for people. Of several cases, `case` says which."""

    name: str
    text: str
    value: float
    goal: Goal | None = None
    digits: int = 0
    """Shown after the point."""
    case: str = ""
    section: Section = Section.FIGURES

    @property
    def full_name(self) -> str:
        """Its name and its case."""
        return f"{self.name}.{self.case}" if self.case else self.name

    @property
    def is_missed(self) -> bool:
        """Whether it has a goal and does not meet it."""
        return self.goal is not None and not self.goal.is_met(self.value)

    @property
    def shown(self) -> str:
        """The number as people read it."""
        return self._shown(self.value)

    def cells(self) -> tuple[str, str, str, str]:
        """Return the figure as a row of the table."""
        text = f"{self.case}: {self.text}" if self.case else self.text
        if self.goal is None:
            return text, self.shown, "", ""
        wanted = f"{self.goal.sign} {self._shown(self.goal.limit)}"
        return text, self.shown, wanted, "MISSED" if self.is_missed else "ok"

    def _shown(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


@dataclass(frozen=True)
class Report:
    """The outcome of a benchmark. `cases` has what the cases of its figures are called."""

    benchmark: str
    settings: Mapping[str, float]
    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    cases: Mapping[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> list[Figure]:
        """The figures that do not meet their goals."""
        return [figure for figure in self.figures if figure.is_missed]

    def value(self, name: str) -> float:
        """Return a figure's value by its full name."""
        return next(figure.value for figure in self.figures if figure.full_name == name)

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object; figures of several cases are objects by case."""
        return {
            "benchmark": self.benchmark,
            "settings": dict(self.settings),
            **{
                section.value: self._nested(section) for section in Section if self._of(section) or section == "figures"
            },
            "goals": {
                figure.full_name: {
                    "sign": figure.goal.sign,
                    "limit": round(figure.goal.limit, 4),
                    "met": not figure.is_missed,
                }
                for figure in self.figures
                if figure.goal is not None
            },
            "missed": [figure.full_name for figure in self.missed],
            "notes": list(self.notes),
        }

    def _of(self, section: Section) -> list[Figure]:
        return [figure for figure in self.figures if figure.section is section]

    def _nested(self, section: Section) -> dict[str, Any]:
        nested: dict[str, Any] = {}
        for figure in self._of(section):
            value = round(figure.value, 4)
            if figure.case:
                nested.setdefault(figure.name, {})[figure.case] = value
            else:
                nested[figure.name] = value
        return nested

    def show(self, screen: Screen) -> None:
        """Show everything to a person: what there is by case, and then what has a goal or no case.

        Of how the work went, the second table names only what is not as it should be.
        """
        settings = ", ".join(f"{name} {value:,g}" for name, value in self.settings.items())
        screen.title(f"{self.benchmark}: {settings}")
        if self.cases:
            for case, text in self.cases.items():
                screen.say(f"{case}: {text}")
            screen.say("")
            screen.table(("", *self.cases), self._by_case())
            screen.say("")
        rows = [figure.cells() for figure in self.figures if self._stands_alone(figure)]
        screen.table(("", "measured", "goal", ""), rows)
        for note in self.notes:
            screen.say("\n" + fill(note, _WIDTH))
        for figure in self.missed:
            screen.say(f"\nMISSED: {' '.join(figure.cells()[:3])}")

    @staticmethod
    def _stands_alone(figure: Figure) -> bool:
        if not figure.case or figure.is_missed:
            return True
        return figure.goal is not None and figure.section is not Section.OUTCOME

    def _by_case(self) -> list[Sequence[str]]:
        rows: dict[str, dict[str, Figure]] = {}
        for figure in self.figures:
            if figure.case:
                rows.setdefault(figure.name, {})[figure.case] = figure
        return [
            [next(iter(row.values())).text, *(row[case].shown if case in row else "" for case in self.cases)]
            for row in rows.values()
        ]
