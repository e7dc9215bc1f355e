"""How people are shown: why somebody was (not) sent, attempts, what became of a message, and forgetting."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay_cli.parts import Cell, Facts, Line, Part, Table, Text, Tone, ago, at, listed, number

_TONES = {
    "delivered": Tone.GOOD,
    "unchanged": Tone.GOOD,
    "merged": Tone.GOOD,
    "rejected": Tone.BAD,
    "waiting": Tone.WARN,
    "duplicate": Tone.WARN,
    "stale": Tone.QUIET,
    "not selected": Tone.QUIET,
}


def explained(answer: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    """Show one sentence first, then the facts: what is stored, and how each export stands."""
    yield Line(Cell(answer["sentence"], Tone.STRONG))
    profile = answer.get("profile")
    if profile:
        yield from _profile(profile, now)
    for export in answer.get("exports") or ():
        yield from _export(export, now)


def _profile(profile: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    facts: list[tuple[str, Text]] = [("profile", str(profile["id"])), ("source", str(profile.get("source") or "-"))]
    if profile.get("aliases"):
        facts.append(("also known as", listed(profile["aliases"])))
    facts.append(("stored", f"{at(profile.get('stored_at'))} ({ago(profile.get('stored_at'), now)})"))
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
    yield Facts([("", str(export["sentence"]))], title=f"Export {export['export']}")
    facts: list[tuple[str, Text]] = []
    if export.get("wants"):
        facts.append(("wants", listed(_value(one) for one in export["wants"])))
    if export.get("rejection"):
        facts.append(("rejected", Cell(_reason(export["rejection"]), Tone.BAD)))
    if export.get("stop"):
        facts.append(("stopped", Cell(_reason(export["stop"]), Tone.BAD)))
    if export.get("last_run"):
        last = export["last_run"]
        shown = f"{last.get('run', '-')}, {last.get('state', '-')}" if isinstance(last, Mapping) else str(last)
        facts.append(("last run", shown))
    if export.get("traces"):
        facts.append(("traces", listed(_value(one) for one in export["traces"])))
    if facts:
        yield Facts(facts)
    rows = [_target(one, now) for one in export.get("targets") or ()]
    if rows:
        yield Table(("target", "should be", "is known to be", "since", "notes"), rows)


def _target(one: Mapping[str, Any], now: datetime) -> Sequence[Text]:
    notes = []
    if one.get("open_until"):
        notes.append(f"a call is open, at the latest until {at(one['open_until'])}")
    if one.get("refused"):
        notes.append(f"refused by the destination: {_reason(one['refused'])}")
    if one.get("duplicate_of"):
        notes.append(f"a duplicate of {one['duplicate_of']}")
    if one.get("not_before"):
        notes.append(f"waits until {at(one['not_before'])}")
    desired, known = _value(one.get("desired")), _value(one.get("acknowledged"))
    tone = Tone.WARN if notes else Tone.PLAIN
    return [str(one["target"]), desired, known, ago(one.get("since"), now), Cell(listed(notes), tone)]


def attempts(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show attempts: each call with its request and its answer."""
    found = answer.get("attempts") or ()
    if not found:
        yield Line(Cell("No attempt is recorded under this trace (they are kept for an hour).", Tone.WARN))
    for one in found:
        yield Facts(
            [
                ("at", at(one.get("at"))),
                ("function", str(one.get("function", "-"))),
                ("outcome", str(one.get("outcome", "-"))),
            ]
        )
        for call in one.get("calls") or ():
            yield Facts(
                [
                    ("call", f"{call['method']} {call['path']}"),
                    ("request", _value(call.get("request"))),
                    ("status", _status(call.get("status"))),
                    ("answer", _value(call.get("response"))),
                ]
            )


def followed(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show what became of a message: each change, and what each export did with it."""
    changes = answer["changes"]
    rows: list[Sequence[Text]] = []
    for index, change in enumerate(changes, 1):
        if change.get("rejected"):
            rows.append([str(index), "-", Cell("rejected", Tone.BAD), "-", "-", str(change["rejected"])])
            continue
        merged = {True: "merged", False: "not merged"}.get(change.get("merged"), str(change.get("merged")))
        exports = change.get("exports") or [{}]
        for one in exports:
            state = one.get("state")
            rows.append(
                [
                    str(index),
                    str(change.get("profile") or "-"),
                    Cell(merged, _TONES.get(merged, Tone.PLAIN)),
                    str(one.get("export") or "no export"),
                    Cell(state or "-", _TONES.get(state or "", Tone.PLAIN)),
                    str(one.get("code") or "-"),
                ]
            )
    yield Table(("change", "profile", "store", "export", "state", "code"), rows)


def segments(found: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[Part]:
    """Show segments."""
    rows = [
        [
            one["segment"],
            one.get("name") or "-",
            ago(one.get("first_seen"), now),
            listed(one.get("exports") or ()),
            number(one.get("last_count")),
        ]
        for one in found
    ]
    yield Table(("segment", "name", "first seen", "exports", "last count"), rows, numbers=frozenset({"last count"}))


def segment(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show how many members a segment has here, and how that came about."""
    yield Line(Cell(f"We hold {number(answer['members'])} members of {answer['segment']}.", Tone.STRONG))
    facts: list[tuple[str, Text]] = [
        ("first change", at(answer.get("first_change"))),
        ("last change", at(answer.get("last_change"))),
    ]
    facts += [(f"at {place}", number(count)) for place, count in (answer.get("destinations") or {}).items()]
    yield Facts(facts)
    days = answer.get("days") or ()
    if days:
        rows = [[str(one["day"]), str(one.get("export") or "-"), number(one["count"])] for one in days]
        yield Table(("day", "counted by", "members"), rows, numbers=frozenset({"members"}))


def forgotten(answer: Mapping[str, Any]) -> Iterator[Part]:
    """Show what was removed where, and what remains until when."""
    done = answer["state"] == "done"
    said = (
        f"{answer['profile']} is forgotten."
        if done
        else f"{answer['profile']} is being forgotten; ask again to see the end."
    )
    yield Line(Cell(said, Tone.GOOD if done else Tone.WARN))
    removed = [[one["where"], number(one.get("count"))] for one in answer.get("removed") or ()]
    if removed:
        yield Table(("removed from", "items"), removed, numbers=frozenset({"items"}))
    there = [_parts_of(one) for one in answer.get("at_destinations") or ()]
    if there:
        yield Table(("at the destination", ""), there)
    remains = [[one["where"], until(one.get("until"))] for one in answer.get("remains") or ()]
    if remains:
        yield Table(("remains in", "until"), remains)


def until(moment: str | None) -> str:
    """Return the day until which something remains."""
    return "-" if not moment else at(moment)[:10] if at(moment) != "-" else moment


def _parts_of(one: Any) -> list[str]:
    if not isinstance(one, Mapping):
        return [str(one), ""]
    values = [str(value) for value in one.values() if value is not None]
    return [values[0] if values else "-", listed(values[1:])]


def _membership(status: str) -> Cell:
    return Cell(status, Tone.GOOD if status == "realized" else Tone.QUIET)


def _status(status: Any) -> Cell:
    good = isinstance(status, int) and status < 400
    return Cell(_value(status), Tone.GOOD if good else Tone.BAD)


def _reason(reason: Any) -> str:
    if not isinstance(reason, Mapping):
        return str(reason)
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
