"""Something to try on the running local stack: a source, two people, and for each sandbox a connection and an export.

python -m local.samples          put them there (again), say what there is, and what to run next

Their names are those of the README, so that its commands and those of the other pages hold here as they stand.
`.local/stack.json` has all of it under `samples`, and `.local/env` sets what the commands need.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from local.processes import LocalStackError, wait_for
from local.roles import Administrator, Operator, Platform
from local.stack import FOLDER, ROOT, LocalStack, running, write_description
from sandboxes import names
from sandboxes.sample import Sample

SOURCE, SEGMENT, EXPORT = "crm", "vip", "vip"
SECRET = "sample-secret"
"""The stack listens on this machine alone."""
NEXT = ("relay status", "relay run newsletter/vip --follow", "relay explain crm:c-1001", "relay check")
"""What to run next, in the words of the pages."""


def put(stack: LocalStack, mark: str = "") -> dict[str, Any]:
    """Put the samples into a stack, and start what streams. Return them as `.local/stack.json` holds them.

    `mark` begins the names of source and connections. People come first: an export of a segment that nobody has sent
    is refused.
    """
    administrator, operator = Administrator(stack), Operator(stack)
    source = f"{mark}{SOURCE}"
    administrator.put_source(source, dialect="relay-json", auth="bearer", secret=SECRET, profile_key="identities.crm")
    administrator.wait_until_seen()
    answer = Platform(stack, source, SECRET).post({"changes": [_person("c-1001", "Kim"), _person("c-1002", "Robin")]})
    if answer.status_code != 202:
        raise LocalStackError(f"the sample's webhook was answered with {answer.status_code}: {answer.text}")
    wait_for("the people in the store", 60, lambda: None if operator.waiting("changesQueue") else True)
    exports = {}
    for destination in names():
        sample: Sample = import_module(f"sandboxes.{destination}").SAMPLE
        connection = f"{mark}{sample.name}"
        settings = {
            "segments": [f"{source}/{SEGMENT}"],
            "mapping": dict(sample.mapping),
            "options": dict(sample.options),
        }
        administrator.put_connection(connection, destination, **sample.connection)
        administrator.put_export(f"{connection}/{EXPORT}", **settings)
        exports[f"{connection}/{EXPORT}"] = {
            "destination": destination,
            "connection": dict(sample.connection),
            "settings": settings,
            "holds": f"{stack.sandboxes[destination]['url']}/_sandbox/state",
        }
    administrator.wait_until_runs_start()
    operator.tick()
    return {
        "source": source,
        "secret": SECRET,
        "segment": f"{source}/{SEGMENT}",
        "curl": curl(f"{stack.webhook_url}/{source}", {"changes": [_person("c-1003", "Sam")]}),
        "exports": exports,
    }


def curl(address: str, body: Mapping[str, Any]) -> str:
    """Return the command that posts a body to the sample source."""
    command = ["curl", "-sS", address, "-H", f"Authorization: Bearer {SECRET}", "-H", "Content-Type: application/json"]
    return shlex.join([*command, "-d", json.dumps(body)])


def environment(stack: LocalStack) -> str:
    """Return a shell script after which the commands of the pages reach this stack, and nothing else."""
    values = {
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_REGION": stack.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "RELAY_STACK": stack.stack_name,
        "WEBHOOK_URL": stack.webhook_url,
    }
    path = ":".join(str(ROOT / folder) for folder in (".venv/bin", ".tools/sam/bin"))
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join(["unset AWS_PROFILE AWS_SESSION_TOKEN", *lines, f'export PATH={shlex.quote(path)}:"$PATH"', ""])


def described(stack: LocalStack) -> Iterator[str]:
    """Yield the lines that say what there is and what to run next."""
    samples = stack.samples
    yield f"stack       {stack.stack_name}, names begin with {stack.prefix}"
    yield f"AWS         {stack.endpoint_url}, region {stack.region}, both keys are `test`"
    yield f"webhooks    {stack.webhook_url}"
    yield f"source      {samples['source']} (relay-json, bearer token `{samples['secret']}`)"
    for key, export in samples["exports"].items():
        fields = ", ".join(f"{name} {value}" for name, value in export["connection"].items())
        options = "".join(f", {name} {value}" for name, value in export["settings"]["options"].items())
        yield f"export      {key}: {samples['segment']} to {export['destination']} ({fields}{options})"
        yield f"            it holds: curl -sS {export['holds']}"
    yield ""
    yield "Send somebody:"
    yield f"  {samples['curl']}"
    yield ""
    yield "Let the commands of the pages reach this stack, and ask it:"
    yield f"  . {(FOLDER / 'env').relative_to(ROOT)}"
    yield from (f"  {command}" for command in NEXT)


def _person(crm: str, name: str) -> dict[str, Any]:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "identities": {"crm": crm},
        "attributes": {"email": f"{name.lower()}@example.com", "firstName": name},
        "memberships": [{"segment": SEGMENT, "status": "realized", "at": at, "name": "VIP customers"}],
    }


def main(stack: LocalStack | None, folder: Path) -> int:
    """Put the samples, write the files beside `stack.json`, and say what there is. 1 when no stack runs."""
    if stack is None:
        print("no stack runs here; start one with `make up`", file=sys.stderr)
        return 1
    try:
        stack = replace(stack, samples=put(stack))
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    (folder / "env").write_text(environment(stack), encoding="utf-8")
    write_description(stack)
    print("\n".join(["", *described(stack)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(running(), FOLDER))
