"""What is said of where a profile stands, in a sentence or two: what the matter is, and what happens next. Pure."""

from collections.abc import Sequence
from datetime import datetime

from relay.domain.problems import UNCONFIRMED
from relay.domain.runs import ENDED, RunState
from relay.reconcile.job import SECOND_CHANCE
from relay.reconcile.standing import AtTarget, Matter, Standing, State
from relay.workers.operators.surroundings import Surroundings


def moment(at: datetime | None) -> str:
    """Return a time as it is told: `2026-01-31 12:00 UTC`."""
    return "an unknown time" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def sentence(standing: Standing, around: Surroundings, means: str | None) -> str:
    """Return what is to be said of a profile in an export; `means` is what the code of its rejection means."""
    said = _said(standing, around, means)
    if standing.state in (State.DELIVERED, State.NOT_SELECTED, State.KEPT, State.DUPLICATE):
        stop = _stop(around)
        return said if stop is None else f"{said} {stop}"
    return said


def overall(standings: Sequence[tuple[Standing, str]]) -> str:
    """Return what is to be said of a stored profile first, given where it stands in each export and what is said there.

    What is well is counted, what is not is said in full.
    """
    concerned = [(one, said) for one, said in standings if one.state is not State.NOT_SELECTED]
    if not standings:
        return "The profile is stored, and there is no export."
    if not concerned:
        if len(standings) == 1:
            return f"The profile is stored. {standings[0][1]}"
        return f"The profile is stored. None of the {len(standings)} exports selects it."
    if len(concerned) == 1:
        one, said = concerned[0]
        return f"{one.export.key}: {said}"
    well = [one.export.key for one, _ in concerned if one.state is State.DELIVERED]
    if len(well) == len(concerned):
        return f"All {len(well)} exports that select the profile have delivered it: {', '.join(well)}."
    parts = [f"Delivered by {', '.join(well)}."] if well else []
    parts += [f"{one.export.key}: {said}" for one, said in concerned if one.state is not State.DELIVERED]
    return " ".join(parts)


def of_forgotten(at: datetime, standings: Sequence[tuple[Standing, str]]) -> str:
    """Return what is to be said of somebody who was forgotten first."""
    left = [f"{one.export.key}: {said}" for one, said in standings if one.state is not State.NOT_SELECTED]
    rest = "Newer news makes a new person of it." if not left else "It is still to be taken out."
    return " ".join([f"The person was forgotten at {moment(at)}, and nothing is known of it since. {rest}", *left])


def of_deleted_first(at: datetime, standings: Sequence[tuple[Standing, str]]) -> str:
    """Return what is to be said of somebody who came back before the deletion that was asked for is done."""
    left = [f"{one.export.key}: {said}" for one, said in standings if one.state is not State.NOT_SELECTED]
    first = f"The person was forgotten at {moment(at)}, and is deleted at the destinations first."
    return " ".join([f"{first} What came since enters when that is done.", *left])


_NOBODY_YET = "Nobody is taken out before a run under the present settings was let through."


def _said(standing: Standing, around: Surroundings, means: str | None) -> str:
    if standing.defect is not None:
        return (
            f"A defect of ours was met with the profile at {moment(standing.defect.at)}, so it is set aside. "
            "Every look at it and every run tries it again. Report the place in the code."
        )
    if standing.rejection is not None:
        return (
            f"Rejected: {_reason(standing.rejection.code, standing.rejection.detail)}. "
            f"It is tried again when the profile or the settings of the export change."
        )
    worst = standing.worst
    if worst is None or worst.matter in (Matter.OUT, Matter.OTHERS):
        return _not_selected(standing, worst)
    if worst.is_wanted:
        return _of_member(worst, around, means)
    return _of_leaver(standing, worst, around, means)


def _not_selected(standing: Standing, worst: AtTarget | None) -> str:
    if standing.is_forgotten:
        return _with_what_is_held("Not selected: the person was forgotten.", worst)
    if standing.is_left_out:
        return _with_what_is_held("Not selected: the export's only_if is false for the profile.", worst)
    left = [held.at for held in standing.memberships.values() if not held.realized]
    if not left:
        of = ", ".join(standing.export.segments)
        said = f"Not selected: the profile is in none of the export's segments ({of})."
    else:
        said = f"Not selected: the profile left the export's segments at {moment(max(left))}."
    return _with_what_is_held(said, worst)


def _with_what_is_held(said: str, worst: AtTarget | None) -> str:
    if worst is None:
        return said
    if worst.matter is Matter.OTHERS:
        return f"{said} The destination still holds its identity, because profile {worst.duplicate_of} has the same."
    return said if worst.since is None else f"{said} The destination confirmed at {moment(worst.since)} that it is out."


