"""`.local/stack.json`: what others need to reach the stack stands there, and is true."""

import json

import requests

from local.processes import wait_for
from local.roles import SandboxControl
from local.stack import DESCRIPTION, LocalStack
from relay.version import VERSION


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


def test_description_outputs_tags_and_every_line_of_the_log_tell_the_version(stack: LocalStack) -> None:
    client = stack.client("cloudformation")
    # The emulator tells a stack's description here alone.
    summary = client.get_template_summary(StackName=stack.stack_name)
    assert summary["Description"].startswith(f"Audience Relay {VERSION}: ")
    (described,) = client.describe_stacks(StackName=stack.stack_name)["Stacks"]
    assert stack.outputs["Version"] == VERSION
    tags = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
    assert (tags["application"], tags["version"]) == ("audience-relay", VERSION)
    requests.post(f"{stack.webhook_url}/nobody", json={}, timeout=30)
    assert wait_for("a line of ingest", 60, lambda: _versions(stack, "ingest") or None) == {VERSION}


def _versions(stack: LocalStack, function: str) -> set[str]:
    pages = stack.client("logs").get_paginator("filter_log_events")
    lines = [
        event["message"]
        for page in pages.paginate(logGroupName=f"/aws/lambda/{stack.prefix}-{function}")
        for event in page["events"]
    ]
    return {json.loads(line).get("service_version", "none") for line in lines if line.startswith('{"level"')}
