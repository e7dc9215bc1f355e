"""How people are shown: why somebody was (not) sent, attempts, what became of a message, and forgetting."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay_cli.parts import Cell, Facts, Line, Part, Table, Text, Tone, ago, at, cell, listed, number

_TONES = {
    "delivered": Tone.GOOD,
    "unchanged": Tone.GOOD,
    "merged": Tone.GOOD,
    "rejected": Tone.BAD,
    "waiting": Tone.WARN,
    "duplicate": Tone.WARN,
    "stale": Tone.QUIET,
    "not selected": Tone.QUIET,
    "not merged": Tone.WARN,
    "set aside": Tone.BAD,
    "refused": Tone.BAD,
    "kept": Tone.WARN,
}

MOST_ROWS = 20
"""So many changes are shown one by one; more are summed up."""

_IMPORT = re.compile(r"\d{8}T\d{6}-[0-9a-f]{10}")
"""The id of an import of a segment. A change bears it as another bears the id of its request."""

_MERGED = {True: "merged", False: "not merged"}


def explained(answer: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    """Show one sentence first, then the facts: what is stored, and how each export stands."""
    yield Line(Cell(answer["sentence"], Tone.STRONG))
    if answer.get("others"):
        yield Line(Cell(f"It may also mean: {listed(answer['others'])}.", Tone.WARN))
    profile = answer.get("profile")
    if profile:
        yield from _profile(profile, now)
    for export in answer.get("exports") or ():
        yield from _export(export, now)


def _profile(profile: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    facts: list[tuple[str, Text]] = [("profile", str(profile["id"])), ("source", str(profile.get("source") or "-"))]
    if profile.get("aliases"):
        facts.append(("also known as", listed(profile["aliases"])))
    if profile.get("forgotten_at"):
        facts.append(("forgotten", at(profile["forgotten_at"])))
    if profile.get("stored_at"):
        facts.append(("stored", f"{at(profile['stored_at'])} ({ago(profile['stored_at'], now)})"))
    if profile.get("request"):
        kind = "import" if _IMPORT.fullmatch(str(profile["request"])) else "request"
        facts.append(("changed last by", f"{kind} {profile['request']}"))
    for kind in ("identities", "attributes"):
        if profile.get(kind):
            facts += [(f"{kind}.{name}", _value(value)) for name, value in sorted(profile[kind].items())]
    yield Facts(facts, title="Profile")
    memberships = profile.get("memberships") or ()
    if memberships:
        rows = [
            [one["segment"], _membership(one["status"]), at(one.get("at")), ago(one.get("at"), now)]
            for one in memberships
        ]
        yield Table(("segment", "status", "since", ""), rows)


def _export(export: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    state = str(export["state"])
    facts: list[tuple[str, Text]] = [
        ("state", Cell(state, _TONES.get(state, Tone.PLAIN))),
        ("", str(export["sentence"])),
        ("segments", listed(export.get("wants") or ())),
    ]
    if export.get("assigned_since"):
        facts.append(("stands for it since", at(export["assigned_since"])))
    if export.get("rejection"):
        facts.append(("rejected", Cell(_reason(export["rejection"]), Tone.BAD)))
    if export.get("set_aside"):
        facts.append(("set aside", Cell(f"a defect of ours: {export['set_aside'].get('error')}", Tone.BAD)))
    if export.get("stop"):
        facts.append(("stopped", Cell(_reason(export["stop"]), Tone.BAD)))
    notes = [
        word for word, flag in (("paused", "paused"), ("resync requested", "resync_requested")) if export.get(flag)
    ]
    notes += list(export.get("warnings") or ())
    if notes:
        facts.append(("notes", Cell(listed(notes), Tone.WARN)))
    if export.get("last_run"):
        facts.append(("last run", f"{export['last_run']['run']}, {export['last_run']['state']}"))
    if export.get("traces"):
        facts.append(("in the log", f"filter @message like /{'|'.join(export['traces'])}/ | sort @timestamp"))
    yield Facts(facts, title=f"Export {export['export']}")
    rows = [_target(one, now) for one in export.get("targets") or ()]
    if rows:
        yield Table(("target", "should be", "the destination holds", "since", "matter", "notes"), rows)


def _target(one: Mapping[str, Any], now: datetime) -> Sequence[Text]:
    notes = []
    if one.get("identity"):
        notes.append(f"as {one['identity']}")
    call = f" ({one['call']})" if one.get("call") else ""
    if one.get("open_until"):
        notes.append(f"a call is open{call}, at the latest until {at(one['open_until'])}")
    elif call:
        notes.append(f"last call{call}")
    if one.get("refused"):
        notes.append(f"refused by the destination: {_reason(one['refused'])}")
    if one.get("duplicate_of"):
        notes.append(f"a duplicate of {one['duplicate_of']}")
    if one.get("not_before"):
        notes.append(f"waits until {at(one['not_before'])}")
    matter = str(one.get("matter") or "-")
    return [
        str(one["target"]),
        str(one["desired"]),
        str(one["acknowledged"]),
        ago(one.get("since"), now),
        Cell(matter, _TONES.get(matter, Tone.PLAIN)),
        "; ".join(notes) or "-",
    ]


_SAID_OF_LOOKS = {
    "left to the next run": "This export does not stream: it acts only in its runs, and its last one lets no look act. "
    "Nothing was sent. Next: relay run {export} --follow",
    "unchanged": "Nothing had to be sent: the destination holds it as desired. Next: relay explain {profile} {export}",
    "not a member": "The profile is no member of this export: what it had there is taken out. "
    "Next: relay explain {profile} {export}",
}


def attempts(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show attempts: each call with its request and its answer."""
    found = answer["attempts"]
    if not found:
        yield Line(Cell("There was no attempt yet: the look waits in its queue. They are kept for an hour.", Tone.WARN))
    for one in found:
        yield Facts([("at", at(one["at"])), ("function", one["function"]), ("outcome", one["outcome"])])
        for call in one["calls"]:
            query = f"?{_value(call['query'])}" if call.get("query") else ""
            problem = f" ({call['problem']})" if call.get("problem") else ""
            yield Facts(
                [
                    ("call", f"{call['method']} {call['path']}{query}"),
                    ("request", _value(call.get("request"))),
                    ("status", _status(call["status"], problem)),
                    ("answer", _value(call.get("response"))),
                ]
            )
        if one.get("left_out"):
            yield Line(f"{number(one['left_out'])} more calls were made than are kept.")
    if answer["import_open"]:
        yield Line(Cell("The destination has queued it as an import, and has not answered yet.", Tone.WARN))
    said = _SAID_OF_LOOKS.get(found[-1]["outcome"]) if found else None
    if said is not None:
        yield Line(said.format(export=answer["export"], profile=answer["profile"]))


