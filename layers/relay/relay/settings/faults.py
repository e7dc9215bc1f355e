"""What is wrong with settings: every fault at once, by field, repeating no value of a secret."""

from collections.abc import Collection, Iterable, Sequence

from relay.domain.problems import SettingsProblem

MISSING = "is missing"

Fault = tuple[str, str]
"""A field and what is wrong with it."""

_LONGEST_KEY = 64
"""A longer key is no mistyped one, and comparing it would take long."""
_SHORTEST_HIDDEN = 4
"""Shorter values would strike out parts of ordinary words."""
BYTE_ORDER_MARK = "\ufeff"
"""Some editors put it in front of a file, and it comes along when the file is stored as a secret."""
_INVISIBLE = f"{BYTE_ORDER_MARK}\u200b\u200c\u200d\u2060\u00ad"
"""What else has no width, and comes along when a value is copied."""


def problem(faults: Sequence[Fault], hidden: Iterable[str] = ()) -> SettingsProblem:
    """Return faults (at least one) as one problem, the first one's field leading; `hidden` are values to strike out."""
    values = sorted((value for value in hidden if len(value) >= _SHORTEST_HIDDEN), key=len, reverse=True)
    given = []
    for field, reason in faults:
        for value in values:
            reason = reason.replace(value, "***")
        given.append((field, reason))
    (first, reason), *others = given
    return SettingsProblem("invalid", reason + "".join(f"; {field}: {why}" for field, why in others), field=first)


def unknown_key(key: str, known: Collection[str]) -> str:
    """Return what is wrong with a key that nobody knows, and which one may be meant.

    The key itself is not named: in a secret it may be a value that was pasted into the wrong column.
    """
    # Imported here, because only a mistyped key needs it.
    from difflib import get_close_matches

    given = f"has an unknown key; known are {', '.join(known)}"
    written = key.lower().replace(" ", "_").replace("-", "_")
    near = get_close_matches(written, known, n=1) if len(key) <= _LONGEST_KEY else []
    return f"{given}; the nearest is {near[0]}" if near else given


def trimmed(text: str) -> str:
    """Return a text without the blanks and invisible characters at its ends."""
    while (shorter := text.strip().strip(_INVISIBLE)) != text:
        text = shorter
    return text
