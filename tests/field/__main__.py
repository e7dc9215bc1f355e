"""Replay case files, each printed as one line of JSON: `python -m tests.field FILE...`."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path

from tests.field.reading import CaseError, read_case
from tests.field.replaying import replay


def main(arguments: list[str] | None = None) -> int:
    """Replay case files and print what came of each as a line of JSON; nothing is judged."""
    parser = argparse.ArgumentParser(prog="python -m tests.field", description=main.__doc__)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a case; `tests/field/reading.py` says how it looks"
    )
    options = parser.parse_args(arguments)
    failed = False
    for file in options.files:
        try:
            line = replay(read_case(file))
        except CaseError as error:
            failed = True
            sys.stderr.write(f"{file}: {error}\n")
        except Exception:  # noqa: BLE001 - one case must not stop the others
            failed = True
            sys.stderr.write(f"{file}: could not be replayed\n{traceback.format_exc()}")
        else:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
