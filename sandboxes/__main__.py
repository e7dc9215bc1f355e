"""Start a sandbox: `python -m sandboxes activecampaign|gainsight-px [options]`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

from flask import Flask

from sandboxes import activecampaign, gainsight_px
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from sandboxes.gainsight_px.settings import GainsightPxConfig
from sandboxes.serving import serve_forever


def _named_lists(text: str) -> dict[int, str]:
    """Read `7,8:Newsletter` into names by list id."""
    named = {}
    for entry in filter(None, text.split(",")):
        number, _, name = entry.partition(":")
        named[int(number)] = name or f"List {number}"
    return named


def _typed_fields(text: str) -> dict[int, str]:
    """Read `1:text,2:date` into types by field id."""
    typed = {}
    for entry in filter(None, text.split(",")):
        number, _, kind = entry.partition(":")
        typed[int(number)] = kind or "text"
    return typed


def _typed_attributes(text: str) -> dict[str, str]:
    """Read `inTrial:BOOLEAN,plan:STRING` into types by apiName."""
    typed = {}
    for entry in filter(None, text.split(",")):
        name, _, kind = entry.partition(":")
        typed[name] = kind or "STRING"
    return typed


def _ids(text: str) -> frozenset[int]:
    return frozenset(int(entry) for entry in text.split(",") if entry)


def _addresses(text: str) -> frozenset[str]:
    return frozenset(entry.strip().lower() for entry in text.split(",") if entry.strip())


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one (default)")
    parser.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="N",
        help="limit windows and import processing pass N times faster than the wall clock (default 1)",
    )


def _add_activecampaign(parser: argparse.ArgumentParser) -> None:
    default = ActiveCampaignConfig()
    _add_common(parser)
    parser.add_argument("--api-key", default=default.api_key, help="the account's key (default %(default)s)")
    parser.add_argument("--lists", type=_named_lists, default=dict(default.lists), metavar="7,8:NAME")
    parser.add_argument("--invisible-lists", type=_ids, default=frozenset(), metavar="9,10", help="lists with 403")
    parser.add_argument("--fields", type=_typed_fields, default={}, metavar="1:text,2:date")
    parser.add_argument("--excluded", type=_addresses, default=frozenset(), metavar="ADDRESS,...")
    parser.add_argument("--contact-limit", type=int, default=default.contact_limit, metavar="N")
    parser.add_argument("--wrong-key", choices=("403", "html", "401"), default=default.wrong_key)
    parser.add_argument("--settings-forbidden", action="store_true", help="403 for /settings/account")
    parser.add_argument(
        "--processing-seconds",
        type=float,
        default=default.processing_seconds,
        metavar="S",
        help="how long an import takes, before time scaling (default %(default)s)",
    )
    parser.add_argument("--success-lists", choices=("created_or_updated", "created"), default=default.success_lists)
    parser.add_argument("--excluded-at", choices=("both", "queue", "import"), default=default.excluded_at)
    parser.add_argument("--imports-count", action="store_true", help="imports count among the requests of a second")


def _add_gainsight_px(parser: argparse.ArgumentParser) -> None:
    default = GainsightPxConfig()
    _add_common(parser)
    for name in ("username", "password", "client_id", "client_secret", "api_key"):
        parser.add_argument(f"--{name.replace('_', '-')}", default=getattr(default, name), help="(default %(default)s)")
    parser.add_argument("--token-lifetime", type=float, default=default.token_lifetime, metavar="S")
    parser.add_argument("--feature", choices=("on", "403", "404", "html"), default=default.feature)
    parser.add_argument("--segment-ref", choices=("id", "external_id", "either"), default=default.segment_ref)
    parser.add_argument("--unknown-users", choices=("accept", "reject"), default=default.unknown_users)
    parser.add_argument("--max-identities", type=int, default=None, metavar="N", help="per membership request")
    parser.add_argument("--oversize-status", type=int, choices=(413, 400), default=default.oversize_status)
    parser.add_argument("--attributes", type=_typed_attributes, default={}, metavar="NAME:BOOLEAN,...")
    parser.add_argument("--requests-per-day", type=int, default=default.requests_per_day, metavar="N")


def parse(arguments: list[str]) -> tuple[Flask, str, int]:
    """Return the sandbox the arguments ask for, and the host and port to serve it on."""
    parser = argparse.ArgumentParser(prog="python -m sandboxes", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    _add_activecampaign(kinds.add_parser("activecampaign", help="the ActiveCampaign API v3"))
    _add_gainsight_px(kinds.add_parser("gainsight-px", help="the Gainsight PX REST API v1"))
    options = vars(parser.parse_args(arguments))
    kind, host, port = options.pop("kind"), options.pop("host"), options.pop("port")
    if kind == "activecampaign":
        return activecampaign.create_app(ActiveCampaignConfig(**options)), host, port
    return gainsight_px.create_app(GainsightPxConfig(**options)), host, port


def main() -> None:
    """Serve one sandbox until interrupted or terminated."""
    app, host, port = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve_forever(app, host, port)


if __name__ == "__main__":
    main()
