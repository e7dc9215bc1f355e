"""What is wrong with settings: every fault at once, by field, repeating no value of a secret."""

import re
from collections.abc import Collection, Iterable, Sequence

from relay.domain.problems import Fault, SettingsProblem

MISSING = "is missing"

_KEY = re.compile(r"[a-z_]{1,40}")
"""What an unknown key may look like to be named. Anything else may be a value that was pasted into the wrong column."""
_SHORTEST_HIDDEN = 4
"""Shorter values would strike out parts of ordinary words."""
BYTE_ORDER_MARK = "\ufeff"
"""Some editors put it in front of a file, and it comes along when the file is stored as a secret."""
_INVISIBLE = f"{BYTE_ORDER_MARK}\u200b\u200c\u200d\u2060\u00ad"
"""What else has no width, and comes along when a value is copied."""


def problem(faults: Sequence[Fault], hidden: Iterable[str] = (), *, code: str = "invalid") -> SettingsProblem:
    """Return faults (at least one) as one problem, the first one's field leading; `hidden` are values to strike out."""
    values = sorted((value for value in hidden if len(value) >= _SHORTEST_HIDDEN), key=len, reverse=True)
    shown = [Fault(_struck(fault.field, values), _struck(fault.what, values), fault.near) for fault in faults]
    return SettingsProblem(code, problem_text(shown), field=shown[0].field, faults=shown)


def problem_text(faults: Sequence[Fault]) -> str:
    """Return all faults in one text, without the field of the first."""
    (_, first, _), *others = faults
    return first + "".join(f"; {field}: {what}" for field, what, _ in others)


def _struck(text: str, values: Sequence[str]) -> str:
    for value in values:
        text = text.replace(value, "***")
    return text


def unknown_key(key: str, known: Collection[str], *, inside: str = "") -> Fault:
    """Return what is wrong with a key that nobody knows, and which one may be meant.

    `inside` is the field that holds it. The key is named only where it looks like one.
    """
    # Imported here, because only a mistyped key needs it.
    from difflib import get_close_matches

    written = key.lower().replace(" ", "_").replace("-", "_")
    near = next(iter(get_close_matches(written[:_LONGEST_KEY], known, n=1)), None)
    shown = shown_key(key)
    field = ".".join(filter(None, (inside, shown))) or "value"
    what = "is not known" if shown else "has an unknown key"
    what += f"; known are {', '.join(known)}" if known else ""
    return Fault(field, what if near is None else f"{what}; the nearest is {near}", near)


def shown_key(key: str) -> str | None:
    """Return a key where it may be named, None where it may be a value."""
    return key if all(map(_KEY.fullmatch, key.split("."))) else None


_LONGEST_KEY = 64
"""Comparing a longer key would take long."""


def trimmed(text: str) -> str:
    """Return a text without the blanks and invisible characters at its ends."""
    while (shorter := text.strip().strip(_INVISIBLE)) != text:
        text = shorter
    return text