def followed(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show what became of a message: each change, and what each export did with it."""
    rows: list[Sequence[Text]] = []
    for change in answer["changes"]:
        place = str(change["position"] + 1)
        if change["rejected"] is not None:
            rows.append([place, "-", Cell("rejected", Tone.BAD), "-", "-", str(change["rejected"])])
            continue
        word = _MERGED.get(change["merged"], str(change["merged"]))
        merged = Cell(word, _TONES.get(word, Tone.PLAIN))
        for one in change["exports"] or [{}]:
            state = str(one.get("state") or "-")
            why = str(one.get("code") or one.get("sentence") or "-")
            shown = Cell(state, _TONES.get(state, Tone.PLAIN))
            rows.append(
                [place, str(change.get("profile") or "-"), merged, str(one.get("export") or "no export"), shown, why]
            )
    if len(rows) > MOST_ROWS:
        yield _summed_up(rows)
    else:
        yield Table(("change", "profile", "store", "export", "state", "why"), rows)
    if answer.get("left_out"):
        yield Line(Cell(f"{number(answer['left_out'])} parts were left out; their profiles were taken.", Tone.WARN))


def _summed_up(rows: Sequence[Sequence[Text]]) -> Table:
    """Show how often each state was met; the first change with it stands for all of them."""
    alike: dict[tuple[str, ...], list[Sequence[Text]]] = {}
    for row in rows:
        alike.setdefault(tuple(cell(value).text for value in row[2:]), []).append(row)
    found: list[Sequence[Text]] = [[number(len(same)), same[0][0], *same[0][2:]] for same in alike.values()]
    return Table(
        ("how many", "first change", "store", "export", "state", "why"), found, numbers=frozenset({"how many"})
    )


def segments(answer: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    """Show segments, and those that exports name though nothing was ever received of them."""
    rows = [
        [
            one["segment"],
            one.get("name") or "-",
            ago(one.get("first_seen"), now),
            listed(one.get("exports") or ()),
            number(one.get("last_count")),
            one.get("last_count_on") or "-",
        ]
        for one in answer["segments"]
    ]
    yield Table(
        ("segment", "name", "first seen", "exports", "members at the last run", "on"),
        rows,
        numbers=frozenset({"members at the last run"}),
    )
    if answer.get("never_seen"):
        said = f"Exports name segments that were never seen: {listed(answer['never_seen'])}."
        yield Line(Cell(said, Tone.WARN))


def segment(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show how many members a segment has here, and how that came about."""
    yield Line(Cell(f"We hold {number(answer['members'])} members of {answer['segment']}.", Tone.STRONG))
    yield Facts(
        [
            ("name", answer.get("name") or "-"),
            ("exports", listed(answer.get("exports") or ())),
            ("left in the last 30 days or so", number(answer.get("left"))),
            ("first seen", at(answer.get("first_seen"))),
            ("first change", at(answer.get("first_change"))),
            ("last change", at(answer.get("last_change"))),
            ("last received", at(answer.get("last_received"))),
        ]
    )
    days = answer.get("days") or ()
    if days:
        rows = [[one["day"], one["export"], number(one["count"]), number(one["confirmed"]), one["run"]] for one in days]
        columns = ("day", "by a run of", "members", "at the destination", "run")
        yield Table(columns, rows, numbers=frozenset(columns[2:4]))


def at_destinations(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show what the destinations hold: by their own account now, and what they had confirmed at the last run."""
    confirmed = answer.get("destinations") or {}
    rows = [
        [
            one["export"],
            one["target"],
            number(one["count"]),
            number(confirmed.get(one["export"])),
            listed(one["segments"]),
            one["problem"] or "-",
        ]
        for one in answer.get("at_destinations") or ()
    ]
    if not rows:
        yield Line("No export sends this segment.")
        return
    columns = (
        "export",
        "at the destination",
        "there now",
        "confirmed by the last run",
        "holds the segments",
        "problem",
    )
    yield Table(columns, rows, title="Destinations", numbers=frozenset(columns[2:4]))
    yield Line("A destination counts everybody who is there, whoever put them there.")


def forgotten(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show what was removed where, and what remains until when."""
    done = answer["state"] == "done"
    said = (
        f"{answer['profile']} is forgotten."
        if done
        else f"{answer['profile']} is being forgotten; ask again to see the end."
    )
    yield Line(Cell(said, Tone.GOOD if done else Tone.WARN))
    waiting = [[one["export"], one["why"]] for one in answer["waiting"]]
    if waiting:
        yield Table(("waits for", "why"), waiting)
    removed = [[one["where"], number(one["count"])] for one in answer["removed"]]
    if removed:
        yield Table(("removed from", "items"), removed, numbers=frozenset({"items"}))
    there = [[one["export"], one["what"], number(one["count"])] for one in answer["at_destinations"]]
    if there:
        yield Table(
            ("at the destination of", "what became of it", "identities"), there, numbers=frozenset({"identities"})
        )
    remains = [[one["where"], one["what"], until(one.get("until"))] for one in answer["remains"]]
    if remains:
        yield Table(("remains in", "what", "until"), remains)


def until(moment: str | None) -> str:
    """Return the day until which something remains."""
    return "for good" if moment is None else at(moment).split(" ")[0]


def _membership(status: str) -> Cell:
    return Cell(status, Tone.GOOD if status == "realized" else Tone.QUIET)


def _status(status: int, problem: str) -> Cell:
    """Show a status; 0 is no answer."""
    if not status:
        return Cell(f"no answer{problem}", Tone.BAD)
    return Cell(f"{status}{problem}", Tone.GOOD if status < 400 else Tone.BAD)


def _reason(reason: Mapping[str, Any]) -> str:
    more = (
        reason.get("detail")
        or reason.get("reason")
        or reason.get("means")
        or (at(reason["at"]) if reason.get("at") else "")
    )
    return f"{reason.get('code', '-')}: {more}" if more else str(reason.get("code", "-"))


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
