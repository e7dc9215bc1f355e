"""What `make up` puts into a local stack, and what it says: read as the stack reads it, nothing is started."""

import json
import shlex
import subprocess
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from local import samples, stack
from relay.destinations import registry
from relay.destinations.contract import Destination
from sandboxes import names
from scaffold.model import package, sandbox

SANDBOXES = {name: f"http://127.0.0.1:{41000 + place}" for place, name in enumerate(names())}
STACK = stack.LocalStack(
    endpoint_url="http://127.0.0.1:40999",
    region="us-east-1",
    webhook_url="http://127.0.0.1:40999/webhooks",
    stack_name="relay-here",
    prefix="audience-relay",
    outputs={},
    sandboxes={name: {"url": url} for name, url in SANDBOXES.items()},
)
PUT = {
    "source": "crm",
    "secret": "sample-secret",
    "segment": "crm/vip",
    "curl": samples.curl("http://127.0.0.1:40999/webhooks/crm", {"changes": []}),
    "exports": {
        f"{name}/vip": {
            "destination": name,
            "connection": {"api_key": f"key of {name}"},
            "settings": {"segments": ["crm/vip"], "mapping": {}, "options": {"list_id": "1"}},
            "holds": f"{url}/_sandbox/state",
        }
        for name, url in SANDBOXES.items()
    },
}


SAMPLES = [
    *((registry.load(name), import_module(f"sandboxes.{name}")) for name in names()),
    (package.DESTINATION, sandbox),
]


@pytest.mark.parametrize(("destination", "of_sandbox"), SAMPLES, ids=[one.name for one, _ in SAMPLES])
def test_every_sample_is_taken_by_its_destination_and_opens_the_account(
    destination: Destination, of_sandbox: ModuleType
) -> None:
    sample = of_sandbox.SAMPLE
    destination.connection_model.model_validate(dict(sample.connection))
    destination.options_model.model_validate(dict(sample.options))
    assert sample.connection["api_key"] == of_sandbox.Config().api_key
    lists = getattr(of_sandbox.Config(), "lists", None)
    assert lists is None or int(sample.options["list_id"]) in lists


def test_what_is_said_has_every_address_key_and_list_and_the_command_that_posts() -> None:
    said = "\n".join(samples.described(replace(STACK, samples=PUT)))
    for name, url in SANDBOXES.items():
        assert f"{name}/vip: crm/vip to {name} (api_key key of {name}, list_id 1)" in said
        assert f"curl -sS {url}/_sandbox/state" in said
    assert f"  {PUT['curl']}\n" in said
    assert "  . .local/env\n" in said
    assert STACK.endpoint_url in said


def test_the_command_that_posts_is_one_command_with_the_body_as_json() -> None:
    body = {"changes": [{"attributes": {"firstName": "D'Arcy"}}]}
    program, *arguments = shlex.split(samples.curl("http://127.0.0.1/webhooks/crm", body))
    assert program == "curl"
    assert "Authorization: Bearer sample-secret" in arguments
    assert json.loads(arguments[arguments.index("-d") + 1]) == body


def test_after_the_script_commands_reach_the_local_stack_and_no_account_of_yours(tmp_path: Path) -> None:
    (tmp_path / "env").write_text(samples.environment(STACK))
    yours = {
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "PATH": "/usr/bin:/bin",
    }
    shown = subprocess.run(["sh", "-euc", ". ./env; env"], cwd=tmp_path, env=yours, capture_output=True, text=True)
    set_now = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & set_now.keys()
    assert (set_now["AWS_ACCESS_KEY_ID"], set_now["AWS_ENDPOINT_URL"]) == ("test", STACK.endpoint_url)
    assert (set_now["RELAY_STACK"], set_now["WEBHOOK_URL"]) == (STACK.stack_name, STACK.webhook_url)
    assert set_now["PATH"].startswith(str(stack.ROOT / ".venv/bin"))
    assert set_now["PATH"].endswith(":/usr/bin:/bin")


def test_without_a_stack_nothing_is_put_and_the_command_that_helps_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert samples.main(None, tmp_path) == 1
    assert "make up" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
