"""Start a sandbox: `python -m sandboxes activecampaign [options]`; without a name it tells which there are."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from importlib import import_module

from flask import Flask

from sandboxes import names
from sandboxes.answers import InvalidControlError
from sandboxes.serving import serve_forever


def parse(arguments: list[str]) -> tuple[Flask, str, int]:
    """Return the sandbox the arguments ask for, and the host and port to serve it on."""
    parser = argparse.ArgumentParser(prog="python -m sandboxes", description="Serve the sandbox of a destination.")
    parser.add_argument("name", choices=names())
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one (default)")
    parser.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="N",
        help="limits, and whatever takes the vendor time, pass N times faster than the clock (default 1)",
    )
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help='such as {"api_key": "k"}')
    options = parser.parse_args(arguments)
    package = import_module(f"sandboxes.{options.name}")
    if not isinstance(options.settings, dict):
        parser.error("--settings must be a JSON object")
    try:
        config = package.Config().changed(options.settings)
    except InvalidControlError as error:
        parser.error(f"--settings: {error}")
    return package.create_app(config, time_scale=options.time_scale), options.host, options.port


def main() -> None:
    """Serve one sandbox until interrupted or terminated."""
    app, host, port = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve_forever(app, host, port)


if __name__ == "__main__":
    main()
