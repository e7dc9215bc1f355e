"""How runs are shown."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay_cli.failures import Exit
from relay_cli.parts import (
    Cell,
    Facts,
    Line,
    Part,
    Table,
    Text,
    Tone,
    ago,
    at,
    listed,
    number,
    parse_time,
    several,
    share,
    span,
)

Run = Mapping[str, Any]

COLUMNS = ("delivered", "unchanged", "rejected", "duplicate", "outstanding")
"""Where a selected profile stands; their sum is `selected`."""
LEAVING = ("leaving", "removed", "kept", "leaving_outstanding", "returned")
REJECTED = "rejected:"
WARNING = "warning:"

LEAST_SECONDS = 4
"""A rate is told of no less than this."""

RUNNING = "running"
NEEDS_CONFIRMATION = "needs-confirmation"
STOPPED = "stopped"
WAITING = frozenset({NEEDS_CONFIRMATION, "many-rejected", "refused"})
"""States of an export's last run in which nothing gets better by itself."""

_TONES = {
    RUNNING: Tone.STRONG,
    "finished": Tone.GOOD,
    NEEDS_CONFIRMATION: Tone.WARN,
    "many-rejected": Tone.BAD,
    "stopped": Tone.BAD,
    "refused": Tone.BAD,
    "cancelled": Tone.QUIET,
}

EXITS: Mapping[str, Exit] = {
    RUNNING: Exit.WELL,
    "finished": Exit.WELL,
    NEEDS_CONFIRMATION: Exit.PERSON,
    STOPPED: Exit.WRONG,
    "many-rejected": Exit.WRONG,
    "refused": Exit.WRONG,
    "cancelled": Exit.WRONG,
}
"""How a command ends that shows one run, by the run's state; one that is stopped may need somebody."""

_NEXT = {
    RUNNING: "relay runs show {run} --follow",
    NEEDS_CONFIRMATION: "relay runs confirm {run}",
    "many-rejected": "relay rejected {export}",
    STOPPED: "relay runs list {export}",
    "refused": "relay check {connection}",
}


def state(name: str | None) -> Cell:
    """Return a run's state with its tone."""
    return Cell("-" if name is None else name, _TONES.get(name or "", Tone.PLAIN))


def duration(run: Run, now: datetime) -> str:
    """Return how long a run took, or takes so far."""
    began, ended = parse_time(run.get("started_at")), parse_time(run.get("ended_at"))
    return "-" if began is None else span(((ended or now) - began).total_seconds())


