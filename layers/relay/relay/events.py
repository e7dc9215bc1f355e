"""The events that schedules and operators send, read strictly: what is not understood is refused, never ignored."""

import re
from collections.abc import Mapping
from typing import Any

from relay.domain.problems import EventProblem, Problem, SettingsProblem, Unexpected
from relay.observability import Observability
from relay.settings.names import split_key

EVERY_EXPORT = "default"
"""What `{"exports": "default"}` stands for: all exports that have no schedule of their own."""

SCHEDULED = "schedule"
"""The cause of a run that a schedule started."""

FOR_OPERATORS = ("confirm", "cancel", "show", "runs", "check", "probe", "retry")
"""What only the admin function does."""

_PRINTABLE = re.compile(r"[a-z_-]{1,30}")


def export_to_start(event: Any) -> str | None:
    """Return the export (`connection/export`) that a schedule's event starts; None stands for every export.

    `{"exports": "default"}` starts the exports without a schedule of their own, `{"export": "connection/export"}` one
    of them. Nothing else is understood: a schedule starts runs and does nothing else. Raises EventProblem.
    """
    if not isinstance(event, Mapping):
        raise EventProblem("not_an_object", "must be a JSON object", field="event")
    for name in FOR_OPERATORS:
        if name in event:
            raise EventProblem(
                "not_for_schedules", "is asked of the admin function; a schedule only starts runs", field=name
            )
    asked = dict(event)
    if asked.pop("cause", SCHEDULED) != SCHEDULED:
        raise EventProblem("unknown_cause", f'must be "{SCHEDULED}", or left out', field="cause")
    match asked:
        case {"exports": what, **rest}:
            if what != EVERY_EXPORT:
                raise EventProblem("unknown_exports", f'must be "{EVERY_EXPORT}"', field="exports")
            refuse_others(rest)
            return None
        case {"export": key, **rest}:
            refuse_others(rest)
            return export_key(key, field="export")
        case _:
            raise EventProblem(
                "starts_nothing",
                'must be {"exports": "default"} or {"export": "connection/export"}; '
                "a schedule whose input is empty sends neither",
                field="event",
            )


def export_key(value: Any, *, field: str) -> str:
    """Return a well-formed `connection/export`; raises EventProblem."""
    if not isinstance(value, str):
        raise EventProblem("not_text", 'must be a text, "connection/export"', field=field)
    try:
        split_key(value)
    except SettingsProblem:
        hint = "; a slash stands between the two, not a dot" if "." in value and "/" not in value else ""
        raise EventProblem("not_an_export", f'must be "connection/export"{hint}', field=field) from None
    return value


def refuse_others(rest: Mapping[str, Any]) -> None:
    """Refuse what an event names beside what it asks for; raises EventProblem."""
    for name in rest:
        shown = name if isinstance(name, str) and _PRINTABLE.fullmatch(name) else "event"
        raise EventProblem("unknown_field", "is not understood here", field=shown)


def failed_event(error: Exception, observe: Observability) -> Problem:
    """Log what kept an event from being done, and return what to raise instead, with no text but our own."""
    observe.problem("event failed", error)
    if isinstance(error, Problem):
        return error.with_traceback(None)
    return Unexpected("defect", f"a {type(error).__name__} was met; the log says where")
