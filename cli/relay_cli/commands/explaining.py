"""Why somebody was sent, or not."""

from relay_cli.commands.common import Input
from relay_cli.relay import Injected, Relay
from relay_cli.views import people as view


def explain(profile: Input, export: str | None = None, /, *, show_values: bool = False, relay: Injected) -> None:
    """Say why a person was sent, or not: one sentence first, then the facts.

    Parameters
    ----------
    profile
        Source and key (crm:c-1001), an identity (email:kim@example.com), or a profile id. - reads it from standard
        input, so that it is in no shell history.
    export
        Only this export (connection/export).
    show_values
        Show identities and attributes, too. Needs an operator's rights.
    """
    answer = relay.ask("explain", values=show_values, profile=profile_of(relay, profile), export=export)
    relay.screen.show(answer, view.explained(answer, relay.now()))


def profile_of(relay: Relay, given: str) -> str:
    """Return who is meant, from the command line or from standard input."""
    return relay.read("-").decode(errors="replace").strip() if given == "-" else given
