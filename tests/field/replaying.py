"""Playing a case through the stack, and the line that says what came of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import standardwebhooks.webhooks

from tests.fakes.steady import same_every_time
from tests.field.reading import Case, CaseError, Step
from tests.field.world import EXPORT, World

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)

SECONDS_BETWEEN_POSTS = 0.01
"""Two requests of one sender are never received in the same instant, though they may well be routed in one batch."""


def replay(case: Case) -> dict[str, Any]:
    """Play a case and return its line; CaseError when its setup cannot be."""
    with same_every_time():
        replayed = Replay(case)
        with _library_in_simulated_time(replayed.world.clock.now):
            return replayed.play()


class Replay:
    """One case under way."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._told: dict[str, list[Any]] = {
            name: [] for name in ("statuses", "memberships", "events", "schedules", "checks")
        }
        self._acts: Mapping[str, Callable[[Step], None]] = {
            "post": self._post,
            "sign": self._sign,
            "sign_raw": self._sign,
            "later": self._later,
            "until": self._until,
            "settle": self._settle,
            "run": self._run,
            "memberships": self._memberships,
            "event": self._event,
            "own_schedules": self._own_schedules,
            "check": self._check,
        }
        self._last_post: datetime | None = None
        self.world = World(case.setup)

    def play(self) -> dict[str, Any]:
        """Take all steps and return the line."""
        for step in self._case.steps:
            self._acts[step.kind](step)
        world = self.world
        answer, _ = world.admin_function("runs", export=EXPORT)
        return {
            "case": self._case.name,
            "statuses": self._told["statuses"],
            **world.vendor.held(),
            "refusals": dict(sorted(world.refusals().items())),
            "warnings": dict(sorted(world.observe.warnings.items())),
            "runs": [{"state": run["state"], "counts": run["counts"]} for run in reversed(answer["runs"])],
            "defects": len(world.observe.defects),
            "dead": world.dead,
            "memberships": self._told["memberships"],
            "events": self._told["events"],
            "schedules": self._told["schedules"],
            "checks": self._told["checks"],
        }

    # Posts.

    def _post(self, step: Step) -> None:
        body = step.value if isinstance(step.value, str) else json.dumps(step.value)
        headers = {"Authorization": f"Bearer {self._case.setup.secret}"}
        if "id" in step.more:
            headers["Idempotency-Key"] = step.more["id"]
        self._send(body, headers)

    def _sign(self, step: Step) -> None:
        key = _key(step)
        body = json.dumps({"changes": step.more["changes"]})
        webhook_id = step.more.get("id", f"msg_{len(self._told['statuses']) + 1}")
        timestamp = str(int(self.world.clock.timestamp()))
        signed = hmac.new(key, f"{webhook_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(signed).decode()}"
        before = step.more.get("before", "")
        if before and not before.endswith(" "):
            before += " "
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": before + signature,
        }
        self._send(body, headers)

    def _send(self, body: str, headers: Mapping[str, str]) -> None:
        if self._last_post == self.world.clock.now():
            self.world.clock.advance(SECONDS_BETWEEN_POSTS)
        self._last_post = self.world.clock.now()
        self._told["statuses"].append(self.world.ingest(body, headers))

    # Time.

    def _later(self, step: Step) -> None:
        self._pass(step.span(SECOND))

    def _until(self, step: Step) -> None:
        self.world.invocations.run_until(step.moment())

    def _settle(self, step: Step) -> None:
        self.world.rest(step.span(HOUR))

    def _run(self, step: Step) -> None:
        self.world.store_what_came()
        self.world.admin_function("run", export=EXPORT)
        self._pass(step.span(HOUR))

    def _pass(self, time: timedelta) -> None:
        self.world.invocations.run_until(self.world.clock.now() + time)

    # Questions.

    def _memberships(self, step: Step) -> None:
        self.world.store_what_came()
        self._told["memberships"].append([_rfc_3339(moment) for moment in self.world.memberships()])

    def _event(self, step: Step) -> None:
        self.world.store_what_came()
        answer, error = self.world.export_function(step.value)
        self._told["events"].append({"answer": answer, "error": error})

    def _own_schedules(self, step: Step) -> None:
        self.world.scheduler.schedules = step.value
        self._told["schedules"].append(sorted(self.world.own_schedules()))

    def _check(self, step: Step) -> None:
        self.world.store_what_came()
        answer, error = self.world.admin_function("check", connection=step.value)
        if answer is None:
            answer = {"well": False, "findings": [{"subject": "check", "level": "error", "message": error}]}
        self._told["checks"].append({"well": answer["well"], "findings": answer["findings"]})


def _key(step: Step) -> bytes:
    if step.kind == "sign_raw":
        return str(step.value).encode()
    try:
        return base64.b64decode(step.value, validate=True)
    except binascii.Error:
        raise CaseError("sign: must be a key in base64") from None


def _rfc_3339(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


@contextmanager
def _library_in_simulated_time(now: Callable[[], datetime]) -> Iterator[None]:
    """Let the library that verifies signatures, which has a clock of its own, tell the case's time."""

    class Simulated(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return now().astimezone(tz)

    with mock.patch.object(standardwebhooks.webhooks, "datetime", Simulated):
        yield
