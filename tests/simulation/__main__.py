"""Play many random schedules, or search for schedules that notice planted mistakes.

python -m tests.simulation --schedules 20000 [--seed N] [--world wide]
python -m tests.simulation --schedules 1 --seed 17 --world plain --tell
python -m tests.simulation --mistakes [NAME ...] --schedules 2000
"""

import argparse
import os
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count

from tests.simulation.mistakes import MISTAKES, notice
from tests.simulation.playing import ACTIONS, WORLDS, Session, play, play_all, say, tasks
from tests.simulation.races import ENOUGH_SCHEDULES


def main() -> int:
    """Play schedules from consecutive seeds; print those that break a promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=main.__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None, help="the first seed")
    parser.add_argument("--world", choices=WORLDS, help="one world alone")
    parser.add_argument("--actions", type=int, default=ACTIONS, help="random actions per schedule")
    parser.add_argument("--stop-after", type=int, default=5, help="failures")
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--tell", action="store_true", help="print all that happens in one schedule")
    parser.add_argument("--mistakes", nargs="*", metavar="NAME", help="plant these mistakes, or all")
    options = parser.parse_args()
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    if options.mistakes is not None:
        return _mistakes(options.mistakes or list(MISTAKES), options.seed or 0, options.schedules, options.processes)
    if options.tell:
        play(seed, options.actions, make=WORLDS[options.world or "plain"], tell=say)
        return 0
    return _session(seed, options)


def _session(seed: int, options: argparse.Namespace) -> int:
    say(f"seeds {seed} to {seed + options.schedules - 1}")
    session, begun = Session(), time.monotonic()
    wanted = tasks(seed, options.schedules, options.world, options.actions)
    for done, played in enumerate(play_all(wanted, options.processes), 1):
        session.add(played)
        if played.problem is not None:
            task = played.task
            say(f"seed {task.seed} in the {task.world} world:\n{played.problem}")
            say(
                "replay: PYTHONPATH=layers/relay:. .venv/bin/python -m tests.simulation "
                f"--tell --seed {task.seed} --world {task.world}"
            )
            if len(session.broken) >= options.stop_after:
                break
        elif done % 500 == 0:
            say(f"{done} schedules, {time.monotonic() - begun:.0f} s")
    for line in session.lines():
        say(line)
    unseen = session.unseen() if options.world is None and options.schedules >= ENOUGH_SCHEDULES else []
    for kind in unseen:
        say(f"never happened: {kind}")
    return 1 if session.broken or unseen else 0


def _mistakes(names: list[str], seed: int, schedules: int, processes: int | None) -> int:
    """Search for the first schedules that notice each mistake."""
    unnoticed = 0
    with ProcessPoolExecutor(processes or cpu_count()) as pool:
        work = [(name, seed, schedules) for name in names]
        for name, found, says in pool.map(notice, *zip(*work, strict=True)):
            unnoticed += found is None
            say(f"{name:30} {'not noticed' if found is None else f'seed {found}'}  {says}")
    return 1 if unnoticed else 0


def _fix_hashes() -> None:
    """Begin again with fixed hashes of texts: the order of sets is part of what a seed plays."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})


if __name__ == "__main__":
    _fix_hashes()
    sys.exit(main())
