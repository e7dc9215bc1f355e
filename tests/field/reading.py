"""Case files: a setting, and what happens in it step by step.

`setup`, all of it optional:

- `kind`: `ac` (ActiveCampaign, the default) or `px` (Gainsight PX)
- `mapping`, `options`, `segs` (default `["shop/vip"]`), `stream` (default true): of the export `acme/everyone`, whose
  list is 7
- `dialect` (default relay-json), `auth` (default bearer), `secret`, `profile_key` (default `identities.crm[0]`): of the
  source `shop`; with `bom` its secret begins with a byte order mark
- `lenient`: accepted and without effect, since a replay judges nothing
- anything else is an option of the sandbox, e.g. `fields` {number of a custom field: type} or `processing_seconds`

`steps`, each an object with one of these keys:

- `post`: a body, as JSON or (a text) as it stands, with the bearer token; `id` is its Idempotency-Key
- `sign` (a key in base64) or `sign_raw` (a key as text): a signed body of `changes`; `id` is its webhook id, `before`
  stands in front of the signature, a blank between them
- `later`: so many seconds pass; `until`: a moment comes
- `settle`: everything queued is worked on until it rests, at most so many hours
- `run`: a full export starts, and so many hours pass
- `memberships`: the times that are stored; `check`: of a connection; `event`: for the export function
- `own_schedules`: what EventBridge Scheduler lists from now on

In a step `{"$repeat": ["x", 1000]}` stands for a text of so many repeats. Of the project's own cases `title` says what
happens, `right` what is right, and `expect` holds the right result (see `comparing`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

STEPS: Mapping[str, frozenset[str]] = {
    "post": frozenset({"id"}),
    "sign": frozenset({"changes", "id", "before"}),
    "sign_raw": frozenset({"changes", "id", "before"}),
    "later": frozenset(),
    "until": frozenset(),
    "settle": frozenset(),
    "run": frozenset(),
    "memberships": frozenset(),
    "event": frozenset(),
    "own_schedules": frozenset(),
    "check": frozenset(),
}
"""The kinds of steps, with the further keys each takes."""


class CaseError(ValueError):
    """A case cannot be replayed as it is written; the text says why."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings and the sandbox of a case."""

    kind: str = "ac"
    mapping: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    segs: Sequence[str] = ("shop/vip",)
    stream: bool = True
    dialect: str = "relay-json"
    profile_key: str = "identities.crm[0]"
    auth: str = "bearer"
    secret: str = "token-of-the-shop"
    bom: bool = False
    sandbox: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what kind, its value, and further keys."""

    kind: str
    value: Any
    more: Mapping[str, Any] = field(default_factory=dict)

    def span(self, unit: timedelta) -> timedelta:
        """Return the value as a time span; CaseError when it is none."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not 0 <= self.value < 10**6:
            raise CaseError(f"{self.kind}: must be a number")
        return self.value * unit

    def moment(self) -> datetime:
        """Return the value as a moment; CaseError when it is none."""
        try:
            moment = datetime.fromisoformat(self.value)
        except (TypeError, ValueError):
            raise CaseError(f"{self.kind}: must be a time, e.g. 2026-05-01T08:04:00Z") from None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """A case file; `expect` is what `comparing` takes."""

    name: str
    setup: Setup
    steps: Sequence[Step]
    expect: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(default_factory=dict)


def read_case(file: Path) -> Case:
    """Read a case file; CaseError when it is none."""
    try:
        given = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CaseError(f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CaseError(f"is not JSON: {error}") from None
    if not isinstance(given, dict) or not isinstance(given.get("steps"), list):
        raise CaseError("must be an object with a list of steps")
    setup = given.get("setup", {})
    if not isinstance(setup, dict):
        raise CaseError("setup must be an object")
    steps = [_step(place, _with_repeats(step)) for place, step in enumerate(given["steps"], start=1)]
    return Case(file.name, _setup(setup), steps, given.get("expect", {}))


def _setup(given: Mapping[str, Any]) -> Setup:
    ours = set(Setup.__dataclass_fields__) - {"sandbox"}
    chosen = {name: value for name, value in given.items() if name in ours}
    sandbox = {name: value for name, value in given.items() if name not in ours | {"lenient"}}
    return Setup(**chosen, sandbox=sandbox)


def _with_repeats(given: Any) -> Any:
    if isinstance(given, list):
        return [_with_repeats(one) for one in given]
    if not isinstance(given, dict):
        return given
    if given.keys() == {"$repeat"}:
        text, times = given["$repeat"]
        return text * times
    return {name: _with_repeats(value) for name, value in given.items()}


def _step(place: int, given: Any) -> Step:
    kinds = [name for name in given if name in STEPS] if isinstance(given, dict) else []
    if len(kinds) != 1:
        raise CaseError(f"step {place}: must be an object with one of {', '.join(STEPS)}")
    more = {name: value for name, value in given.items() if name != kinds[0]}
    if unknown := sorted(more.keys() - STEPS[kinds[0]]):
        raise CaseError(f"step {place}: {kinds[0]} does not take {', '.join(unknown)}")
    step = Step(kinds[0], given[kinds[0]], more)
    if not all(isinstance(more.get(name, ""), str) for name in ("id", "before")):
        raise CaseError(f"step {place}: id and before are texts")
    try:
        _check_value(step)
    except CaseError as error:
        raise CaseError(f"step {place}: {error}") from None
    return step


def _check_value(step: Step) -> None:
    match step.kind:
        case "later" | "settle" | "run":
            step.span(timedelta(seconds=1))
        case "until":
            step.moment()
        case "sign" | "sign_raw":
            if not isinstance(step.value, str) or "changes" not in step.more:
                raise CaseError(f"{step.kind}: must be a text, with changes")
        case "own_schedules":
            if not isinstance(step.value, list) or not all(isinstance(s, dict) and "Name" in s for s in step.value):
                raise CaseError("own_schedules: must be a list of schedules with a Name")
        case "check":
            if not isinstance(step.value, str):
                raise CaseError("check: must be the name of a connection")
