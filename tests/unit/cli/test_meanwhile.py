"""What others did to the same settings meanwhile: nobody's edit is overwritten, and what was removed comes back."""

import json
from collections.abc import Callable, Sequence

import pytest

from tests.unit.cli.stack_fake import FakeDoor, Terminal


def overtaken(door: FakeDoor, edit: Callable[[], None]) -> Callable[[object], dict[str, object]]:
    """Return an answer of the stack's check, while which somebody else edits."""

    def answer(_: object) -> dict[str, object]:
        edit()
        return {"errors": [], "warnings": []}

    return answer


@pytest.mark.parametrize(
    ("line", "own"),
    [
        (["edit", "newsletter/vip", "--set", "options.list_id=9"], "options.list_id"),
        (["pause", "newsletter/vip"], "state"),
        (["resume", "newsletter/trial"], "state"),
        (["remove", "newsletter/vip", "--take-members-out", "--yes"], "only_if"),
    ],
)
def test_an_export_that_somebody_else_edits_meanwhile_is_not_overwritten(
    relay: Terminal, door: FakeDoor, line: Sequence[str], own: str
) -> None:
    key = line[1]
    if "remove" in line:
        relay("exports", "edit", key, "--set", "options.on_exit=unsubscribe")
    theirs = {**json.loads(door.exports[key]), "mapping": {"email": "attributes.mail"}}
    door.answers["validate"] = overtaken(door, lambda: door.exports.update({key: json.dumps(theirs)}))

    door.answers["confirm"] = {"done": False, "reason": "there is no such run"}

    ended = relay("exports", *line)

    assert (ended.code, json.loads(door.exports[key])) == (1, theirs)
    assert f"Somebody else has changed the export {key} meanwhile. Nothing was written." in ended.err
    assert f"They changed: mapping.email. You: {own}." in ended.err


@pytest.mark.parametrize(
    ("line", "own"),
    [
        (["connections", "edit", "newsletter", "--set", "display_name=Mine"], "display_name"),
        (["sources", "edit", "crm", "--set", "profile_key=identities.id"], "profile_key"),
    ],
)
def test_a_secret_that_somebody_else_edits_meanwhile_is_not_overwritten(
    relay: Terminal, door: FakeDoor, line: Sequence[str], own: str
) -> None:
    name = f"{line[0]}/{line[2]}"
    theirs = {**door.secrets[name], "description": "theirs"}
    door.answers["validate"] = overtaken(door, lambda: door.secrets.update({name: theirs}))

    ended = relay(*line)

    assert (ended.code, door.secrets[name]) == (1, theirs)
    assert f"They changed: description. You: {own}." in ended.err


@pytest.mark.parametrize(("kind", "name"), [("sources", "shop"), ("connections", "product")])
def test_what_was_removed_can_be_brought_back(relay: Terminal, door: FakeDoor, kind: str, name: str) -> None:
    before = dict(door.secrets)
    removed = relay(kind, "remove", name, "--yes")

    assert f"For 30 days relay {kind} restore {name} brings it back." in removed.out
    for command in ("show", "edit", "add"):
        refused = relay(kind, command, name)
        assert (refused.code, f"Next: relay {kind} restore {name}" in refused.err) == (1, True)
    assert relay(kind, "restore", name).code == 0
    assert door.secrets == before
