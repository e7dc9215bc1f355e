"""NDJSON: one JSON object a line. https://github.com/ndjson/ndjson-spec"""

import json
from collections.abc import Iterator
from typing import NoReturn

from relay.files.rows import BrokenRow, Row
from relay.files.text import Lines, LongLine
from relay.sources.json_body import flaw_of


def read(name: str, lines: Lines) -> Iterator[Row | BrokenRow]:
    """Yield the rows of a part. Lines without anything are passed over."""
    decode = json.JSONDecoder(parse_constant=_refuse).decode
    while True:
        lines.mark()
        try:
            line = next(lines, None)
            if line is None:
                return
            if line.isspace():
                continue
            values = decode(line)
        except LongLine as error:
            yield lines.broken(name, str(error))
            continue
        except (ValueError, RecursionError):
            yield lines.broken(name, "is not JSON")
            continue
        flaw = flaw_of(values) if isinstance(values, dict) else "is not a JSON object"
        yield Row(name, lines.number, values, len(line)) if flaw is None else BrokenRow(name, lines.number, flaw)


def _refuse(_: str) -> NoReturn:
    raise ValueError
