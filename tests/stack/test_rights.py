"""What a viewer, an operator, a contributor and an administrator can do on the deployed stack, and what they cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.stack import LocalStack
from tests.stack.shell import aws, commands
from tests.stack.world import World

PAGE = (Path(__file__).parents[2] / "docs/who-may-do-what.md").read_text(encoding="utf-8")
Attempt = Callable[["Person"], Any]
WHO = ("Viewer", "Operator", "Contributor", "Administrator")


class Person:
    """Somebody with one of the stack's policies and, perhaps, the tag of a connection; nothing else."""

    def __init__(self, stack: LocalStack, name: str, policy: str, connection: str | None = None) -> None:
        self.stack, self._name = stack, name
        self._policy = stack.outputs[f"{policy}PolicyArn"]
        iam = stack.client("iam")
        tags = [] if connection is None else [{"Key": "relay-connection", "Value": connection}]
        iam.create_user(UserName=name, Tags=tags)
        iam.attach_user_policy(UserName=name, PolicyArn=self._policy)
        self._key = iam.create_access_key(UserName=name)["AccessKey"]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.stack.endpoint_url,
            region_name=self.stack.region,
            aws_access_key_id=self._key["AccessKeyId"],
            aws_secret_access_key=self._key["SecretAccessKey"],
        )

    def may(self, attempt: Attempt) -> bool:
        """Try something; any answer but a refusal of IAM counts as allowed."""
        try:
            attempt(self)
        except ClientError as error:
            return "AccessDenied" not in error.response["Error"]["Code"]
        return True

    def leave(self) -> None:
        iam = self.stack.client("iam")
        iam.delete_access_key(UserName=self._name, AccessKeyId=self._key["AccessKeyId"])
        iam.detach_user_policy(UserName=self._name, PolicyArn=self._policy)
        iam.delete_user(UserName=self._name)


def _ask(function: str, **question: Any) -> Attempt:
    return lambda person: person.client("lambda").invoke(
        FunctionName=f"{person.stack.prefix}-{function}", Payload=json.dumps(question)
    )


def _read_secret(name: str) -> Attempt:
    return lambda person: person.client("secretsmanager").get_secret_value(SecretId=f"{person.stack.prefix}/{name}")


def _write_secret(name: str) -> Attempt:
    return lambda person: person.client("secretsmanager").put_secret_value(
        SecretId=f"{person.stack.prefix}/{name}", SecretString="{}"
    )


def _read_export(key: str) -> Attempt:
    return lambda person: person.client("ssm").get_parameter(Name=f"/{person.stack.prefix}/exports/{key}")


def _write_export(key: str) -> Attempt:
    return lambda person: person.client("ssm").put_parameter(
        Name=f"/{person.stack.prefix}/exports/{key}", Value='{"state": "paused"}', Type="String", Overwrite=True
    )


def _delete_export(key: str) -> Attempt:
    return lambda person: person.client("ssm").delete_parameter(Name=f"/{person.stack.prefix}/exports/{key}")


def _schedule(key: str) -> Attempt:
    def attempt(person: Person) -> None:
        outputs = person.stack.outputs
        person.client("scheduler").create_schedule(
            GroupName=outputs["ScheduleGroupName"],
            Name=key.replace("/", "."),
            ScheduleExpression="cron(0 3 1 1 ? 2030)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": outputs["ExportFunctionArn"],
                "RoleArn": outputs["SchedulerRoleArn"],
                "Input": json.dumps({"export": key}),
            },
        )

    return attempt


def _receive(queue: str) -> Attempt:
    return lambda person: person.client("sqs").receive_message(
        QueueUrl=person.stack.outputs[f"{queue}Url"], VisibilityTimeout=0
    )


def _find_the_stack(person: Person) -> None:
    person.client("cloudformation").describe_stacks(StackName=person.stack.stack_name)


def _read_profile(person: Person) -> None:
    person.client("dynamodb").get_item(TableName=f"{person.stack.prefix}-profiles", Key={"pk": {"S": "x"}})


def _change_a_function(person: Person) -> None:
    person.client("lambda").update_function_configuration(FunctionName=f"{person.stack.prefix}-view", Timeout=300)


