"""Run a benchmark: `python -m local.benchmarks KIND [options]`."""

import argparse
import importlib
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from local.benchmarks.apart import EndedEarlyError
from local.benchmarks.report import Report
from local.processes import LocalStackError
from local.screen import Screen

_KINDS = ("activecampaign", "gainsight-px", "ingest", "route", "segment-file", "database", "pace", "rejected")


def main(arguments: Sequence[str]) -> int:
    """Run a benchmark and show its figures; return 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m local.benchmarks", description=__doc__, add_help=False)
    parser.add_argument("kind", choices=_KINDS)
    kind = parser.parse_args(arguments[:1]).kind
    module = importlib.import_module(f"local.benchmarks.{kind.replace('-', '_')}")
    options = _options(kind, module, arguments[1:])
    screen = Screen(sys.stdout)
    try:
        with tempfile.TemporaryDirectory(prefix="audience-relay-") as folder:
            report = _report(Path(folder), module, options)
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


def _options(kind: str, module: ModuleType, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m local.benchmarks {kind}")
    if kind == "ingest":
        parser.add_argument("--starts", type=int, default=module.STARTS, metavar="N", help="(default %(default)s)")
    elif kind == "segment-file":
        parser.add_argument("--rows", type=int, default=20_000, metavar="N", help="(default %(default)s)")
        parser.add_argument("--formats", nargs="+", choices=sorted(module.FORMATS), default=[*module.FORMATS])
    elif kind not in ("database", "pace"):
        parser.add_argument("--profiles", type=int, default=10_000, metavar="N", help="(default %(default)s)")
    if hasattr(module, "DEFAULT_TIME_SCALE"):
        parser.add_argument(
            "--time-scale",
            type=float,
            default=module.DEFAULT_TIME_SCALE,
            metavar="N",
            help="the destination's limits and delays pass N times faster than the wall clock (default %(default)s)",
        )
    if hasattr(module, "ACCOUNTS"):
        parser.add_argument(
            "--account",
            choices=sorted(module.ACCOUNTS),
            default="open",
            help="what the account says of an import: whom it left out, or only how many (default %(default)s)",
        )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if any(getattr(options, name, 1) <= 0 for name in ("profiles", "rows", "time_scale", "starts")):
        parser.error("--profiles, --rows, --time-scale and --starts must be above zero")
    return options


def _report(folder: Path, module: ModuleType, options: argparse.Namespace) -> Report:
    measures = {name: value for name, value in vars(options).items() if name != "json"}
    report: Report = module.benchmark(folder, **measures) if measures else module.benchmark()
    return report


if __name__ == "__main__":
    # Ended by a signal, the processes started here still have to be ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
