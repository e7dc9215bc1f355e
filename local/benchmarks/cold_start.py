"""Runs a function as Lambda does, and prints what it cost. Started by `local.benchmarks.ingest` in a bare interpreter.

    python -I -S cold_start.py PATHS EVENTS

PATHS are the function's folder, the layer and the runtime's own packages, separated as in PYTHONPATH. EVENTS is a file
with a JSON list of an event and how often it is sent. The first event is the first request, before all that. Prints a
JSON object: CPU milliseconds of the import (and all that it does), of the first request, and of each event.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Measure."""
    paths, events_file = sys.argv[1:]
    sys.path[:0] = paths.split(os.pathsep)
    # What a function's folder holds is compiled at each start: Lambda mounts it read-only.
    sys.dont_write_bytecode = True
    events = json.loads(Path(events_file).read_text(encoding="utf-8"))
    printed, sys.stdout = sys.stdout, Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end

    began = time.process_time()
    import app  # type: ignore[import-not-found]

    imported = time.process_time()
    answers = [app.handler(events[0][0], None)]
    first = time.process_time()
    warm = []
    for event, repeats in events:
        took = []
        for _ in range(repeats):
            began_one = time.process_time()
            answers.append(app.handler(event, None))
            took.append(1e3 * (time.process_time() - began_one))
        warm.append(took)
    statuses = sorted({answer["statusCode"] for answer in answers})
    heavy = sorted({"boto3", "pydantic", "requests"}.intersection(sys.modules))
    json.dump(
        {
            "import": 1e3 * (imported - began),
            "first": 1e3 * (first - imported),
            "warm": warm,
            "statuses": statuses,
            "heavy": heavy,
        },
        printed,
    )


if __name__ == "__main__":
    main()
