"""Play many random histories, or search for histories that notice planted mistakes.

python -m tests.histories --histories 500 [--seed N] [--destination gainsight_px]
python -m tests.histories --seed 17 --destination activecampaign --trace
python -m tests.histories --mistakes [NAME ...] --histories 200
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count

from tests.histories.mistakes import MISTAKES, notice
from tests.histories.playing import SIDES, History


def _attempt(task: tuple[int, str]) -> tuple[int, str, str | None, str]:
    seed, name = task
    try:
        return seed, name, None, str(History(seed, name).play())
    except Exception:  # noqa: BLE001 - whatever goes wrong is a finding, with its seed
        return seed, name, traceback.format_exc(limit=-2), ""


def _trace(seed: int, name: str) -> int:
    history = History(seed, name)
    try:
        outcome = str(history.play())
    except Exception:  # noqa: BLE001 - shown after what led to it
        outcome = traceback.format_exc(limit=-2)
    sys.stdout.write(f"{history.side.export}\n" + "\n".join(history.world.happened) + f"\n{outcome}\n")
    return 0


def _mistakes(names: list[str], seed: int, histories: int) -> int:
    """Search for the first history that notices each mistake."""
    unnoticed = 0
    for name in names:
        found, says = notice(name, seed, histories)
        unnoticed += found is None
        sys.stdout.write(f"{name:22} {'not noticed' if found is None else f'seed {found}'}  {says}\n")
        sys.stdout.flush()
    return 1 if unnoticed else 0


def main() -> int:
    """Play histories from consecutive seeds; print those that break a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=main.__doc__)
    parser.add_argument("--histories", type=int, default=100, help="per destination")
    parser.add_argument("--seed", type=int, default=None, help="the first seed")
    parser.add_argument("--destination", choices=sorted(SIDES), action="append", help="default: all")
    parser.add_argument("--stop-after", type=int, default=5, help="failures")
    parser.add_argument("--processes", type=int, default=cpu_count())
    parser.add_argument("--verbose", action="store_true", help="what each history was made of")
    parser.add_argument("--trace", action="store_true", help="play the first seed only, and print what happened")
    parser.add_argument("--mistakes", nargs="*", metavar="NAME", help="plant these mistakes, or all")
    options = parser.parse_args()
    if options.mistakes is not None:
        return _mistakes(options.mistakes or list(MISTAKES), options.seed or 0, options.histories)
    first = secrets.randbelow(10**9) if options.seed is None else options.seed
    names = options.destination or sorted(SIDES)
    if options.trace:
        return _trace(first, names[0])
    sys.stdout.write(f"seeds {first} to {first + options.histories - 1}\n")
    tasks = [(first + number, name) for number in range(options.histories) for name in names]
    started, failures, done = time.monotonic(), 0, 0
    with ProcessPoolExecutor(options.processes) as pool:
        for seed, name, problem, summary in pool.map(_attempt, tasks, chunksize=2):
            done += 1
            if problem is not None:
                failures += 1
                sys.stdout.write(f"{name} seed {seed}:\n{problem}\n")
                if failures >= options.stop_after:
                    break
            elif options.verbose:
                sys.stdout.write(f"{name} seed {seed}: {summary}\n")
            sys.stdout.flush()
        pool.shutdown(cancel_futures=True)
    spent = time.monotonic() - started
    sys.stdout.write(f"{failures} of {done} histories broke a promise ({spent:.0f} s)\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
