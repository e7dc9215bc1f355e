"""Runs of the smoke tests in this process: the sandbox over WSGI, and time that passes only when somebody waits."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask

from local.live.command import run
from tests.fakes.clock import FakeClock
from tests.fakes.secrets import FakeSecrets
from tests.fakes.wsgi_session import WsgiAdapter, wsgi_session

SANDBOX = "http://127.0.0.1:9"


def never_asked(question: str) -> str:
    raise AssertionError(question)


@dataclass
class Outcome:
    status: int
    output: str

    @property
    def shown(self) -> Any:
        return json.loads(self.output)

    def lines(self) -> dict[str, dict[str, str]]:
        return {line["what"]: line for line in self.shown["lines"]}

    def not_fitting(self) -> dict[str, str]:
        return {line["what"]: line["seen"] for line in self.shown["lines"] if line["fits"] != "yes"}


class World:
    """A sandbox and the time it lives in."""

    def __init__(self, make: Callable[..., Flask], config: Any) -> None:
        self.clock = FakeClock()
        self.app = make(config, clock=lambda: self.clock.now().timestamp(), sleep=self.clock.sleep)
        self.sandbox = self.app.test_client()
        self.adapter = WsgiAdapter(self.app)

    def run(
        self,
        name: str,
        variables: Mapping[str, str],
        *,
        as_json: bool = True,
        ask: Callable[[str], str] = never_asked,
        secrets: FakeSecrets | None = None,
    ) -> Outcome:
        out = io.StringIO()
        given = {"SANDBOX": SANDBOX, "YES": "1", **variables}
        status = run(
            name,
            given,
            out,
            as_json=as_json,
            ask=ask,
            clock=self.clock,
            session=wsgi_session(self.adapter),
            secrets=secrets,
        )
        return Outcome(status, out.getvalue())

    def state(self) -> Any:
        return self.sandbox.get("/_sandbox/state").get_json()

    def counters(self) -> Any:
        return self.sandbox.get("/_sandbox/counters").get_json()
