"""Exports: which segments go to which connection, and how."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cyclopts import App

from relay_cli.commands import removing
from relay_cli.commands.common import FLAGS, SETTINGS, Assignments, FromFile
from relay_cli.editing import (
    Document,
    Field,
    Given,
    Kind,
    checked,
    completed,
    edited,
    read_fields,
    require_name,
    require_unchanged,
    say_warnings,
    tested,
)
from relay_cli.failures import Failure, UsageFailure
from relay_cli.parts import Cell, Facts, Line, Text, Tone
from relay_cli.relay import Answer, Injected, Relay, unknown
from relay_cli.views import looking

app = App(
    name="exports",
    help="Exports, segments to a connection: list, show, add, edit, test, remove, pause, resume, duplicate, schedule.",
    group=SETTINGS,
    default_parameter=FLAGS,
)

_OBJECTS = frozenset({"mapping", "options"})


def _fields(described: Answer, document: dict[str, Any]) -> Sequence[Field]:  # noqa: ARG001 - see `_fields_of`
    return read_fields(described["export_fields"])


KIND = Kind("export", _fields, texts_only=False)
SCHEDULE = Kind("schedule", lambda _described, _document: ())


def _kind_of(relay: Relay, key: str) -> Kind:
    """Return the kind with the options and mapped fields of the connection's destination."""
    connection = key.split("/")[0]
    found = {one["name"]: one for one in relay.ask("status")["connections"]}
    if connection not in found:
        raise unknown("connection", connection, sorted(found), "relay connections list")
    destination = found[connection].get("destination")

    def fields(described: Answer, document: dict[str, Any]) -> Sequence[Field]:
        own = described["destinations"].get(destination) or {}
        common = [one for one in _fields(described, document) if one.name not in _OBJECTS]
        inner = [
            Field(f"{lead}.{one.name}", one.means, one.required, one.secret, one.default, one.choices, one.type)
            for lead, name in (("mapping", "mapping_fields"), ("options", "export_options"))
            for one in read_fields(own.get(name) or ())
        ]
        return [*common, *inner]

    return Kind("export", fields, texts_only=False)


@app.command(name="list")
def list_(connection: str | None = None, /, *, relay: Injected) -> None:
    """List the exports with their state, last run and next start.

    Parameters
    ----------
    connection
        Only those of this connection.
    """
    connections = {one["name"]: one["exports"] for one in relay.ask("status")["connections"]}
    if connection is not None and connection not in connections:
        raise unknown("connection", connection, sorted(connections), "relay connections list")
    found = [one for name, own in connections.items() if connection in (None, name) for one in own]
    relay.screen.show_list(found, [looking.exports(found, relay.now())])


@app.command
def show(export: str, /, *, relay: Injected) -> None:
    """Show an export as it is written down, and its schedule.

    With --json it is the document alone, as --from takes it; relay exports schedule has the schedule.

    Parameters
    ----------
    export
        The export, as connection/export.
    """
    document = _document(relay, export)
    schedule = relay.door.schedule(export)
    shown = "the default schedule" if schedule is None else f"{schedule.expression} {schedule.timezone}"
    if schedule is not None and not schedule.enabled:
        shown += " (disabled)"
    if relay.screen.as_json:
        relay.screen.show(document, [])
        return
    rows: list[tuple[str, Text]] = [(name, _shown(value)) for name, value in document.items()]
    relay.screen.show(None, [Facts([*rows, ("schedule", shown)], title=f"Export {export}")])


@app.command
def add(export: str, /, *, set_: Assignments = (), from_: FromFile = None, relay: Injected) -> None:
    """Write a new export down. It asks for what is needed, and the stack checks it before anything is written.

    One that streams begins to send at once; the others begin with their next run. Its segments must have been seen:
    let the platform send somebody of each first, or use relay send.

    Parameters
    ----------
    export
        What it is called, as connection/export.
    set_
        A field, such as segments=crm/vip, mapping.email=attributes.email or options.list_id=12; may be given several
        times.
    from_
        A JSON file with fields; - for standard input.
    """
    require_name(KIND, export)
    if export in relay.door.export_keys():
        raise UsageFailure(f"There is an export {export} already.", "", f"relay exports edit {export}")
    kind = _kind_of(relay, export)
    document = completed(relay, kind, {"state": "active"}, Given(set_, (), from_), asks=True)
    _write(relay, kind, export, document, said="is written down. It counts within a minute.")
    relay.screen.note(f"Next: relay plan {export}")


@app.command
def edit(
    export: str, /, *, set_: Assignments = (), unset: tuple[str, ...] = (),
    from_: FromFile = None, relay: Injected,
) -> None:  # fmt: skip
    """Change an export. Without options it opens in your editor.

    Parameters
    ----------
    export
        The export, as connection/export.
    set_
        A field, such as options.list_id=12; may be given several times.
    unset
        A field to take away, such as options.on_exit; may be given several times.
    from_
        A JSON file with fields; - for standard input.
    """
    # What a file replaces need not be readable.
    before = _document(relay, export) if from_ is None else _replaced(relay, export)
    kind = _kind_of(relay, export)
    given = Given(set_, unset, from_)
    document = edited(relay, kind, before) if given == Given() else completed(relay, kind, before, given, asks=False)
    _write(relay, kind, export, document, before=before, said="is changed. It counts within a minute.")


@app.command(name="test")
def try_(export: str, /, *, relay: Injected) -> None:
    """Let the stack check an export as it is written down, at the destination, too.

    Parameters
    ----------
    export
        The export, as connection/export.
    """
    warnings = tested(relay, KIND, export, _document(relay, export))
    say_warnings(relay, warnings)
    relay.screen.show({"well": True, "warnings": warnings}, [Line(Cell(f"The export {export} is well.", Tone.GOOD))])


