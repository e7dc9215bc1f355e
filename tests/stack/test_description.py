"""`.local/stack.json`: what others need to reach the stack stands there, and is true."""

import json

import requests

from local.roles import SandboxControl
from local.stack import DESCRIPTION, LocalStack


def test_the_description_names_the_stack_all_its_outputs_and_every_address(stack: LocalStack) -> None:
    told = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    assert LocalStack(**told) == stack

    client = LocalStack(**told).client("cloudformation")
    (described,) = client.describe_stacks(StackName=told["stack_name"])["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    assert outputs
    assert told["outputs"] == outputs
    assert told["prefix"] == outputs["Prefix"]
    assert told["webhook_url"].startswith(told["endpoint_url"])
    answer = requests.post(f"{told['webhook_url']}/nobody", json={}, timeout=30)
    assert answer.headers["Content-Type"] == "application/problem+json", "the webhook URL is not where ingest answers"
    assert told["sandboxes"].keys() == {"activecampaign", "gainsight_px"}
    for sandbox in told["sandboxes"].values():
        assert "calls" in SandboxControl(sandbox["url"]).counters()
