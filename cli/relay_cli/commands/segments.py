"""Segments: which ones there are, and how many members we hold."""

from collections.abc import Mapping
from typing import Any

from cyclopts import App

from relay_cli.commands.common import FLAGS, LOOK
from relay_cli.failures import Exit, Failure
from relay_cli.parts import Cell, Facts, Line, Text, Tone, number, share
from relay_cli.relay import Answer, Injected, Relay
from relay_cli.views import people as view

app = App(name="segments", help="Segments: list, show, compare with the platform.", group=LOOK, default_parameter=FLAGS)

SAY_EVERY = 15.0


@app.command(name="list")
def list_(*, relay: Injected) -> None:
    """List the segments that were ever seen."""
    found = relay.ask_list("segments", "segments")
    relay.screen.show_list(found, view.segments(found, relay.now()))


@app.command
def show(segment: str, /, *, relay: Injected) -> None:
    """Count the members we hold of a segment now, and show how that came about.

    Parameters
    ----------
    segment
        The segment, as source/segment.
    """
    answer = _counted(relay, segment)
    relay.screen.show(answer, view.segment(answer))


@app.command
def compare(segment: str, /, *, expect: int, tolerance: int = 0, relay: Injected) -> int:
    """Compare the members we hold with the number that the platform shows. Exit code 1 when they differ.

    Parameters
    ----------
    segment
        The segment, as source/segment.
    expect
        How many the platform says there are.
    tolerance
        By how many they may differ: both sides change all the time.
    """
    answer = _counted(relay, segment)
    held = answer["members"]
    differ = abs(held - expect) > tolerance
    whole = {**answer, "expected": expect, "difference": held - expect}
    said = f"We hold {number(held)} of {number(expect)} members of {segment}: {number(held - expect)} of difference."
    facts: list[tuple[str, Text]] = [
        ("the platform", number(expect)),
        ("here", f"{number(held)} ({share(held, expect)})"),
    ]
    facts += [(f"at {place}", number(count)) for place, count in _destinations(answer).items()]
    relay.screen.show(whole, [Line(Cell(said, Tone.WARN if differ else Tone.GOOD)), Facts(facts)])
    return Exit.WRONG if differ else Exit.WELL


def _destinations(answer: Answer) -> Mapping[str, int]:
    found: Mapping[str, int] = answer.get("destinations") or {}
    return found


def _counted(relay: Relay, segment: str) -> Answer:
    """Add the pages of a segment up."""
    members = 0
    whole: dict[str, Any] = {}
    with relay.screen.progress(segment, relay.now, SAY_EVERY) as move:
        for page in relay.pages("segment", segment=segment):
            members += page["members"]
            whole |= {name: value for name, value in page.items() if value is not None}
            move(None, f"{number(members)} members")
    if not whole:
        raise Failure(f"There is no segment {segment}.", "", "relay segments list")
    return {**whole, "segment": segment, "members": members, "next": None}
