"""Removing an export: what stays at the destination, what is removed here and when."""

from relay_cli.editing import Document
from relay_cli.failures import Failure
from relay_cli.parts import Cell, Line, Tone
from relay_cli.relay import Relay


def remove(relay: Relay, export: str, document: Document, *, take_members_out: bool, yes: bool) -> None:
    """Say what removing means, ask, and remove the export's schedule and the export, in this order.

    Interrupted in between, the export has the default schedule, and removing it again goes on.
    """
    if take_members_out:
        raise Failure("--take-members-out is not there yet.")
    on_exit = (document.get("options") or {}).get("on_exit", "its default")
    for line in (
        f"Stays: everybody whom the export brought to the destination (on_exit is {on_exit}); profiles and segments.",
        "Removed now: the export and its schedule. Removed 30 days later: what is known of its members.",
        "Made again under the same name by then, it goes on where it was.",
    ):
        relay.screen.note(line, Tone.PLAIN)
    relay.person.agrees(f"Remove the export {export}?", said_before=yes, helps=f"relay exports remove {export} --yes")
    if relay.door.schedule(export) is not None:
        relay.door.delete_schedule(export)
    relay.door.delete_export(export)
    text = f"The export {export} is removed."
    relay.screen.show({"export": export, "done": text}, [Line(Cell(text, Tone.GOOD))])
