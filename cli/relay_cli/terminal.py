"""A terminal: tables, colours, bars. The only part that needs rich; it is imported when there is a terminal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table as RichTable
from rich.text import Text as RichText

from relay_cli.parts import Facts, Line, Part, Table, Text, cell, printable

_GAP = 2
"""Columns are so far apart."""
_LONG = 26
"""A text longer than this is wrapped without harm."""


class Terminal:
    """Shows parts with rich, which obeys NO_COLOR and the width of the window."""

    def __init__(self, file: TextIO, environment: Mapping[str, str]) -> None:
        self.console = Console(file=file, highlight=False, emoji=False, _environ=environment)

    def show(self, part: Part, *, first: bool = True) -> None:
        """Print a part, with room above it unless it is the first."""
        shown = rendered(part, self.console.width)
        self.console.print(shown if first or isinstance(part, Line) else Group("", shown))

    @contextmanager
    def replacing(self) -> Iterator[Callable[[Sequence[Part]], None]]:
        """Give a function that shows parts in the place of those before."""
        with Live(console=self.console, auto_refresh=False, transient=False) as live:
            yield lambda parts: live.update(Group(*_spaced(parts, self.console.width)), refresh=True)

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[float | None, str], None]]:
        """Give a function that moves a bar to a share (None where it is not known) and says a text beside it."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[said]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(printable(what), total=None, said="")

            def move(part: float | None, said: str) -> None:
                progress.update(task, total=None if part is None else 1.0, completed=part or 0.0, said=printable(said))
                progress.refresh()

            yield move


def rendered(part: Part, width: int) -> RenderableType:
    """Return a part as rich prints it on a terminal of a width."""
    match part:
        case Line(text):
            return _text(text)
        case Facts(rows, title):
            return _titled(title, _facts(rows))
        case Table(title=title):
            return _titled(title, _cards(part) if _is_too_wide(part, width) else _table(part))


def _facts(rows: Sequence[tuple[str, Text]]) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(printable(name), _text(value))
    return grid


def _table(part: Table) -> RenderableType:
    table = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0), header_style="bold"
    )
    for index, name in enumerate(part.columns):
        justify: JustifyMethod = "right" if name in part.numbers else "left"
        # What the first column names is typed again: it stays whole. A number in two lines is none.
        table.add_column(name, justify=justify, overflow="fold", no_wrap=index == 0 or name in part.numbers)
    for row in part.rows:
        table.add_row(*map(_text, row))
    return table


def _is_too_wide(part: Table, width: int) -> bool:
    """Whether a table is wider than the terminal, and has no long texts that could be wrapped."""
    widths = [
        max(len(cell(row[index]).text) for row in [part.columns, *part.rows]) for index in range(len(part.columns))
    ]
    return sum(widths) + _GAP * (len(widths) - 1) > width and max(widths[1:], default=0) <= _LONG


def _cards(part: Table) -> RenderableType:
    """Return the rows of a table below each other."""
    cards: list[RenderableType] = []
    for row in part.rows:
        cards += [
            RichText(printable(cell(row[0]).text), style="bold"),
            _facts(list(zip(part.columns, row, strict=True))[1:]),
        ]
    return Group(*cards)


def _titled(title: str, what: RenderableType) -> RenderableType:
    return Group(RichText(printable(title), style="bold"), what) if title else what


def _spaced(parts: Sequence[Part], width: int) -> Iterator[RenderableType]:
    for index, part in enumerate(parts):
        if index and not isinstance(part, Line):
            yield ""
        yield rendered(part, width)


def _text(text: Text) -> RichText:
    value = cell(text)
    return RichText(printable(value.text), style=value.tone.value)