def attempts(mine: str, other: str) -> Mapping[str, tuple[Attempt, set[str]]]:
    """Return what is tried, and who of WHO may; `mine` is the contributor's connection."""
    everybody, administrators = set(WHO), {"Administrator"}
    return {
        "find the stack": (_find_the_stack, everybody),
        "ask what only looks": (_ask("view", ask="codes"), everybody),
        "confirm a run": (_ask("admin", ask="confirm", run="none"), {"Operator", "Administrator"}),
        "forget a person": (_ask("forget", ask="nothing"), administrators),
        "read an export": (_read_export(f"{other}/list"), everybody),
        "write an export of the contributor's connection": (
            _write_export(f"{mine}/new"),
            {"Contributor", "Administrator"},
        ),
        "delete an export of the contributor's connection": (
            _delete_export(f"{mine}/new"),
            {"Contributor", "Administrator"},
        ),
        "write an export of another connection": (_write_export(f"{other}/new"), administrators),
        "delete an export of another connection": (_delete_export(f"{other}/new"), administrators),
        "write an export of a connection whose name begins alike": (_write_export(f"{mine}x/new"), administrators),
        "read the secret of the contributor's connection": (_read_secret(f"connections/{mine}"), administrators),
        "read the secret of a source": (_read_secret(f"sources/{mine}"), administrators),
        "write a secret": (_write_secret(f"connections/{mine}"), administrators),
        "read the identity key": (_read_secret("stack/identity-key"), set()),
        "make a schedule": (_schedule(f"{mine}/new"), administrators),
        "look into a dead-letter queue": (_receive("changesDLQ"), administrators),
        "read profiles": (_read_profile, set()),
        "change a function": (_change_a_function, set()),
    }


@pytest.fixture
def people(world: World) -> Iterator[dict[str, Person]]:
    people = {who: Person(world.stack, f"{world.name}-{who}", who, world.px_connection) for who in WHO}
    people["Untagged"] = Person(world.stack, f"{world.name}-untagged", "Contributor")
    people["Starred"] = Person(world.stack, f"{world.name}-starred", "Contributor", "*")
    yield people
    for person in people.values():
        person.leave()
    for key in (f"{world.px_connection}/new", f"{world.list_connection}/new", f"{world.px_connection}x/new"):
        with suppress(ClientError):
            world.administrator.delete_export(key)
    with suppress(ClientError):
        world.stack.client("scheduler").delete_schedule(
            GroupName=world.stack.outputs["ScheduleGroupName"], Name=f"{world.px_connection}.new"
        )


def test_each_may_do_what_the_page_says_and_nothing_else(world: World, people: dict[str, Person]) -> None:
    world.put_list("customers")
    world.administrator.put_connection(world.px_connection, "gainsight_px", region="eu", api_key="sandbox-api-key")
    world.administrator.put_source(world.px_connection, dialect="relay-json")

    tried = attempts(world.px_connection, world.list_connection)
    found = {what: {who for who in WHO if people[who].may(attempt)} for what, (attempt, _) in tried.items()}

    assert found == {what: allowed for what, (_, allowed) in tried.items()}


def test_the_commands_of_the_page_make_an_operator_and_a_contributor(world: World) -> None:
    stack, iam = world.stack, world.stack.client("iam")
    roles = [f"{world.name}-{role}" for role in ("relay-operators", "newsletter-team")]
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    for role in roles:
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=document)
    answers = {}
    for command in commands(PAGE, "aws"):
        here = command.replace("--role-name ", f"--role-name {world.name}-")
        here = here.replace("--stack-name audience-relay", f"--stack-name {stack.stack_name}")
        for output, value in stack.outputs.items():
            here = here.replace(f"<{output}>", value)
        answers[command.split()[2]] = aws(stack, here)

    attached = {role: iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] for role in roles}
    assert [[one["PolicyArn"] for one in given] for given in attached.values()] == [
        [stack.outputs["OperatorPolicyArn"]],
        [stack.outputs["ContributorPolicyArn"]],
    ]
    assert iam.list_role_tags(RoleName=roles[1])["Tags"] == [{"Key": "relay-connection", "Value": "newsletter"}]
    assert {one["Arn"] for one in answers["list-policies"]["Policies"]} >= {
        stack.outputs[f"{who}PolicyArn"] for who in WHO
    }
    for role, (policy,) in attached.items():
        iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
        iam.delete_role(RoleName=role)


def test_a_contributor_without_a_connection_or_of_all_writes_no_export(world: World, people: dict[str, Person]) -> None:
    for who in ("Untagged", "Starred"):
        assert people[who].may(_ask("view", ask="codes"))
        for key in (f"{world.px_connection}/new", "/new", "*/new"):
            assert not people[who].may(_write_export(key)), (who, key)
