"""Connections: the accounts at destinations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cyclopts import App

from relay_cli.commands import secrets
from relay_cli.commands.common import FLAGS, SETTINGS, Assignments, FromFile, SecretFile
from relay_cli.editing import Field, Given, Kind, read_fields
from relay_cli.failures import Exit, Failure
from relay_cli.parts import Cell, Line, Table, Tone
from relay_cli.relay import Answer, Injected, Relay
from relay_cli.views import looking

app = App(
    name="connections",
    help="Connections, the accounts at destinations: list, show, add, edit, test, remove, restore.",
    group=SETTINGS,
    default_parameter=FLAGS,
)

AGREED = "I agree"
"""What an administrator writes down as `privacy_consent`."""


def _fields(described: Answer, document: dict[str, Any]) -> Sequence[Field]:
    """Return what every connection has, and what its destination adds once that is known."""
    destinations = described["destinations"]
    common = [
        replace(one, choices=sorted(destinations)) if one.name == "destination" else one
        for one in read_fields(described["connection_fields"])
    ]
    of_destination = destinations.get(document.get("destination")) or {}
    own = read_fields(of_destination.get("connection_fields") or ())
    named = {one.name for one in own}
    return [*(one for one in common if one.name not in named), *own]


KIND = Kind("connection", _fields)


@app.command(name="list")
def list_(*, relay: Injected) -> None:
    """List the connections with their state."""
    found = relay.ask("status")["connections"]
    relay.screen.show_list(found, [looking.connections(found)])


@app.command
def add(
    name: str, /, *, destination: str | None = None, consent: bool = False, set_: Assignments = (),
    from_: FromFile = None, secret_file: SecretFile = None, relay: Injected,
) -> None:  # fmt: skip
    """Write a new connection down. It asks for what is needed, and the stack checks it before anything is written.

    Parameters
    ----------
    name
        What it is called.
    destination
        The kind of destination, such as activecampaign.
    consent
        You agree: on your instruction data leaves your account for this destination, and you answer for it.
    set_
        A field, as field=value; may be given several times.
    from_
        A JSON file with fields; - for standard input.
    secret_file
        A file with the secret (or a JSON object of several); - for standard input.
    """
    begun = {"destination": destination} if destination else {}
    if consent:
        begun["privacy_consent"] = AGREED
    secrets.add(relay, KIND, name, Given(set_, (), from_, secret_file), begun)
    relay.screen.note(f"Next: relay exports add {name}/NAME")


@app.command(name="test")
def try_(name: str, /, *, probe: bool = False, relay: Injected) -> int:
    """Look at a connection's account, its exports, and what they depend on. Exit code 1 when something is wrong.

    Parameters
    ----------
    name
        The connection.
    probe
        Probe what is stopped now, instead of in some minutes: what is well again goes on.
    """
    if probe:
        answer = relay.ask("probe", connection=name)
        stopped = answer["stopped"]
        lines = [Line(Cell(f"{subject} goes on.", Tone.GOOD)) for subject in answer["restarted"]]
        table = [
            Table(("stopped", "code", "reason"), [[one["subject"], one["code"], one["reason"]] for one in stopped])
        ]
        relay.screen.show(answer, [*lines, *(table if stopped else [])] or [Line("Nothing is stopped.")])
        return Exit.PERSON if stopped else Exit.WELL
    answer = relay.ask("check", connection=name)
    relay.screen.show(answer, looking.check(answer))
    return Exit.WELL if answer["well"] else Exit.WRONG


def _require_no_exports(relay: Relay, name: str) -> None:
    left = [key for key in relay.door.export_keys() if key.startswith(f"{name}/")]
    if left:
        raise Failure(
            f"The connection {name} has exports: {', '.join(left)}.",
            "Remove them first, so that what becomes of their members is decided.",
            f"relay exports remove {left[0]}",
        )


secrets.share(
    app,
    KIND,
    editing="A connection is one account for good: make a new one for another account.",
    removal="It must have no exports. Everybody stays at the destination.",
    stays=(
        "Stays: everybody at the destination.",
        "Removed: the secret, now. What is known of the account is removed 30 days later.",
    ),
    hinders=_require_no_exports,
)
