"""A stack that is deleted and deployed again finds its data, as docs/deleting.md says."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.stack import LocalStack
from tests.stack.world import World

ROOT = Path(__file__).parents[2]
# What a stack leaves is kept, so each time has a prefix of its own.
NAME, PREFIX = "audience-relay-second", f"second-{secrets.token_hex(4)}"
TABLES = {f"{PREFIX}-{table}" for table in ("profiles", "segments", "assignments", "identities", "control")}


class Deployer:
    """Deploys and deletes a second stack beside the one that the other tests use, from the same build."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        (first,) = stack.client("cloudformation").describe_stacks(StackName=stack.stack_name)["Stacks"]
        self._parameters = {one["ParameterKey"]: one["ParameterValue"] for one in first["Parameters"]}

    def deploy(self, **parameters: str) -> subprocess.CompletedProcess[str]:
        given = self._parameters | {"Prefix": PREFIX} | parameters
        overrides = [f"{key}={value}" for key, value in given.items() if value]
        return self._sam("deploy", "--s3-prefix", NAME, "--parameter-overrides", *overrides)

    def delete(self) -> subprocess.CompletedProcess[str]:
        return self._sam("delete", "--no-prompts")

    def stack(self) -> LocalStack:
        """Return the second stack as it is deployed now."""
        (given,) = self._stack.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in given["Outputs"]}
        place = f"{outputs['ApiId']}/{outputs['StageName']}"
        return replace(
            self._stack,
            webhook_url=f"{self._stack.endpoint_url}/_aws/execute-api/{place}/webhooks",
            stack_name=NAME,
            prefix=PREFIX,
            outputs=outputs,
        )

    def conflicts(self) -> list[str]:
        """Return what CloudFormation said of names that are taken."""
        events = self._stack.client("cloudformation").describe_events(StackName=NAME)["OperationEvents"]
        return [event["ValidationStatusReason"] for event in events if event.get("ValidationStatus") == "FAILED"]

    def _sam(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "AWS_ENDPOINT_URL": self._stack.endpoint_url,
            "AWS_DEFAULT_REGION": self._stack.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SAM_CLI_TELEMETRY": "0",
        }
        return subprocess.run(
            [ROOT / ".tools/sam/bin/sam", command, "--config-env", "local", "--stack-name", NAME, *arguments],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def deployer(stack: LocalStack) -> Iterator[Deployer]:
    deployer = Deployer(stack)
    yield deployer
    deployer.delete()


def test_a_stack_that_is_deployed_again_finds_what_it_knew(stack: LocalStack, deployer: Deployer) -> None:
    done = deployer.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    world = World(deployer.stack())
    list_id = world.put_list("customers")
    world.post_shop([world.shop_change(number) for number in (1, 2)])
    world.stored()
    assert world.run(world.list_export)["counts"]["delivered"] == 2

    # By mistake: the stack made its data itself, and goes on with it all the same.
    done = deployer.deploy(Data="kept")
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.run(world.list_export)["counts"]["unchanged"] == 2

    done = deployer.delete()
    assert done.returncode == 0, done.stdout + done.stderr
    tables, keys = stack.client("dynamodb"), stack.client("secretsmanager")
    assert set(tables.list_tables()["TableNames"]) >= TABLES
    assert keys.get_secret_value(SecretId=f"{PREFIX}/stack/identity-key")["SecretString"]
    queues = stack.client("sqs").list_queues(QueueNamePrefix=PREFIX).get("QueueUrls", [])
    assert queues == []

    # Without saying that the data is there, nothing is made and nothing is lost.
    assert deployer.deploy().returncode != 0
    conflicts = deployer.conflicts()
    assert conflicts
    assert all("already exists" in given and PREFIX in given for given in conflicts)
    assert set(tables.list_tables()["TableNames"]) >= TABLES
    assert deployer.delete().returncode == 0

    done = deployer.deploy(Data="kept")
    assert done.returncode == 0, done.stdout + done.stderr
    again = World(deployer.stack(), name=world.name)
    again.shop, again.adobe = replace(world.shop, stack=again.stack), replace(world.adobe, stack=again.stack)
    writes = again.campaign.counters()["writes"]
    assert again.run(again.list_export)["counts"]["unchanged"] == 2
    assert again.campaign.counters()["writes"] == writes
    again.post_shop([again.shop_change(1, attributes={"first_name": "Kim"}), again.shop_change(3)])
    again.stored()
    counts = again.run(again.list_export)["counts"]
    assert (counts["selected"], counts["unchanged"], counts["delivered"]) == (3, 1, 2)
    assert {again.email(number) for number in (1, 2, 3)} == again.contacts(list_id).keys()
