"""Parts of a JSON text as they are written: what is signed, or handed on, must not be written anew."""

import json
import re
from collections.abc import Iterator

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def elements(text: str) -> Iterator[str]:
    """Yield the elements of a list, one by one; ValueError or RecursionError where it is none."""
    position = _after(text, 0, "[")
    if text[position : position + 1] == "]":
        return
    while True:
        _, end = _DECODER.raw_decode(text, position)
        yield text[position:end]
        position = _blanks(text, end)
        if text[position : position + 1] == "]":
            return
        position = _after(text, position, ",")


def members(text: str) -> dict[str, str]:
    """Return the values of an object; of a key that comes twice the last. ValueError or RecursionError as above."""
    found: dict[str, str] = {}
    position = _after(text, 0, "{")
    while text[position : position + 1] != "}":
        key, end = _DECODER.raw_decode(text, position)
        if not isinstance(key, str):
            raise ValueError("a key is a text")
        position = _after(text, end, ":")
        _, end = _DECODER.raw_decode(text, position)
        found[key] = text[position:end]
        position = _blanks(text, end)
        if text[position : position + 1] != "}":
            position = _after(text, position, ",")
    return found


def _after(text: str, position: int, sign: str) -> int:
    position = _blanks(text, position)
    if text[position : position + 1] != sign:
        raise ValueError(f"no {sign}")
    return _blanks(text, position + 1)


def _blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return position if blanks is None else blanks.end()
