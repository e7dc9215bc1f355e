"""Run a benchmark: `python -m local.benchmarks activecampaign|gainsight-px|ingest [options]`."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from local.benchmarks import activecampaign, gainsight_px, ingest
from local.benchmarks.apart import EndedEarlyError
from local.benchmarks.report import Report
from local.processes import LocalStackError
from local.screen import Screen

_FULL = {"activecampaign": activecampaign, "gainsight-px": gainsight_px}


def main(arguments: Sequence[str]) -> int:
    """Run a benchmark and show its figures; return 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m local.benchmarks", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, module in _FULL.items():
        kind = kinds.add_parser(name)
        kind.add_argument("--profiles", type=int, default=10_000, metavar="N", help="(default %(default)s)")
        kind.add_argument(
            "--time-scale",
            type=float,
            default=module.DEFAULT_TIME_SCALE,
            metavar="N",
            help="the destination's limits and delays pass N times faster than the wall clock (default %(default)s)",
        )
    kinds.choices["activecampaign"].add_argument(
        "--account",
        choices=sorted(activecampaign.ACCOUNTS),
        default="open",
        help="what the account tells of an import: whom it left out, or only how many (default %(default)s)",
    )
    start = kinds.add_parser("ingest")
    start.add_argument("--starts", type=int, default=ingest.STARTS, metavar="N", help="(default %(default)s)")
    for kind in kinds.choices.values():
        kind.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if any(getattr(options, name, 1) <= 0 for name in ("profiles", "time_scale", "starts")):
        parser.error("--profiles, --time-scale and --starts must be above zero")
    screen = Screen(sys.stdout)
    try:
        with tempfile.TemporaryDirectory(prefix="audience-relay-") as folder:
            report = _report(Path(folder), options)
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


def _report(folder: Path, options: argparse.Namespace) -> Report:
    if options.kind == "ingest":
        return ingest.benchmark(folder, options.starts)
    full: ModuleType = _FULL[options.kind]
    more = {"account": options.account} if "account" in options else {}
    report: Report = full.benchmark(folder, options.profiles, options.time_scale, **more)
    return report


if __name__ == "__main__":
    # Ended by a signal, the processes started here still have to be ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
