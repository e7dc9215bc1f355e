"""Prints into the docs what the code says: the schema of questions and answers, the codes, the fields of settings.

The parameters of the stack come from the template.

python -m local.admin_pages          write the pages
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from relay.destinations import registry
from relay.destinations.standard import BaseDestination
from relay.domain.problems import Actor
from relay.settings import described
from relay.settings.described import Described
from relay.workers.operators.codes import Code, CodeKind, all_codes
from relay.workers.operators.protocol import schema_text
from relay.workers.operators.questions import QUESTIONS

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
DOCS = TEMPLATE.parent / "docs"
SCHEMA, CODES, SETTINGS = DOCS / "admin-api.schema.json", DOCS / "codes.md", DOCS / "settings.md"

_TITLES = {
    CodeKind.REJECTION: (
        "Rejections",
        "Why a destination cannot take a profile. A run counts them as `rejected:<code>`.",
    ),
    CodeKind.STOP: ("Stops", "Why a connection or an export is stopped."),
    CodeKind.REFUSAL: (
        "Refusals",
        "Why a webhook, a part of it, a schedule's event or an operator's question was not taken.",
    ),
    CodeKind.WARNING: ("Warnings", "What a check or a run tells though the work goes on."),
    CodeKind.PROBLEM: ("Problems", "What keeps something from working, or passes by itself."),
}
_ACTORS = {Actor.ADMINISTRATOR: "administrator", Actor.WAIT: "nobody", Actor.US: "we"}


def codes_page() -> str:
    """Return the page of the registry of codes."""
    return "\n".join(_codes()) + "\n"


def _codes() -> Iterator[str]:
    yield "# Codes"
    yield ""
    yield "What every code means, who must act, and what happens by itself. `make pages` prints this page from"
    yield "`layers/relay/relay/workers/operators/codes.py`. [`codes`](admin-api.md#codes) answers the same."
    for kind, (title, what) in _TITLES.items():
        yield from ("", f"## {title}", "", what, "")
        yield "| code | of | means | who must act | then |"
        yield "|---|---|---|---|---|"
        yield from (_line(code) for code in all_codes() if code.kind is kind)


def _line(code: Code) -> str:
    cells = f"`{code.code}`", code.destination or "", code.means, _ACTORS[code.who_must_act], code.then
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def settings_page() -> str:
    """Return the page of all fields of sources, connections and exports, and of all parameters of the stack."""
    return "\n".join([*_settings(), *_stack(yaml_parse(TEMPLATE.read_text(encoding="utf-8"))["Parameters"])]) + "\n"


def _settings() -> Iterator[str]:
    yield "# Settings: all fields"
    yield ""
    yield "`make pages` prints this page from the code. [`describe`](admin-api.md#describe) answers the same, and"
    yield "[`validate`](admin-api.md#validate) says what is wrong before something is written."
    for title, where, fields in (
        (
            "Source",
            "Secret `{prefix}/sources/{source}`, texts by key. More: [Sources](sources.md).",
            described.SOURCE,
        ),
        ("Connection", "Secret `{prefix}/connections/{connection}`, texts by key.", described.CONNECTION),
        ("Export", "Parameter `/{prefix}/exports/{connection}/{export}`, JSON.", described.EXPORT),
    ):
        yield from ("", f"## {title}", "", where, "")
        yield from _fields(fields)
    for name in sorted(registry.PACKAGES):
        destination = registry.load(name)
        title = destination.title if isinstance(destination, BaseDestination) else name
        yield from ("", f"## {title}", "", f"Beside the above, in a connection with `destination` `{name}`:", "")
        yield from _fields(described.of_model(destination.connection_model))
        yield from ("", "In `options` of an export:", "")
        yield from _fields(described.of_model(destination.options_model))


def _stack(parameters: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from ("", "## The stack", "")
    yield "Parameters of `template.yaml`. `sam deploy --guided` asks for each. All may stay as they are."
    yield "How to change one later: [Upgrading](upgrading.md#parameters-runtime-architecture)."
    yield ""
    yield "| parameter | | default | allowed |"
    yield "|---|---|---|---|"
    for name, parameter in parameters.items():
        cells = (
            f"`{name}`",
            parameter["Description"].strip(),
            _shown(parameter["Default"]) if parameter["Default"] != "" else "empty",
            _allowed(parameter),
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _allowed(parameter: Mapping[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"])
    if "MinValue" in parameter:
        return (
            f"{parameter['MinValue']} to {parameter['MaxValue']}"
            if "MaxValue" in parameter
            else f"{parameter['MinValue']} or more"
        )
    return ""


def _fields(fields: Iterable[Described]) -> Iterator[str]:
    yield "| field | | default | example |"
    yield "|---|---|---|---|"
    for field in fields:
        default = "required" if field.required else _shown(field.default)
        choices = f" One of {', '.join(f'`{choice}`' for choice in field.choices)}." if field.choices else ""
        secret = " A secret." if field.secret else ""
        cells = f"`{field.name}`", f"{field.means}{choices}{secret}", default, _shown(field.example)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _shown(value: Any) -> str:
    if value in (None, (), {}):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(QUESTIONS))
    CODES.write_text(codes_page())
    SETTINGS.write_text(settings_page())
