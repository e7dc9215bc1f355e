"""The command behind `make smoke-...`: settings in, a table and an exit status out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TextIO

import requests

from local.live import access, activecampaign, gainsight_px
from local.live.access import CannotRunError
from local.live.live_account import open_account
from local.live.report import Report
from relay.aws.clients import SecretsReader
from relay.clock import Clock, SystemClock
from relay.destinations import registry

FITS, DOES_NOT_FIT, COULD_NOT_RUN = 0, 1, 2

_RUNS = {
    "activecampaign": (activecampaign.run, activecampaign.PAUSE_SECONDS),
    "gainsight_px": (gainsight_px.run, gainsight_px.PAUSE_SECONDS),
}


def run(
    name: str,
    variables: Mapping[str, str],
    out: TextIO,
    *,
    as_json: bool = False,
    ask: Callable[[str], str] | None = None,
    clock: Clock | None = None,
    session: requests.Session | None = None,
    secrets: SecretsReader | None = None,
) -> int:
    """Run the smoke test of a destination and return the exit status; the last four stand in for the world in tests."""
    destination = registry.load(name.replace("-", "_"))
    look, pause = _RUNS[destination.name]
    as_json = as_json or access.given(variables, "JSON") == "1"
    report = Report(destination.name, out, as_json=as_json)
    try:
        base_url = access.sandbox_of(variables)
        connection = access.connection_of(variables, destination, secrets)
        report = Report(destination.name, out, as_json=as_json, hidden=access.texts_to_hide(connection.settings))
        live = open_account(connection, base_url=base_url, clock=clock or SystemClock(), pause=pause, session=session)
        look(destination, live, report, variables, ask or _ask)
    except CannotRunError as problem:
        report.end(str(problem))
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        report.end("interrupted")
        return COULD_NOT_RUN
    report.end()
    return FITS if report.fits else DOES_NOT_FIT


def _ask(question: str) -> str:
    # On the error stream: standard output may be read by a machine.
    print(question, end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise EOFError
    return answer