def _of_member(one: AtTarget, around: Surroundings, means: str | None) -> str:
    match one.matter:
        case Matter.DELIVERED:
            return (
                f"Delivered: the destination confirmed at {moment(one.since)} that it holds the profile as it is now."
            )
        case Matter.DUPLICATE:
            return (
                f"Duplicate: profile {one.duplicate_of} has the same identity, and the destination gets the values of "
                "that one. Explain that profile to see where it stands."
            )
        case Matter.REFUSED:
            return _refused(one, "The destination refuses the profile", means)
        case Matter.IMPORTING:
            return (
                "Waiting: the destination has queued the profile in an import. "
                f"It is asked what became of it, until {moment(one.until)} at the latest."
            )
        case Matter.OPEN_CALL:
            stop = _stop(around)
            said = "Waiting: a call was made, and nobody knows yet what the destination did."
            return f"{said} {stop}" if stop is not None else f"{said} It is made again by {moment(one.until)}."
        case Matter.EARLIER_CALL:
            return _after_earlier(one, around)
        case _:
            return f"Waiting: the destination does not hold the profile as it is now. {_next(around)}"


def _of_leaver(standing: Standing, one: AtTarget, around: Surroundings, means: str | None) -> str:
    why = _why_it_leaves(standing)
    match one.matter:
        case Matter.KEPT:
            return f"Kept: the profile {why}. The export takes nobody out, so the destination keeps what it has."
        case Matter.HELD:
            return (
                f"Waiting: the profile {why}. Another profile that had no place among the claimants may want the same "
                f"identity, so a run asks them first. {_next(around)}"
            )
        case Matter.REFUSED:
            return _refused(one, f"The profile {why}. The destination refuses to let it go", means)
        case Matter.EARLIER_CALL:
            return _after_earlier(one, around)
        case Matter.IMPORTING | Matter.OPEN_CALL:
            return (
                f"Waiting: the profile {why}. It is being taken out. "
                f"What the destination did is known by {moment(one.until)} at the latest."
            )
        case _:
            # Whether the export takes anybody out is decided by a look.
            is_seen = one.matter is not Matter.NOT_LOOKED_AT
            done = "is still to be taken out" if is_seen else "the export has not looked at it since"
            said = f"Waiting: the profile {why}, and {done}."
            if not around.has_passed_guard and _stop(around) is None:
                return f"{said} {_NOBODY_YET} {_run(around)}"
            return f"{said} {_next(around)}"


def _why_it_leaves(standing: Standing) -> str:
    if standing.is_forgotten:
        return "was forgotten"
    if standing.is_left_out:
        return "is left out by the export's only_if"
    return "has another identity or target by now" if standing.is_selected else "left the export's segments"


def _after_earlier(one: AtTarget, around: Surroundings) -> str:
    stop = _stop(around)
    said = f"Waiting: an earlier call with other values may take effect until {moment(one.until)}."
    return f"{said} {stop}" if stop is not None else f"{said} Then the present values are sent."


def _refused(one: AtTarget, said: str, means: str | None) -> str:
    refused = one.refused
    if refused is None:
        return f"{said}."
    if refused.code == UNCONFIRMED:
        return (
            f"Rejected: the destination never said whether it took the profile ({UNCONFIRMED}), since "
            f"{moment(refused.at)}. It is looked up after 1, 4 and 12 hours, and sent again by the next run."
        )
    return (
        f"Rejected: {said[0].lower() + said[1:]} since {moment(refused.at)}: {_reason(refused.code, means)}. "
        "It is tried again when the profile or the settings change, "
        f"by a run after {moment(second_chance(refused.at))}, or by a run that is asked to retry {refused.code}."
    )


def second_chance(at: datetime) -> datetime:
    """Return from when runs try again what a destination refused at a time."""
    return at + SECOND_CHANCE


def _reason(code: str, means: str | None) -> str:
    return code if means is None else f"{means} ({code})"


def _next(around: Surroundings) -> str:
    """Return when something is done that could be done now."""
    stop = _stop(around)
    if stop is not None:
        return stop
    if around.streams:
        return "A look at it is in the queue. That takes seconds, and longer where the destination's limit is reached."
    return _run(around)


def _stop(around: Surroundings) -> str | None:
    """Return what keeps the export from sending anything, None when nothing does."""
    if not around.is_active:
        return "The export is paused. When it is active again, one run makes up for everything."
    for breaker, what in ((around.of_connection, "connection"), (around.of_export, "export")):
        stop = breaker.stop
        if stop is not None:
            return (
                f"The {what} is stopped since {moment(breaker.since)} ({stop.code}: {stop.reason}). It is probed at "
                f"{moment(stop.probe_at)} the next time. When a probe passes, one run makes up for everything."
            )
    return None


def _run(around: Surroundings) -> str:
    run = around.run
    if run is not None and run.state is RunState.NEEDS_CONFIRMATION:
        return f"Run {run.id} waits until a person confirms that its leavers may go."
    if run is not None and run.state not in ENDED:
        return f"Run {run.id} is under way and comes to it."
    if around.of_export.resync or around.of_connection.resync:
        return "A run is requested and starts by itself."
    return "The next run does it; this export does not stream." if not around.streams else "The next run does it."
