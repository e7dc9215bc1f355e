"""What people may do who have one of the stack's policies: exactly this."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.unit.template.expanding import Resources, listed, of, statements, target

Rights = Mapping[str, set[str]]
"""The resources of each action, after the account."""

EXPORTS = {"parameter/${Prefix}/exports", "parameter/${Prefix}/exports/*"}
SECRETS = {"secret:${Prefix}/sources/*", "secret:${Prefix}/connections/*"}
SCHEDULES = "schedule/${Prefix}/*"
CONNECTION = "parameter/${Prefix}/exports/${!aws:PrincipalTag/relay-connection}/*"

LOOK: Rights = {
    "cloudformation:DescribeStacks": {"stack/${AWS::StackName}/*"},
    "lambda:InvokeFunction": {"ViewFunction"},
    "ssm:GetParameter": EXPORTS,
    "ssm:GetParametersByPath": EXPORTS,
    "scheduler:ListSchedules": {"*"},
    "scheduler:GetSchedule": {SCHEDULES, "schedule/default/${Prefix}-default"},
}
OPERATE: Rights = {**LOOK, "lambda:InvokeFunction": {"ViewFunction", "AdminFunction"}}

POLICIES: Mapping[str, Rights] = {
    "ViewerPolicy": LOOK,
    "OperatorPolicy": OPERATE,
    "ContributorPolicy": {**LOOK, "ssm:PutParameter": {CONNECTION}, "ssm:DeleteParameter": {CONNECTION}},
    "AdministratorPolicy": {
        **OPERATE,
        "lambda:InvokeFunction": {*OPERATE["lambda:InvokeFunction"], "ForgetFunction"},
        **{key: {"parameter/${Prefix}/exports/*"} for key in ("ssm:PutParameter", "ssm:DeleteParameter")},
        **{
            f"secretsmanager:{action}": SECRETS
            for action in (
                "CreateSecret",
                "DescribeSecret",
                "GetSecretValue",
                "PutSecretValue",
                "DeleteSecret",
                "RestoreSecret",
            )
        },
        "secretsmanager:ListSecrets": {"*"},
        **{f"scheduler:{action}Schedule": {SCHEDULES} for action in ("Create", "Update", "Delete")},
        "scheduler:GetSchedule": LOOK["scheduler:GetSchedule"],
        "iam:PassRole": {"SchedulerRole"},
        **{f"s3:{action}Object": {"segments/*"} for action in ("Put", "Delete")},
        **{
            f"sqs:{action}": {"${Prefix}-*"}
            for action in (
                "GetQueueUrl",
                "GetQueueAttributes",
                "ReceiveMessage",
                "SendMessage",
                "DeleteMessage",
                "PurgeQueue",
                "StartMessageMoveTask",
                "ListMessageMoveTasks",
                "CancelMessageMoveTask",
            )
        },
    },
}


def _rights(resources: Resources, policy: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, _, statement in statements(resources):
        if name == policy:
            assert statement["Effect"] == "Allow"
            for action in listed(statement["Action"]):
                found.setdefault(action, set()).update(map(_short, listed(statement["Resource"])))
    return found


def _short(resource: object) -> str:
    if isinstance(resource, dict) and "Fn::Sub" in resource:
        text = str(resource["Fn::Sub"])
        return text.partition("${AWS::Region}/")[2] if ":s3:" in text else text.partition("${AWS::AccountId}:")[2]
    return resource if isinstance(resource, str) else target(resource)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_grants_what_its_page_says(resources: Resources, policy: str) -> None:
    assert _rights(resources, policy) == POLICIES[policy]


def test_there_are_no_other_policies_and_all_can_be_found_by_their_path(resources: Resources) -> None:
    found = of(resources, "AWS::IAM::ManagedPolicy")
    assert found.keys() == POLICIES.keys()
    assert {str(policy["Path"]) for policy in found.values()} == {"{'Fn::Sub': '/${Prefix}/'}"}


def test_an_administrator_hands_the_role_of_schedules_to_schedules_alone(resources: Resources) -> None:
    (passing,) = (one for name, _, one in statements(resources) if "iam:PassRole" in listed(one["Action"]))
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}


def test_whoever_operates_invokes_functions_that_are_there(resources: Resources) -> None:
    named = {one for rights in POLICIES.values() for one in rights["lambda:InvokeFunction"]}
    assert named <= of(resources, "AWS::Lambda::Function").keys()
