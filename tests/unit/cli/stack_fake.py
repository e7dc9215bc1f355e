"""A stack as the command line sees it: more than one of everything, in memory, answering in the published shapes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from jsonschema import Draft202012Validator

from relay_cli.door import Door, Posted, QueueMessage, Schedule
from relay_cli.failures import BeingDeleted
from relay_cli.main import World, main
from relay_cli.stacks import Stack


class Published:
    """The schema of questions and answers, as the stack publishes it."""

    def __init__(self) -> None:
        file = Path(__file__).parents[3] / "docs/admin-api.schema.json"
        self._definitions = json.loads(file.read_text(encoding="utf-8"))["$defs"]
        self._validators: dict[str, Draft202012Validator] = {}

    def check(self, name: str, value: Any) -> None:
        """Fail the test when a question or an answer is not as published."""
        if name not in self._validators:
            definition = {"$ref": f"#/$defs/{name}", "$defs": self._definitions}
            self._validators[name] = Draft202012Validator(definition)
        wrong = [f"{error.json_path}: {error.message[:300]}" for error in self._validators[name].iter_errors(value)]
        assert wrong == [], "\n".join([name, *wrong])


published = Published()

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def text_of(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def run(
    name: str = "01RUN2",
    *,
    export: str = "newsletter/vip",
    state: str = "finished",
    counts: Mapping[str, int] | None = None,
    **more: Any,
) -> dict[str, Any]:
    ledger = {
        "selected": 1000,
        "delivered": 600,
        "unchanged": 300,
        "rejected": 80,
        "rejected:bounced": 50,
        "rejected:no_email": 30,
        "duplicate": 15,
        "outstanding": 5,
        "assigned": 950,
        "calls": 12,
    }
    return {
        "run": name,
        "export": export,
        "cause": "on demand",
        "full": False,
        "planned_leaving": None,
        "state": state,
        "reason": None,
        "retry": None,
        "phase": "remove",
        "settings": 1732690000000,
        "started_at": text_of(NOW - timedelta(minutes=10)),
        "ended_at": None if state == "running" else text_of(NOW - timedelta(minutes=4)),
        "counts": dict(ledger if counts is None else counts),
        "adds_up": True,
        **more,
    }


COMPLETED: Mapping[str, Mapping[str, Any]] = {
    "show": {"seconds": 360, "share": 1.0, "progress": [], "limits": [], "previous": [], "codes": []},
    "plan": {"passed_guard": True, "cancelled": None, "obstacles": [], "assigned_before": 0},
    "runs": {"requested": []},
    "cancel": {"removed": 0, "left": 0, "requested": False},
}
"""What tests leave out of answers."""


def _export(key: str, **more: Any) -> dict[str, Any]:
    return {
        "key": key,
        "state": "active",
        "problem": None,
        "stream": False,
        "segments": ["crm/vip", "crm/trial"],
        "last_run": run(export=key),
        "stop": None,
        "resync_requested": False,
        "set_aside": 0,
        "schedule": {"name": "default", "next_at": text_of(NOW + timedelta(hours=15)), "problem": None},
        **more,
    }


STOP = {
    "subject": "connection product",
    "code": "unpaid",
    "reason": "the account is unpaid",
    "who_must_act": "administrator",
    "since": text_of(NOW - timedelta(hours=1)),
    "next_probe": text_of(NOW + timedelta(minutes=5)),
}

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "at": text_of(NOW),
    "sources": [
        {
            "name": "crm",
            "valid": True,
            "problem": None,
            "last_message_at": text_of(NOW - timedelta(minutes=3)),
            "changes": {"merged": 1100, "stale": 90, "ignored": 3, "rejected": 7},
            "rate_per_minute": 42.0,
        },
        {
            "name": "shop",
            "valid": False,
            "problem": "secret: is missing",
            "last_message_at": None,
            "changes": {},
            "rate_per_minute": None,
        },
    ],
    "connections": [
        {
            "name": "newsletter",
            "destination": "activecampaign",
            "display_name": "Newsletter account",
            "state": "well",
            "problem": None,
            "stop": None,
            "exports": [_export("newsletter/vip"), _export("newsletter/trial", state="paused", last_run=None)],
        },
        {
            "name": "product",
            "destination": "gainsight_px",
            "display_name": "Product experience",
            "state": "stopped",
            "problem": None,
            "stop": STOP,
            "exports": [_export("product/power", stream=True, schedule=None, resync_requested=True, set_aside=2)],
        },
    ],
    "imports": [],
    "queues": [
        {
            "name": "audience-relay-changes",
            "kind": "queue",
            "messages": 3,
            "in_flight": 1,
            "delayed": 0,
            "oldest_seconds": 4,
        },
        {
            "name": "audience-relay-changes-dlq",
            "kind": "dlq",
            "messages": 2,
            "in_flight": 0,
            "delayed": 0,
            "oldest_seconds": 7200,
        },
        {
            "name": "audience-relay-activecampaign-dlq.fifo",
            "kind": "dlq",
            "messages": 0,
            "in_flight": 0,
            "delayed": 0,
            "oldest_seconds": None,
        },
        {
            "name": "audience-relay-export-dlq",
            "kind": "dlq",
            "messages": 1,
            "in_flight": 0,
            "delayed": 0,
            "oldest_seconds": 60,
        },
    ],
    "waits": 4,
    "unread": [],
}


def described(
    name: str,
    *,
    required: bool = True,
    secret: bool = False,
    choices: list[str] | None = None,
    type_: str = "string",
) -> dict[str, Any]:
    return {
        "name": name,
        "means": f"What {name} is.",
        "required": required,
        "secret": secret,
        "default": None,
        "choices": choices,
        "example": None,
        "type": type_,
    }


DESCRIBE: dict[str, Any] = {
    "stack": {"prefix": "audience-relay", "version": "0.1.0", "region": "eu-central-1"},
    "destinations": {
        "activecampaign": {
            "title": "ActiveCampaign",
            "connection_fields": [described("api_host"), described("api_key", secret=True)],
            "export_options": [
                described("list_id"),
                described("on_exit", required=False, choices=["keep", "unsubscribe"]),
            ],
            "mapping_fields": [described("email"), described("first_name", required=False)],
            "identity": "email",
            "stream": False,
        },
        "gainsight_px": {
            "title": "Gainsight PX",
            "connection_fields": [
                described("region", choices=["eu", "us"]),
                described("api_key", required=False, secret=True),
            ],
            "export_options": [
                described("tell_again", required=False, type_="integer"),
                described("value_in", required=False),
            ],
            "mapping_fields": [described("IDENTIFY_ID")],
            "identity": "IDENTIFY_ID",
            "stream": True,
        },
    },
    "source_fields": [
        described("dialect", choices=["adobe-http", "relay-json"]),
        described("auth", choices=["bearer", "standard-webhooks"]),
        described("secret", secret=True),
        described("profile_key"),
    ],
    "connection_fields": [
        described("destination"),
        described("display_name"),
        described("privacy_consent", choices=["I agree"]),
    ],
    "export_fields": [
        described("state", choices=["active", "paused"]),
        described("segments", type_="array"),
        described("mapping", type_="object"),
        described("options", required=False, type_="object"),
        described("stream", required=False, type_="boolean"),
        described("description", required=False),
    ],
    "codes": [],
}


def code(name: str, kind: str, destination: str | None, means: str, then: str) -> dict[str, Any]:
    return {
        "code": name,
        "kind": kind,
        "destination": destination,
        "means": means,
        "who_must_act": "administrator",
        "then": then,
    }


CODES: list[dict[str, Any]] = [
    code("bounced", "rejection", "activecampaign", "mail to the contact bounces", "Tried again at most daily."),
    code("unpaid", "stop", None, "the account is unpaid", "Probed every few minutes."),
]


class RefusedError(Exception):
    """Answers with an error in place of an answer."""

    def __init__(self, **error: Any) -> None:
        super().__init__(error["code"])
        self.error = {"field": None, "actor": "administrator", "next_step": "Nothing was done.", "errors": [], **error}


@dataclass
class FakeDoor(Door):
    """`answers` are by question: a value, or a function of the question; `asked` is what was asked where."""

    answers: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    deleted: dict[str, dict[str, str]] = field(default_factory=dict)
    """Secrets that wait for their deletion."""
    exports: dict[str, str] = field(default_factory=dict)
    edits: dict[str, int] = field(default_factory=dict)
    """How often each export was written."""
    schedules: dict[str, Schedule] = field(default_factory=dict)
    lying: dict[str, list[QueueMessage]] = field(default_factory=dict)
    posted: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    webhook: Posted = field(default_factory=lambda: Posted(202, '{"accepted": 2, "rejected": 0}', NOW))
    bucket: dict[str, bytes] = field(default_factory=dict)
    denied: dict[str, BaseException] = field(default_factory=dict)
    time: datetime | None = NOW
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return "audience-relay"

    @property
    def webhook_url(self) -> str:
        return "https://api.example.com/v1/webhooks"

    def invoke(self, function: str, question: Mapping[str, Any]) -> Any:
        self._deny(function)
        self.asked.append((function, dict(question)))
        published.check(f"question_{question['ask']}", question)
        answered = self._answered(question)
        published.check("error" if "error" in answered else f"answer_{question['ask']}", answered)
        return answered

    def _answered(self, question: Mapping[str, Any]) -> Any:
        answer = self.answers[question["ask"]]
        try:
            given = answer(question) if callable(answer) else answer
        except RefusedError as refused:
            return {"version": 1, "error": refused.error}
        # As over the wire.
        return json.loads(json.dumps({"version": 1, "answer": {**COMPLETED.get(question["ask"], {}), **given}}))

    def aws_time(self) -> datetime | None:
        return self.time

    def secret_names(self, kind: str) -> Sequence[str]:
        self._deny("secrets")
        return sorted(name.split("/")[1] for name in self.secrets if name.startswith(f"{kind}/"))

    def secret(self, kind: str, name: str) -> Mapping[str, str] | None:
        if f"{kind}/{name}" in self.deleted:
            raise BeingDeleted(f"The secret {name} is being deleted.", "", f"relay {kind} restore {name}")
        return self.secrets.get(f"{kind}/{name}")

    def put_secret(self, kind: str, name: str, fields: Mapping[str, str], *, new: bool) -> None:
        assert new is (f"{kind}/{name}" not in self.secrets)
        self.secrets[f"{kind}/{name}"] = dict(fields)

    def delete_secret(self, kind: str, name: str) -> None:
        self.deleted[f"{kind}/{name}"] = self.secrets.pop(f"{kind}/{name}")

    def restore_secret(self, kind: str, name: str) -> None:
        self.secrets[f"{kind}/{name}"] = self.deleted.pop(f"{kind}/{name}")

    def export_keys(self) -> Sequence[str]:
        self._deny("exports")
        return sorted(self.exports)

    def export(self, key: str) -> str | None:
        return self.exports.get(key)

    def export_version(self, key: str) -> int:
        return 1732690000000 + self.edits.get(key, 0)

    def put_export(self, key: str, text: str, *, new: bool) -> None:
        assert new is (key not in self.exports)
        self.exports[key] = text
        self.edits[key] = self.edits.get(key, 0) + 1

    def delete_export(self, key: str) -> None:
        del self.exports[key]

    def schedule(self, key: str) -> Schedule | None:
        return self.schedules.get(key)

    def schedule_names(self) -> Sequence[str]:
        self._deny("schedules")
        return sorted(self.schedules)

    def put_schedule(self, key: str, expression: str, timezone: str) -> None:
        self.schedules[key] = Schedule(key.replace("/", "."), expression, timezone, enabled=True)

    def delete_schedule(self, key: str) -> None:
        del self.schedules[key]

    def queue_depth(self, queue: str) -> int:
        self._deny("queues")
        return len(self.lying.get(queue, []))

    def messages(self, queue: str, most: int) -> Sequence[QueueMessage]:
        self._deny("messages")
        return self.lying.get(queue, [])[:most]

    def redrive(self, dead_letters: str, queue: str) -> Iterator[int]:
        moved = 0
        while self.lying[dead_letters]:
            self.lying.setdefault(queue, []).append(self.lying[dead_letters][0])
            self.lying[dead_letters].pop(0)
            moved += 1
            yield moved

    def purge(self, queue: str) -> None:
        self.lying[queue] = []

    def put_object(self, key: str, body: bytes | BinaryIO) -> None:
        self._deny(f"put {key.rpartition('/')[2]}")
        self.bucket[key] = body if isinstance(body, bytes) else body.read()

    def delete_object(self, key: str) -> None:
        self.bucket.pop(key, None)

    def post(self, source: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        self.posted.append((source, body, headers))
        return self.webhook

    def _deny(self, what: str) -> None:
        if what in self.denied:
            raise self.denied[what]


class TerminalText(io.StringIO):
    """A terminal's end of a stream."""

    def isatty(self) -> bool:
        return True


@dataclass
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]


@dataclass
class Terminal:
    """Somebody who types command lines. `keys` are typed at questions, `stdin` comes through a pipe."""

    door: FakeDoor
    folder: Path
    now: datetime = NOW
    environment: dict[str, str] = field(default_factory=lambda: {"RELAY_STACK": "audience-relay", "COLUMNS": "200"})
    edits: Callable[[str], str] | None = None
    on_sleep: Callable[[], None] = lambda: None
    stacks: list[Stack] = field(default_factory=list)

    def __call__(self, *arguments: str, keys: str | None = None, stdin: str = "", terminal: bool = False) -> Ended:
        out, err = (TerminalText(), TerminalText()) if terminal else (io.StringIO(), io.StringIO())
        if keys is not None:
            err = TerminalText()
        typed = io.StringIO(stdin) if keys is None else TerminalText(keys)
        world = World(
            out, err, typed, self.environment, self.folder, self._open, lambda: self.now, self._sleep, self.edits
        )
        code = main(arguments, world)
        return Ended(code, out.getvalue(), err.getvalue())

    def _open(self, stack: Stack) -> Door:
        self.stacks.append(stack)
        return self.door

    def _sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.on_sleep()
