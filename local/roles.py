"""Who acts on a running local stack: platforms, administrators and operators; and the sandboxes' own controls.

Everything goes through the doors these people have: the webhook URL, the AWS API, a sandbox's control API. Used by the
demo and by the tests of the deployed stack.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import requests
from standardwebhooks import Webhook

from local.processes import wait_for
from local.stack import ROOT, RUNS_START_SECONDS, SETTINGS_SECONDS, LocalStack
from relay_cli.aws import Aws
from relay_cli.main import World, main
from relay_cli.stacks import find

_SECONDS = 30
"""How long an answer of the machine itself may take."""


def new_secret() -> str:
    """Return a secret as administrators make them."""
    return secrets.token_urlsafe(24)


def new_signing_key() -> str:
    """Return a key in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass
class Platform:
    """Posts webhooks as one source, with a bearer token or (a key that begins with `whsec_`) signed."""

    stack: LocalStack
    source: str
    secret: str
    session: requests.Session = field(default_factory=requests.Session)

    def post(self, body: Any) -> requests.Response:
        """Post a JSON body, proven with the source's secret."""
        raw = json.dumps(body).encode()
        return self.post_raw(raw, self.proof(raw))

    def post_raw(self, raw: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Post any bytes with any headers."""
        return self.session.post(
            f"{self.stack.webhook_url}/{self.source}",
            data=raw,
            headers={"Content-Type": "application/json", **headers},
            timeout=_SECONDS,
        )

    def proof(self, raw: bytes) -> dict[str, str]:
        """Return the headers that prove a body."""
        if not self.secret.startswith("whsec_"):
            return {"Authorization": f"Bearer {self.secret}"}
        number, now = f"msg_{secrets.token_hex(8)}", datetime.now(UTC)
        return {
            "webhook-id": number,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(number, now, raw.decode()),
        }


@dataclass
class Administrator:
    """Writes settings down where the AWS console would put them."""

    stack: LocalStack
    edited_at: float = field(default=0.0, init=False)

    def put_source(self, name: str, **fields: str) -> None:
        """Write a source's secret."""
        self._put_secret(f"sources/{name}", fields)

    def put_connection(self, name: str, destination: str, **fields: str) -> None:
        """Write a connection's secret, with consent unless `fields` say otherwise."""
        common = {"destination": destination, "display_name": name, "privacy_consent": "I agree"}
        self._put_secret(f"connections/{name}", common | fields)

    def put_export(self, key: str, **settings: Any) -> None:
        """Write the export `connection/export`."""
        self.stack.client("ssm").put_parameter(
            Name=f"/{self.stack.prefix}/exports/{key}",
            Value=json.dumps({"state": "active", **settings}, indent=2),
            Type="String",
            Overwrite=True,
        )
        self.edited_at = time.monotonic()

    def wait_until_runs_start(self) -> None:
        """Wait until every function has seen the newest edit of an export: before that no run begins."""
        seen = self.edited_at + RUNS_START_SECONDS
        wait_for("the edit to be old enough", 60, lambda: True if time.monotonic() > seen else None)

    def wait_until_seen(self) -> None:
        """Wait until every function that reads settings reads the ones written so far."""
        seen = time.monotonic() + 1.5 * SETTINGS_SECONDS
        wait_for("the settings", 60, lambda: True if time.monotonic() > seen else None)

    def delete_export(self, key: str) -> None:
        """Take an export away."""
        self.stack.client("ssm").delete_parameter(Name=f"/{self.stack.prefix}/exports/{key}")

    def schedule(self, key: str, expression: str) -> None:
        """Give the export `connection/export` a schedule of its own."""
        outputs = self.stack.outputs
        self.stack.client("scheduler").create_schedule(
            GroupName=outputs["ScheduleGroupName"],
            Name=key.replace("/", "."),
            ScheduleExpression=expression,
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": outputs["ExportFunctionArn"],
                "RoleArn": outputs["SchedulerRoleArn"],
                "Input": json.dumps({"export": key}),
            },
        )

    def _put_secret(self, name: str, fields: Mapping[str, str]) -> None:
        client, full = self.stack.client("secretsmanager"), f"{self.stack.prefix}/{name}"
        text = json.dumps(dict(fields))
        try:
            client.create_secret(Name=full, SecretString=text)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=full, SecretString=text)


