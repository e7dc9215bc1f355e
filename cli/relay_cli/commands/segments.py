"""Segments: which ones there are, and how many members we hold."""

from cyclopts import App

from relay_cli.commands import importing, segment_imports
from relay_cli.commands.common import FLAGS, LOOK
from relay_cli.failures import Exit
from relay_cli.parts import Cell, Facts, Line, Text, Tone, number, share
from relay_cli.relay import Answer, Injected, Relay
from relay_cli.views import people as view

app = App(
    name="segments", help="Segments: list, show, compare, import from files.", group=LOOK, default_parameter=FLAGS
)

app.command(importing.import_, name="import")
app.command(segment_imports.app)

SAY_EVERY = 15.0


@app.command(name="list")
def list_(*, relay: Injected) -> None:
    """List the segments that were ever seen."""
    answer = relay.ask("segments")
    never_seen = [{"never_seen": one} for one in answer["never_seen"]]
    relay.screen.show_list([*answer["segments"], *never_seen], view.segments(answer, relay.now()))


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

    Beside them it shows what the destinations say now, where their API tells it.

    Parameters
    ----------
    segment
        The segment, as source/segment.
    expect
        How many the platform says there are.
    tolerance
        By how many they may differ: both sides change all the time.
    """
    answer = _counted(relay, segment, ask_destinations=True)
    held = answer["members"]
    difference = held - expect
    differ = abs(difference) > tolerance
    than = f"{number(abs(difference))} {'more' if difference > 0 else 'fewer'} than" if difference else "as many as"
    said = f"We hold {number(held)} members of {segment}, {than} the platform."
    whole = {**answer, "expected": expect, "difference": difference}
    facts: list[tuple[str, Text]] = [
        ("the platform", number(expect)),
        ("here", f"{number(held)} ({share(held, expect)})"),
    ]
    line = Line(Cell(said, Tone.WARN if differ else Tone.GOOD))
    relay.screen.show(whole, [line, Facts(facts), *view.at_destinations(answer)])
    return Exit.WRONG if differ else Exit.WELL


def _counted(relay: Relay, segment: str, *, ask_destinations: bool | None = None) -> Answer:
    """Add the pages of a segment up. Times are the first and the last of all pages; texts of a time sort by it."""
    pages: list[Answer] = []
    members = 0
    with relay.screen.progress(segment, relay.now, SAY_EVERY) as move:
        for page in relay.pages("segment", segment=segment, ask_destinations=ask_destinations):
            pages.append(page)
            members += page["members"]
            move(None, f"{number(members)} members")

    def times(name: str) -> list[str]:
        return sorted(page[name] for page in pages if page.get(name))

    return {
        **pages[0],
        "members": members,
        "left": sum(page.get("left") or 0 for page in pages),
        "first_change": next(iter(times("first_change")), None),
        "last_change": next(reversed(times("last_change")), None),
        "last_received": next(reversed(times("last_received")), None),
        "next": None,
    }
