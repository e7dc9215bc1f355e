"""What sources and connections have in common: both are secrets of key/value texts."""

from collections.abc import Callable, Sequence

from cyclopts import App

from relay_cli.commands.common import Assignments, FromFile, SecretFile
from relay_cli.editing import (
    Given,
    Kind,
    checked,
    completed,
    edited,
    hidden,
    masked,
    require_name,
    require_unchanged,
    say_warnings,
    tested,
)
from relay_cli.failures import UsageFailure
from relay_cli.parts import Cell, Facts, Line, Text, Tone
from relay_cli.relay import Answer, Injected, Relay, unknown


def show(relay: Relay, kind: Kind, name: str, *, show_secrets: bool) -> None:
    """Show what is written down, secrets masked unless asked for."""
    document = fields_of(relay, kind, name)
    shown = document if show_secrets else masked(document, hidden(kind, relay.ask("describe"), document))
    rows: list[tuple[str, Text]] = [(key, str(value)) for key, value in shown.items()]
    relay.screen.show(shown, [Facts(rows, title=f"{kind.word.capitalize()} {name}")])


def add(relay: Relay, kind: Kind, name: str, given: Given, begun: dict[str, str]) -> None:
    """Write a new one, once it is asked for, checked by the stack, and found well."""
    require_name(kind, name)
    # One that was removed is in no list, and its name is not free until it is gone: then this says so.
    if relay.door.secret(f"{kind.word}s", name) is not None:
        raise UsageFailure(f"There is a {kind.word} {name} already.", "", f"{kind.command} edit {name}")
    document = completed(relay, kind, begun, given, asks=True)
    say_warnings(relay, checked(relay, kind, name, document))
    relay.door.put_secret(f"{kind.word}s", name, document, new=True)
    _written(relay, kind, name, "is written down. It counts within a minute.")


def edit(relay: Relay, kind: Kind, name: str, given: Given) -> None:
    """Change one; without options in an editor."""
    before = fields_of(relay, kind, name)
    by_hand = given == Given()
    document = edited(relay, kind, before) if by_hand else completed(relay, kind, before, given, asks=False)
    say_warnings(relay, checked(relay, kind, name, document))
    require_unchanged(kind, name, before, fields_of(relay, kind, name), document)
    relay.door.put_secret(f"{kind.word}s", name, document, new=False)
    _written(relay, kind, name, "is changed. It counts within a minute.")


def tried(relay: Relay, kind: Kind, name: str) -> list[Answer]:
    """Let the stack look at one as it is written down; return its warnings."""
    return tested(relay, kind, name, fields_of(relay, kind, name))


def remove(relay: Relay, kind: Kind, name: str, said: Sequence[str], *, yes: bool) -> None:
    """Say what removing means, ask, and schedule the secret for deletion."""
    fields_of(relay, kind, name)
    for line in said:
        relay.screen.note(line, Tone.PLAIN)
    relay.person.agrees(f"Remove the {kind.word} {name}?", said_before=yes, helps=f"{kind.command} remove {name} --yes")
    relay.door.delete_secret(f"{kind.word}s", name)
    _written(relay, kind, name, f"is removed. For 30 days {kind.command} restore {name} brings it back.")


def restore(relay: Relay, kind: Kind, name: str) -> None:
    """Take the deletion of one back."""
    require_name(kind, name)
    relay.door.restore_secret(f"{kind.word}s", name)
    _written(relay, kind, name, "is back, as it was. It counts within a minute.")


def share(
    app: App,
    kind: Kind,
    *,
    editing: str,
    removal: str,
    stays: Sequence[str],
    hinders: Callable[[Relay, str], None] | None = None,
) -> None:
    """Add the commands that sources and connections have alike: show, edit, remove, restore.

    `editing` and `removal` are sentences of the help. `stays` is said before one is removed; `hinders` raises Failure
    where that must not be yet.
    """

    @app.command(name="show", help=f"Show a {kind.word} as it is written down.")
    def show_(name: str, /, *, show_secrets: bool = False, relay: Injected) -> None:
        """Show one.

        Parameters
        ----------
        name
            What it is called.
        show_secrets
            Show its secrets, too.
        """
        show(relay, kind, name, show_secrets=show_secrets)

    @app.command(
        name="edit",
        help=f"Change a {kind.word}. Without options it opens in your editor, without its secrets.\n\n{editing}",
    )
    def edit_(
        name: str, /, *, set_: Assignments = (), unset: tuple[str, ...] = (),
        from_: FromFile = None, secret_file: SecretFile = None, relay: Injected,
    ) -> None:  # fmt: skip
        """Change one.

        Parameters
        ----------
        name
            What it is called.
        set_
            A field, as field=value; may be given several times.
        unset
            A field to take away; may be given several times.
        from_
            A JSON file with fields; - for standard input.
        secret_file
            A file with a new secret (or a JSON object of several); - for standard input.
        """
        edit(relay, kind, name, Given(set_, unset, from_, secret_file))

    @app.command(name="remove", help=f"Remove a {kind.word}. {removal}")
    def remove_(name: str, /, *, yes: bool = False, relay: Injected) -> None:
        """Remove one.

        Parameters
        ----------
        name
            What it is called.
        yes
            Do not ask.
        """
        if hinders is not None:
            hinders(relay, name)
        remove(relay, kind, name, stays, yes=yes)

    @app.command(name="restore", help=f"Bring a {kind.word} back that was removed in the last 30 days.")
    def restore_(name: str, /, *, relay: Injected) -> None:
        """Bring one back.

        Parameters
        ----------
        name
            What it was called.
        """
        restore(relay, kind, name)


def fields_of(relay: Relay, kind: Kind, name: str) -> dict[str, str]:
    """Return what is written down; raises UsageFailure with near names when there is none."""
    found = relay.door.secret(f"{kind.word}s", name)
    if found is None:
        raise unknown(kind.word, name, relay.door.secret_names(f"{kind.word}s"), f"{kind.command} list")
    return dict(found)


def _written(relay: Relay, kind: Kind, name: str, said: str) -> None:
    text = f"The {kind.word} {name} {said}"
    relay.screen.show({kind.word: name, "done": text}, [Line(Cell(text, Tone.GOOD))])
