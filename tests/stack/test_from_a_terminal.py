"""The page's commands, in their order, as they stand there but for names, keys and addresses."""

import json
import re
import time
from pathlib import Path
from typing import Any

from local.roles import new_secret
from tests.stack.shell import aws, commands, curl
from tests.stack.world import World

PAGE = (Path(__file__).parents[2] / "docs/from-a-terminal.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_set_up_an_export_that_runs(world: World) -> None:
    stack, name = world.stack, world.name
    world.list_export = f"{name}-newsletter/vip"
    lists = world.campaign.state()["lists"]
    list_id = str(max(map(int, lists)) + 1)
    world.campaign.change(lists={**lists, list_id: name})
    first, second = new_secret(), new_secret()
    ours = {
        r"(sources/|\$WEBHOOK_URL/)crm\b": rf"\g<1>{name}-crm",
        r'"crm/vip"': f'"{name}-crm/vip"',
        r"\bnewsletter([/.])vip": rf"{name}-newsletter\1vip",
        r"connections/newsletter": f"connections/{name}-newsletter",
        r"\$WEBHOOK_URL": stack.webhook_url,
        r"\banother-long-random-token": second,
        r"\ba-long-random-token": first,
        "the-key-under-Settings-Developer": "sandbox-api-key",
        '"list_id": "7"': f'"list_id": "{list_id}"',
        "--stack-name audience-relay": f"--stack-name {stack.stack_name}",
        **{f"<{output}>": value for output, value in stack.outputs.items()},
    }

    def here(command: str) -> str:
        for written, meant in ours.items():
            command = re.sub(written, meant, command)
        return command

    (posting,) = commands(PAGE, "curl")
    by_operation: dict[str, list[Any]] = {}
    for command in commands(PAGE, "aws"):
        by_operation.setdefault(command.split()[2], []).append(here(command))
    source, connection = by_operation.pop("create-secret")
    export, paused = by_operation.pop("put-parameter")

    aws(stack, source)
    world.administrator.wait_until_seen()
    assert curl(here(posting)).json()["accepted"] == 1
    aws(stack, *by_operation.pop("put-secret-value"))
    world.administrator.wait_until_seen()
    for token in (first, second):
        assert curl(here(posting).replace(first, token)).status_code == 202
    world.stored()

    aws(stack, connection)
    aws(stack, export)
    world.administrator.edited_at = time.monotonic()
    counts = world.run(world.list_export)["counts"]
    assert (counts["selected"], counts["delivered"]) == (1, 1)
    assert list(world.contacts(list_id)) == ["kim@example.com"]

    aws(stack, *by_operation.pop("create-schedule"))
    scheduled = aws(stack, *by_operation.pop("list-schedules"))["Schedules"]
    assert f"{name}-newsletter.vip" in [schedule["Name"] for schedule in scheduled]
    aws(stack, paused)
    shown = aws(stack, *by_operation.pop("get-parameter"))
    assert json.loads(shown["Parameter"]["Value"])["state"] == "paused"
    (described,) = aws(stack, *by_operation.pop("describe-stacks"))["Stacks"]
    assert "WebhookUrl" in {output["OutputKey"] for output in described["Outputs"]}
    assert by_operation == {}, "a command of the page is not tried"
