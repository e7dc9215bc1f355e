"""Play many random schedules: `python -m tests.simulation --schedules 20000 [--seed N]`."""

import argparse
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from os import cpu_count

from tests.simulation.crowded_world import play_crowded
from tests.simulation.flawed_world import play_flawed
from tests.simulation.wider_world import WiderWorld
from tests.simulation.world import World, play

KINDS: dict[str, Callable[[int, int], World]] = {
    "plain": play,
    "wide": partial(play, make=WiderWorld),
    "crowded": play_crowded,
    "flawed": play_flawed,
}


def _attempt(task: tuple[int, int, str]) -> tuple[int, str | None, int]:
    seed, actions, kind = task
    try:
        return seed, None, KINDS[kind](seed, actions).restarts
    except Exception:  # noqa: BLE001 - whatever goes wrong is a finding, with its seed
        return seed, traceback.format_exc(limit=-4), 0


def main() -> int:
    """Play schedules from consecutive seeds; print those that break a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=main.__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="the first seed")
    parser.add_argument("--actions", type=int, default=250, help="random actions per schedule")
    parser.add_argument("--stop-after", type=int, default=5, help="failures")
    parser.add_argument(
        "--wide",
        action="store_const",
        dest="kind",
        const="wide",
        default="plain",
        help="with settings that come and go, and late duplicates",
    )
    parser.add_argument(
        "--crowded", action="store_const", dest="kind", const="crowded", help="with claims that name very few"
    )
    parser.add_argument(
        "--flawed", action="store_const", dest="kind", const="flawed", help="with defects that some profiles meet"
    )
    options = parser.parse_args()
    print(f"seeds {options.seed} to {options.seed + options.schedules - 1}")
    started, failures, restarts = time.monotonic(), 0, 0
    tasks = [(options.seed + number, options.actions, options.kind) for number in range(options.schedules)]
    with ProcessPoolExecutor(cpu_count()) as pool:
        for done, (seed, problem, died) in enumerate(pool.map(_attempt, tasks, chunksize=4), 1):
            restarts += died
            if problem is not None:
                failures += 1
                print(f"seed {seed}:\n{problem}")
                if failures >= options.stop_after:
                    break
            elif done % 500 == 0:
                print(f"{done} schedules, {restarts} crashes, {time.monotonic() - started:.0f} s", flush=True)
        pool.shutdown(cancel_futures=True)
    print(f"{failures} of {done} schedules broke a promise ({restarts} crashes, {time.monotonic() - started:.0f} s)")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
