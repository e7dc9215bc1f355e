"""Runs: start them, follow them, list, show, confirm and cancel them, and write a report."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from relay_cli.commands import confirming
from relay_cli.commands.common import FLAGS, RUN, Input
from relay_cli.failures import Exit, Failure, TimedOut, UsageFailure
from relay_cli.parts import Cell, Line, Tone, span
from relay_cli.relay import Answer, Injected, Relay
from relay_cli.views import runs as view

app = App(name="runs", help="The last runs: list, show, confirm, cancel, report.", group=RUN, default_parameter=FLAGS)

LOOK_EVERY = 2.0
"""Seconds between looks at a run that is followed."""
SAY_EVERY = 15.0
"""Seconds between lines about it where there is no terminal."""
DAY = 86_400


def run(
    export: str | None = None,
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all")] = False,
    full: bool = False,
    plan: str | None = None,
    follow: bool = False,
    timeout: float = DAY,
    relay: Injected,
) -> int:
    """Start a run of an export, or of every export without a schedule of its own (--all).

    Parameters
    ----------
    export
        The export, as connection/export.
    all_
        Every export that the default schedule starts.
    full
        Send every profile again, also what the destination holds already.
    plan
        A file that relay plan --out wrote. It confirms the run beforehand: it is refused when the settings changed
        since, and waits for you when more would leave than planned.
    follow
        Show how far it gets, until it ends.
    timeout
        Seconds to follow it at most.
    """
    if all_ == (export is not None):
        raise UsageFailure("Name one export, or --all.", "", "relay run newsletter/vip")
    if all_:
        if full or plan or follow:
            raise UsageFailure("--full, --plan and --follow go with one export.", "", "relay run newsletter/vip")
        return _run_all(relay)
    planned = None if plan is None else _planned(relay, plan, export or "")
    answer = relay.ask("run", export=export, full=full or None, planned=planned)
    if follow and answer["run"] is None and answer.get("obstacle") == "edited" and not full and planned is None:
        return _follow(relay, _requested(relay, answer, timeout), timeout)
    return started(relay, answer, follow=follow, timeout=timeout)


def started(relay: Relay, answer: Answer, *, follow: bool, timeout: float) -> int:
    """Show what came of starting a run, and follow it if asked to."""
    if answer["run"] is None:
        return _not_started(relay, answer)
    if follow:
        return _follow(relay, answer["run"], timeout)
    return _shown(relay, answer)


def _not_started(relay: Relay, answer: Answer) -> int:
    export = answer["export"]
    said = Line(Cell(f"No run of {export} started: {answer['reason']}.", Tone.WARN))
    helps = {"stopped": f"relay check {export.split('/')[0]}", "paused": f"relay exports resume {export}"}
    command = helps.get(answer.get("obstacle", ""))
    relay.screen.show(answer, [said] if command is None else [said, Line(Cell(f"Next: {command}", Tone.STRONG))])
    return Exit.WRONG if command is None else Exit.PERSON


def _requested(relay: Relay, answer: Answer, timeout: float) -> str:
    """Wait for a run that is requested and starts by itself; return it."""
    export, before = answer["export"], list[str]()
    relay.screen.note(f"No run of {export} started yet: {answer['reason']}.")

    def look() -> str | None:
        found = relay.ask("runs", export=export, limit=1)
        newest = str(found["runs"][0]["run"]) if found["runs"] else ""
        if not before:
            # Where none is requested any more it started just now.
            before.append(newest if found["requested"] else "")
        return newest if newest != before[0] else None

    run: str | None = relay.wait(timeout, look, every=LOOK_EVERY)
    if run is None:
        raise TimedOut(f"No run of {export} started in time. It is requested.", "", f"relay runs list {export}")
    return run


def _run_all(relay: Relay) -> int:
    answer = relay.ask("run_all")
    lines = [Line(Cell(f"{one['export']}: run {one['run']} started.", Tone.GOOD)) for one in answer["started"]]
    lines += [Line(Cell(f"{one['export']}: {one['reason']}.", Tone.WARN)) for one in answer["not_started"]]
    relay.screen.show(answer, lines or [Line("There is no export without a schedule of its own.")])
    return Exit.WRONG if answer["not_started"] else Exit.WELL


def _planned(relay: Relay, file: str, export: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(relay.read(file))
        planned = {"settings": int(found["settings"]), "leaving": int(found["counts"].get("leave", 0))}
        name = str(found["export"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageFailure(f"{file} is no plan.", "", f"relay plan {export} --out {file}") from None
    if name != export:
        raise UsageFailure(f"{file} is a plan of {name}, not of {export}.", "", f"relay plan {export} --out {file}")
    return planned


@app.command(name="list")
def list_(export: str | None = None, /, *, limit: int = 10, relay: Injected) -> None:
    """List the last runs, newest first.

    Parameters
    ----------
    export
        Only those of this export (connection/export).
    limit
        The most runs of each export.
    """
    answer = relay.ask("runs", export=export, limit=limit)
    requested = [{"requested": one} for one in answer["requested"]]
    relay.screen.show_list([*answer["runs"], *requested], view.table(answer, relay.now()))


@app.command
def show(run: str, /, *, follow: bool = False, timeout: float = DAY, relay: Injected) -> int:
    """Show one run with its ledger, or the last run of an export.

    Parameters
    ----------
    run
        The run, or an export (connection/export) whose last run is meant.
    follow
        Show how far it gets, until it ends.
    timeout
        Seconds to follow it at most.
    """
    name = run_of(relay, run)
    if follow:
        return _follow(relay, name, timeout)
    return _shown(relay, relay.ask("show", run=name))


@app.command
def confirm(run: str, /, *, yes: bool = False, relay: Injected) -> None:
    """Let a run that waits for confirmation take its leavers out.

    Parameters
    ----------
    run
        The run, or an export (connection/export) whose last run is meant.
    yes
        Do not ask.
    """
    name = run_of(relay, run)

    def question(shown: Answer) -> str:
        leaving = shown["counts"].get("leaving", 0) + shown["counts"].get("changed", 0)
        return f"Take up to {leaving:,} profiles out of {shown['export']} at the destination?"

    answer = confirming.confirmed(relay, confirming.RUN, name, question, yes=yes)
    relay.screen.show(answer, [Line(Cell(f"Run {name} is confirmed: it takes its leavers out.", Tone.GOOD))])


@app.command
def cancel(run: str, /, *, relay: Injected) -> None:
    """End a run where it stands. What it has not done is left to the next one.

    Parameters
    ----------
    run
        The run, or an export (connection/export) whose last run is meant.
    """
    name = run_of(relay, run)
    answer = confirming.cancelled(relay, confirming.RUN, name)
    relay.screen.show(answer, view.cancelled(name, answer))


@app.command
def report(run: str, /, *, html: Input, relay: Injected) -> None:
    """Write a report of a run to look at or to print: one HTML file without scripts and without personal data.

    Parameters
    ----------
    run
        The run, or an export (connection/export) whose last run is meant.
    html
        The file to write; - for standard output.
    """
    from relay_cli.report import document

    shown = relay.ask("show", run=run_of(relay, run))
    text = document.written(shown, relay.now())
    if html == "-":
        relay.screen.text(text)
        return
    relay.write(html, text)
    relay.screen.show({"written": html, "run": shown["run"]}, [Line(f"The report is in {html}.")])


def run_of(relay: Relay, name: str) -> str:
    """Return the run that is meant: a run, or the last one of an export."""
    if "/" not in name:
        if "." in name:
            raise UsageFailure(
                f"{name} is no run, and no export.", f"Did you mean {name.replace('.', '/', 1)}?", "relay runs list"
            )
        return name
    found = relay.ask("runs", export=name, limit=1)["runs"]
    if not found:
        raise Failure(f"There was no run of {name} yet.", "", f"relay run {name}")
    return str(found[0]["run"])


def _follow(relay: Relay, run: str, timeout: float) -> int:
    """Show how far a run gets until it ends or waits for somebody, then show it. Ctrl-C does not end the run."""
    first: list[Answer] = []
    with relay.screen.progress(f"run {run}", relay.now, SAY_EVERY) as move:

        def look() -> Answer | None:
            shown = relay.ask("show", run=run)
            part, said = view.progress(shown)
            if not first or first[0]["phase"] != shown["phase"]:
                first[:] = [shown]
            move(part, f"{said}{view.pace(first[0], shown)}")
            return None if shown["state"] == view.RUNNING else shown

        shown = relay.wait(timeout, look, every=LOOK_EVERY)
    if shown is None:
        raise TimedOut(
            f"Run {run} goes on.", f"It did not end within {span(timeout)}.", f"relay runs show {run} --follow"
        )
    return _shown(relay, shown)


def _shown(relay: Relay, run: Answer) -> int:
    """Show a run; return the exit code that it stands for.

    A run that was stopped needs somebody only while its connection or export is stopped: others follow by themselves.
    """
    is_stopped = run["state"] == view.STOPPED and _is_stopped(relay, run["export"])
    relay.screen.show(run, view.one(run, relay.now(), is_stopped=is_stopped))
    return Exit.PERSON if is_stopped else view.EXITS.get(run["state"], Exit.WRONG)


def _is_stopped(relay: Relay, export: str) -> bool:
    connections = relay.ask("status")["connections"]
    return any(
        connection["state"] == "stopped" or one["state"] == "stopped"
        for connection in connections
        for one in connection["exports"]
        if one["key"] == export
    )
