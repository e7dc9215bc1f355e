"""Removing an export: what stays at the destination, what is removed here and when."""

import json
import shlex

from relay_cli.editing import Document, Kind, checked, require_unchanged
from relay_cli.failures import AwsRefused, Failure, Interrupted, TimedOut
from relay_cli.parts import Cell, Line, Tone, number
from relay_cli.relay import Answer, Relay
from relay_cli.views import runs as runs_view

NOBODY = "`false`"
"""As an export's `only_if`, an expression that is false for everybody: all of its members leave."""

STARTS_WITHIN = 300
"""Seconds. No run begins before every function has read an edit, and another run may have to end first."""
LOOK_EVERY = 3.0
SAY_EVERY = 15.0
DAY = 86_400


def remove(relay: Relay, kind: Kind, export: str, document: Document, *, take_members_out: bool, yes: bool) -> None:
    """Say what removing means, ask, and remove the export's schedule and the export, in this order.

    `kind` has the options of the export's destination. Interrupted anywhere, the same command goes on.
    """
    fields = kind.fields(relay.ask("describe"), document)
    default = next((one.default for one in fields if one.name == "options.on_exit"), None)
    on_exit = (document.get("options") or {}).get("on_exit", default)
    if take_members_out and on_exit == "keep":
        raise Failure(
            "Nobody would be taken out: on_exit is keep.",
            "Say first what becomes of a contact who leaves.",
            f"relay exports edit {export} --set options.on_exit=unsubscribe",
        )
    leaves = "leaves it first" if on_exit is None else f"leaves it first (on_exit is {on_exit})"
    members = "Everybody whom the export brought to the destination"
    for line in (
        f"{members} {leaves}." if take_members_out else f"{members} stays there.",
        "Profiles and segments stay. Removed now: the export and its schedule.",
        "Removed 30 days later: what is known of its members. Made again by then, it goes on where it was.",
    ):
        relay.screen.note(line, Tone.PLAIN)
    out = ", after taking everybody out at the destination" if take_members_out else ""
    option = " --take-members-out" if take_members_out else ""
    relay.person.agrees(
        f"Remove the export {export}{out}?", said_before=yes, helps=f"relay exports remove {export}{option} --yes"
    )
    run = _taken_out(relay, kind, export, document) if take_members_out else None
    if relay.door.schedule(export) is not None:
        relay.door.delete_schedule(export)
    relay.door.delete_export(export)
    removed = "" if run is None else f" {number(run['counts'].get('removed', 0))} profiles were taken out."
    text = f"The export {export} is removed.{removed}"
    relay.screen.show({"export": export, "done": text, "run": run}, [Line(Cell(text, Tone.GOOD))])


def _taken_out(relay: Relay, kind: Kind, export: str, document: Document) -> Answer:
    """Let everybody leave by a run, and return it once nobody is left; raises Failure when somebody is."""
    if document.get("only_if") != NOBODY or document.get("state") != "active":
        emptied = {**document, "state": "active", "only_if": NOBODY}
        checked(relay, kind, export, emptied, looks=False)
        _require_runs(relay)
        require_unchanged(kind, export, document, json.loads(relay.door.export(export) or "{}"), emptied)
        relay.door.put_export(export, json.dumps(emptied, indent=2, ensure_ascii=False), new=False)
    try:
        return _emptied(relay, export)
    except KeyboardInterrupt:
        _say_what_is_written(relay, export, document)
        helps = f"relay exports remove {export} --take-members-out, which goes on from here"
        raise Interrupted("interrupted", "The export is still there.", helps) from None
    except Failure:
        _say_what_is_written(relay, export, document)
        raise


def _require_runs(relay: Relay) -> None:
    """Raise AwsRefused where the caller may not start runs: by a question that changes nothing."""
    try:
        relay.ask("confirm", run="none")
    except AwsRefused:
        raise
    except Failure:
        # There is no such run, and the stack has said so.
        return


def _say_what_is_written(relay: Relay, export: str, document: Document) -> None:
    only_if = document.get("only_if")
    before = f"--set state={document.get('state', 'active')} "
    before += "--unset only_if" if only_if is None else f"--set only_if={shlex.quote(str(only_if))}"
    relay.screen.note(f"{export} is written so that everybody leaves: state is active, only_if is {NOBODY}.", Tone.WARN)
    if only_if != NOBODY:
        relay.screen.note(f"As it was before: relay exports edit {export} {before}")


def _emptied(relay: Relay, export: str) -> Answer:
    name = _started(relay, export, relay.door.export_version(export))
    run = _ended(relay, export, name)
    if run["state"] != "finished":
        raise Failure(f"{runs_view.sentence(run).text}", "The export is still there.", f"relay runs show {name}")
    left = sum(run["counts"].get(column, 0) for column in ("kept", "leaving_outstanding", "returned"))
    if left:
        raise Failure(
            f"{number(left)} profiles are not taken out, so the export is still there.",
            "The destination does not let them go, or has not answered yet.",
            f"relay exports remove {export} --take-members-out, to try again",
        )
    return run


def _started(relay: Relay, export: str, settings: int) -> str:
    """Return a run under the settings that were written: ours, or one that the stack started by itself."""
    reasons: list[str] = []

    def look() -> str | None:
        answer = relay.ask("run", export=export)
        if answer["run"] is not None:
            return str(answer["run"])
        reasons.append(answer["reason"])
        latest = relay.ask("runs", export=export, limit=1)["runs"]
        return str(latest[0]["run"]) if latest and latest[0]["settings"] >= settings else None

    relay.screen.note("waiting for the run that takes everybody out")
    name = relay.wait(STARTS_WITHIN, look, every=LOOK_EVERY)
    if name is None:
        helps = f"relay exports remove {export} --take-members-out, which goes on from here"
        raise TimedOut("No run started. The export is still there.", reasons[-1], helps)
    return str(name)


def _ended(relay: Relay, export: str, name: str) -> Answer:
    """Return the run once it is over. It asks for confirmation before it takes so many out: that was given."""
    with relay.screen.progress(f"run {name}", relay.now, SAY_EVERY) as move:

        def look() -> Answer | None:
            run = relay.ask("show", run=name)
            if run["state"] == runs_view.NEEDS_CONFIRMATION:
                relay.ask("confirm", run=name)
                return None
            counts = run["counts"]
            move(None, f"{number(counts.get('removed', 0))} of {number(counts.get('leaving', 0))} taken out")
            return None if run["state"] == runs_view.RUNNING else run

        run = relay.wait(DAY, look, every=LOOK_EVERY)
    if run is None:
        raise TimedOut(f"Run {name} goes on.", "", f"relay exports remove {export} --take-members-out, which goes on")
    answer: Answer = run
    return answer
