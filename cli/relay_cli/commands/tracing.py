"""Looking at one profile for real, and at what happened under a trace."""

from relay_cli.commands.common import Input
from relay_cli.commands.explaining import profile_of
from relay_cli.failures import TimedOut
from relay_cli.relay import Answer, Injected
from relay_cli.views import people as view


def try_(export: str, profile: Input, /, *, show_values: bool = False, timeout: float = 60, relay: Injected) -> None:
    """Look at one profile for an export, through its queue and at its pace, and show each attempt: request and answer.

    What is missing at the destination is sent, as with any look. What goes as an import is followed until that is
    answered. An export that does not stream acts only by its runs: before one under the present settings took place,
    and after one that was cut short, the look is left to the next run.

    Parameters
    ----------
    export
        The export, as connection/export.
    profile
        Source and key, an identity, or a profile id; - reads it from standard input.
    show_values
        Show values instead of masks.
    timeout
        Seconds to wait for the attempt at most.
    """
    # Whether values are kept is decided when the look is asked for; whether they are shown, again at the end.
    shown = True if show_values else None
    begun = relay.ask("test", export=export, profile=profile_of(relay, profile), show_values=shown)

    latest: list[Answer] = []

    def look() -> Answer | None:
        latest[:] = [relay.ask("trace", values=show_values, trace=begun["trace"])]
        return latest[0] if latest[0]["attempts"] and not latest[0]["import_open"] else None

    relay.screen.note(f"waiting for the look (trace {begun['trace']})")
    answer = relay.wait(timeout, look)
    if answer is None and not (latest and latest[0]["attempts"]):
        why = "The queue is busy, or the connection is stopped."
        raise TimedOut(f"There was no attempt within {timeout:.0f} seconds.", why, f"relay trace {begun['trace']}")
    relay.screen.show(latest[0], view.attempts(latest[0]))
    if answer is None:
        why = "The destination takes its time."
        said = f"The import is not answered within {timeout:.0f} seconds."
        raise TimedOut(said, why, f"relay trace {begun['trace']}")


def trace(trace: str, /, *, show_values: bool = False, relay: Injected) -> None:
    """Show the attempts under a trace, which relay test names.

    Parameters
    ----------
    trace
        The trace.
    show_values
        Show values instead of masks. Needs an operator's rights.
    """
    answer = relay.ask("trace", values=show_values, trace=trace)
    relay.screen.show(answer, view.attempts(answer))
