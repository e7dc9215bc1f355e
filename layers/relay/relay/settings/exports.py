"""What SSM alone says of exports: all of the settings that route needs, and nothing that is slow to import."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relay.domain.expressions import compiled
from relay.domain.problems import Fault, SettingsProblem
from relay.settings.doors import Parameter, ParametersDoor, readable
from relay.settings.faults import MISSING, problem, trimmed, unknown_key
from relay.settings.names import split_key

MAX_SEGMENTS = 50
MAX_SEGMENT_BYTES = 1_024
"""Of `source/segment` in UTF-8: it is a sort key in DynamoDB.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}/[^\x00-\x1f\x7f]{1,256}")


@dataclass(frozen=True, slots=True)
class ExportText:
    """An export's parameter, as far as it does not depend on the destination."""

    active: bool
    stream: bool | None
    """None means the destination's default."""
    segments: tuple[str, ...]
    mapping: Mapping[str, str]
    options: Mapping[str, Any]
    only_if: str | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """What can be known of an export from its parameter alone; `stream` None means the destination's default."""

    connection: str
    name: str
    active: bool
    stream: bool | None
    segments: tuple[str, ...]
    version: int

    @property
    def key(self) -> str:
        """`connection/export`: unique in the stack."""
        return f"{self.connection}/{self.name}"


class ExportOutlines:
    """Reads the outlines of all exports."""

    def __init__(self, parameters: ParametersDoor) -> None:
        self._parameters = parameters
        self._listing: Mapping[str, Parameter | SettingsProblem] = {}
        self._outlines: Mapping[str, Outline] = {}

    def export_outlines(self) -> Mapping[str, Outline]:
        """Return the outlines of the exports that can be read, by key; raises Busy when SSM does not answer."""
        listing = self._parameters.all()
        if listing is not self._listing:
            # Checked once per reading: that takes longer than routing a change.
            self._listing, self._outlines = listing, dict(_outlines(listing))
        return self._outlines


def _outlines(listing: Mapping[str, Parameter | SettingsProblem]) -> Iterator[tuple[str, Outline]]:
    for key, parameter in listing.items():
        try:
            connection, name = split_key(key)
            read = readable(parameter)
            text = read_export(read)
        except SettingsProblem:
            continue
        yield key, Outline(connection, name, text.active, text.stream, text.segments, read.version)


def read_export(parameter: Parameter) -> ExportText:
    """Return what a parameter says; SettingsProblem with all that is wrong with it, whatever its destination."""
    given = given_export(parameter.text)
    if faults := text_faults(given):
        raise problem(faults)
    return export_text(given)


def given_export(text: str) -> Mapping[str, Any]:
    """Return the object that a parameter holds; SettingsProblem when there is none."""
    try:
        given = json.loads(trimmed(text))
    except (ValueError, RecursionError) as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise SettingsProblem("not_json", f"must be JSON{place}", field="export") from None
    if not isinstance(given, dict):
        raise problem([Fault("value", "must be a JSON object")])
    return given


def text_faults(given: Mapping[str, Any]) -> list[Fault]:
    """Return all that is wrong with an export, as far as it does not depend on the destination."""
    faults: list[Fault] = []
    for key, check in _CHECKS.items():
        if key in given:
            faults += [Fault(f"{key}{place}", reason) for place, reason in check(given[key])]
        elif key in _REQUIRED:
            faults.append(Fault(key, MISSING))
    faults += [unknown_key(key, _CHECKS) for key in given if key not in _CHECKS]
    return faults


def export_text(given: Mapping[str, Any]) -> ExportText:
    """Return what an export says that has no faults."""
    return ExportText(
        active=given["state"] == "active",
        stream=given.get("stream"),
        segments=tuple(given["segments"]),
        mapping=given["mapping"],
        options=given.get("options", {}),
        only_if=given.get("only_if"),
    )


_Reason = tuple[str, str]
"""A place within a key (empty for the key itself), and what is wrong there."""


def _state(value: Any) -> list[_Reason]:
    return [] if value in ("active", "paused") else [("", "must be 'active' or 'paused'")]


def _stream(value: Any) -> list[_Reason]:
    return [] if value is None or isinstance(value, bool) else [("", "must be a boolean: true or false")]


def _segments(value: Any) -> list[_Reason]:
    if not isinstance(value, list):
        return [("", "must be a list of source/segment")]
    if not 1 <= len(value) <= MAX_SEGMENTS:
        return [("", f"must have at least 1 and at most {MAX_SEGMENTS} entries, not {len(value)}")]
    for index, segment in enumerate(value):
        if not isinstance(segment, str) or _SEGMENT.fullmatch(segment) is None:
            return [("", f"entry {index + 1} must be source/segment")]
        if len(segment.encode(errors="surrogatepass")) > MAX_SEGMENT_BYTES:
            return [("", f"entry {index + 1} is longer than {MAX_SEGMENT_BYTES} bytes in UTF-8")]
        if segment in value[:index]:
            return [("", f"entry {index + 1} is there twice")]
    return []


def _mapping(value: Any) -> list[_Reason]:
    if not isinstance(value, dict):
        return [("", "must be an object of fields and expressions")]
    return [(f".{field}", reason) for field, text in value.items() if (reason := _expression_fault(text)) is not None]


def _expression_fault(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be an expression as text"
    try:
        compiled(value)
    except ValueError as error:
        return str(error)
    return None


def _only_if(value: Any) -> list[_Reason]:
    reason = _expression_fault(value)
    return [] if reason is None else [("", reason)]


def _options(value: Any) -> list[_Reason]:
    return [] if isinstance(value, dict) else [("", "must be an object")]


def _description(value: Any) -> list[_Reason]:
    return [] if isinstance(value, str) else [("", "must be a text")]


_CHECKS: Mapping[str, Callable[[Any], list[_Reason]]] = {
    "state": _state,
    "stream": _stream,
    "segments": _segments,
    "mapping": _mapping,
    "only_if": _only_if,
    "options": _options,
    "description": _description,
}
_REQUIRED = frozenset({"state", "segments", "mapping"})
