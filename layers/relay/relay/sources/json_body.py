"""Reading a body strictly: JSON that every later step (messages, stores, hashes) can carry unchanged."""

import json
import math
import re
from typing import Any, NoReturn

from relay.problem_details import InputError, Refusal, malformed_json, pointer, wrong_shape

MAX_KEYS = 10_000
"""The most keys one object may have, so that an error per key stays affordable."""
MAX_DEPTH = 32
"""The deepest nesting taken; DynamoDB's own limit, and far beyond any customer profile.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


def documents(raw: bytes) -> list[Any]:
    """Return the JSON documents of a body that holds at least one, written one after the other.

    Raises Refusal: 400 for what is not JSON in UTF-8, 422 for JSON that cannot be carried (nested deeper than
    MAX_DEPTH, objects of more than MAX_KEYS, numbers beyond a double, half a surrogate pair).
    """
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
            raise _too_deep() from None
        except ValueError:
            raise malformed_json("The body holds a number that cannot be read.") from None
        found.append(value)
        position = _skip_blanks(text, position)
    if not found:
        raise malformed_json("The body is empty.")
    _check(found)
    return found


def document(raw: bytes) -> Any:
    """Return the one JSON document of a body; raises Refusal as `documents` does, and 400 when there are more."""
    found = documents(raw)
    if len(found) > 1:
        raise malformed_json("The body holds more than one JSON document.")
    return found[0]


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _skip_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return position if blanks is None else blanks.end()


def _too_deep() -> Refusal:
    return wrong_shape([InputError(f"is nested deeper than {MAX_DEPTH} levels", pointer([]))])


def _check(found: list[Any]) -> None:
    """Walk level by level, so that depth costs no stack."""
    level: list[Any] = list(found)
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if len(value) > MAX_KEYS:
                    raise wrong_shape([InputError(f"holds an object of more than {MAX_KEYS} keys", pointer([]))])
                deeper.extend(value)
                deeper.extend(value.values())
            elif isinstance(value, list):
                deeper.extend(value)
            elif isinstance(value, str):
                _check_text(value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise wrong_shape([InputError("holds a number beyond the range of a double", pointer([]))])
        if not deeper:
            return
        level = deeper
    raise _too_deep()


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise wrong_shape([InputError("holds half a surrogate pair in a text", pointer([]))]) from None
