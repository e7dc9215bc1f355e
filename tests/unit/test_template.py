"""House rules of `template.yaml`, held against what the SAM translator expands it to."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.stack import PACE_SCALE

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"

# What a policy may grant on every resource, because AWS offers nothing narrower, with the reason.
UNNAMEABLE = {
    "scheduler:ListSchedules": "listing has no resource type in AWS's service authorization reference",
    "secretsmanager:ListSecrets": "as above",
    "ssm:DescribeParameters": "as above",
}
# Policies of one key, queue or bucket: `*` there is the resource that they are attached to.
ATTACHED = {"AWS::KMS::Key", "AWS::SQS::QueuePolicy"}

# Takes events that could not be delivered or were refused; no queue stands before it.
EVENTS_DLQ = "ExportDLQ"

# Whoever asks it sees its errors in the answer, and a typing mistake is no alarm.
ANSWERS_A_PERSON = "AdminFunction"

# What outlives the stack. `Data` says whether the stack makes it or uses what an earlier one left.
KEPT = {
    "ProfilesTable",
    "SegmentsTable",
    "DeliveriesTable",
    "ClaimsTable",
    "ControlTable",
    "SegmentFilesBucket",
    "SegmentFilesOnlyByTls",
    "IdentityKey",
}

Resource = Mapping[str, Any]


class _NoManagedPolicies:
    """The template names no managed policy of AWS; one that does would fail here."""

    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return template


@pytest.fixture(scope="module")
def resources(source: dict[str, Any]) -> dict[str, Resource]:
    template = copy.deepcopy(source)
    for resource in template["Resources"].values():
        # `sam deploy` replaces folders by where it uploaded them.
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = "s3://bucket/key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        expanded: dict[str, dict[str, Resource]] = transform(template, {}, _NoManagedPolicies())
    return expanded["Resources"]


def _of(resources: Mapping[str, Resource], kind: str) -> dict[str, dict[str, Any]]:
    found = {name: dict(entry["Properties"]) for name, entry in resources.items() if entry["Type"] == kind}
    assert found, f"the template has no {kind}"
    return found


def _target(reference: Any) -> str:
    """Return the logical name that a Ref or GetAtt points to."""
    if isinstance(reference, dict):
        if "Ref" in reference:
            return str(reference["Ref"])
        if "Fn::GetAtt" in reference:
            return str(reference["Fn::GetAtt"][0])
    raise AssertionError(f"not a reference to a resource: {reference!r}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_dlq(name: str) -> bool:
    return name.endswith("DLQ")


def _queue_alarms(resources: Mapping[str, Resource], metric: str) -> dict[str, dict[str, Any]]:
    """Return the alarms on a queue metric by the queue."""
    alarms = _of(resources, "AWS::CloudWatch::Alarm").values()
    return {
        _target(dimension["Value"]): alarm
        for alarm in alarms
        if (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", metric)
        for dimension in alarm["Dimensions"]
    }


def _statements(resources: Mapping[str, Resource]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every policy statement, with the resource it stands in and that one's type."""

    def inside(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "Effect" in value and ("Action" in value or "NotAction" in value):
                yield value
            for part in value.values():
                yield from inside(part)
        elif isinstance(value, list):
            for part in value:
                yield from inside(part)

    for name, entry in resources.items():
        for statement in inside(entry.get("Properties", {})):
            yield name, str(entry["Type"]), statement


def test_every_function_logs_to_a_group_of_its_own_with_retention(resources: dict[str, Resource]) -> None:
    groups = _of(resources, "AWS::Logs::LogGroup")
    functions = _of(resources, "AWS::Lambda::Function")
    used = {name: _target(function["LoggingConfig"]["LogGroup"]) for name, function in functions.items()}
    assert sorted(used.values()) == sorted(groups)
    assert [name for name, group in groups.items() if not group.get("RetentionInDays")] == []


def test_every_queue_has_a_dlq_that_takes_only_from_it(resources: dict[str, Resource]) -> None:
    queues = _of(resources, "AWS::SQS::Queue")
    dlqs = {name for name in queues if _is_dlq(name)}
    redrives = {name: _target(queues[name]["RedrivePolicy"]["deadLetterTargetArn"]) for name in queues.keys() - dlqs}
    assert sorted([*redrives.values(), EVENTS_DLQ]) == sorted(dlqs)
    for name, dlq in redrives.items():
        allowed = queues[dlq]["RedriveAllowPolicy"]
        assert allowed["redrivePermission"] == "byQueue"
        (allowed_arn,) = allowed["sourceQueueArns"]
        # By name, because two references would make a circle.
        queue_name = queues[name]["QueueName"]["Fn::Sub"]
        assert allowed_arn["Fn::Sub"].endswith(f":{queue_name}")


def test_dlqs_keep_messages_14_days_and_longer_than_their_queues(resources: dict[str, Resource]) -> None:
    for name, queue in _of(resources, "AWS::SQS::Queue").items():
        days = queue["MessageRetentionPeriod"] / 86_400
        assert days == 14 if _is_dlq(name) else days <= 7, name


def test_visibility_is_at_least_6_times_the_consumers_timeout(resources: dict[str, Resource]) -> None:
    queues, functions = _of(resources, "AWS::SQS::Queue"), _of(resources, "AWS::Lambda::Function")
    consumed = set()
    for mapping in _of(resources, "AWS::Lambda::EventSourceMapping").values():
        queue, function = _target(mapping["EventSourceArn"]), _target(mapping["FunctionName"])
        consumed.add(queue)
        assert queues[queue]["VisibilityTimeout"] >= 6 * functions[function]["Timeout"], queue
    assert consumed == {name for name in queues if not _is_dlq(name)}


def test_route_knows_the_visibility_of_its_queue(resources: dict[str, Resource]) -> None:
    told = _of(resources, "AWS::Lambda::Function")["RouteFunction"]["Environment"]["Variables"]
    queue = _of(resources, "AWS::SQS::Queue")["ChangesQueue"]
    assert told["RELAY_CHANGES_VISIBILITY_SECONDS"] == str(queue["VisibilityTimeout"])


def test_every_queue_consumer_answers_with_what_failed(resources: dict[str, Resource]) -> None:
    for name, mapping in _of(resources, "AWS::Lambda::EventSourceMapping").items():
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name


def test_every_queue_consumer_has_a_bounded_concurrency(resources: dict[str, Resource]) -> None:
    for name, mapping in _of(resources, "AWS::Lambda::EventSourceMapping").items():
        assert 2 <= mapping["ScalingConfig"]["MaximumConcurrency"] <= 10, name


def test_no_queue_consumer_filters(resources: dict[str, Resource]) -> None:
    """What a filter does not match, it deletes for good."""
    for name, mapping in _of(resources, "AWS::Lambda::EventSourceMapping").items():
        assert "FilterCriteria" not in mapping, name


def test_fifo_queues_never_swallow_a_wake_up_and_scale_by_group(resources: dict[str, Resource]) -> None:
    fifo = {name: queue for name, queue in _of(resources, "AWS::SQS::Queue").items() if queue.get("FifoQueue")}
    assert {"ActiveCampaignQueue", "GainsightPxQueue"} <= fifo.keys()
    for name, queue in fifo.items():
        assert not queue.get("ContentBasedDeduplication"), name
        if not _is_dlq(name):
            assert queue["DeduplicationScope"] == "messageGroup", name
            assert queue["FifoThroughputLimit"] == "perMessageGroupId", name


def test_destination_queues_outlast_half_an_hour_of_transient_failures(resources: dict[str, Resource]) -> None:
    queues = _of(resources, "AWS::SQS::Queue")
    for name in ("ActiveCampaignQueue", "GainsightPxQueue"):
        assert queues[name]["RedrivePolicy"]["maxReceiveCount"] >= 30, name


def test_no_policy_grants_a_wildcard(resources: dict[str, Resource]) -> None:
    granted = []
    for name, kind, statement in _statements(resources):
        if statement["Effect"] != "Allow" or kind in ATTACHED:
            continue
        assert "NotAction" not in statement, name
        assert "NotResource" not in statement, name
        actions = _listed(statement["Action"])
        if any("*" in action for action in actions):
            granted.append(f"{name}: {actions}")
        anywhere = "*" in _listed(statement.get("Resource", []))
        if anywhere and not set(actions) <= UNNAMEABLE.keys():
            granted.append(f"{name}: {actions} on every resource")
    assert granted == []


def test_policies_name_resources_down_to_the_stacks_prefix(resources: dict[str, Resource]) -> None:
    """A `*` inside an ARN is fine behind the stack's own prefix (secrets and exports have names of administrators)."""
    wide = [
        f"{name}: {resource}"
        for name, _, statement in _statements(resources)
        if statement["Effect"] == "Allow"
        for resource in _listed(statement.get("Resource", []))
        if "*" in (text := json.dumps(resource)) and text != '"*"' and "${Prefix}/" not in text.partition("*")[0]
    ]
    assert wide == []


def test_every_function_has_a_role_of_its_own_without_managed_policies(resources: dict[str, Resource]) -> None:
    roles = [_target(function["Role"]) for function in _of(resources, "AWS::Lambda::Function").values()]
    assert len(set(roles)) == len(roles)
    for name, role in _of(resources, "AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role, name


def test_ingest_touches_no_table_and_no_connection(resources: dict[str, Resource]) -> None:
    text = json.dumps(resources["IngestRole"])
    assert "dynamodb" not in text
    assert "/connections/" not in text


def test_queues_are_encrypted_and_take_only_tls(resources: dict[str, Resource]) -> None:
    queues = _of(resources, "AWS::SQS::Queue")
    assert [name for name, queue in queues.items() if queue.get("SqsManagedSseEnabled") is not True] == []
    (policy,) = _of(resources, "AWS::SQS::QueuePolicy").values()
    assert {_target(queue) for queue in policy["Queues"]} == queues.keys()
    assert _refuses_plain_http(policy["PolicyDocument"])


def test_lambda_does_not_end_chains_of_messages_that_are_meant(resources: dict[str, Resource]) -> None:
    """By default Lambda ends a chain in which a function was invoked by its own messages some 16 times."""
    invokes: dict[str, set[str]] = {}
    for mapping in _of(resources, "AWS::Lambda::EventSourceMapping").values():
        invokes.setdefault(_target(mapping["EventSourceArn"]), set()).add(_target(mapping["FunctionName"]))
    functions = _of(resources, "AWS::Lambda::Function")
    roles = _of(resources, "AWS::IAM::Role")
    sends = {name: _queues_sent_to(roles[_target(function["Role"])]) for name, function in functions.items()}
    next_ones = {name: {one for queue in queues for one in invokes.get(queue, ())} for name, queues in sends.items()}
    goes_on = {name for queue, names in invokes.items() for name in names if name in next_ones[name]}
    goes_on |= {name for name, found in next_ones.items() if any(name in next_ones[one] for one in found)}
    assert {"ActiveCampaignFunction", "GainsightPxFunction", "ImportChecksFunction"} <= goes_on
    # A defect sends the changes of single profiles on by themselves, once.
    allowed = {name for name, function in functions.items() if function.get("RecursiveLoop") == "Allow"}
    assert allowed == goes_on - {"RouteFunction"}


def _queues_sent_to(role: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Action"] == "sqs:SendMessage":
                listed = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
                found.update(map(_target, listed))
    return found


def test_tables_are_encrypted_recoverable_and_kept(resources: dict[str, Resource]) -> None:
    for name, table in _of(resources, "AWS::DynamoDB::Table").items():
        assert table["SSESpecification"]["SSEEnabled"] is True, name
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name
        assert table["BillingMode"] == "PAY_PER_REQUEST", name
        assert _is_kept(resources[name]), name


def test_the_bucket_is_encrypted_private_kept_and_takes_only_tls(resources: dict[str, Resource]) -> None:
    ((name, bucket),) = _of(resources, "AWS::S3::Bucket").items()
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")
    blocked = bucket["PublicAccessBlockConfiguration"]
    assert set(blocked) == {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    assert set(blocked.values()) == {True}
    assert _is_kept(resources[name])
    (policy,) = _of(resources, "AWS::S3::BucketPolicy").values()
    assert _refuses_plain_http(policy["PolicyDocument"])


def test_topics_are_encrypted_with_a_key_that_rotates(resources: dict[str, Resource]) -> None:
    keys = _of(resources, "AWS::KMS::Key")
    for name, topic in _of(resources, "AWS::SNS::Topic").items():
        assert keys[_target(topic["KmsMasterKeyId"])]["EnableKeyRotation"] is True, name


def test_the_identity_key_is_generated_and_kept(resources: dict[str, Resource]) -> None:
    ((name, secret),) = _of(resources, "AWS::SecretsManager::Secret").items()
    assert secret["GenerateSecretString"] == {"PasswordLength": 64, "ExcludePunctuation": True}
    assert "SecretString" not in secret
    assert _is_kept(resources[name])


def test_every_dlq_has_an_alarm(resources: dict[str, Resource]) -> None:
    alarms = _queue_alarms(resources, "ApproximateNumberOfMessagesVisible")
    assert alarms.keys() == {name for name in _of(resources, "AWS::SQS::Queue") if _is_dlq(name)}
    assert all(_fires_above(alarm, 0) for alarm in alarms.values())


def test_every_queue_has_an_alarm_on_age(resources: dict[str, Resource]) -> None:
    alarms = _queue_alarms(resources, "ApproximateAgeOfOldestMessage")
    assert alarms.keys() == {name for name in _of(resources, "AWS::SQS::Queue") if not _is_dlq(name)}
    # A message that is backed off has its age too.
    assert all(_fires_above(alarm, alarm["Threshold"]) and alarm["Threshold"] <= 7200 for alarm in alarms.values())


def test_every_function_has_an_alarm_on_errors(resources: dict[str, Resource]) -> None:
    alarms = [alarm for alarm in _of(resources, "AWS::CloudWatch::Alarm").values() if alarm["MetricName"] == "Errors"]
    watched = {_target(dimension["Value"]) for alarm in alarms for dimension in alarm["Dimensions"]}
    assert watched == _of(resources, "AWS::Lambda::Function").keys() - {ANSWERS_A_PERSON}
    assert all(_fires_above(alarm, 0) for alarm in alarms)


@pytest.mark.parametrize("metric", ["ConnectionStopped", "ProfilesSetAside"])
def test_what_the_clock_counts_raises_an_alarm(resources: dict[str, Resource], metric: str) -> None:
    functions = _of(resources, "AWS::Lambda::Function")
    variables = functions["TickFunction"]["Environment"]["Variables"]
    (alarm,) = (alarm for alarm in _of(resources, "AWS::CloudWatch::Alarm").values() if alarm["MetricName"] == metric)
    assert alarm["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
    assert alarm["Dimensions"] == [{"Name": "service", "Value": variables["POWERTOOLS_SERVICE_NAME"]}]
    assert _fires_above(alarm, 0)


def _alarm_on(resources: dict[str, Resource], metric: str) -> dict[str, Any]:
    alarms = _of(resources, "AWS::CloudWatch::Alarm").values()
    (alarm,) = (alarm for alarm in alarms if alarm["MetricName"] == metric)
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    return alarm


def test_server_errors_of_the_webhook_api_raise_an_alarm(resources: dict[str, Resource]) -> None:
    alarm = _alarm_on(resources, "5XXError")
    (api,) = _of(resources, "AWS::ApiGateway::RestApi").values()
    (stage,) = _of(resources, "AWS::ApiGateway::Stage").values()
    assert alarm["Namespace"] == "AWS/ApiGateway"
    assert {one["Name"]: one["Value"] for one in alarm["Dimensions"]} == {
        "ApiName": api["Name"],
        "Stage": stage["StageName"],
    }
    assert _fires_above(alarm, 0)


def test_a_share_of_refused_requests_that_lasts_raises_an_alarm(resources: dict[str, Resource]) -> None:
    """The average of 4XXError is the share of all requests; one refused request among few says nothing.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    """
    alarm = _alarm_on(resources, "4XXError")
    assert alarm["Dimensions"] == _alarm_on(resources, "5XXError")["Dimensions"]
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == ("Average", "GreaterThanThreshold")
    assert 0 < alarm["Threshold"] < 0.5
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 900
    assert alarm["EvaluationPeriods"] >= 3
    assert alarm["TreatMissingData"] == "notBreaching"


def test_a_tick_that_has_not_run_for_five_minutes_raises_an_alarm(resources: dict[str, Resource]) -> None:
    alarm = _alarm_on(resources, "Invocations")
    assert [_target(one["Value"]) for one in alarm["Dimensions"]] == ["TickFunction"]
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 300
    assert alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]) == alarm["EvaluationPeriods"]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    # A tick that does not run tells nothing.
    assert alarm["TreatMissingData"] == "breaching"


def test_schedules_that_cannot_invoke_their_target_raise_an_alarm(resources: dict[str, Resource]) -> None:
    alarm = _alarm_on(resources, "InvocationDroppedCount")
    assert alarm["Namespace"] == "AWS/Scheduler"
    assert [_target(one["Value"]) for one in alarm["Dimensions"]] == ["ScheduleGroup"]
    assert _fires_above(alarm, 0)


def test_an_export_that_no_schedule_will_start_raises_an_alarm(resources: dict[str, Resource]) -> None:
    alarm = _alarm_on(resources, "ExportsUnscheduled")
    variables = _of(resources, "AWS::Lambda::Function")["TickFunction"]["Environment"]["Variables"]
    assert alarm["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
    assert alarm["Dimensions"] == [{"Name": "service", "Value": variables["POWERTOOLS_SERVICE_NAME"]}]
    assert _fires_above(alarm, 0)


def test_an_event_is_never_repeated_and_what_failed_is_kept(resources: dict[str, Resource]) -> None:
    """A refused event stays refused; the function itself asks again where AWS does not answer."""
    configs = {
        _target(config["FunctionName"]): config for config in _of(resources, "AWS::Lambda::EventInvokeConfig").values()
    }
    assert configs["ExportFunction"]["MaximumRetryAttempts"] == 0
    assert configs["TickFunction"]["MaximumRetryAttempts"] == 0
    assert _target(configs["ExportFunction"]["DestinationConfig"]["OnFailure"]["Destination"]) == EVENTS_DLQ
    default = _of(resources, "AWS::Scheduler::Schedule")["DefaultExportSchedule"]
    assert _target(default["Target"]["DeadLetterConfig"]["Arn"]) == EVENTS_DLQ


def test_schedules_may_invoke_only_what_starts_runs_and_the_tick(resources: dict[str, Resource]) -> None:
    """Confirming, cancelling and the rest have a function, and so rights, of their own."""
    invocable = {
        _target(resource)
        for name, _, statement in _statements(resources)
        if name == "SchedulerRole" and "lambda:InvokeFunction" in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }
    assert invocable == {"ExportFunction", "TickFunction"}


def test_the_functions_know_the_schedules(resources: dict[str, Resource]) -> None:
    functions = _of(resources, "AWS::Lambda::Function")
    default = _of(resources, "AWS::Scheduler::Schedule")["DefaultExportSchedule"]
    for name in ("ExportFunction", "TickFunction", "AdminFunction"):
        told = functions[name]["Environment"]["Variables"]
        assert _target(told["RELAY_SCHEDULE_GROUP"]) == "ScheduleGroup"
        assert told["RELAY_DEFAULT_SCHEDULE"] == default["Name"]
        # By name, because a function that refers to itself would make a circle.
        assert told["RELAY_EXPORT_FUNCTION"] == functions["ExportFunction"]["FunctionName"]


def test_ingest_has_a_reserved_concurrency_only_when_it_is_asked_for(
    source: dict[str, Any], resources: dict[str, Resource]
) -> None:
    assert source["Parameters"]["IngestConcurrency"]["Default"] == 0
    reserved = _of(resources, "AWS::Lambda::Function")["IngestFunction"]["ReservedConcurrentExecutions"]
    condition, value, otherwise = reserved["Fn::If"]
    assert source["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "IngestConcurrency"}, 0]}]}
    assert (value, otherwise) == ({"Ref": "IngestConcurrency"}, {"Ref": "AWS::NoValue"})


def test_a_firewall_bounds_requests_by_address_when_it_is_asked_for_and_keeps_no_samples(
    source: dict[str, Any], resources: dict[str, Resource]
) -> None:
    parameter = source["Parameters"]["RequestsPerAddress"]
    assert parameter["Default"] == "0"
    allowed = {
        number
        for number in ("0", "5", "9", "10", "2000", "-1", "x")
        if re.fullmatch(parameter["AllowedPattern"], number)
    }
    assert allowed == {"0", "10", "2000"}
    ((name, firewall),) = _of(resources, "AWS::WAFv2::WebACL").items()
    (association,) = _of(resources, "AWS::WAFv2::WebACLAssociation").values()
    assert _target(association["WebACLArn"]) == name
    conditions = {entry.get("Condition") for entry in resources.values() if "WAFv2" in entry["Type"]}
    assert conditions == {"HasFirewall"}
    (rule,) = firewall["Rules"]
    assert rule["Statement"]["RateBasedStatement"]["Limit"] == {"Ref": "RequestsPerAddress"}
    # A sample would show a request's headers, its token among them.
    shown = [firewall["VisibilityConfig"], rule["VisibilityConfig"]]
    assert [one["SampledRequestsEnabled"] for one in shown] == [False, False]


# What is kept when the stack is deleted.


def test_what_is_kept_has_a_name_that_a_later_stack_finds(
    source: dict[str, Any], resources: dict[str, Resource]
) -> None:
    kept = {name: entry for name, entry in resources.items() if entry.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept.keys() == KEPT
    assert all(_is_kept(entry) for entry in kept.values())
    names = [
        entry["Properties"].get("TableName") or entry["Properties"].get("BucketName") or entry["Properties"].get("Name")
        for name, entry in kept.items()
        if name != "SegmentFilesOnlyByTls"
    ]
    assert all("${Prefix}" in name["Fn::Sub"] for name in names), names
    assert len({name["Fn::Sub"] for name in names}) == len(names)


def test_what_is_kept_is_made_only_when_the_stack_is_new(
    source: dict[str, Any], resources: dict[str, Resource]
) -> None:
    data = source["Parameters"]["Data"]
    assert (data["Default"], data["AllowedValues"]) == ("new", ["new", "kept"])
    assert source["Conditions"]["MakesData"] == {"Fn::Equals": [{"Ref": "Data"}, "new"]}
    conditions = {name: entry.get("Condition") for name, entry in resources.items() if name in KEPT}
    assert conditions == dict.fromkeys(KEPT, "MakesData")


def test_nothing_refers_to_what_may_not_be_made_without_saying_what_then(
    source: dict[str, Any], resources: dict[str, Resource]
) -> None:
    """Given `Data` kept, Then no reference is left without its resource."""

    def dangling(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if value.get("Fn::If", [None])[0] == "MakesData":
                yield from dangling(value["Fn::If"][2])
                return
            for key, part in value.items():
                if key == "Ref" and part in KEPT:
                    yield str(part)
                elif key == "Fn::GetAtt" and _listed(part)[0].split(".")[0] in KEPT:
                    yield _listed(part)[0]
                elif key == "Fn::Sub" and isinstance(part, str):
                    yield from (name for name in re.findall(r"\${(\w+)", part) if name in KEPT)
                else:
                    yield from dangling(part)
        elif isinstance(value, list):
            for part in value:
                yield from dangling(part)

    others = {name: entry for name, entry in resources.items() if name not in KEPT}
    assert [*dangling(others), *dangling(source["Outputs"])] == []


def test_functions_use_what_is_kept_by_its_name(source: dict[str, Any], resources: dict[str, Resource]) -> None:
    tables = _of(resources, "AWS::DynamoDB::Table")
    told = _of(resources, "AWS::Lambda::Function")["TickFunction"]["Environment"]["Variables"]
    for name, table in tables.items():
        variable = f"RELAY_{name.removesuffix('Table').upper()}_TABLE"
        assert told[variable] == {"Fn::If": ["MakesData", {"Ref": name}, table["TableName"]]}, name


def test_a_bucket_name_fits_for_every_prefix(source: dict[str, Any], resources: dict[str, Resource]) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
    (bucket,) = _of(resources, "AWS::S3::Bucket").values()
    longest = {"Prefix": "a" * 31, "AWS::AccountId": "1" * 12, "AWS::Region": "ap-southeast-7"}
    assert re.fullmatch(source["Parameters"]["Prefix"]["AllowedPattern"], longest["Prefix"])
    name = re.sub(r"\${([\w:]+)}", lambda match: longest[match[1]], bucket["BucketName"]["Fn::Sub"])
    assert len(name) <= 63


def test_runtime_and_architecture_come_from_the_parameters(resources: dict[str, Resource]) -> None:
    for name, function in _of(resources, "AWS::Lambda::Function").items():
        assert function["Runtime"] == {"Ref": "Runtime"}, name
        assert function["Architectures"] == [{"Ref": "Architecture"}], name


def test_the_defaults_are_a_current_python_on_arm64(source: dict[str, Any]) -> None:
    parameters = source["Parameters"]
    assert parameters["Runtime"]["Default"] == "python3.13"
    assert parameters["Architecture"]["Default"] == "arm64"


def test_nothing_local_is_on_by_default(source: dict[str, Any]) -> None:
    parameters = source["Parameters"]
    assert parameters["PaceScale"]["Default"] == 1
    assert parameters["Sandboxes"]["Default"] == ""


@pytest.mark.parametrize(
    "sandboxes",
    [
        "",
        "gainsight_px=http://127.0.0.1:9102",
        "gainsight_px=http://localhost:9102",
        "gainsight_px=http://127.0.0.1:9102,activecampaign=http://127.0.0.1:65535",
    ],
)
def test_a_sandbox_is_on_this_machine(source: dict[str, Any], sandboxes: str) -> None:
    assert re.fullmatch(source["Parameters"]["Sandboxes"]["AllowedPattern"], sandboxes)


@pytest.mark.parametrize(
    "sandboxes",
    [
        "gainsight_px=https://collector.example",
        "gainsight_px=http://collector.example:80",
        "gainsight_px=http://127.0.0.1",
        "gainsight_px=http://127.0.0.1:9102@collector.example",
        "gainsight_px=http://127.0.0.1:9102/@collector.example",
        "gainsight_px=http://127.0.0.1.collector.example:80",
        "gainsight_px=http://127x0.0.1:80",
        "gainsight_px=http://localhost.collector.example:80",
        "gainsight_px=http://169.254.169.254:80",
        "gainsight_px=http://10.0.0.7:80",
        "gainsight_px=http://0.0.0.0:80",
        "gainsight_px=http://127.0.0.1:9102,activecampaign=http://collector.example:80",
        "gainsight_px=http://127.0.0.1:9102,",
        "gainsight_px=http://127.0.0.1:9102\n",
        "http://127.0.0.1:9102",
        " ",
    ],
)
def test_nothing_elsewhere_stands_in_for_a_destination(source: dict[str, Any], sandboxes: str) -> None:
    assert not re.fullmatch(source["Parameters"]["Sandboxes"]["AllowedPattern"], sandboxes)


def test_only_sandboxes_are_called_faster_than_documented(source: dict[str, Any]) -> None:
    scale = source["Parameters"]["PaceScale"]
    assert scale["MinValue"] == 1
    assert PACE_SCALE <= scale["MaxValue"] <= 1000
    rule = source["Rules"]["PaceOfTheDestinations"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Sandboxes"}, ""]}
    assert [assertion["Assert"] for assertion in rule["Assertions"]] == [{"Fn::Equals": [{"Ref": "PaceScale"}, "1"]}]


def test_every_function_names_itself_in_logs_and_metrics(resources: dict[str, Resource]) -> None:
    for name, function in _of(resources, "AWS::Lambda::Function").items():
        service = function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        assert function["FunctionName"] == {"Fn::Sub": f"${{Prefix}}-{service}"}, name


def test_requests_are_throttled(resources: dict[str, Resource]) -> None:
    (stage,) = _of(resources, "AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    assert settings["ThrottlingRateLimit"] > 0
    assert settings["ThrottlingBurstLimit"] > 0


def _is_kept(resource: Resource) -> bool:
    return (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def _fires_above(alarm: Mapping[str, Any], threshold: int) -> bool:
    told = (alarm["Threshold"], alarm["ComparisonOperator"], alarm["AlarmActions"])
    return told == (threshold, "GreaterThanThreshold", [{"Ref": "AlarmTopic"}])


def _refuses_plain_http(document: Mapping[str, Any]) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in document["Statement"]
    )
