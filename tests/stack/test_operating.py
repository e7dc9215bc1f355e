"""The README's commands for operators, run as they stand there but for the stack's name and the export's."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from local.stack import LocalStack
from tests.stack.world import World

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"^sam remote invoke .*$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_runs_are_started_and_listed_and_accounts_checked_from_the_terminal(stack: LocalStack, world: World) -> None:
    world.put_list("customers")
    world.post_shop([world.shop_change(1)])
    world.stored()

    here = [
        command.replace("newsletter/vip", world.list_export).replace('"newsletter"', f'"{world.list_connection}"')
        for command in COMMANDS
    ]
    started, listed, checked = (_invoke(stack, command) for command in here)

    assert (started["export"], started["cause"]) == (world.list_export, "on demand")
    assert [run["run"] for run in listed["runs"]] == [started["run"]]
    assert checked["well"], checked
    assert {finding["subject"] for finding in checked["findings"]} == {"connection", "contact limit", world.list_export}
    world.until("the run's end", lambda: world.operator.runs(world.list_export)[0]["state"] == "finished")


def _invoke(stack: LocalStack, command: str) -> dict[str, Any]:
    """Run a command of the README with the checkout's SAM CLI against the local stack."""
    program, *arguments = shlex.split(
        command.replace("--stack-name audience-relay", f"--stack-name {stack.stack_name}")
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SAM_CLI_TELEMETRY": "0",
    }
    done = subprocess.run(
        [ROOT / ".tools/sam/bin" / program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
