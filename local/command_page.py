"""Prints the commands of `relay` into docs/cli.md, from the commands themselves.

python -m local.command_page          write the page
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclopts import App

from relay_cli.app import Options, build
from relay_cli.relay import Relay

PAGE = Path(__file__).parents[1] / "docs/cli.md"
BEGIN, END = "<!-- commands, printed by make pages -->", "<!-- until here -->"


def tree() -> App:
    """Return the commands. They are only looked at: none of them gets a world."""

    def make(options: Options) -> Relay:
        raise LookupError(f"{options} has no world")

    return build(make)


def commands(app: App, path: tuple[str, ...] = ()) -> Mapping[tuple[str, ...], App]:
    """Return every command that does something, by its words, in the order of the help."""
    found: dict[tuple[str, ...], App] = {}
    for name in app:
        if not name.startswith("-"):
            below = commands(app[name], (*path, name))
            found |= below or {(*path, name): app[name]}
    return found


def written(text: str) -> str:
    """Return the page with the commands as they are now. ValueError where a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no {BEGIN}, or no {END} after it")
    return f"{before}{BEGIN}\n\n" + "\n".join(_lines(tree())) + f"\n{END}{after}"


def _lines(app: App) -> Iterator[str]:
    for path, command in commands(app).items():
        arguments = [one for one in command.assemble_argument_collection(parse_docstring=True) if one.parse]
        yield f"### relay {' '.join(path)}"
        yield ""
        yield f"    relay {' '.join([*path, *_usage(arguments)])}"
        yield ""
        yield from _wrapped(_description(command.help))
        if arguments:
            yield from ("| | |", "|---|---|")
            yield from (f"| {_name(one)} | {_meaning(one)} |" for one in arguments)
            yield ""


def _description(help_text: str) -> str:
    """Return a command's docstring without its parameters."""
    return re.split(r"\n\s*Parameters\n", help_text)[0]


def _wrapped(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield " ".join(paragraph.split())
        yield ""


def _usage(arguments: list[Any]) -> Iterator[str]:
    for one in arguments:
        if not one.name.startswith("--"):
            yield one.name if one.required else f"[{one.name}]"
        elif one.required:
            yield f"{one.name} {one.name.strip('-').upper()}"


def _name(argument: Any) -> str:
    is_flag = argument.hint is bool
    value = "" if is_flag or not argument.name.startswith("--") else f" {argument.name.strip('-').upper()}"
    return f"`{argument.name}{value}`"


def _meaning(argument: Any) -> str:
    default = argument.field_info.default
    choices = argument.get_choices()
    parts = [" ".join(str(argument.parameter.help).split())]
    if choices:
        parts.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    if isinstance(default, int | float | str) and not isinstance(default, bool):
        parts.append(f"`{default}` by default.")
    return " ".join(parts).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
