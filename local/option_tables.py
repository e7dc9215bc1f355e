"""Prints the tables of connection fields and options into the pages of destinations, from the models that read them.

A page has two pairs of marks: `<!-- connection fields, printed by make pages -->` and `<!-- options, printed by make
pages -->`, each with `<!-- until here -->` after it.

python -m local.option_tables          write the pages
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from relay.destinations import registry
from relay.destinations.contract import Destination
from scaffold.model import package

ROOT = Path(__file__).parents[1]
FIELDS, OPTIONS = (f"<!-- {what}, printed by make pages -->" for what in ("connection fields", "options"))
END = "<!-- until here -->"

OF_EVERY_CONNECTION: Mapping[str, str] = {
    "display_name": "What the connection is for.",
    "privacy_consent": "`I agree`. Without it nothing is sent.",
}


def pages() -> Mapping[Path, Destination]:
    """Return the destinations, and the model of new ones, by their pages."""
    destinations = {ROOT / f"docs/{name.replace('_', '-')}.md": registry.load(name) for name in registry.PACKAGES}
    return {**destinations, ROOT / "scaffold/model/page.txt": package.DESTINATION}


def written(destination: Destination, text: str) -> str:
    """Return a destination's page with its tables as they are now. ValueError where a mark is missing."""
    text = _between(text, FIELDS, _fields(destination.name, destination.connection_model))
    return _between(text, OPTIONS, _options(destination.options_model))


def _fields(name: str, model: type[BaseModel]) -> Iterator[str]:
    yield "| key | | example |"
    yield "|---|---|---|"
    yield f"| `destination` | | `{name}` |"
    for key, what in OF_EVERY_CONNECTION.items():
        yield f"| `{key}` | {what} | |"
    for key, field in model.model_fields.items():
        yield f"| `{key}` | {_about(field)} | {_example(field)} |"


def _options(model: type[BaseModel]) -> Iterator[str]:
    yield "| option | default | | example |"
    yield "|---|---|---|---|"
    for key, field in model.model_fields.items():
        yield f"| `{key}` | {_default(field)} | {_about(field)} | {_example(field)} |"


def _about(field: FieldInfo) -> str:
    if not field.title or not field.description:
        raise ValueError("a field without a title or a description")
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    one_of = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    return f"**{field.title}.** {field.description}{one_of}".replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=False)
    return "" if default in (None, (), {}) else _code(default)


def _example(field: FieldInfo) -> str:
    if not field.examples:
        raise ValueError("a field without an example")
    return _code(field.examples[0])


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`".replace("|", "\\|")


def _between(text: str, begin: str, lines: Iterator[str]) -> str:
    """Return a page with other lines between its marks, as far indented as these are."""
    before, mark, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the page has no {begin}, or no {END} after it")
    indent = before.rpartition("\n")[2]
    table = "\n".join(f"{indent}{line}" for line in lines)
    return f"{before}{begin}\n\n{table}\n\n{indent}{END}{after}"


if __name__ == "__main__":
    for page, destination in pages().items():
        page.write_text(written(destination, page.read_text()))
