"""Forgetting a person."""

from relay_cli.commands.common import Input
from relay_cli.commands.explaining import profile_of
from relay_cli.failures import TimedOut
from relay_cli.parts import listed
from relay_cli.relay import Answer, Injected
from relay_cli.views import people as view

LOOK_EVERY = 2.0


def forget(
    profile: Input, /, *, at_destinations: bool = False, since: str | None = None, yes: bool = False,
    timeout: float = 600, relay: Injected,
) -> None:  # fmt: skip
    """Forget a person: every export sees them leave, then nothing here holds anything of them.

    It says what was removed where, and what remains until which day. It goes on by itself; with --since it says
    how far it is.

    Parameters
    ----------
    profile
        Source and key, an identity, or a profile id; - reads it from standard input.
    at_destinations
        Delete the contact or user at the destinations, too, where their API allows it.
    since
        The time that the first answer says: only look how far that forgetting is. Whoever came back is not forgotten.
    yes
        Do not ask.
    timeout
        Seconds to wait at most.
    """
    meant = profile_of(relay, profile)
    there = " and at the destinations" if at_destinations else ""
    if since is None:
        relay.person.agrees(
            f"Forget this person here{there}? This cannot be taken back.",
            said_before=yes,
            helps="relay forget PROFILE --yes",
        )
    latest: list[Answer] = []

    def look() -> Answer | None:
        # Once it has begun an address leads nowhere: the profile id does.
        if latest:
            answer = relay.ask("forget", profile=latest[-1]["profile"], since=latest[-1]["at"])
        else:
            answer = relay.ask("forget", profile=meant, at_destinations=at_destinations or None, since=since)
        names = [one["export"] for one in answer["waiting"]]
        if names and (not latest or names != [one["export"] for one in latest[-1]["waiting"]]):
            relay.screen.note(f"It waits for {listed(names)}.")
        latest.append(answer)
        return answer if answer["state"] == "done" else None

    answer = relay.wait(timeout, look, every=LOOK_EVERY)
    shown = latest[-1]
    relay.screen.show(shown, view.forgotten(shown))
    if answer is None:
        helps = f"relay forget {shown['profile']} --since {shown['at']}"
        raise TimedOut("It goes on by itself, and is not done yet.", "", helps)
