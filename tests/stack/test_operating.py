"""The README's commands for operators, run as they stand there but for the stack's name and the export's."""

import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local.processes import wait_for
from local.stack import LocalStack
from tests.stack.world import World

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^relay (.+?)(?:  +#.*)?$", README.partition("## Operate it")[2], re.MULTILINE)


def test_the_commands_of_the_readme_work_as_they_stand_there(stack: LocalStack, world: World, tmp_path: Path) -> None:
    world.put_list("customers")
    world.post_shop([world.shop_change(1)])
    world.stored()
    world.administrator.wait_until_runs_start()
    names = {"newsletter/vip": world.list_export, "crm:c-1001": f"{world.shop.source}:{world.name}-1"}

    ended = {command.split()[0]: _relay(command, names, tmp_path) for command in COMMANDS}

    assert list(ended) == ["status", "check", "plan", "run", "rejected", "explain", "runs"]
    # What is said of everything may be of what other tests have left.
    codes = {name: one.returncode for name, one in ended.items()}
    assert {**codes, "check": 0, "status": 0} == dict.fromkeys(codes, 0), [one.stderr for one in ended.values()]
    assert (codes["check"] in (0, 1), codes["status"] in (0, 1, 3)) == (True, True)
    assert f"{world.list_export}\tactive\tno" in ended["status"].stdout
    assert "would change something: 1 join" in ended["plan"].stdout
    assert f"The run of {world.list_export} is finished: 1 of 1 profiles" in ended["run"].stdout
    assert ended["explain"].stdout.startswith(f"{world.list_export}: Delivered")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_schedule_starts_runs_and_nothing_else(stack: LocalStack, world: World) -> None:
    """Whoever may write schedules gets at the export function; confirming and the rest is not to be had there."""
    world.put_list("customers")
    world.post_shop([world.shop_change(1)])
    world.stored()
    started = world.start(world.list_export)
    for event in ({"cancel": started["run"]}, {"confirm": started["run"]}, {"version": "0", "detail": "{}"}, {}):
        answer = stack.client("lambda").invoke(
            FunctionName=stack.outputs["ExportFunctionName"], Payload=json.dumps(event)
        )
        assert answer.get("FunctionError"), event
        assert "errorMessage" in json.loads(answer["Payload"].read())
    world.until("the run's end", lambda: world.operator.show(started["run"])["state"] == "finished")


def test_a_refused_event_of_a_schedule_is_kept_with_its_reason_and_not_repeated(stack: LocalStack) -> None:
    """EventBridge Scheduler does not wait for an answer: what fails is to be found in the DLQ, once."""
    function, queue = stack.outputs["ExportFunctionName"], stack.outputs["ExportDLQUrl"]
    event = json.dumps({"version": "0", "source": "aws.scheduler", "detail": "{}"})
    stack.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=event)

    def failed() -> str | None:
        answer = stack.client("sqs").receive_message(QueueUrl=queue, VisibilityTimeout=0)
        return next((message["Body"] for message in answer.get("Messages", [])), None)

    body = json.loads(wait_for("the failed event", 60, failed))
    try:
        assert body["requestPayload"] == json.loads(event)
        assert "starts_nothing" in json.dumps(body["responsePayload"])
    finally:
        stack.client("sqs").purge_queue(QueueUrl=queue)


def test_a_check_of_everything_tells_what_nobody_reads_and_what_nobody_starts(stack: LocalStack, world: World) -> None:
    world.put_list("customers")
    world.post_shop([world.shop_change(1)])
    world.stored()
    world.administrator.schedule(world.list_export, "at(2020-01-01T00:00:00)")
    stray = f"{stack.prefix}/source/{world.name}"
    stack.client("secretsmanager").create_secret(Name=stray, SecretString="{}")
    broken = f"{stack.prefix}/sources/{world.name}-broken"
    stack.client("secretsmanager").create_secret(Name=broken, SecretString="{}")
    stack.client("ssm").put_parameter(Name=f"/{stack.prefix}/export/{world.name}/x", Value="{}", Type="String")

    checked = world.operator.ask("check")

    findings = {(found["subject"], found["message"]) for found in checked["findings"]}
    assert any(subject == "names" and stray in message for subject, message in findings)
    assert any(f"/{stack.prefix}/export/{world.name}/x" in message for _, message in findings)
    assert any(subject == f"source {world.name}-broken" and "dialect" in message for subject, message in findings)
    about_the_list = [
        found
        for found in checked["findings"]
        if found["subject"].endswith((world.list_connection, world.list_export)) and found["code"] != "rate_limited"
    ]
    assert [found["level"] for found in about_the_list] == ["warning"], about_the_list
    assert "one time, which is over" in about_the_list[0]["message"]


def test_the_default_schedule_starts_an_export_whose_own_schedule_is_over(stack: LocalStack, world: World) -> None:
    world.put_list("customers")
    world.post_shop([world.shop_change(1)])
    world.stored()
    world.administrator.wait_until_runs_start()
    # Last: the emulator fires a schedule whose time is over a moment later.
    world.administrator.schedule(world.list_export, "at(2020-01-01T00:00:00)")
    answer = world.operator.ask("run_all")
    # The emulator may have been faster: then the run of the schedule that is over is active, and named.
    assert world.list_export in [one["export"] for one in (*answer["started"], *answer["not_started"])]
    run = world.operator.runs(world.list_export)[0]
    assert run["cause"] == "schedule"
    world.ended(run["run"])


def test_a_stop_is_probed_at_once_when_an_operator_asks(world: World) -> None:
    world.put_list("customers", api_key="wrong")
    world.post_shop([world.shop_change(1)])
    world.stored()
    world.start(world.list_export)
    world.until("the stop", lambda: world.stop(world.list_connection) is not None)
    probed = world.operator.ask("probe", connection=world.list_connection)
    assert (probed["restarted"], len(probed["stopped"])) == ([], 1)

    world.put_list_connection("sandbox-api-key")

    probed = world.operator.ask("probe", connection=world.list_connection)
    assert (probed["restarted"], probed["stopped"]) == ([f"connection {world.list_connection}"], [])
    world.operator.tick()
    world.until(
        "the run that makes up for it", lambda: world.operator.runs(world.list_export)[0]["state"] == "finished"
    )


def _relay(command: str, names: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the README against the local stack; what it writes goes into a folder."""
    for name, here in names.items():
        command = command.replace(name, here)
    words = [str(folder / word) if word.endswith(".html") else word for word in shlex.split(command)]
    relay = [str(ROOT / ".venv/bin/relay"), *words, "--local"]
    return subprocess.run(relay, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
