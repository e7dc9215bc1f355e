"""Forgetting a person."""

from relay_cli.commands.common import Input
from relay_cli.commands.explaining import profile_of
from relay_cli.failures import TimedOut
from relay_cli.relay import Answer, Injected
from relay_cli.views import people as view


def forget(
    profile: Input, /, *, at_destinations: bool = False, yes: bool = False, timeout: float = 600, relay: Injected
) -> None:
    """Forget a person: every export sees them leave, then nothing here holds anything of them.

    It says what was removed where, and what remains until which day. Asked again, it goes on where it was.

    Parameters
    ----------
    profile
        Source and key, an identity, or a profile id; - reads it from standard input.
    at_destinations
        Delete the contact or user at the destinations, too, where their API allows it.
    yes
        Do not ask.
    timeout
        Seconds to wait at most.
    """
    meant = profile_of(relay, profile)
    there = " and at the destinations" if at_destinations else ""
    relay.person.agrees(
        f"Forget this person here{there}? This cannot be taken back.",
        said_before=yes,
        helps="relay forget PROFILE --yes",
    )

    def look() -> Answer | None:
        answer = relay.ask("forget", profile=meant, at_destinations=at_destinations or None)
        latest.append(answer)
        return answer if answer["state"] == "done" else None

    latest: list[Answer] = []
    answer = relay.wait(timeout, look, every=2.0)
    relay.screen.show(latest[-1], view.forgotten(latest[-1]))
    if answer is None:
        raise TimedOut("It goes on by itself, and is not done yet.", "", "relay forget PROFILE, to see the end")
