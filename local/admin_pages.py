"""Prints what the admin functions' models say into the docs: the schema of questions and answers, and the codes.

python -m local.admin_pages          write the pages
"""

from collections.abc import Iterator
from pathlib import Path

from relay.domain.problems import Actor
from relay.workers.operators.codes import Code, CodeKind, all_codes
from relay.workers.operators.protocol import schema_text
from relay.workers.operators.questions import QUESTIONS

DOCS = Path(__file__).parents[1] / "docs"
SCHEMA, CODES = DOCS / "admin-api.schema.json", DOCS / "codes.md"

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


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(QUESTIONS))
    CODES.write_text(codes_page())
