"""Forgetting a person."""

from relay_cli.commands.common import Input
from relay_cli.commands.explaining import profile_of
from relay_cli.failures import Failure, TimedOut
from relay_cli.parts import at, listed, several
from relay_cli.relay import Answer, Injected, Relay
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
    if since is None and not yes:
        meant = _agreed(relay, meant, at_destinations=at_destinations)
    latest: list[Answer] = []

    def look() -> Answer | None:
        # Once it has begun an address leads nowhere: the profile id does.
        if latest:
            answer = relay.ask("forget", profile=latest[-1]["profile"], since=latest[-1]["at"])
        else:
            answer = relay.ask("forget", profile=meant, at_destinations=at_destinations or None, since=since)
        if answer["waiting"] and (not latest or answer["waiting"] != latest[-1]["waiting"]):
            waits = [f"{one['export']} ({one['why']})" for one in answer["waiting"]]
            relay.screen.note(f"It waits for {listed(waits)}.")
        latest.append(answer)
        return answer if answer["state"] == "done" else None

    answer = relay.wait(timeout, look, every=LOOK_EVERY)
    shown = latest[-1]
    relay.screen.show(shown, view.forgotten(shown))
    if answer is None:
        helps = f"relay forget {shown['profile']} --since {shown['at']}"
        raise TimedOut("It goes on by itself, and is not done yet.", "", helps)


def _agreed(relay: Relay, meant: str, *, at_destinations: bool) -> str:
    """Ask somebody, say who it is, and return the profile id. Raises Failure when nobody, or several, are meant."""
    found = relay.ask("explain", profile=meant)
    profile = found["profile"]
    if profile is None:
        raise Failure("Nobody is forgotten.", found["sentence"])
    if found["others"]:
        ids = listed([profile["id"], *found["others"]])
        raise Failure("Nobody is forgotten.", f"It stands for several profiles: {ids}.", "relay forget PROFILE_ID")
    if profile.get("forgotten_at") and profile.get("stored_at") is None:
        who = f"Profile {profile['id']} of source {profile['source']} was forgotten at {at(profile['forgotten_at'])}."
        question = f"{who} Have it looked through once more?"
    else:
        assigned = [one["export"] for one in found["exports"] if one.get("assigned_since")]
        where = f"assigned by {several(len(assigned), 'export', 'exports')}"
        names = f" ({listed(assigned)})" if assigned else ""
        there = " and at the destinations" if at_destinations else ""
        who = f"profile {profile['id']} of source {profile['source']}, {where}{names}"
        question = f"Forget {who}, here{there}? This cannot be taken back."
    relay.person.agrees(question, said_before=False, helps=f"relay forget {profile['id']} --yes")
    return str(profile["id"])
