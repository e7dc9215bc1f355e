"""A terminal: tables, colours, bars. The only part that needs rich; it is imported when there is a terminal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table as RichTable
from rich.text import Text as RichText

from relay_cli.parts import Facts, Line, Part, Table, Text, cell, printable


class Terminal:
    """Shows parts with rich, which obeys NO_COLOR and the width of the window."""

    def __init__(self, file: TextIO, environment: Mapping[str, str]) -> None:
        self.console = Console(file=file, highlight=False, emoji=False, _environ=environment)

    def show(self, part: Part, *, first: bool = True) -> None:
        """Print a part, with room above it unless it is the first."""
        self.console.print(rendered(part) if first or isinstance(part, Line) else Group("", rendered(part)))

    @contextmanager
    def replacing(self) -> Iterator[Callable[[Sequence[Part]], None]]:
        """Give a function that shows parts in the place of those before."""
        with Live(console=self.console, auto_refresh=False, transient=False) as live:
            yield lambda parts: live.update(Group(*_spaced(parts)), refresh=True)

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


def rendered(part: Part) -> RenderableType:
    """Return a part as rich prints it."""
    match part:
        case Line(text):
            return _text(text)
        case Facts(rows, title):
            grid = RichTable.grid(padding=(0, 2))
            grid.add_column(style="dim", no_wrap=True)
            grid.add_column(overflow="fold")
            for name, value in rows:
                grid.add_row(printable(name), _text(value))
            return Group(RichText(printable(title), style="bold"), grid) if title else grid
        case Table(columns, rows, title, numbers):
            table = RichTable(box=box.SIMPLE_HEAD, title=None, pad_edge=False, header_style="bold")
            for name in columns:
                table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
            for row in rows:
                table.add_row(*map(_text, row))
            return Group(RichText(printable(title), style="bold"), table) if title else table


def _spaced(parts: Sequence[Part]) -> Iterator[RenderableType]:
    for index, part in enumerate(parts):
        if index and not isinstance(part, Line):
            yield ""
        yield rendered(part)


def _text(text: Text) -> RichText:
    value = cell(text)
    return RichText(printable(value.text), style=value.tone.value)
