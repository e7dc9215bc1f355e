"""Faults a test asks a sandbox to commit: refusals, delays, log-in pages and lost connections.

A rule is `{"match": {...}, "times": 1, "after": 0, "do": {...}}`:

- `match` (all keys optional): `method`; `path`, a prefix, or a regular expression when it starts with `^`;
  `contains`, a text that must occur in the request's body.
- `times`: how often the rule acts, `null` for always; `after`: how many matching requests it lets pass first.
- `do`: `delay` (seconds of wall time), alone or with one of `status` (with optional `headers` and `body`; the request
  is not processed), `html` (a log-in page with 200; not processed), `drop` (`before` or `after` processing).

The first matching rule with times left wins; a rule still letting requests pass does not hide the ones after it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandboxes.answers import InvalidControlError


class DroppedConnectionError(ConnectionAbortedError):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True)
class Fault:
    """What happens to one request."""

    delay: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    html: bool = False
    drop: str | None = None

    def kind(self) -> str:
        """Return the name under which the fault is counted."""
        if self.drop:
            return f"drop_{self.drop}"
        if self.html:
            return "html"
        return "delay" if self.status is None else f"status_{self.status}"


@dataclass
class _Rule:
    method: str | None
    path: str
    contains: str
    times: int | None
    after: int
    fault: Fault

    def matches(self, method: str, path: str, body: bytes) -> bool:
        if self.method not in (None, method):
            return False
        if self.path.startswith("^"):
            if not re.search(self.path, path):
                return False
        elif not path.startswith(self.path):
            return False
        return self.contains.encode() in body

    def describe(self) -> dict[str, object]:
        return {
            "method": self.method,
            "path": self.path,
            "contains": self.contains,
            "times": self.times,
            "after": self.after,
            "fault": self.fault.kind(),
        }


class FaultScript:
    """The rules waiting to act; safe to use from several threads."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def append(self, rules: object) -> int:
        """Append one rule or a list of rules; return how many wait. All are checked before any is added."""
        given = rules if isinstance(rules, list) else [rules]
        read = [_read_rule(rule) for rule in given]
        with self._lock:
            self._rules.extend(read)
            return len(self._rules)

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def waiting(self) -> list[dict[str, object]]:
        """Return the rules with times left, in order."""
        with self._lock:
            return [rule.describe() for rule in self._rules]

    def take(self, method: str, path: str, body: bytes) -> Fault | None:
        """Return the fault for this request, if any, and use up one of its times."""
        with self._lock:
            for rule in self._rules:
                if not rule.matches(method, path, body):
                    continue
                if rule.after > 0:
                    rule.after -= 1
                    continue
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                return rule.fault
        return None


def _mapping(value: object, what: str, known: set[str]) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidControlError(f"{what} must be an object")
    unknown = sorted(set(value) - known)
    if unknown:
        raise InvalidControlError(f"{what} has unknown keys: {', '.join(unknown)}")
    return value


def _whole_number(value: object, what: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidControlError(f"{what} must be a whole number of at least {least}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidControlError(f"{what} must be a text")
    return value


def _read_rule(rule: object) -> _Rule:
    keys = _mapping(rule, "a fault rule", {"match", "times", "after", "do"})
    match = _mapping(keys.get("match", {}), "match", {"method", "path", "contains"})
    path = _text(match.get("path", ""), "match.path")
    if path.startswith("^"):
        try:
            re.compile(path)
        except re.error as error:
            raise InvalidControlError(f"match.path is no regular expression: {error}") from error
    times = keys.get("times", 1)
    method = match.get("method")
    return _Rule(
        method=None if method is None else _text(method, "match.method").upper(),
        path=path,
        contains=_text(match.get("contains", ""), "match.contains"),
        times=None if times is None else _whole_number(times, "times", 1),
        after=_whole_number(keys.get("after", 0), "after", 0),
        fault=_read_fault(keys.get("do")),
    )


def _read_fault(do: object) -> Fault:
    keys = _mapping(do, "do", {"delay", "status", "headers", "body", "html", "drop"})
    if not keys.keys() & {"delay", "status", "html", "drop"}:
        raise InvalidControlError("do needs one of delay, status, html, drop")
    if len(keys.keys() & {"status", "html", "drop"}) > 1:
        raise InvalidControlError("do takes only one of status, html, drop")
    delay = keys.get("delay", 0)
    if not isinstance(delay, int | float) or isinstance(delay, bool) or delay < 0:
        raise InvalidControlError("do.delay must be a number of seconds")
    drop = keys.get("drop")
    if drop not in (None, "before", "after"):
        raise InvalidControlError("do.drop must be before or after")
    headers = keys.get("headers", {})
    if not isinstance(headers, dict):
        raise InvalidControlError("do.headers must be an object")
    return Fault(
        delay=float(delay),
        status=None if "status" not in keys else _whole_number(keys["status"], "do.status", 200),
        headers={str(name): str(value) for name, value in headers.items()},
        body=keys.get("body"),
        html=bool(keys.get("html", False)),
        drop=None if drop is None else str(drop),
    )
