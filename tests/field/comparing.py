"""What a case expects, compared with the line that its replay gave.

`expect` names those keys of the line that matter. A contact, a run or an answer may hold more than is expected of it.
Of `warnings` only the codes count, since a warning is counted each time a profile is looked at. Texts of findings and
errors need only contain what is expected. A list under `expect` holds several right results, of which one is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PROSE = ("checks", "events")
"""Keys of the line that hold texts for people."""


def differences(expect: Mapping[str, Any] | Sequence[Mapping[str, Any]], line: Mapping[str, Any]) -> list[str]:
    """Return how a line is otherwise than expected, a text for each key; nothing when all is right."""
    if isinstance(expect, Mapping):
        return _differences(expect, line)
    all_ways = [_differences(one, line) for one in expect]
    return [] if [] in all_ways else [difference for one in all_ways for difference in one]


def _differences(expect: Mapping[str, Any], line: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: expected {wanted}, there is {line.get(key)}"
        for key, wanted in expect.items()
        if not _is_right(key, wanted, line.get(key))
    ]


def _is_right(key: str, wanted: Any, found: Any) -> bool:
    if found is None:
        return False
    if key == "warnings":
        return bool(sorted(wanted) == sorted(found))
    if key in ("refusals", "members"):
        return bool(wanted == found)
    return _fits(wanted, found, prose=key in PROSE)


def _fits(wanted: Any, found: Any, *, prose: bool) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and _fits_inside(name, value, found[name], prose=prose) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(_fits(one, other, prose=prose) for one, other in zip(wanted, found, strict=True))
        )
    if prose and isinstance(wanted, str):
        return isinstance(found, str) and wanted in found
    return bool(wanted == found) and type(wanted) is type(found)


def _fits_inside(name: str, wanted: Any, found: Any, *, prose: bool) -> bool:
    if name == "findings":
        return all(any(_fits(one, other, prose=prose) for other in found) for one in wanted)
    return _fits(wanted, found, prose=prose)
