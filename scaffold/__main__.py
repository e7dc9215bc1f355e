"""Write a new destination: `python -m scaffold NAME`, or `make destination NAME=klaviyo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scaffold.names import Name, UnusableNameError
from scaffold.writing import INDEX, PARTS, ROOT, TEMPLATE, path_of, planned, write


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Write it and say what comes next; return 0, or 2 with the reason on standard error."""
    if len(arguments) != 1 or not arguments[0]:
        print("usage: make destination NAME=klaviyo", file=sys.stderr)
        return 2
    try:
        name = Name(arguments[0])
        texts = planned(name, root)
    except UnusableNameError as error:
        print(f"{arguments[0]}: {error}. Nothing was written.", file=sys.stderr)
        return 2
    write(texts, root)
    print(next_steps(name))
    return 0


def next_steps(name: Name) -> str:
    """Return what was written and what is to be changed in it."""
    rows = [(path_of(part, name), part.change) for part in PARTS]
    rows += [(TEMPLATE, f"nothing: {name.word} is in its list of destinations"), (INDEX, "nothing: it has the page")]
    width = max(len(path) for path, _ in rows)
    words = " or ".join(dict.fromkeys((name.camel.lower(), name.snake)))
    return "\n".join(
        [
            f"{name.title} is a destination now: a list of a vendor that does not exist. Change, in this order:",
            "",
            *(f"  {path:{width}}  {change}" for path, change in rows),
            "",
            "Play the contract suite after each change; docs/adding-a-destination.md says how to go on:",
            "",
            f'  .venv/bin/pytest tests/contract tests/unit -k "{words}"',
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
