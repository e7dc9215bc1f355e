"""Findings of a check as they are answered: what is wrong, who must act, which command helps, in the order to mend.

A subject is a kind and a name, such as `export newsletter/vip`. Both the order and the command follow from it.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydantic import Field

from relay.destinations.contract import Finding, Level
from relay.domain.problems import DEFECT, Actor, Problem
from relay.domain.runs import RunState
from relay.workers.operators.protocol import Answer

PAUSED = "paused"
NEVER_SEEN = "segments_never_seen"
NO_SCHEDULE = "no_schedule"
STRAY_SCHEDULE = "stray_schedule"
SCHEDULE = "schedule_starts_nothing"
STRAY_NAME = "stray_name"
WELL_NOW = "well_now"
DLQ = "dead_letters"
BEHIND = "queue_behind"
VERSIONS = "versions_differ"
CLOCK = "clock_differs"

STACK, NAMES, CONNECTION, SOURCE, SEGMENT, EXPORT, SCHEDULES, QUEUE = (
    "stack",
    "names",
    "connection",
    "source",
    "segment",
    "export",
    "schedule",
    "queue",
)
_ORDER: Final = (STACK, NAMES, CONNECTION, SOURCE, SEGMENT, EXPORT, SCHEDULES, QUEUE)
"""What comes first is what the others depend on."""

_BY_CODE: Final[Mapping[str, str]] = {
    RunState.NEEDS_CONFIRMATION.value: "relay runs list {name}",
    RunState.MANY_REJECTED.value: "relay rejected {name}",
    RunState.REFUSED.value: "relay segments list",
    NEVER_SEEN: "relay segments list",
    PAUSED: "relay exports resume {name}",
    NO_SCHEDULE: "relay exports schedule {name} 'cron(0 3 * * ? *)'",
    SCHEDULE: "relay exports schedule {name} 'cron(0 3 * * ? *)'",
    STRAY_SCHEDULE: "aws scheduler list-schedules",
    DEFECT: "relay rejected {name} --code defect",
    "unknown_source": "relay sources add {name}",
    "unknown_connection": "relay connections add {name}",
    WELL_NOW: "relay connections test {connection} --probe",
    DLQ: "relay queues list",
    BEHIND: "relay queues list",
}
_BY_KIND: Final[Mapping[str, str]] = {
    SOURCE: "relay sources edit {name}",
    CONNECTION: "relay connections edit {name}",
    SEGMENT: "relay segments imports list {name}",
    EXPORT: "relay exports edit {name}",
}


class CheckFinding(Answer):
    """One thing that is wrong."""

    subject: str = Field(description="A kind and a name, such as `export newsletter/vip`.")
    level: Literal["error", "warning"]
    code: str
    message: str
    who_must_act: Actor | None
    command: str | None = Field(description="What helps, as it is typed.")


def error(subject: str, code: str, message: str, actor: Actor | None = Actor.ADMINISTRATOR) -> CheckFinding:
    """Return what keeps something from working."""
    return _found(subject, "error", code, message, actor)


def warning(subject: str, code: str, message: str, actor: Actor | None = Actor.ADMINISTRATOR) -> CheckFinding:
    """Return what somebody should know of, though all goes on."""
    return _found(subject, "warning", code, message, actor)


def of_problem(subject: str, problem: Problem, more: str = "") -> CheckFinding:
    """Return a problem as an error; `more` is said after it."""
    return error(subject, problem.code, f"{problem.what}{more}", problem.actor)


def of_destination(connection: str, found: Iterable[Finding], exports: Iterable[str] = ()) -> list[CheckFinding]:
    """Return what a destination, or a trial of mappings, found of a connection or of `exports`, without what is well.

    A destination names an export by its key and everything else in its own words.
    """
    keys, given = set(exports), []
    for one in found:
        if one.level is Level.OK:
            continue
        is_own = one.subject in (CONNECTION, *keys)
        subject = f"{EXPORT} {one.subject}" if one.subject in keys else f"{CONNECTION} {connection}"
        message = one.message if is_own else f"{one.subject}: {one.message}"
        given.append((error if one.level is Level.ERROR else warning)(subject, one.code, message, one.actor))
    return given


def in_order(found: Iterable[CheckFinding]) -> list[CheckFinding]:
    """Return findings in the order to mend, each once: errors first, and what others depend on before these."""
    return sorted(dict.fromkeys(found), key=lambda one: (one.level != "error", *_place(one.subject)))


def _place(subject: str) -> tuple[int, str]:
    kind = subject.partition(" ")[0]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER), subject


def _found(
    subject: str, level: Literal["error", "warning"], code: str, message: str, actor: Actor | None
) -> CheckFinding:
    kind, _, name = subject.partition(" ")
    command = _BY_CODE.get(code)
    if command is None and actor is Actor.ADMINISTRATOR and name:
        command = _BY_KIND.get(kind)
    shown = None if command is None else command.format(name=name, connection=name.partition("/")[0])
    return CheckFinding(subject=subject, level=level, code=code, message=message, who_must_act=actor, command=shown)
