"""Reading a body strictly, and whether every later step (messages, stores, hashes) can carry a value unchanged."""

import json
import math
import re
from typing import Any, NoReturn

from relay.problem_details import InputError, malformed_json, pointer, wrong_shape

MAX_KEYS = 10_000
"""The most keys one object may have, so that an error per key stays affordable."""
MAX_DEPTH = 32
"""The deepest nesting taken; DynamoDB's own limit, and far beyond any customer profile.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


def documents(raw: bytes) -> list[Any]:
    """Return the JSON documents of a body that holds at least one, written one after the other.

    Raises Refusal: 400 for what is not JSON in UTF-8, 422 for JSON nested too deeply to be read at all.
    """
    if raw.startswith(_GZIP):
        raise malformed_json("The body is compressed; it must be sent as plain JSON.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise malformed_json(f"The body is not UTF-8 at byte {error.start}.") from None
    found = []
    position = _skip_blanks(text, 0)
    while position < len(text):
        try:
            value, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise malformed_json(f"The body is not JSON at line {error.lineno}, column {error.colno}.") from None
        except RecursionError:
            raise wrong_shape([InputError(_TOO_DEEP, pointer([]))]) from None
        except ValueError:
            raise malformed_json("The body holds a number that cannot be read.") from None
        found.append(value)
        position = _skip_blanks(text, position)
    if not found:
        raise malformed_json("The body is empty.")
    return found


def document(raw: bytes) -> Any:
    """Return the one JSON document of a body; raises Refusal as `documents` does, and 400 when there are more."""
    found = documents(raw)
    if len(found) > 1:
        raise malformed_json("The body holds more than one JSON document.")
    return found[0]


def flaw_of(value: Any) -> str | None:
    """Return why a value cannot be carried, None when it can.

    It is nested deeper than MAX_DEPTH, or holds an object of more than MAX_KEYS, a number beyond a double or half a
    surrogate pair.
    """
    # Level by level, so that depth costs no stack.
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for one in level:
            flaw = _own_flaw(one)
            if flaw is not None:
                return flaw
            if isinstance(one, dict):
                deeper.extend(one)
                deeper.extend(one.values())
            elif isinstance(one, list):
                deeper.extend(one)
        if not deeper:
            return None
        level = deeper
    return _TOO_DEEP


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_GZIP = b"\x1f\x8b"
_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _skip_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return position if blanks is None else blanks.end()


def _own_flaw(value: Any) -> str | None:
    if isinstance(value, dict) and len(value) > MAX_KEYS:
        return f"holds an object of more than {MAX_KEYS} keys"
    if isinstance(value, float) and not math.isfinite(value):
        return "holds a number beyond the range of a double"
    if isinstance(value, str) and not _is_whole(value):
        return "holds half a surrogate pair in a text"
    return None


def _is_whole(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
