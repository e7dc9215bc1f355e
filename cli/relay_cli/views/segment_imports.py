"""How imports of segment files look."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from relay_cli.failures import Exit
from relay_cli.parts import Cell, Facts, Line, Part, Table, Text, Tone, ago, at, number, several

DONE: Final = "done"
NEEDS_CONFIRMATION: Final = "needs-confirmation"
STILL: Final = frozenset({DONE, NEEDS_CONFIRMATION, "refused", "superseded", "cancelled"})
"""States in which an import does nothing by itself."""
EXITS: Final[Mapping[str, Exit]] = {NEEDS_CONFIRMATION: Exit.PERSON, "refused": Exit.WRONG}
"""How a command ends that shows an import in a state; in the others it ends well."""

_FOLDER: Final = re.compile(r"^relay-\d{8}T\d{6}Z-[0-9a-f]{6}/")
"""The folder that `relay segments import` makes up."""
_COLUMNS: Final = ("import", "segment", "state", "time of the set", "began", "rows", "entered", "left", "broken")
_SAID: Final[Mapping[str, str]] = {
    "checking": "is being checked",
    "applying": "stores its rows",
    "counting": "counts who is missing",
    "removing": "takes out who is missing",
    NEEDS_CONFIRMATION: "needs confirmation",
}
_TONES: Final[Mapping[str, Tone]] = {"done": Tone.GOOD, NEEDS_CONFIRMATION: Tone.WARN, "refused": Tone.BAD}


def imports(
    found: Sequence[Mapping[str, Any]], now: datetime, *, title: str = "", segment: str | None = None
) -> Table | Line:
    """Show imports, one a line; `segment` is the one that was asked for."""
    if not found:
        return Line("Nothing was imported yet." if segment is None else f"Nothing was imported into {segment} yet.")
    rows: list[Sequence[Text]] = [
        (
            one["id"],
            one["segment"],
            Cell(one["state"], _TONES.get(one["state"], Tone.PLAIN)),
            at(one["at"]),
            ago(one["begun_at"], now),
            *(number(one["counts"].get(name, 0)) for name in ("rows", "entered", "left", "broken")),
        )
        for one in found
    ]
    return Table(_COLUMNS, rows, title=title)


def one(found: Mapping[str, Any]) -> Iterator[Part]:
    """Show an import: one sentence, its counts, its first broken rows."""
    reason = "" if found["reason"] is None else f": {found['reason']}"
    tone = _TONES.get(found["state"], Tone.PLAIN)
    said = _SAID.get(found["state"], f"is {found['state']}")
    yield Line(Cell(f"Import {found['id']} of {found['segment']} {said}{reason}.", tone))
    if found["state"] == NEEDS_CONFIRMATION:
        yield Line(f"Next: relay segments imports confirm {found['id']}")
    times: list[tuple[str, Text]] = [("time of the set", at(found["at"])), ("began", at(found["begun_at"]))]
    times += [("ended", at(found["ended_at"]))] if found["ended_at"] is not None else []
    yield Facts([*times, *((name, number(count)) for name, count in sorted(found["counts"].items()))])
    if found["broken"]:
        rows: list[Sequence[Text]] = [
            (_FOLDER.sub("", row["part"]), str(row["line"]), row["reason"]) for row in found["broken"]
        ]
        yield Table(("part", "line", "reason"), rows, title="The first broken rows")


def progress(found: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return how far an import is, as a share where that is known, and in words."""
    counts, state = found["counts"], found["state"]
    rows = counts.get("rows", 0)
    match state:
        case "checking":
            return None, f"checking, {number(rows)} rows read" if rows else "checking"
        case "applying":
            applied = found.get("applied") or 0
            return (applied / rows if rows else None), f"{number(applied)} of {number(rows)} rows stored"
        case "counting":
            return None, f"{number(rows)} rows stored, counting who is missing"
        case "removing":
            left, leaving = counts.get("left", 0), counts.get("leaving", 0)
            return (left / leaving if leaving else None), f"{number(left)} of {number(leaving)} have left"
    return None, str(state)


def has_changed(found: Mapping[str, Any]) -> bool:
    """Whether an import has changed anything that exports would bring to their destinations."""
    return any(found["counts"].get(name) for name in ("entered", "updated", "leaving", "left"))


def runs(found: Mapping[str, str | None]) -> Iterator[Part]:
    """Show the runs that follow an import, by export."""
    for export, run in found.items():
        said = "a run is requested and begins by itself" if run is None else f"run {run} has begun"
        yield Line(f"{export}: {said}.")


def uploaded(segment: str, count: int) -> Iterator[Part]:
    """Show that files are uploaded."""
    yield Line(Cell(f"{several(count, 'file is', 'files are')} uploaded; the import begins by itself.", Tone.GOOD))
    yield Line(f"Next: relay segments imports list {segment}")


def moment(time: datetime) -> str:
    """Return a time to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