@app.command
def pause(export: str, /, *, relay: Injected) -> None:
    """Pause an export: nothing is sent. What comes meanwhile is made up for by a run when it goes on.

    Parameters
    ----------
    export
        The export, as connection/export.
    """
    _set_state(relay, export, "paused", "is paused within a minute.")


@app.command
def resume(export: str, /, *, relay: Injected) -> None:
    """Let a paused export go on.

    Parameters
    ----------
    export
        The export, as connection/export.
    """
    _set_state(relay, export, "active", "goes on within a minute.")


@app.command
def duplicate(export: str, copy: str, /, *, set_: Assignments = (), relay: Injected) -> None:
    """Write a copy of an export down. It is paused until you resume it.

    Two exports of one connection cannot have the same list, segment or marking: change it with --set.

    Parameters
    ----------
    export
        The export, as connection/export.
    copy
        What the copy is called, as connection/export.
    set_
        A field that differs, such as options.list_id=12; may be given several times.
    """
    require_name(KIND, copy)
    if copy in relay.door.export_keys():
        raise UsageFailure(f"There is an export {copy} already.", "", f"relay exports edit {copy}")
    begun = {**_document(relay, export), "state": "paused"}
    kind = _kind_of(relay, copy)
    document = completed(relay, kind, begun, Given(set_), asks=False)
    _write(relay, kind, copy, document, said="is written down, and paused.")
    relay.screen.note(f"Next: relay exports resume {copy}")


@app.command
def schedule(
    export: str, expression: str | None = None, /, *, timezone: str | None = None, remove: bool = False, relay: Injected
) -> None:
    """Give an export a schedule of its own, show it, or take it away: then the default schedule starts it.

    Parameters
    ----------
    export
        The export, as connection/export.
    expression
        When, as EventBridge Scheduler has it: 'cron(0 4 * * ? *)', 'rate(6 hours)' or 'at(2027-01-31T04:00:00)'.
    timezone
        The time zone of the expression, such as Europe/Berlin. Without it: UTC.
    remove
        Take the schedule away.
    """
    if timezone is not None and expression is None:
        raise UsageFailure(
            "--timezone is that of an expression, and there is none.",
            "",
            f"relay exports schedule {export} 'cron(0 4 * * ? *)' --timezone {timezone}",
        )
    _document(relay, export)
    now = relay.door.schedule(export)
    if remove and expression is None:
        if now is None:
            raise UsageFailure(
                f"{export} has no schedule of its own.", "", f"relay exports schedule {export} 'cron(...)'"
            )
        relay.door.delete_schedule(export)
        _said(relay, export, "has no schedule of its own any more: the default schedule starts it.")
        return
    if expression is None:
        if now is None:
            _said(relay, export, "has no schedule of its own: the default schedule starts it.", schedule=None)
        else:
            state = "" if now.enabled else " It is disabled, so it starts nothing."
            _said(relay, export, f"runs at {now.expression} {now.timezone}.{state}", schedule=asdict(now))
        return
    if remove:
        raise UsageFailure("A schedule is either written or removed.", "", f"relay exports schedule {export} --remove")
    checked(relay, SCHEDULE, export, {"expression": expression, "timezone": timezone or "UTC"}, looks=False)
    relay.door.put_schedule(export, expression, timezone or "UTC")
    disabled = (
        "" if now is None or now.enabled else " It is disabled: enable it in the console of EventBridge Scheduler."
    )
    _said(relay, export, f"runs at {expression} {timezone or 'UTC'}.{disabled}")


@app.command
def remove(export: str, /, *, take_members_out: bool = False, yes: bool = False, relay: Injected) -> None:
    """Remove an export. Its members stay at the destination, unless they are taken out first.

    Parameters
    ----------
    export
        The export, as connection/export.
    take_members_out
        Take everybody out at the destination first, as the export's on_exit says.
    yes
        Do not ask.
    """
    document = _document(relay, export) if take_members_out else _replaced(relay, export)
    kind = _kind_of(relay, export)
    removing.remove(relay, kind, export, document, take_members_out=take_members_out, yes=yes)


def _set_state(relay: Relay, export: str, state: str, said: str) -> None:
    document = _document(relay, export)
    if document.get("state") == state:
        _said(relay, export, f"is {state} already.")
        return
    changed = {**document, "state": state}
    _write(relay, KIND, export, changed, before=document, said=said, looks=state == "active")


def _write(
    relay: Relay,
    kind: Kind,
    export: str,
    document: Document,
    *,
    said: str,
    before: Document | None = None,
    looks: bool = True,
) -> None:
    """Write an export once the stack finds it well; `before` is what it replaces, None for a new one."""
    say_warnings(relay, checked(relay, kind, export, document, looks=looks))
    if before is not None:
        require_unchanged(kind, export, before, _replaced(relay, export), document)
    relay.door.put_export(export, json.dumps(document, indent=2, ensure_ascii=False), new=before is None)
    _said(relay, export, said)


def _said(relay: Relay, export: str, said: str, **more: Any) -> None:
    text = f"The export {export} {said}"
    relay.screen.show({"export": export, "done": text, **more}, [Line(Cell(text, Tone.GOOD))])


def _document(relay: Relay, export: str) -> Document:
    require_name(KIND, export)
    text = relay.door.export(export)
    if text is None:
        raise unknown("export", export, relay.door.export_keys(), "relay exports list")
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Failure(
            f"The export {export} is no JSON object.",
            "It was written by hand.",
            f"relay exports edit {export} --from FILE",
        )
    return document


def _replaced(relay: Relay, export: str) -> Document:
    """Return what is written down of an export, nothing where it is no JSON object."""
    try:
        return _document(relay, export)
    except UsageFailure:
        raise
    except Failure:
        return {}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
