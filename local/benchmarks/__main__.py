"""Run a benchmark: `python -m local.benchmarks activecampaign|gainsight-px [options]`."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.benchmarks import activecampaign, gainsight_px
from local.benchmarks.apart import EndedEarlyError
from local.processes import LocalStackError
from local.screen import Screen

_BENCHMARKS = {"activecampaign": activecampaign, "gainsight-px": gainsight_px}


def main(arguments: Sequence[str]) -> int:
    """Run a benchmark and show its figures; return 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m local.benchmarks", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, module in _BENCHMARKS.items():
        kind = kinds.add_parser(name)
        kind.add_argument("--profiles", type=int, default=10_000, metavar="N", help="(default %(default)s)")
        kind.add_argument(
            "--time-scale",
            type=float,
            default=module.DEFAULT_TIME_SCALE,
            metavar="N",
            help="the destination's limits and delays pass N times faster than the wall clock (default %(default)s)",
        )
        kind.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if options.profiles < 1 or options.time_scale <= 0:
        parser.error("--profiles and --time-scale must be above zero")
    screen = Screen(sys.stdout)
    try:
        with tempfile.TemporaryDirectory(prefix="audience-relay-") as folder:
            report = _BENCHMARKS[options.kind].benchmark(Path(folder), options.profiles, options.time_scale)
    except (EndedEarlyError, LocalStackError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        report.show(screen)
    return 1 if report.missed else 0


if __name__ == "__main__":
    # Ended by a signal, the processes started here still have to be ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
