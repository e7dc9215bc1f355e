"""How the state of the stack, what is wrong with it, and the meaning of codes are shown."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay_cli.failures import Exit
from relay_cli.parts import Cell, Facts, Line, Part, Table, Text, Tone, ago, at, listed, number, several, span
from relay_cli.views import runs, segment_imports

_STATES = {"well": Tone.GOOD, "active": Tone.GOOD, "paused": Tone.QUIET, "stopped": Tone.BAD, "invalid": Tone.BAD}
_NOBODY = "-"
_PASSES = "wait"
"""Who must act about a stop that passes by itself."""
_CONSENT = "privacy_consent"
"""The field that a connection's problem names when nobody has agreed yet."""
_OUTCOMES = ("merged", "stale", "ignored", "rejected")
"""What became of all changes of a source since its first message."""


def status(answer: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    """Show one screen: everything there is, with its state."""
    yield status_sentence(answer)
    yield Facts([("version", str(answer["version"])), ("as of", at(answer.get("at")))])
    yield sources(answer["sources"], now)
    yield connections(answer["connections"])
    every = [export for connection in answer["connections"] for export in connection["exports"]]
    yield exports(every, now)
    stops = list(_stops(answer["connections"], now))
    if stops:
        yield Table(("stopped", "code", "reason", "who must act", "since", "next probe"), stops, title="Stops")
    if under_way := answer.get("imports"):
        yield segment_imports.imports(under_way, now, title="Imports of segments")
    yield queues(answer["queues"])
    for one in answer.get("unread") or ():
        yield Line(Cell(f"AWS did not answer just now: {one}", Tone.WARN))
    if answer.get("waits"):
        yield Line(f"{several(answer['waits'], 'look is', 'looks are')} due.")


def exit_of_status(answer: Mapping[str, Any]) -> Exit:
    """Return how a command ends that shows this status."""
    is_person_needed = bool(_to_confirm(answer)) or any(map(_needs_a_person, answer["connections"]))
    return Exit.PERSON if is_person_needed else Exit.WRONG if _troubles(answer) else Exit.WELL


def status_sentence(answer: Mapping[str, Any]) -> Line:
    """Say in one sentence how things stand."""
    troubles = _troubles(answer)
    if not troubles and not answer["sources"] and not answer["connections"]:
        return Line(Cell("There is no source and no connection yet. Next: relay sources add NAME", Tone.WARN))
    if not troubles:
        return Line(Cell("All is well.", Tone.GOOD))
    return Line(Cell(f"Not all is well: {'; '.join(troubles)}. Next: relay check", Tone.BAD))


def _troubles(answer: Mapping[str, Any]) -> list[str]:
    bad = [one["name"] for one in answer["sources"] if not one["valid"]]
    for connection in answer["connections"]:
        if connection["state"] in ("stopped", "invalid"):
            bad.append(connection["name"])
        else:
            bad += [one["key"] for one in connection["exports"] if one["state"] in ("stopped", "invalid")]
    every = [one for connection in answer["connections"] for one in connection["exports"]]
    waiting = [one["key"] for one in every if (one.get("last_run") or {}).get("state") in runs.WAITING]
    aside = sum(one.get("set_aside") or 0 for one in every)
    unread = [one.partition(":")[0] for one in answer.get("unread") or ()]
    idle = [] if "schedules" in unread else [one["key"] for one in every if _never_starts(one)]
    given_up = sum(one["messages"] for one in answer["queues"] if one["kind"] == "dlq")
    troubles = [f"look at {', '.join(bad)}"] if bad else []
    troubles += [f"the last run needs somebody: {', '.join(waiting)}"] if waiting else []
    to_confirm = _to_confirm(answer)
    troubles += [f"an import waits for somebody: {', '.join(to_confirm)}"] if to_confirm else []
    troubles += [f"{several(aside, 'profile is', 'profiles are')} set aside"] if aside else []
    troubles += [f"no schedule starts {', '.join(idle)}"] if idle else []
    given = several(given_up, "message lies", "messages lie")
    troubles += [f"{given} in dead-letter queues"] if given_up else []
    troubles += [f"AWS did not answer for {', '.join(unread)}"] if unread else []
    troubles += [] if answer["queues"] else ["no queue could be read"]
    return troubles


def _to_confirm(answer: Mapping[str, Any]) -> list[str]:
    waiting = segment_imports.NEEDS_CONFIRMATION
    return [one["segment"] for one in answer.get("imports") or () if one["state"] == waiting]


def _needs_a_person(connection: Mapping[str, Any]) -> bool:
    """Return whether somebody has to decide or mend something before this connection or an export goes on."""
    exports = connection["exports"]
    stops = [stop for stop in [connection.get("stop"), *(one.get("stop") for one in exports)] if stop]
    return (
        any(stop.get("who_must_act") != _PASSES for stop in stops)
        or any(map(_waits_for_confirmation, exports))
        or _CONSENT in (connection.get("problem") or "")
    )


def _waits_for_confirmation(export: Mapping[str, Any]) -> bool:
    return (export.get("last_run") or {}).get("state") == runs.NEEDS_CONFIRMATION


def sources(found: Sequence[Mapping[str, Any]], now: datetime) -> Table | Line:
    """Show sources, with when they last sent something and how much."""
    if not found:
        return Line(Cell("There is no source yet. Next: relay sources add NAME", Tone.WARN))
    rows: list[Sequence[Text]] = []
    for one in found:
        changes = one.get("changes") or {}
        rows.append(
            [
                one["name"],
                Cell("valid", Tone.GOOD) if one["valid"] else Cell(_text_of(one.get("problem"), "invalid"), Tone.BAD),
                ago(one.get("last_message_at"), now),
                number(one.get("rate_per_minute")),
                *(number(changes.get(name, 0)) for name in _OUTCOMES),
            ]
        )
    names = ("source", "state", "last message", "per minute", *_OUTCOMES)
    return Table(names, rows, title="Sources", numbers=frozenset(names[3:]))


def connections(found: Sequence[Mapping[str, Any]]) -> Table | Line:
    """Show connections with their state."""
    if not found:
        return Line(Cell("There is no connection yet. Next: relay connections add NAME", Tone.WARN))
    rows = [
        [
            one["name"],
            one.get("destination") or "-",
            one.get("display_name") or "-",
            _state(one["state"]),
            number(len(one["exports"])),
            Cell(problem or "-", Tone.BAD if problem else Tone.QUIET),
        ]
        for one in found
        for problem in [one.get("problem") or (one.get("stop") or {}).get("reason")]
    ]
    return Table(
        ("connection", "destination", "display name", "state", "exports", "problem"),
        rows,
        title="Connections",
        numbers=frozenset({"exports"}),
    )


def exports(found: Sequence[Mapping[str, Any]], now: datetime) -> Table | Line:
    """Show exports with their state, last run and next start."""
    if not found:
        return Line(Cell("There is no export yet. Next: relay exports add CONNECTION/EXPORT", Tone.WARN))
    rows: list[Sequence[Text]] = []
    for one in found:
        run = one.get("last_run") or {}
        rows.append(
            [
                one["key"],
                _state(one["state"]),
                "yes" if one.get("stream") else "no",
                runs.state(run.get("state")),
                ago(run.get("started_at"), now),
                number((run.get("counts") or {}).get("selected")),
                _schedule(one.get("schedule"), now),
                _notes(one),
            ]
        )
    names = ("export", "state", "streams", "last run", "started", "selected by it", "next run", "notes")
    return Table(names, rows, title="Exports", numbers=frozenset({"selected by it"}))


def queues(found: Sequence[Mapping[str, Any]]) -> Table:
    """Show queues with how full and how old they are; a dead-letter queue should be empty."""
    rows: list[Sequence[Text]] = []
    for one in found:
        bad = one["kind"] == "dlq" and one["messages"]
        rows.append(
            [
                one["name"],
                "dead letters" if one["kind"] == "dlq" else "queue",
                Cell(number(one["messages"]), Tone.BAD if bad else Tone.PLAIN),
                number(one.get("in_flight")),
                number(one.get("delayed")),
                span(one.get("oldest_seconds")),
            ]
        )
    names = ("queue", "kind", "waiting", "being worked on", "delayed", "oldest")
    return Table(names, rows, title="Queues", numbers=frozenset(names[2:]))


_LEVELS = {"error": Tone.BAD, "warning": Tone.WARN, "note": Tone.QUIET}


def check(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show what is wrong in the order to mend, each with who must act and the command that helps."""
    found = answer["findings"]
    errors = sum(one["level"] == "error" for one in found)
    if answer["well"]:
        more = f" {several(len(found), 'thing', 'things')} to know:" if found else ""
        yield Line(Cell(f"All is well.{more}", Tone.GOOD))
    else:
        yield Line(Cell(f"{several(errors, 'thing is', 'things are')} wrong, in the order to mend:", Tone.BAD))
    for one in found:
        tone = _LEVELS[one["level"]]
        rows: list[tuple[str, Text]] = [
            (one["level"], Cell(f"{one['subject']} ({one['code']})", tone)),
            ("", _sentence(one["message"])),
            ("who must act", _who(one.get("who_must_act"))),
        ]
        if one.get("command"):
            rows.append(("next", Cell(one["command"], Tone.STRONG)))
        yield Facts(rows)


def findings(found: Sequence[Mapping[str, Any]]) -> Table:
    """Show findings as a table, for a pipe."""
    rows = [
        [
            one["level"],
            one["subject"],
            one["code"],
            one["message"],
            _who(one.get("who_must_act")),
            one.get("command") or "-",
        ]
        for one in found
    ]
    return Table(("level", "subject", "code", "message", "who must act", "next"), rows)


def codes(found: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """Show what codes mean."""
    rows = [
        [
            one["code"],
            one["kind"],
            one.get("destination") or "-",
            one["means"],
            _who(one.get("who_must_act")),
            one.get("then") or "-",
        ]
        for one in found
    ]
    yield Table(("code", "kind", "destination", "means", "who must act", "then"), rows)


def _stops(found: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[Sequence[Text]]:
    for connection in found:
        subjects = [(f"connection {connection['name']}", connection.get("stop"))]
        subjects += [(f"export {one['key']}", one.get("stop")) for one in connection["exports"]]
        for subject, stop in subjects:
            if stop:
                yield [
                    Cell(subject, Tone.BAD),
                    str(stop.get("code", "-")),
                    str(stop.get("reason", "-")),
                    _who(stop.get("who_must_act")),
                    ago(stop.get("since"), now),
                    ago(stop.get("next_probe"), now),
                ]


def _never_starts(export: Mapping[str, Any]) -> bool:
    """Whether an export that only runs send has no schedule."""
    return export["state"] == "active" and not export.get("stream") and export.get("schedule") is None


def _state(name: str) -> Cell:
    return Cell(name, _STATES.get(name, Tone.PLAIN))


def _schedule(schedule: Mapping[str, Any] | None, now: datetime) -> Text:
    if schedule is None:
        return Cell("no schedule", Tone.WARN)
    if schedule.get("problem"):
        return Cell(f"{schedule['name']}: {schedule['problem']}", Tone.WARN)
    return ago(schedule["next_at"], now) if schedule.get("next_at") else f"by {schedule['name']}"


def _notes(export: Mapping[str, Any]) -> Text:
    notes = ["a resync is requested"] if export.get("resync_requested") else []
    notes += [f"{number(export['set_aside'])} set aside"] if export.get("set_aside") else []
    notes += [str(export["problem"])] if export.get("problem") else []
    return Cell(listed(notes), Tone.WARN if notes else Tone.QUIET)


def _who(actor: str | None) -> str:
    return {None: _NOBODY, "wait": "nobody: it passes", "us": "we: report it"}.get(actor, str(actor))


def _text_of(problem: Any, otherwise: str) -> str:
    if isinstance(problem, Mapping):
        return str(problem.get("what") or problem.get("code") or otherwise)
    return str(problem) if problem else otherwise


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
