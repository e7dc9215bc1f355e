"""What sources and connections have in common: both are secrets of key/value texts."""

from collections.abc import Sequence

from relay_cli.editing import (
    Given,
    Kind,
    checked,
    completed,
    edited,
    hidden,
    masked,
    require_name,
    say_warnings,
    tested,
)
from relay_cli.failures import UsageFailure
from relay_cli.parts import Cell, Facts, Line, Text, Tone
from relay_cli.relay import Answer, Relay, unknown


def show(relay: Relay, kind: Kind, name: str, *, show_secrets: bool) -> None:
    """Show what is written down, secrets masked unless asked for."""
    document = fields_of(relay, kind, name)
    shown = document if show_secrets else masked(document, hidden(kind, relay.ask("describe"), document))
    rows: list[tuple[str, Text]] = [(key, str(value)) for key, value in shown.items()]
    relay.screen.show(shown, [Facts(rows, title=f"{kind.word.capitalize()} {name}")])


def add(relay: Relay, kind: Kind, name: str, given: Given, begun: dict[str, str]) -> None:
    """Write a new one, once it is asked for, checked by the stack, and found well."""
    require_name(kind, name)
    if name in relay.door.secret_names(f"{kind.word}s"):
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
    _written(relay, kind, name, "is removed. Secrets Manager restores it for 30 days.")


def fields_of(relay: Relay, kind: Kind, name: str) -> dict[str, str]:
    """Return what is written down; raises UsageFailure with near names when there is none."""
    found = relay.door.secret(f"{kind.word}s", name)
    if found is None:
        raise unknown(kind.word, name, relay.door.secret_names(f"{kind.word}s"), f"{kind.command} list")
    return dict(found)


def _written(relay: Relay, kind: Kind, name: str, said: str) -> None:
    text = f"The {kind.word} {name} {said}"
    relay.screen.show({kind.word: name, "done": text}, [Line(Cell(text, Tone.GOOD))])