@cache
def _door(endpoint: str, name: str, prefix: str) -> Aws:
    """Return AWS as `relay --local` reaches it, once for each stack: making clients takes longer than a question.

    The stack need not be the one that is described: a second one may be deployed beside it.
    """
    found = find(ROOT, {}, stack=None, region=None, profile=None, local=True)
    if found.endpoint != endpoint:
        raise RuntimeError(f"{found.endpoint} is described, not {endpoint}")
    return Aws(replace(found, name=name, prefix=prefix, outputs={}, webhook_url=None))


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a text, one after the other."""
    decoder, found, rest = json.JSONDecoder(), list[dict[str, Any]](), text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


@dataclass(frozen=True)
class Operator:
    """Runs and watches exports from a terminal."""

    stack: LocalStack

    def start(self, key: str) -> dict[str, Any]:
        """Ask for a run; `run` is None in the answer when it could not start, and `reason` says why."""
        (answer,) = self.relay("run", key)
        return answer

    def runs(self, key: str) -> list[dict[str, Any]]:
        """Return the run records of an export, newest first."""
        return self.relay("runs", "list", key, "--limit", "20")

    def show(self, run: str) -> dict[str, Any]:
        """Return one run record."""
        (answer,) = self.relay("runs", "show", run)
        return answer

    def relay(self, *arguments: str, ticking: bool = False) -> list[dict[str, Any]]:
        """Return the objects that `relay ARGUMENTS --json` prints; RuntimeError with its words where it fails.

        With `ticking` what the clock does every minute is done whenever the command waits.
        """
        out, err = io.StringIO(), io.StringIO()
        environment = {"RELAY_STACK": self.stack.stack_name}
        door = _door(self.stack.endpoint_url, self.stack.stack_name, self.stack.prefix)

        def sleep(seconds: float) -> None:
            if ticking:
                self.tick()
            time.sleep(seconds)

        world = World(out=out, err=err, environment=environment, open_door=lambda _: door, sleep=sleep)
        main([*arguments, "--json"], world)
        # What failed says so on standard error alone; beside an answer that tells of progress.
        if err.getvalue() and not out.getvalue():
            raise RuntimeError(f"relay {' '.join(arguments)}: {err.getvalue()}")
        return _objects(out.getvalue())

    def tick(self) -> None:
        """Do now what the clock would do within a minute."""
        self._invoke("TickFunctionName", {})

    def waiting(self, queue: str) -> int:
        """Return how many messages a queue holds (an output's name without `Url`), those being worked on included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.stack.outputs[f"{queue}Url"]
        counts = self.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(counts[name]) for name in names)

    def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Return the admin function's answer to a question; RuntimeError with its reason where it is refused."""
        sent = self._invoke("AdminFunctionName", {"ask": ask, **arguments})
        if "error" in sent:
            raise RuntimeError(f"{ask}: {sent['error']['what']}")
        answer: dict[str, Any] = sent["answer"]
        return answer

    def _invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        answer = self.stack.client("lambda").invoke(
            FunctionName=self.stack.outputs[function], Payload=json.dumps(dict(event))
        )
        payload = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise RuntimeError(f"{function} failed; its log says why")
        return json.loads(payload or b"null")


@dataclass(frozen=True)
class SandboxControl:
    """A sandbox's control API: what the account really holds, and what went on there."""

    url: str

    def state(self) -> dict[str, Any]:
        """Return all that the account holds."""
        return self._call("GET", "state")

    def summary(self) -> dict[str, Any]:
        """Return sizes only."""
        return self._call("GET", "state?summary=true")

    def counters(self) -> dict[str, Any]:
        """Return calls, writes, quota use and violations since the start."""
        return self._call("GET", "counters")

    def change(self, **settings: Any) -> None:
        """Change settings of the account."""
        self._call("POST", "settings", settings)

    def misbehave(self, *rules: Mapping[str, Any]) -> None:
        """Add faults (see `scripted_faults`)."""
        self._call("POST", "faults", list(rules))

    def well(self) -> None:
        """Forget the faults that are still to come."""
        self._call("DELETE", "faults")

    def plan_imports(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Say how the next imports end (ActiveCampaign)."""
        self._call("POST", "import_outcomes", list(outcomes))

    def plant(self, **contact: Any) -> None:
        """Plant a contact as if by hand (ActiveCampaign)."""
        self._call("POST", "contacts", contact)

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = requests.request(method, f"{self.url}/_sandbox/{path}", json=body, timeout=_SECONDS)
        answer.raise_for_status()
        state: dict[str, Any] = answer.json()
        return state


def milliseconds_since(began: float) -> float:
    """Return how long ago `began` (of `time.perf_counter`) was."""
    return (time.perf_counter() - began) * 1000
