"""How a plan is shown: what a run would do."""

from collections.abc import Iterator, Mapping
from typing import Any

from relay_cli.parts import Cell, Line, Part, Table, Tone, listed, number

CHANGING = ("join", "change", "leave")
"""What a run would do at the destination; everything else it leaves as it is."""
_MEANS = {
    "selected": "profiles in the segments",
    "join": "would be sent for the first time",
    "change": "would be sent with other values",
    "leave": "would leave: on_exit says what becomes of them",
    "unchanged": "are as they should be",
    "duplicate": "have the identity of another profile, which is sent",
    "waiting": "have to wait: an earlier call may still take effect",
}
_REJECTED = "rejected:"


def has_changes(plan: Mapping[str, Any]) -> bool:
    """Whether a run would change anything at the destination."""
    return any(plan["counts"].get(name, 0) for name in CHANGING)


def shown(plan: Mapping[str, Any]) -> Iterator[Part]:
    """Show a plan: counts, and the first profiles of each kind by id."""
    counts = plan["counts"]
    if has_changes(plan):
        said = listed(f"{number(counts.get(name, 0))} {name}" for name in CHANGING)
        yield Line(Cell(f"A run of {plan['export']} would change something: {said}. Nothing was sent.", Tone.STRONG))
    else:
        yield Line(Cell(f"A run of {plan['export']} would change nothing.", Tone.GOOD))
    for note in _notes(plan):
        yield Line(Cell(note, Tone.WARN))
    yield Table(("what", "profiles", "means"), _rows(counts), numbers=frozenset({"profiles"}))
    first = [[kind, identifier, code] for kind, identifier, code in _first(plan)]
    if first:
        yield Table(("first ones", "profile", "code"), first)


def markdown(plan: Mapping[str, Any]) -> str:
    """Return a plan as Markdown, for a pull request or a chat."""
    lines = [f"## Plan of `{plan['export']}`", ""]
    for note in _notes(plan):
        lines += [note, ""]
    lines += ["| what | profiles | means |", "|---|---:|---|"]
    lines += [f"| {what} | {count} | {means} |" for what, count, means in _rows(plan["counts"])]
    first = list(_first(plan))
    if first:
        lines += ["", "| first ones | profile | code |", "|---|---|---|"]
        lines += [f"| {kind} | `{identifier}` | {code} |" for kind, identifier, code in first]
    return "\n".join([*lines, "", "Nothing was sent."])


def _notes(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may keep a run from doing what is planned."""
    for obstacle in plan["obstacles"]:
        yield f"A run would not start now: {obstacle}."
    if plan["counts"].get("leave") and plan["cancelled"]:
        cancelled = f"Run {plan['cancelled']} was cancelled while it took leavers out"
        yield f"{cancelled}: another one waits for a confirmation."
    elif plan["counts"].get("leave") and not plan["passed_guard"]:
        yield "No run under these settings took anybody out yet: it may wait for a confirmation."


def _rows(counts: Mapping[str, int]) -> list[list[str]]:
    rows = [[name, number(counts.get(name, 0)), means] for name, means in _MEANS.items()]
    rejected = {name: count for name, count in counts.items() if name.startswith(_REJECTED)}
    rows += [
        [name, number(count), f"relay codes {name.removeprefix(_REJECTED)}"] for name, count in sorted(rejected.items())
    ]
    return rows


def _first(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for kind in CHANGING:
        yield from ((kind, str(identifier), "") for identifier in plan["first"].get(kind, ()))
    yield from (("rejected", str(identifier), str(code)) for identifier, code in plan["first"].get("rejected", ()))
