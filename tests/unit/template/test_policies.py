"""What roles may do: no more than they need, on nothing but this stack's own."""

import json

from tests.unit.template.expanding import Resources, listed, of, statements, target

# What a policy may grant on every resource, because AWS offers nothing narrower, with the reason.
UNNAMEABLE = {
    "scheduler:ListSchedules": "listing has no resource type in AWS's service authorization reference",
    "secretsmanager:ListSecrets": "as above",
    "ssm:DescribeParameters": "as above",
    "cloudwatch:GetMetricData": "metrics have no resource type in AWS's service authorization reference",
}
BUCKET = ":::${Prefix}-${AWS::AccountId}-${AWS::Region}/"
# What a `*` may follow: of secrets and exports, names of administrators; of a stack, its id, which each deploy changes.
OWN = ("${Prefix}/", "stack/${AWS::StackName}/", BUCKET)
# The administrators' queues: no loop stands inside a list, so these are all queues whose names begin with the prefix.
BY_PREFIX = ("AdministratorPolicy", "RedriveAndPurge")
# Policies of one key, queue or bucket: `*` there is the resource that they are attached to.
ATTACHED = {"AWS::KMS::Key", "AWS::SQS::QueuePolicy"}


def test_no_policy_grants_a_wildcard(resources: Resources) -> None:
    granted = []
    for name, kind, statement in statements(resources):
        if statement["Effect"] != "Allow" or kind in ATTACHED:
            continue
        assert "NotAction" not in statement, name
        assert "NotResource" not in statement, name
        actions = listed(statement["Action"])
        if any("*" in action for action in actions):
            granted.append(f"{name}: {actions}")
        anywhere = "*" in listed(statement.get("Resource", []))
        if anywhere and not set(actions) <= UNNAMEABLE.keys():
            granted.append(f"{name}: {actions} on every resource")
    assert granted == []


def test_policies_name_resources_down_to_the_stacks_prefix(resources: Resources) -> None:
    """A `*` inside an ARN is fine behind the stack's own prefix (secrets and exports have names of administrators)."""
    wide = [
        f"{name}: {resource}"
        for name, _, statement in statements(resources)
        if statement["Effect"] == "Allow" and (name, statement.get("Sid")) != BY_PREFIX
        for resource in listed(statement.get("Resource", []))
        if "*" in (text := json.dumps(resource))
        and text != '"*"'
        and not any(own in text.partition("*")[0] for own in OWN)
    ]
    assert wide == []


def test_every_function_has_a_role_of_its_own_without_managed_policies(resources: Resources) -> None:
    roles = [target(function["Role"]) for function in of(resources, "AWS::Lambda::Function").values()]
    assert len(set(roles)) == len(roles)
    for name, role in of(resources, "AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role, name


def test_ingest_touches_no_table_and_no_connection(resources: Resources) -> None:
    text = json.dumps(resources["IngestRole"])
    assert "dynamodb" not in text
    assert "/connections/" not in text


def test_schedules_may_invoke_only_what_starts_runs_and_the_tick(resources: Resources) -> None:
    """Confirming, cancelling and the rest have a function, and so rights, of their own."""
    invocable = {
        target(resource)
        for name, _, statement in statements(resources)
        if name == "SchedulerRole" and "lambda:InvokeFunction" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    assert invocable == {"ExportFunction", "TickFunction"}