def by_code(counts: Mapping[str, int], lead: str) -> dict[str, int]:
    """Return what a ledger counts by code (`rejected:` or `warning:`), the most frequent first."""
    found = {name.removeprefix(lead): count for name, count in counts.items() if name.startswith(lead)}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def table(answer: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    """Show runs below each other, newest first, and which are still to come."""
    if answer["runs"]:
        yield _table(answer["runs"], now)
    else:
        yield Line(Cell("There was no run yet.", Tone.QUIET))
    if answer.get("requested"):
        yield Line(Cell(f"A run is requested, and starts by itself: {listed(answer['requested'])}.", Tone.WARN))


def _table(runs: Sequence[Run], now: datetime) -> Table:
    columns = tuple(column for column in COLUMNS if column != "duplicate")
    names = ("run", "export", "state", "started", "took", "selected", *columns)
    rows: list[list[Text]] = []
    for run in runs:
        counts = run["counts"]
        numbers: list[Text] = [number(counts.get(column, 0)) for column in ("selected", *columns)]
        started = ago(run.get("started_at"), now)
        rows.append([run["run"], run["export"], state(run["state"]), started, duration(run, now), *numbers])
    return Table(names, rows, numbers=frozenset({"took", "selected", *columns}))


def cancelled(run: str, answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show that a run is cancelled: what it had done of its leavers, and what happens next."""
    yield Line(Cell(f"Run {run} is cancelled.", Tone.GOOD))
    removed, left = answer["removed"], answer["left"]
    if removed or left:
        yield Line(f"Taken out: {number(removed)}. Still there of those who were to leave: {number(left)}.")
    if removed and left:
        yield Line("The next run waits for a confirmation before it takes anybody out, however few are left.")
    if answer["requested"]:
        yield Line(Cell("Another run is requested, and starts by itself in a minute or two.", Tone.WARN))
    else:
        yield Line("What is not done is left to the next run.")


def one(run: Run, now: datetime, *, is_stopped: bool = False) -> Iterator[Part]:
    """Show one run with its ledger: one sentence first, then the facts.

    `is_stopped` is whether its connection or export is stopped now.
    """
    yield Line(sentence(run))
    facts: list[tuple[str, Text]] = [
        ("run", run["run"]),
        ("cause", str(run["cause"])),
        ("phase", str(run["phase"])),
        ("started", f"{at(run.get('started_at'))} ({ago(run.get('started_at'), now)})"),
        ("ended", at(run.get("ended_at"))),
        ("took", duration(run, now)),
    ]
    if run.get("retry"):
        facts.insert(2, ("tries again", str(run["retry"])))
    if run.get("full"):
        facts.insert(2, ("full", "sends every profile again"))
    if run.get("planned_leaving") is not None:
        facts.append(("planned", f"up to {number(run['planned_leaving'])} may leave without a confirmation"))
    yield Facts(facts)
    yield ledger(run["counts"])
    meanings = meaning_of(run)
    reasons = by_code(run["counts"], REJECTED)
    if reasons:
        rows = [[code, number(count), *meanings.get(code, ("", ""))] for code, count in reasons.items()]
        yield Table(("rejected because", "profiles", "means", "then"), rows, numbers=frozenset({"profiles"}))
    warnings = by_code(run["counts"], WARNING)
    if warnings:
        rows = [[code, number(count), meanings.get(code, ("", ""))[0]] for code, count in warnings.items()]
        yield Table(("sent, but", "profiles", "means"), rows, numbers=frozenset({"profiles"}))
    yield from following(run, is_stopped=is_stopped)


def following(run: Run, *, is_stopped: bool = False) -> Iterator[Part]:
    """Show the command that helps next."""
    helps = "relay check {connection}" if is_stopped else _NEXT.get(run["state"])
    if helps is not None:
        connection = run["export"].split("/")[0]
        command = helps.format(run=run["run"], export=run["export"], connection=connection)
        yield Line(Cell(f"Next: {command}", Tone.STRONG))


def sentence(run: Run) -> Cell:
    """Say in one sentence how a run stands."""
    counts, name = run["counts"], run["export"]
    selected, why = counts.get("selected", 0), f" ({run['reason']})" if run.get("reason") else ""
    match run["state"]:
        case "running":
            said = f"The run of {name} goes on: {number(selected)} profiles so far"
        case "finished":
            done = counts.get("delivered", 0) + counts.get("unchanged", 0)
            said = f"The run of {name} is finished: {number(done)} of {number(selected)} profiles are as they should be"
            if late := counts.get("left_to_next_run", 0):
                said += f". {several(late, 'profile', 'profiles')} changed just before it: the next run takes them out"
        case "needs-confirmation":
            said = f"The run of {name} waits for you: {number(counts.get('leaving', 0))} profiles would leave"
        case "many-rejected":
            said = (
                f"The run of {name} is over, and too many were rejected: {share(counts.get('rejected', 0), selected)}"
            )
        case other:
            said = f"The run of {name} is {other}"
    return Cell(f"{said}{why}.", _TONES.get(run["state"], Tone.PLAIN))


def ledger(counts: Mapping[str, int]) -> Table:
    """Show the sums of a run: who was selected, who leaves, and what else was counted."""
    selected, leaving = counts.get("selected", 0), counts.get("leaving", 0)
    rows: list[Sequence[Text]] = [["selected", number(selected), ""]]
    rows += [[f"  {name}", number(counts.get(name, 0)), share(counts.get(name, 0), selected)] for name in COLUMNS]
    if leaving:
        rows.append(["leaving", number(leaving), ""])
        rows += [
            [f"  {name}", number(counts.get(name, 0)), share(counts.get(name, 0), leaving)] for name in LEAVING[1:]
        ]
    known = {"selected", *COLUMNS, *LEAVING}
    others = {name: count for name, count in counts.items() if name not in known and ":" not in name}
    rows += [[name, number(count), ""] for name, count in sorted(others.items())]
    return Table(("", "profiles", "share"), rows, numbers=frozenset({"profiles", "share"}))


def meaning_of(run: Run) -> dict[str, tuple[str, str]]:
    """Return what the codes of a run's rejections and warnings mean, and what then happens."""
    codes = run.get("codes") or {}
    items = codes.items() if isinstance(codes, Mapping) else ((one["code"], one) for one in codes)
    return {
        code: (one, "") if isinstance(one, str) else (str(one.get("means", "")), str(one.get("then", "")))
        for code, one in items
    }


def progress(run: Run) -> tuple[float | None, str]:
    """Return how far a run is (0 to 1, None where nobody knows) and a text beside it."""
    counts = run["counts"]
    selected = counts.get("selected", 0)
    done = selected - counts.get("outstanding", 0)
    expected = _expected(run)
    part = run.get("share")
    if part is None and expected:
        part = min(1.0, done / expected)
    said = [f"{number(selected)} profiles"]
    if rejected := counts.get("rejected", 0):
        said.append(f"{number(rejected)} rejected")
    if part == 1 and (open_still := counts.get("outstanding", 0) + counts.get("leaving_outstanding", 0)):
        said.append(f"{number(open_still)} wait for the destination")
    return part, ", ".join(said)


def pace(first: Run, shown: Run) -> str:
    """Return the rate since an earlier look in the same phase, and how long the phase takes at this rate.

    Nothing where the time is too short to tell.
    """
    passed = shown["seconds"] - first["seconds"]
    if passed < LEAST_SECONDS:
        return ""
    (before, _), (part, _) = progress(first), progress(shown)
    done = shown["counts"].get("selected", 0) - first["counts"].get("selected", 0)
    said = f", {done / passed:,.0f}/s" if done > 0 and part != 1 else ""
    if before is None or part is None or not before < part < 1:
        return said
    return f"{said}, {span(passed * (1 - part) / (part - before))} left in this phase"


def _expected(run: Run) -> int:
    """Return how many a run will select: as many as the one before."""
    return next((one["counts"]["selected"] for one in run.get("previous") or () if one["counts"].get("selected")), 0)
