"""Where a command's words go: results to standard output, everything else to standard error."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from relay_cli.failures import Failure, PersonNeeded
from relay_cli.parts import Cell, Facts, Line, Part, Table, Tone, cell, printable

if TYPE_CHECKING:
    from relay_cli.terminal import Terminal


class Screen:
    """Shows parts as tables on a terminal, as plain text in a pipe; or the answers themselves as JSON."""

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool = False, environment: Mapping[str, str]) -> None:
        self.out = out
        self.err = err
        self.as_json = as_json
        self._environment = environment
        self._terminals: dict[int, Terminal] = {}

    def show(self, answer: Any, parts: Iterable[Part]) -> None:
        """Show one answer: as one JSON document, or as parts."""
        if self.as_json:
            self._write(json.dumps(answer, indent=2, ensure_ascii=False))
            return
        for index, part in enumerate(parts):
            self._show(part, first=index == 0)

    def show_list(self, items: Iterable[Mapping[str, Any]], parts: Iterable[Part]) -> None:
        """Show a list: as one JSON object a line, or as parts."""
        if self.as_json:
            for item in items:
                self.item(item)
            return
        self.show(None, parts)

    def item(self, item: Mapping[str, Any]) -> None:
        """Write one object of a list as a line of JSON."""
        self._write(json.dumps(item, ensure_ascii=False))

    def rows(self, columns: Sequence[str], pages: Iterable[Iterable[Sequence[str]]], *, commas: bool = False) -> None:
        """Write a long table page by page, with tabs (or as CSV) between, so that it never has to be held whole."""
        if commas:
            writer = csv.writer(self.out, lineterminator="\n")
            writer.writerow(columns)
            for page in pages:
                writer.writerows(page)
            return
        if self.is_terminal:
            for index, page in enumerate(pages):
                self._show(Table(columns, list(page)), first=index == 0)
            return
        self._write("\t".join(columns))
        for page in pages:
            for row in page:
                self._write("\t".join(map(printable, row)))

    def text(self, text: str) -> None:
        """Write a text as it is."""
        self._write(text)

    def note(self, text: str, tone: Tone = Tone.QUIET) -> None:
        """Say something beside the result, on standard error."""
        if _is_terminal(self.err):
            self._terminal(self.err).show(Line(Cell(text, tone)))
        else:
            print(printable(text), file=self.err)

    def failed(self, failure: Failure) -> None:
        """Say why a command ends, on standard error."""
        if self.as_json:
            said = {"what": failure.what, "why": failure.why, "helps": failure.helps, "errors": failure.errors}
            print(json.dumps({"error": {**said, "exit": int(failure.exit)}}, ensure_ascii=False), file=self.err)
            return
        self.note(failure.what, Tone.BAD)
        if failure.why:
            self.note(failure.why, Tone.PLAIN)
        for error in failure.errors:
            near = error.get("near")
            near = f" (did you mean {near}?)" if near and near not in error["what"] else ""
            self.note(f"  {error.get('field') or '-'}: {error['what']}{near}", Tone.PLAIN)
        if failure.helps:
            self.note(f"Next: {failure.helps}", Tone.STRONG)

    @contextmanager
    def progress(
        self, what: str, now: Callable[[], datetime], every: float
    ) -> Iterator[Callable[[float | None, str], None]]:
        """Give a function that shows how far something got (0 to 1, or None) and a text, on standard error.

        A terminal has a bar. Elsewhere there is a line every so many seconds, and none where it is over before.
        """
        if _is_terminal(self.err):
            with self._terminal(self.err).bar(what) as move:
                yield move
            return
        said_at = now()

        def say(part: float | None, said: str) -> None:
            nonlocal said_at
            moment = now()
            if (moment - said_at).total_seconds() >= every:
                said_at = moment
                self.note(f"{what}: {said}" if part is None else f"{what}: {part:.0%}, {said}")

        yield say

    @property
    def is_terminal(self) -> bool:
        """Whether results go to a terminal."""
        return _is_terminal(self.out)

    def terminal(self) -> "Terminal":
        """Return the terminal that results go to."""
        return self._terminal(self.out)

    def _show(self, part: Part, *, first: bool) -> None:
        if self.is_terminal:
            self._terminal(self.out).show(part, first=first)
            return
        if not first and not isinstance(part, Line):
            self._write("")
        for line in plain(part):
            self._write(line)

    def _terminal(self, file: TextIO) -> "Terminal":
        # Imported here, since a pipe needs none of it.
        from relay_cli.terminal import Terminal

        if id(file) not in self._terminals:
            self._terminals[id(file)] = Terminal(file, self._environment)
        return self._terminals[id(file)]

    def _write(self, text: str) -> None:
        print(text, file=self.out)


class Person:
    """Who can be asked: somebody at a terminal."""

    def __init__(self, keys: TextIO, screen: Screen) -> None:
        self._keys = keys
        self._screen = screen

    @property
    def is_there(self) -> bool:
        """Whether somebody can answer."""
        return _is_terminal(self._keys) and _is_terminal(self._screen.err)

    def agrees(self, question: str, *, said_before: bool, helps: str) -> None:
        """Go on when somebody agrees (or has said so by an option); raises PersonNeeded otherwise."""
        if said_before:
            return
        if not self.is_there:
            raise PersonNeeded("Somebody has to agree first.", question, helps)
        if self.answer(f"{question} [y/N]").lower() not in ("y", "yes"):
            raise PersonNeeded("Nothing was done.", "You did not agree.")

    def answer(self, question: str) -> str:
        """Return what somebody types; raises PersonNeeded at the end of the input."""
        print(f"{printable(question)} ", end="", file=self._screen.err, flush=True)
        line = self._keys.readline()
        if not line:
            raise PersonNeeded("Nothing was done.", "The input ended before all was answered.")
        return line.strip()

    def secret(self, question: str) -> str:
        """Return what somebody types without showing it."""
        if self._keys is not sys.stdin:
            return self.answer(question)
        import getpass

        return getpass.getpass(f"{printable(question)} ", stream=self._screen.err).strip()


def plain(part: Part) -> Iterable[str]:
    """Return a part as lines of text: tables with tabs between, so that other programs can cut them."""
    match part:
        case Line(text):
            yield printable(cell(text).text)
        case Facts(rows, title):
            if title:
                yield f"{printable(title)}:"
            for name, value in rows:
                yield f"{printable(name)}\t{printable(cell(value).text)}"
        case Table(columns, rows, title):
            if title:
                yield f"{printable(title)}:"
            yield "\t".join(columns)
            for row in rows:
                yield "\t".join(printable(cell(value).text) for value in row)


def _is_terminal(file: TextIO) -> bool:
    return file.isatty()
