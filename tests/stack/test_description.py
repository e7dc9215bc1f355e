"""`.local/stack.json`: what others need to reach the stack stands there, and is true."""

import json

import requests

from local.roles import SandboxControl
from local.stack import DESCRIPTION, LocalStack


def test_the_description_names_the_stack_all_its_outputs_and_every_address(stack: LocalStack) -> None:
    given = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    assert LocalStack(**given) == stack

    client = LocalStack(**given).client("cloudformation")
    (described,) = client.describe_stacks(StackName=given["stack_name"])["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    assert outputs
    assert given["outputs"] == outputs
    assert given["prefix"] == outputs["Prefix"]
    assert given["webhook_url"].startswith(given["endpoint_url"])
    answer = requests.post(f"{given['webhook_url']}/nobody", json={}, timeout=30)
    assert answer.headers["Content-Type"] == "application/problem+json", "the webhook URL is not where ingest answers"
    assert given["sandboxes"].keys() == {"activecampaign", "gainsight_px"}
    for sandbox in given["sandboxes"].values():
        assert "calls" in SandboxControl(sandbox["url"]).counters()
