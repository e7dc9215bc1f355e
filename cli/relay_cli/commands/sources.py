"""Sources: the platforms that post webhooks."""

from collections.abc import Sequence
from typing import Any

from cyclopts import App

from relay_cli.commands import secrets
from relay_cli.commands.common import FLAGS, SETTINGS, Assignments, FromFile, Input, SecretFile
from relay_cli.editing import Field, Given, Kind, read_fields, say_warnings
from relay_cli.failures import Exit
from relay_cli.parts import Cell, Facts, Line, Part, Table, Tone, listed, number
from relay_cli.relay import Answer, Injected
from relay_cli.views import looking

app = App(
    name="sources",
    help="Sources, the platforms that post: list, show, add, edit, test, remove, restore.",
    group=SETTINGS,
    default_parameter=FLAGS,
)


def _fields(described: Answer, document: dict[str, Any]) -> Sequence[Field]:  # noqa: ARG001 - the same for every source
    return read_fields(described["source_fields"])


KIND = Kind("source", _fields)


@app.command(name="list")
def list_(*, relay: Injected) -> None:
    """List the sources, with when they last sent something."""
    found = relay.ask("status")["sources"]
    relay.screen.show_list(found, [looking.sources(found, relay.now())])


@app.command
def add(
    name: str, /, *, set_: Assignments = (), from_: FromFile = None,
    secret_file: SecretFile = None, relay: Injected,
) -> None:  # fmt: skip
    """Write a new source down. It asks for what is needed, and the stack checks it before anything is written.

    Parameters
    ----------
    name
        What it is called: platforms post to its name.
    set_
        A field, as field=value; may be given several times.
    from_
        A JSON file with fields; - for standard input.
    secret_file
        A file with the secret; - for standard input.
    """
    secrets.add(relay, KIND, name, Given(set_, (), from_, secret_file), {})
    relay.screen.note(f"Platforms post to {relay.door.webhook_url}/{name}. Next: relay send {name} FILE")


@app.command(name="test")
def try_(name: str, file: Input | None = None, /, *, relay: Injected) -> int:
    """Let the stack check a source as it is written down; with a file, show what it would take of that body.

    Nothing is stored. Exit code 1 when something of the file is rejected or left out.

    Parameters
    ----------
    name
        The source.
    file
        A file with a body as the platform posts it; - for standard input.
    """
    warnings = secrets.tried(relay, KIND, name)
    say_warnings(relay, warnings)
    if file is None:
        relay.screen.show({"well": True, "warnings": warnings}, [Line(Cell(f"The source {name} is well.", Tone.GOOD))])
        return Exit.WELL
    answer = relay.ask("take", source=name, body=relay.read(file).decode(errors="replace"))
    relay.screen.show(answer, _taken(answer))
    return Exit.WRONG if answer["rejected"] or answer["left_out"] else Exit.WELL


def _taken(answer: Answer) -> list[Part]:
    rows = [
        [
            one["rejected"] or ("forget" if one["forget"] else "taken"),
            listed(one["identities"]),
            listed(one["attributes"]),
            listed(f"{'in' if m['realized'] else 'out of'} {m['segment']} at {m['at']}" for m in one["memberships"]),
        ]
        for one in answer["changes"]
    ]
    ignored = [f"{kind} {number(count)}" for kind, count in sorted(answer["ignored"].items())]
    counts = (
        ("accepted", number(answer["accepted"])),
        ("rejected", number(answer["rejected"])),
        ("ignored", listed([*ignored, f"memberships {number(answer['ignored_memberships'])}"])),
        ("left out", listed(f"{one['pointer']} {one['detail']}" for one in answer["left_out_parts"])),
    )
    return [Table(("change", "identities", "attributes", "memberships"), rows), Facts(counts)]


secrets.share(
    app,
    KIND,
    editing="Webhooks go by it within a minute.",
    removal="What it sent stays; its webhooks are answered with 404 within a minute.",
    stays=(
        "Stays: its profiles, its segments, and everybody at the destinations.",
        "Removed: the secret. Webhooks to it are refused within a minute, and what the platform sends is lost.",
    ),
)
